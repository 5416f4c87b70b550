"""What a campaign takes and what it tells."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from typing import Protocol as Interface

import onnx

from measure.client import Limits

EventKind = Literal[
    "queued",
    "skipped",
    "unreadable",
    "built",
    "watched",
    "anchor",
    "round",
    "kernels",
    "done",
    "failed",
    "drifted",
    "worker-lost",
    "device-lost",
    "lease-lost",
    "quarantined",
]


class NamedNetwork(Interface):
    """A network to measure, such as :class:`measure.zoo.ZooNetwork`."""

    @property
    def name(self) -> str:
        """Name for messages."""

    @property
    def family(self) -> str:
        """What kind of network it is."""

    @property
    def seed(self) -> int:
        """What it was drawn from, and what its weights are drawn from."""

    @property
    def model(self) -> onnx.ModelProto:
        """ONNX with or without weights, of static shapes."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that a campaign did.

    Args:
        kind: of a network: ``queued`` (there is work to do), ``skipped`` (there is none),
            ``unreadable``, ``built``, ``round`` and ``kernels`` (finished and stored), ``done``,
            ``failed`` (stored), ``worker-lost``, ``device-lost`` and ``lease-lost`` (will be tried
            again). Of a device: ``watched`` (its probes, before it is first measured), ``anchor``
            (an anchor was measured), ``drifted`` (a block must be measured again),
            ``worker-lost`` and ``device-lost`` (is tried again, or left out where it was not
            there at the start), ``quarantined``.
        network: name of the network; empty where the event is about a device.
        platform: name of the platform; empty where the event is about all of them.
        detail: label of the round in ms, seconds of the build, or the error.
    """

    kind: EventKind
    network: str = ""
    platform: str = ""
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class LabelSummary:
    """How good the labels of some networks on one platform are.

    Args:
        networks: how many have a label.
        trusted: those whose label is trusted; see :mod:`measure.trust`.
        noise: median label noise of those with two rounds; None where there is none.
    """

    networks: int
    trusted: int
    noise: float | None


@dataclass(kw_only=True)
class Summary:
    """What a campaign did, counted in pairs of network and platform where not said otherwise.

    Args:
        done: pairs that now have all that was asked for.
        skipped: pairs that needed nothing, being done or having failed before.
        failures: pairs that failed, by stage and cause.
        unreadable: networks that are no operator graph, so that nothing can be stored of them.
        lost: requests lost with a worker, a device or a lease; not the fault of a network.
        rounds: timing rounds stored, those of anchors left out.
        disturbed: those of them during which other work ran on the machine.
        drifted_blocks: blocks that were measured again, since their anchors drifted.
        kernels: timings of kernels stored.
        quarantined: devices that failed too often, with the reason.
        labels: how good the labels of this campaign's networks are, by platform.
        out_of_time: whether the budget ended the campaign.
        duration_s: wall time.
    """

    done: int = 0
    skipped: int = 0
    failures: Counter[tuple[str, str]] = field(default_factory=Counter)
    unreadable: int = 0
    lost: int = 0
    rounds: int = 0
    disturbed: int = 0
    drifted_blocks: int = 0
    kernels: int = 0
    quarantined: dict[str, str] = field(default_factory=dict)
    labels: dict[str, LabelSummary] = field(default_factory=dict)
    out_of_time: bool = False
    duration_s: float = 0.0


@dataclass(frozen=True, kw_only=True)
class CampaignConfig:
    """How a campaign goes about its work.

    Args:
        rounds: undisturbed timing rounds of each network on each platform.
        max_retakes: further rounds of a network for those that were disturbed or do not agree, and
            further timings of its kernels.
        kernels: whether to time the kernels too.
        anchors: whether to measure the anchors at both ends of each block.
        devices: where to time: ``local``, or addresses of RPC devices.
        target: what to compile for; by default what each toolchain says of the device.
        block_size: jobs that are built before any of them is timed.
        parallel_builds: builds at a time.
        artifacts: directory in which to keep what is built; None keeps nothing.
        budget_s: no new step starts after this time; None for no limit.
        retry_failed: try again what failed in an earlier campaign.
        threads: threads that one inference may use.
        cpus: CPUs of this machine that timings may use; None for all.
        watch_s: how long to watch a device that was not measured before, for how fast its probes
            can be (:mod:`measure.probes`); 0 does without probes.
        dtype: element type of weights and activations.
        seed: of the order.
        lease_s: a job whose process has not been heard of for so long goes to another.
        limits: time and memory of each stage.
    """

    rounds: int = 3
    max_retakes: int = 2
    kernels: bool = True
    anchors: bool = True
    devices: tuple[str, ...] = ("local",)
    target: str | None = None
    block_size: int = 32
    parallel_builds: int = 2
    artifacts: Path | None = None
    budget_s: float | None = None
    retry_failed: bool = False
    threads: int = 1
    cpus: tuple[int, ...] | None = None
    watch_s: float = 20.0
    dtype: str = "float32"
    seed: int = 0
    lease_s: float = 900.0
    limits: Limits = field(default_factory=Limits)
