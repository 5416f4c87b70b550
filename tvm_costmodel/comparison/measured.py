"""What measurement databases know of a platform: labels, kernels with their times, its peak."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from measure.database import Database
from measure.records import Latency
from relay_frontend.kernel import Kernel
from tvm_costmodel.comparison.bounds import Peak, best_reached
from tvm_costmodel.predictors.base import FloatArray


@dataclass(frozen=True, eq=False)
class TimedKernels:
    """The kernel calls of a network, and the time of each when it runs alone, in ms."""

    kernels: tuple[Kernel, ...]
    times_ms: FloatArray


@dataclass(frozen=True, eq=False, kw_only=True)
class Measured:
    """All that is known of one platform; networks by digest.

    Args:
        latencies: labels.
        kernels: calls with their times.
        measuring_s: what the build, where recorded, and the timing rounds took.
    """

    latencies: Mapping[str, Latency] = field(default_factory=dict)
    kernels: Mapping[str, TimedKernels] = field(default_factory=dict)
    measuring_s: Mapping[str, float] = field(default_factory=dict)

    @cached_property
    def peak(self) -> Peak | None:
        """The best that any of the kernels reached; None where none was timed."""
        return best_reached(
            pair
            for timed in self.kernels.values()
            for pair in zip(timed.kernels, timed.times_ms.tolist(), strict=True)
        )


def measured_on(platform: str | None, databases: Sequence[Database]) -> Measured:
    """What ``databases`` know of ``platform``; of what several know, the first one's."""
    latencies: dict[str, Latency] = {}
    kernels: dict[str, TimedKernels] = {}
    measuring_s: dict[str, float] = {}
    for database in reversed(databases):
        if platform is None or platform not in database.platforms():
            continue
        latencies.update(database.latencies(platform))
        measuring_s.update(database.measuring_s(platform))
        for digest, times in database.kernel_times(platform).items():
            kernels[digest] = TimedKernels(times.kernels, times.times_ms)
    return Measured(latencies=latencies, kernels=kernels, measuring_s=measuring_s)
