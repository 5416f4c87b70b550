"""What is measured, as it passes between workers, campaigns and the database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from measure.probes import steady
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
        conditions: state of the device meanwhile, and how the samples were taken, as plain JSON
            values.
    """

    started_at: float
    duration_s: float
    inner_count: int
    samples: Samples
    conditions: Mapping[str, Any]

    @property
    def steady(self) -> Samples:
        """The samples that count, by :func:`measure.probes.steady`."""
        return steady(self.samples, self.conditions)


@dataclass(frozen=True, kw_only=True)
class KernelTiming:
    """When and under which conditions the kernels of a network were timed; fields as of `Round`."""

    started_at: float
    duration_s: float
    inner_count: int
    conditions: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class KernelTimes:
    """The kernel calls of a network and their times, from one timing of all of them or several.

    Args:
        kernels: one per call, in call order.
        samples: in ms, ``[num_kernels, num_samples]``, those of several timings side by side; raw
            from a worker, those that count (:func:`measure.probes.steady`) from a database.
        timings: those that the samples are from; what databases of the first schema did not record
            is left out.
        disturbed: whether other work or a drift of the device disturbed all the timings there are.
    """

    kernels: tuple[Kernel, ...]
    samples: Samples
    timings: tuple[KernelTiming, ...] = ()
    disturbed: bool = False

    @property
    def times_ms(self) -> Samples:
        """The time of each call, ``[num_kernels]`` in ms: the shortest of its samples.

        Of all quantiles it is the one by which equal kernels of different networks agree best, and
        the sums of a network's kernels with its latency (``data/README.md``).
        """
        return np.asarray(self.samples.min(axis=1))


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
        rounds: the samples in ms that count, one vector per round: of the undisturbed rounds, or
            of all where there is none.
        protocol: by which they were timed.
        noise: relative error of one round's label against another's; None for one round.
        disturbed: whether all rounds were disturbed by other work on the machine.
        trusted: whether enough undisturbed rounds agree on the label; see :mod:`measure.trust`.
    """

    label_ms: float
    rounds: tuple[Samples, ...]
    protocol: str
    noise: float | None
    disturbed: bool
    trusted: bool = False


@dataclass(frozen=True, kw_only=True)
class Work:
    """What is left to do for one network on one platform: rounds by number, and its kernels."""

    rounds: tuple[int, ...]
    kernels: bool

    def __bool__(self) -> bool:
        return bool(self.rounds) or self.kernels


@dataclass(frozen=True, kw_only=True)
class LatencyStats:
    """The labels in ms of all networks of a platform."""

    min: float
    median: float
    max: float


@dataclass(frozen=True, kw_only=True)
class NoiseStats:
    """Label noise over the ``networks`` that have two or more rounds; see ``Latency.noise``."""

    networks: int
    median: float
    mean: float
    p90: float


@dataclass(frozen=True, kw_only=True)
class PlatformStats:
    """What is stored for one platform.

    Args:
        platform: its name.
        families: networks with a latency, by family.
        latency_ms: of those; None where there is none.
        disturbed: those of them without an undisturbed round.
        trusted: those of them whose label is trusted.
        rounds: timing rounds, the disturbed ones included.
        disturbed_rounds: timing rounds that were disturbed.
        kernel_calls: calls of kernels that were timed, however often.
        disturbed_kernels: networks all of whose timings of kernels were disturbed.
        failures: networks that failed, by stage and cause.
        label_noise: None where no network has two rounds.
        jobs: jobs by state.
    """

    platform: str
    families: dict[str, int]
    latency_ms: LatencyStats | None
    disturbed: int
    trusted: int
    rounds: int
    disturbed_rounds: int
    kernel_calls: int
    disturbed_kernels: int
    failures: dict[tuple[str, str], int]
    label_noise: NoiseStats | None
    jobs: dict[str, int]

    @property
    def networks(self) -> int:
        """Networks with a latency."""
        return sum(self.families.values())
