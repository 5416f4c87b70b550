"""What is measured, as it passes between workers, campaigns and the database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import onnx

from measure.protocol import Samples
from relay_frontend.kernel import Kernel


@dataclass(frozen=True, kw_only=True)
class Round:
    """One finished timing round.

    Args:
        started_at: seconds since the epoch.
        duration_s: wall time of the round.
        inner_count: inferences that each sample averages.
        samples: latencies in ms, in the order taken.
        conditions: state of the machine meanwhile, as plain JSON values.
    """

    started_at: float
    duration_s: float
    inner_count: int
    samples: Samples
    conditions: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class KernelTimes:
    """The kernel calls of a network and their times in ms, ``[num_kernels, num_samples]``."""

    kernels: tuple[Kernel, ...]
    samples: Samples


@dataclass(frozen=True, kw_only=True)
class Network:
    """A stored network: ``model`` is ONNX without weights."""

    digest: str
    name: str
    family: str
    seed: int
    model: onnx.ModelProto


@dataclass(frozen=True, kw_only=True)
class Latency:
    """What is known of one network on one platform.

    Args:
        label_ms: the latency by the protocol's statistic, over all samples of ``rounds``.
        rounds: raw samples in ms, one vector per round: of the undisturbed rounds, or of all where
            there is none.
        noise: relative error of one round's label against another's; None for one round.
        disturbed: whether all rounds were disturbed by other work on the machine.
    """

    label_ms: float
    rounds: tuple[Samples, ...]
    noise: float | None
    disturbed: bool


@dataclass(frozen=True, kw_only=True)
class Work:
    """What is left to do for one network on one platform: round numbers, and its kernels."""

    rounds: tuple[int, ...]
    kernels: bool

    def __bool__(self) -> bool:
        return bool(self.rounds) or self.kernels


@dataclass(frozen=True, kw_only=True)
class PlatformStats:
    """What is stored for one platform.

    Args:
        platform: its name.
        networks: networks with a latency.
        disturbed: those of them without an undisturbed round.
        rounds: timing rounds that latencies are taken from.
        kernel_calls: timed calls of kernels.
        failures: networks by the stage that failed.
        label_noise: mean over the networks of two or more rounds; None where there is none.
    """

    platform: str
    networks: int
    disturbed: int
    rounds: int
    kernel_calls: int
    failures: dict[str, int]
    label_noise: float | None
