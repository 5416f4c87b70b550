"""A campaign: build and time networks on toolchains until a database has them all.

Networks are taken in blocks. All of a block is built first, some in parallel; then nothing runs
but the one round being timed, in an order that is random and interleaves networks, toolchains and
rounds, so that a slow minute of the machine hits all of them alike. Each finished round is
committed at once: a campaign may be stopped in any way at any time, and goes on when run again.
"""

from __future__ import annotations

import itertools
import os
import queue
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import TypeVar

import onnx

from measure.campaign_types import CampaignConfig, Event, EventKind, NamedNetwork, Summary
from measure.client import Worker
from measure.conditions import is_disturbed
from measure.database import Database
from measure.device import Device, Platform
from measure.errors import MeasurementError, WorkerError
from measure.protocol import Protocol, label
from measure.records import Work
from relay_frontend.errors import InputError
from relay_frontend.onnx import read_onnx

__all__ = ["CampaignConfig", "Event", "NamedNetwork", "Summary", "run_campaign"]

_T = TypeVar("_T")

_MAX_WORKER_ERRORS = 3
_SCRATCH_PREFIX = "tvm-costmodel-campaign-"


def run_campaign(
    networks: Iterable[NamedNetwork],
    toolchains: Sequence[str],
    database: Database,
    protocol: Protocol | None = None,
    config: CampaignConfig | None = None,
    progress: Callable[[Event], None] = lambda _event: None,
) -> Summary:
    """Measure ``networks`` with ``toolchains`` on this machine into ``database``.

    What is stored already is not measured again. Ends early on an interrupt, which is raised on.

    Args:
        networks: may be a generator; one block at a time is held.
        toolchains: names of toolchains, or ``module:Class``.
        database: what is finished goes there at once.
        protocol: how to time; the standard one by default.
        config: see :class:`CampaignConfig`.
        progress: called with every event, in this thread, which it should not hold up: it runs
            between timings.

    Raises:
        InputError: a toolchain, the protocol or the database cannot be used.
        WorkerError: workers keep dying for reasons of their own.
    """
    with ExitStack() as stack:
        campaign = _Campaign(
            database, protocol or Protocol(), config or CampaignConfig(), progress, stack
        )
        return campaign.run(networks, list(dict.fromkeys(toolchains)))


@dataclass(frozen=True, kw_only=True)
class _Job:
    """A network on a platform with work to do, and where it is built."""

    network: NamedNetwork
    digest: str
    toolchain: str
    platform: Platform
    work: Work
    model: Path
    directory: Path


class _OutOfTimeError(Exception):
    """The budget is spent."""


class _Campaign:
    """One run of :func:`run_campaign`."""

    def __init__(
        self,
        database: Database,
        protocol: Protocol,
        config: CampaignConfig,
        progress: Callable[[Event], None],
        stack: ExitStack,
    ) -> None:
        self._database = database
        self._protocol = protocol
        self._config = config
        self._progress = progress
        self._stack = stack
        self._summary = Summary()
        self._start = time.monotonic()
        self._random = Random(config.seed)
        self._seen: set[str] = set()
        self._worker_errors_in_a_row = 0
        # One worker per toolchain for each build in parallel; the first ones time as well.
        self._workers: list[dict[str, Worker]] = []

    def run(self, networks: Iterable[NamedNetwork], toolchains: Sequence[str]) -> Summary:
        """Measure block after block."""
        self._database.add_protocol(self._protocol)
        self._make_workers(toolchains)
        platforms = {name: self._make_platform(name) for name in toolchains}
        scratch = self._stack.enter_context(_scratch_directory())
        try:
            for number, block in enumerate(_blocks(networks, self._config.block_size)):
                directory = scratch / str(number)
                self._run_block(self._make_jobs(block, platforms, directory))
                shutil.rmtree(directory, ignore_errors=True)
        except _OutOfTimeError:
            self._summary.out_of_time = True
        self._summary.duration_s = time.monotonic() - self._start
        return self._summary

    def _make_workers(self, toolchains: Sequence[str]) -> None:
        for _ in range(max(1, self._config.parallel_builds)):
            self._workers.append(
                {
                    name: self._stack.enter_context(
                        Worker(name, threads=self._config.threads, limits=self._config.limits)
                    )
                    for name in toolchains
                }
            )

    def _make_platform(self, toolchain: str) -> Platform:
        info = self._workers[0][toolchain].describe()
        device = Device.local()
        platform = Platform(
            device=device.short_name,
            toolchain=info.name,
            target=info.target,
            threads=self._config.threads,
            dtype=self._config.dtype,
        )
        self._database.add_platform(platform, device, dict(info.versions))
        return platform

    def _make_jobs(
        self, block: Sequence[NamedNetwork], platforms: dict[str, Platform], scratch: Path
    ) -> list[_Job]:
        jobs: list[_Job] = []
        for network in block:
            self._check_time()
            digest = self._store_network(network)
            if digest is None:
                continue
            directory = scratch / digest
            directory.mkdir(parents=True)
            model = directory / "network.onnx"
            onnx.save(network.model, model)
            for toolchain, platform in platforms.items():
                work = self._pending(digest, platform)
                if not work:
                    self._summary.skipped += 1
                    self._report("skipped", network, platform)
                    continue
                job = _Job(
                    network=network,
                    digest=digest,
                    toolchain=toolchain,
                    platform=platform,
                    work=work,
                    model=model,
                    directory=directory / str(len(jobs)),
                )
                jobs.append(job)
        return jobs

    def _store_network(self, network: NamedNetwork) -> str | None:
        """Its digest; None for one that cannot be read or that an earlier one is equal to."""
        try:
            digest = read_onnx(network.model).digest
            self._database.add_network(
                digest, network.name, network.family, network.seed, network.model
            )
        except InputError as error:
            self._summary.unreadable += 1
            self._report("unreadable", network, detail=str(error))
            return None
        if digest in self._seen:
            self._summary.skipped += 1
            self._report("skipped", network, detail="equal to an earlier network")
            return None
        self._seen.add(digest)
        return digest

    def _pending(self, digest: str, platform: Platform) -> Work:
        work = self._database.pending(
            [digest],
            platform.name,
            self._protocol.name,
            self._config.rounds,
            max_retakes=self._config.max_retakes,
            retry_failed=self._config.retry_failed,
        )[digest]
        return work if self._config.kernels else replace(work, kernels=False)

    def _run_block(self, jobs: list[_Job]) -> None:
        jobs = self._build_all(jobs)
        jobs = self._time_rounds(jobs)
        for job in jobs:
            if not job.work.kernels or self._time_kernels(job):
                self._summary.done += 1

    def _build_all(self, jobs: list[_Job]) -> list[_Job]:
        """Build ``jobs``, some in parallel; gives those that succeeded, in the order given."""
        idle: queue.SimpleQueue[dict[str, Worker]] = queue.SimpleQueue()
        for workers in self._workers:
            idle.put(workers)
        built: set[Path] = set()
        with ThreadPoolExecutor(len(self._workers)) as pool:
            futures = {pool.submit(self._build, job, idle): job for job in jobs}
            try:
                for future in as_completed(futures):
                    job = futures[future]
                    seconds = self._guarded(job, future.result)
                    if seconds is not None:
                        built.add(job.directory)
                        self._report("built", job.network, job.platform, f"{seconds:.1f} s")
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                for workers in self._workers:
                    for worker in workers.values():
                        worker.abort()
                raise
        return [job for job in jobs if job.directory in built]

    def _build(self, job: _Job, idle: queue.SimpleQueue[dict[str, Worker]]) -> float:
        self._check_time()
        job.directory.mkdir()
        workers = idle.get()
        try:
            return workers[job.toolchain].build(
                job.network.name,
                job.model,
                job.platform.target,
                job.directory,
                job.network.seed,
            )
        finally:
            idle.put(workers)

    def _time_rounds(self, jobs: list[_Job]) -> list[_Job]:
        """Time all rounds of ``jobs`` in turns; gives the jobs of which none failed."""
        due = [job for job in jobs if job.work.rounds]
        failed: set[Path] = set()
        while due:
            for job in self._random.sample(due, len(due)):
                self._check_time()
                number = self._pending(job.digest, job.platform).rounds[0]
                if not self._time_round(job, number):
                    failed.add(job.directory)
            due = [
                job
                for job in due
                if job.directory not in failed and self._pending(job.digest, job.platform).rounds
            ]
        return [job for job in jobs if job.directory not in failed]

    def _time_round(self, job: _Job, number: int) -> bool:
        worker = self._workers[0][job.toolchain]
        finished = self._guarded(
            job,
            lambda: worker.measure(
                job.network.name, job.directory, self._protocol, job.network.seed + number
            ),
        )
        if finished is None:
            return False
        self._database.add_round(
            job.digest, job.platform.name, self._protocol.name, number, finished
        )
        disturbed = is_disturbed(finished.conditions)
        self._summary.rounds += 1
        self._summary.disturbed += disturbed
        latency = label(finished.samples, self._protocol)
        detail = f"{latency:.3f} ms{', disturbed' if disturbed else ''}"
        self._report("round", job.network, job.platform, detail)
        return True

    def _time_kernels(self, job: _Job) -> bool:
        self._check_time()
        worker = self._workers[0][job.toolchain]
        times = self._guarded(
            job,
            lambda: worker.time_kernels(
                job.network.name, job.directory, self._protocol, job.network.seed
            ),
        )
        if times is None:
            return False
        self._database.add_kernels(job.digest, job.platform.name, times)
        self._summary.kernels += 1
        self._report("kernels", job.network, job.platform, f"{len(times.kernels)} calls")
        return True

    def _guarded(self, job: _Job, step: Callable[[], _T]) -> _T | None:
        """The result of ``step``; None where it failed, which is stored and reported."""
        try:
            result = step()
        except MeasurementError as error:
            self._worker_errors_in_a_row = 0
            self._database.add_failure(job.digest, job.platform.name, error)
            self._summary.failed[error.stage] += 1
            # The log goes into the database; people get the reason.
            detail = f"{error.stage} failed: {error.cause}: {error.reason}"
            self._report("failed", job.network, job.platform, detail)
            return None
        except WorkerError as error:
            self._summary.worker_errors += 1
            self._worker_errors_in_a_row += 1
            if self._worker_errors_in_a_row >= _MAX_WORKER_ERRORS:
                raise
            self._report("worker-lost", job.network, job.platform, str(error))
            return None
        self._worker_errors_in_a_row = 0
        return result

    def _check_time(self) -> None:
        budget_s = self._config.budget_s
        if budget_s is not None and time.monotonic() - self._start >= budget_s:
            raise _OutOfTimeError

    def _report(
        self,
        kind: EventKind,
        network: NamedNetwork,
        platform: Platform | None = None,
        detail: str = "",
    ) -> None:
        name = platform.name if platform is not None else ""
        self._progress(Event(kind=kind, network=network.name, platform=name, detail=detail))


def _blocks(networks: Iterable[NamedNetwork], size: int) -> Iterator[list[NamedNetwork]]:
    remaining = iter(networks)
    while block := list(itertools.islice(remaining, size)):
        yield block


@contextmanager
def _scratch_directory() -> Iterator[Path]:
    """A directory for what is built; those that killed campaigns left behind are removed."""
    for left in Path(tempfile.gettempdir()).glob(f"{_SCRATCH_PREFIX}*-*"):
        owner = left.name.removeprefix(_SCRATCH_PREFIX).partition("-")[0]
        if owner.isdigit() and not Path(f"/proc/{owner}").exists():
            shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f"{_SCRATCH_PREFIX}{os.getpid()}-") as directory:
        yield Path(directory)
