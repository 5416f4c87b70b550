"""What a campaign takes and what it tells."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal
from typing import Protocol as Interface

import onnx

from measure.client import Limits

EventKind = Literal["skipped", "unreadable", "built", "round", "kernels", "failed", "worker-lost"]


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
        kind: ``skipped`` (nothing left to do), ``unreadable``, ``built``, ``round`` and
            ``kernels`` (finished and stored), ``failed`` (stored), ``worker-lost``.
        network: name of the network.
        platform: name of the platform; empty where the event is about all of them.
        detail: label of the round in ms, seconds of the build, or the error.
    """

    kind: EventKind
    network: str
    platform: str = ""
    detail: str = ""


@dataclass(kw_only=True)
class Summary:
    """What a campaign did, counted in pairs of network and platform where not said otherwise.

    Args:
        done: pairs that now have all that was asked for.
        skipped: pairs that needed nothing, being done or having failed before.
        failed: pairs that failed, by stage.
        unreadable: networks that are no operator graph, so that nothing can be stored of them.
        worker_errors: requests lost with a worker; they are tried again by the next campaign.
        rounds: timing rounds stored.
        disturbed: those of them during which other work ran on the machine.
        kernels: pairs whose kernel times were stored.
        out_of_time: whether the budget ended the campaign.
        duration_s: wall time.
    """

    done: int = 0
    skipped: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    unreadable: int = 0
    worker_errors: int = 0
    rounds: int = 0
    disturbed: int = 0
    kernels: int = 0
    out_of_time: bool = False
    duration_s: float = 0.0


@dataclass(frozen=True, kw_only=True)
class CampaignConfig:
    """How a campaign goes about its work.

    Args:
        rounds: undisturbed timing rounds of each network on each platform.
        max_retakes: further rounds of a network for those that other work disturbed.
        kernels: whether to time the kernels too.
        block_size: networks that are built before any of them is timed.
        parallel_builds: builds at a time.
        budget_s: no new step starts after this time; None for no limit.
        retry_failed: try again what failed in an earlier campaign.
        threads: threads that one inference may use.
        dtype: element type of weights and activations.
        seed: of the order.
        limits: time and memory of each stage.
    """

    rounds: int = 2
    max_retakes: int = 2
    kernels: bool = True
    block_size: int = 8
    parallel_builds: int = 2
    budget_s: float | None = None
    retry_failed: bool = False
    threads: int = 1
    dtype: str = "float32"
    seed: int = 0
    limits: Limits = field(default_factory=Limits)
