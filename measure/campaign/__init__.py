"""A campaign: build and time networks until a database has them all.

What there is to do is a queue of jobs in the database, which any number of campaigns on any number
of machines may share. A campaign has one lane for each of its devices; a lane takes jobs, builds
them in blocks and times them alone. A campaign may be stopped in any way at any time, and goes on
when run again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack, nullcontext
from typing import NoReturn

import numpy as np

from measure.campaign.anchors import anchor_networks
from measure.campaign.artifacts import open_store
from measure.campaign.builds import Builder
from measure.campaign.context import Context, StoppedError
from measure.campaign.lane import LOCAL, Lane
from measure.campaign.machine import alone_on_machine
from measure.campaign.types import CampaignConfig, Event, LabelSummary, NamedNetwork, Summary
from measure.client import ToolchainInfo, Worker, check_versions
from measure.database import Database
from measure.database.device_states import DeviceStates
from measure.database.jobs import JobQueue
from measure.database.owner import current_owner
from measure.device import Device, Fingerprint, Platform
from measure.errors import DeviceError
from measure.probes import PROBES, Quiet
from measure.protocol import Protocol
from measure.records import Network
from measure.rpc.address import RpcAddress
from relay_frontend.errors import InputError
from relay_frontend.onnx import read_onnx

__all__ = ["CampaignConfig", "Event", "LabelSummary", "NamedNetwork", "Summary", "run_campaign"]


def run_campaign(
    networks: Iterable[NamedNetwork] | None,
    toolchains: Sequence[str],
    database: Database,
    protocol: Protocol | None = None,
    config: CampaignConfig | None = None,
    progress: Callable[[Event], None] = lambda _event: None,
) -> Summary:
    """Measure ``networks`` with ``toolchains`` into ``database``.

    What is stored already is not measured again. Ends early on an interrupt, which is raised on.

    Args:
        networks: what to measure; None for whatever is queued in the database.
        toolchains: names of toolchains, or ``module:Class``.
        database: what is finished goes there at once.
        protocol: how to time; the standard one by default.
        config: see :class:`CampaignConfig`.
        progress: called with every event, which it should not hold up: it runs between timings.

    Raises:
        InputError: a toolchain, the protocol, a device or the database cannot be used.
        DeviceError: no device is left to measure on; the jobs stay queued.
        WorkerError: workers keep dying for reasons of their own.
    """
    config = config or CampaignConfig()
    if LOCAL in config.devices and len(set(config.devices)) > 1:
        raise InputError(
            f"devices {', '.join(config.devices)}: what is built for another device would disturb "
            f"the timing on {LOCAL!r}; measure them in two campaigns, one after the other"
        )
    with ExitStack() as stack:
        campaign = _Campaign(
            list(dict.fromkeys(toolchains)),
            database,
            protocol or Protocol(),
            config,
            progress,
            stack,
        )
        return campaign.run(networks)


class _Campaign:
    """One run of :func:`run_campaign`."""

    def __init__(
        self,
        toolchains: list[str],
        database: Database,
        protocol: Protocol,
        config: CampaignConfig,
        progress: Callable[[Event], None],
        stack: ExitStack,
    ) -> None:
        database.add_protocol(protocol)
        store = stack.enter_context(open_store(config.artifacts))
        self._toolchains = toolchains
        self._stack = stack
        self._left_out: dict[str, str] = {}
        self._context = Context(
            database=database,
            queue=JobQueue(database, current_owner(), config.lease_s),
            devices=DeviceStates(database),
            store=store,
            builder=Builder(toolchains, store, config, stack),
            protocol=protocol,
            config=config,
            progress=progress,
        )

    def run(self, networks: Iterable[NamedNetwork] | None) -> Summary:
        """Queue what is to do, and work until it is done."""
        context = self._context
        lanes: list[Lane] = []
        try:
            lanes = self._open_lanes()
            if networks is not None:
                self._queue_all(networks, lanes)
            self._work(lanes)
        except StoppedError:
            pass
        context.summary.labels = self._label_summaries(lanes)
        context.summary.duration_s = context.elapsed_s()
        return context.summary

    def _open_lanes(self) -> list[Lane]:
        """The lanes of the devices that answer and are not in quarantine.

        Raises:
            DeviceError: there is none.
        """
        context = self._context
        anchors = self._store_anchors() if context.config.anchors else []
        lanes: list[Lane] = []
        for device in dict.fromkeys(context.config.devices):
            state = context.devices.get(device)
            if state.state == "quarantined":
                context.quarantine(device, state.reason)
                continue
            try:
                lanes.append(self._open_lane(device, anchors))
            except DeviceError as error:
                self._leave_out(device, str(error))
        if not lanes:
            self._raise_without_device()
        return lanes

    def _leave_out(self, device: str, reason: str) -> None:
        """Go without a device that does not answer at the start."""
        context = self._context
        if context.devices.record_failure(device, device, reason).state == "quarantined":
            context.quarantine(device, reason)
            return
        self._left_out[device] = reason
        context.count(lost=1)
        context.report("device-lost", detail=f"{device}: {reason}")

    def _open_lane(self, device: str, anchors: Sequence[Network]) -> Lane:
        context, config = self._context, self._context.config
        workers: dict[str, Worker] = {}
        platforms: dict[str, Platform] = {}
        described = {}
        for name in self._toolchains:
            worker = self._stack.enter_context(
                Worker(
                    name,
                    threads=config.threads,
                    limits=config.limits,
                    cpus=config.cpus,
                    device=device,
                )
            )
            info = worker.describe()
            fingerprint = worker.fingerprint() or _named_device(device, config, info)
            check_versions(info, device, fingerprint)
            platform = Platform(
                device=fingerprint.device.short_name,
                toolchain=info.name,
                target=config.target or fingerprint.target,
                threads=config.threads,
                dtype=config.dtype,
            )
            context.database.add_platform(platform, fingerprint.device, dict(info.versions))
            worker.quiet = self._quiet(worker, platform.name)
            workers[name], platforms[name], described[name] = worker, platform, info
        return Lane(device, workers, platforms, described, anchors, context)

    def _quiet(self, worker: Worker, platform: str) -> Quiet | None:
        """When the device was quiet as the platform was first measured, or is now.

        It must stay the same, since labels refer to it.
        """
        context = self._context
        watch_s = context.config.watch_s
        if not watch_s:
            return None
        known = context.database.quiet(platform, context.protocol.name)
        if known is not None:
            return known
        with alone_on_machine(context.check) if worker.device == LOCAL else nullcontext():
            reference = worker.watch(watch_s)
        if reference is None:
            return None
        times = zip(PROBES, reference, strict=True)
        detail = ", ".join(f"{name} {ms:.3f} ms" for name, ms in times)
        context.report("watched", platform=platform, detail=detail)
        return Quiet(reference_ms=reference)

    def _store_anchors(self) -> list[Network]:
        database = self._context.database
        digests = []
        for network in anchor_networks():
            digest = read_onnx(network.model).digest
            database.add_network(digest, network.name, network.family, network.seed, network.model)
            digests.append(digest)
        return [database.network(digest) for digest in digests]

    def _queue_all(self, networks: Iterable[NamedNetwork], lanes: Sequence[Lane]) -> None:
        """Queue a job for each network on each platform where work is left."""
        config = self._context.config
        platforms = {p.name: p for lane in lanes for p in lane.platforms.values()}
        digests: set[str] = set()
        # From the first one on: the budget may be spent before the last.
        self._context.networks = digests
        for network in networks:
            self._context.check()
            digest = self._store_network(network, digests)
            if digest is None:
                continue
            digests.add(digest)
            for platform in platforms:
                work = self._context.pending(
                    digest, platform, config.rounds, kernels=config.kernels
                )
                if not work:
                    self._context.count(skipped=1)
                    self._context.report("skipped", network.name, platform)
                    continue
                self._context.queue.add(
                    [digest],
                    platform,
                    self._context.protocol.name,
                    rounds=config.rounds,
                    kernels=config.kernels,
                    again=True,
                    retry_failed=config.retry_failed,
                )
                self._context.report("queued", network.name, platform)

    def _store_network(self, network: NamedNetwork, known: set[str]) -> str | None:
        """Its digest; None for one that cannot be read or that an earlier one is equal to."""
        context = self._context
        try:
            digest = read_onnx(network.model).digest
            context.database.add_network(
                digest, network.name, network.family, network.seed, network.model
            )
        except InputError as error:
            context.count(unreadable=1)
            context.report("unreadable", network.name, detail=str(error))
            return None
        if digest in known:
            context.count(skipped=1)
            context.report("skipped", network.name, detail="equal to an earlier network")
            return None
        return digest

    def _work(self, lanes: list[Lane]) -> None:
        """Run all lanes until no job is left: those that a failing device gives back included.

        Raises:
            DeviceError: jobs are left, but no device.
        """
        while True:
            lanes = self._run_lanes(lanes)
            if not lanes:
                self._raise_without_device()
            platforms = sorted({name for lane in lanes for name in lane.platform_names})
            if not self._context.queue.is_available(
                platforms,
                protocol=self._context.protocol.name,
                networks=self._context.networks,
            ):
                return

    def _run_lanes(self, lanes: Sequence[Lane]) -> list[Lane]:
        """Run each lane in a thread until it finds no job; gives those that are not quarantined."""
        with ThreadPoolExecutor(len(lanes)) as pool:
            futures = [pool.submit(lane.run) for lane in lanes]
            try:
                healthy = [future.result() for future in as_completed(futures)]
            except BaseException:
                self._context.stop()
                self._context.builder.abort()
                for lane in lanes:
                    lane.abort()
                raise
        return [lane for lane in healthy if lane is not None]

    def _raise_without_device(self) -> NoReturn:
        quarantined = self._context.summary.quarantined
        reasons = "; ".join(f"{k}: {v}" for k, v in (self._left_out | quarantined).items())
        lift = "lift their quarantine with `tvm-costmodel devices --release`, "
        raise DeviceError(
            f"no device is left to measure on ({reasons}); nothing is lost: see to the devices, "
            f"{lift if quarantined else ''}and run this again"
        )

    def _label_summaries(self, lanes: Sequence[Lane]) -> dict[str, LabelSummary]:
        """How good the labels are by platform, over the networks of this campaign."""
        summaries: dict[str, LabelSummary] = {}
        for platform in sorted({name for lane in lanes for name in lane.platform_names}):
            stored = self._context.database.latencies(platform, self._context.protocol.name)
            chosen = stored.keys() if self._context.networks is None else self._context.networks
            latencies = [latency for digest, latency in stored.items() if digest in chosen]
            noises = [latency.noise for latency in latencies if latency.noise is not None]
            if latencies:
                summaries[platform] = LabelSummary(
                    networks=len(latencies),
                    trusted=sum(latency.trusted for latency in latencies),
                    noise=float(np.median(noises)) if noises else None,
                )
        return summaries


def _named_device(address: str, config: CampaignConfig, toolchain: ToolchainInfo) -> Fingerprint:
    """A device whose server cannot say what it is, named by the key under which it is served.

    Raises:
        InputError: the campaign wants what such a device cannot give.
    """
    server = f"device {address} is served by TVM's own RPC server, which cannot"
    advice = "or start `tvm-costmodel serve` there"
    if config.target is None:
        raise InputError(f"{server} say what to compile for: give a target, {advice}")
    if config.kernels:
        raise InputError(f"{server} time kernels: measure without them, {advice}")
    return Fingerprint(
        device=Device.named(RpcAddress.parse(address).key),
        toolchain=toolchain.name,
        target=config.target,
        versions=toolchain.versions,
    )
