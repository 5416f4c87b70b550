"""The timing protocol: how a latency is sampled, and which number its samples become.

After pyperf (fresh processes, every raw value kept), nanobench and Google Benchmark (calibrated
inner count, interleaved order). Everything here is a function of a callable
``time(number) -> seconds`` and a clock, so that it can be tested without one.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import time as _time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from measure.errors import ProtocolError
from measure.probes import Probing, quiet_and_adjusted

Samples = npt.NDArray[np.float64]
Timer = Callable[[int], float]
Clock = Callable[[], float]
StopReason = Literal["settled", "max_samples", "max_round_s"]

_QUANTILES = {"lq": 0.25, "median": 0.5}
_STANDARD_NAME = "v2-lq"
STANDARDS = (_STANDARD_NAME, "v1-lq")
"""The standard protocol and those before it, newest first; what they measured stays valid."""
_FIXED: dict[str, dict[str, float]] = {
    "v2": {},
    "v1": {
        "min_sample_s": 0.1,
        "min_samples": 5,
        "max_round_s": 2.5,
        "interval": 0.01,
        "kernel_repeats": 5,
    },
}
"""What protocols of these names set, where it is no default."""
_BOOTSTRAP_RESAMPLES = 1000
# A sample shorter than asked costs precision, one longer only time: aim a little above.
_CALIBRATION_MARGIN = 1.1
_MAX_GROWTH = 10.0


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """Settings of one timing round; a latency is comparable with others of the same name only.

    Args:
        name: ends in the statistic that is the label: ``-lq`` (lower quartile: what disturbs a
            sample makes it slower), or ``-median``. ``v2`` before it stands for the defaults,
            ``v1`` for what they once were; any other settings need another name.
        warmup_s: at least this long the network runs before the first sample; calibration counts.
        min_sample_s: a sample averages as many inferences as fit in this time, at least one.
        min_samples: samples of a round, however long they take.
        max_samples: a round ends when so many count; with probes, those of a quiet device.
        max_round_s: a round ends here, once it has ``min_samples``.
        interval: a round ends when ``min_samples`` count, and the bootstrap interval of their
            median is within plus or minus this part of the median.
        confidence: of that interval.
        kernel_repeats: samples of each kernel that count.
    """

    name: str = _STANDARD_NAME
    warmup_s: float = 0.1
    min_sample_s: float = 0.04
    min_samples: int = 10
    max_samples: int = 50
    max_round_s: float = 2.0
    interval: float = 0.015
    confidence: float = 0.95
    kernel_repeats: int = 7

    def __post_init__(self) -> None:
        statistic = self.name.rpartition("-")[2]
        if statistic not in _QUANTILES:
            raise ProtocolError(
                f"protocol name {self.name!r}: expected it to end in the statistic of the label, "
                + " or ".join(f"-{key}" for key in _QUANTILES)
            )
        if not 1 <= self.min_samples <= self.max_samples:
            raise ProtocolError(
                f"protocol {self.name!r}: expected 1 <= min_samples <= max_samples, "
                f"got {self.min_samples} and {self.max_samples}"
            )
        fixed = _FIXED.get(self.name.rpartition("-")[0])
        changed = [
            field.name
            for field in dataclasses.fields(self)
            if fixed is not None
            and field.name != "name"
            and getattr(self, field.name) != fixed.get(field.name, field.default)
        ]
        if changed:
            raise ProtocolError(
                f"protocol {self.name!r} has fixed settings, but {', '.join(changed)} "
                "differ: give the protocol another name, such as 'quick-lq'"
            )

    @classmethod
    def standard(cls, name: str = _STANDARD_NAME) -> Protocol:
        """The standard protocol ``name``, one of ``STANDARDS``."""
        return cls(name=name, **_FIXED[name.rpartition("-")[0]])  # type: ignore[arg-type]

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain JSON values."""
        return dataclasses.asdict(self)


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """How the inner count was found: each try as its number of inferences and their seconds."""

    inner_count: int
    steps: tuple[tuple[int, float], ...]


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """What one timing round saw.

    Args:
        samples: mean latency in ms of ``inner_count`` inferences in a row, one per sample, in the
            order taken; none is ever dropped.
        first_ms: the first timed inference, after one to check the outputs; no sample.
        calibration: how ``inner_count`` was found.
        warmup_s: wall time before the first sample, that inference and calibration included.
        duration_s: wall time of the round, ``warmup_s`` included.
        stop: what ended the round: the median was ``settled``, or a limit of the protocol.
        median_interval: bootstrap interval in ms of the median of all samples, by which the stop
            rule went.
    """

    samples: Samples
    first_ms: float
    calibration: Calibration
    warmup_s: float
    duration_s: float
    stop: StopReason
    median_interval: tuple[float, float]

    @property
    def inner_count(self) -> int:
        """Inferences per sample."""
        return self.calibration.inner_count

    def notes(self) -> dict[str, Any]:
        """How the samples were taken, as plain JSON values beside the conditions of the round."""
        return {
            "first_ms": self.first_ms,
            "warmup_s": self.warmup_s,
            "calibration": [list(step) for step in self.calibration.steps],
            "stop": self.stop,
            "median_interval_ms": list(self.median_interval),
        }


@dataclass(frozen=True, kw_only=True)
class KernelSampling:
    """Samples in ms of each kernel, ``[num_samples, num_kernels]``, means of ``inner_count``."""

    samples: Samples
    inner_count: int
    duration_s: float


def sample_latency(
    time: Timer,
    protocol: Protocol,
    *,
    seed: int = 0,
    clock: Clock = _time.perf_counter,
    probing: Probing | None = None,
) -> Sampling:
    """Warm up, calibrate the inner count and sample until the median is known well enough."""
    start = clock()
    first_s = time(1)
    calibration = calibrate(time, protocol)
    number = calibration.inner_count
    while clock() - start < protocol.warmup_s:
        time(number)
    warmup_s = clock() - start

    def one_sample() -> float:
        if probing is not None and number > 1:
            time(1)  # finds the caches as the probes left them
        return time(number) / number

    samples, stop, interval = sample(one_sample, protocol, seed, clock, probing)
    return Sampling(
        samples=samples,
        first_ms=first_s * 1e3,
        calibration=calibration,
        warmup_s=warmup_s,
        duration_s=clock() - start,
        stop=stop,
        median_interval=interval,
    )


def calibrate(time: Timer, protocol: Protocol) -> Calibration:
    """Find the number of inferences in a row that last ``min_sample_s``; 1 if a single one does.

    They last it twice in a row: one disturbed run is no reason for short samples.
    """
    steps: list[tuple[int, float]] = []

    def attempt(number: int) -> float:
        steps.append((number, time(number)))
        return steps[-1][1]

    number = 1
    while True:
        elapsed = attempt(number)
        if elapsed >= protocol.min_sample_s:
            elapsed = min(elapsed, attempt(number))
        if elapsed >= protocol.min_sample_s:
            return Calibration(inner_count=number, steps=tuple(steps))
        wanted = _CALIBRATION_MARGIN * protocol.min_sample_s / max(elapsed, 1e-9)
        number = math.ceil(number * min(wanted, _MAX_GROWTH))


def sample(
    time: Callable[[], float],
    protocol: Protocol,
    seed: int,
    clock: Clock,
    probing: Probing | None = None,
) -> tuple[Samples, StopReason, tuple[float, float]]:
    """Samples in ms of ``time()`` (in s), what ended them and the interval of their median.

    With ``probing`` each sample waits for a quiet device as long as the round may last, and the
    interval is that of the samples that count.
    """
    rng = np.random.default_rng(seed)
    taken = _Taken(protocol, clock, probing)
    while True:
        taken.take(lambda: time() * 1e3)
        if len(taken) < protocol.min_samples:
            continue
        counting = taken.counting()
        interval = median_interval(
            counting if len(counting) else taken.values(), protocol.confidence, rng
        )
        if len(counting) >= protocol.min_samples and is_settled(counting, interval, protocol):
            return taken.values(), "settled", interval
        if taken.is_late():
            return taken.values(), "max_round_s", interval
        if len(counting) >= protocol.max_samples:
            return taken.values(), "max_samples", interval


def is_settled(samples: Samples, interval: tuple[float, float], protocol: Protocol) -> bool:
    """Whether the bootstrap interval of the median lies within ``interval`` of the median.

    A single sample never settles: resampling it shows no spread.
    """
    if len(samples) < 2:
        return False
    low, high = interval
    median = float(np.median(samples))
    return low >= median * (1 - protocol.interval) and high <= median * (1 + protocol.interval)


def median_interval(
    samples: Samples, confidence: float, rng: np.random.Generator
) -> tuple[float, float]:
    """Percentile bootstrap interval of the median (Efron, 1979)."""
    picks = rng.integers(len(samples), size=(_BOOTSTRAP_RESAMPLES, len(samples)))
    medians = np.median(samples[picks], axis=1)
    tail = (1 - confidence) / 2
    low, high = np.quantile(medians, [tail, 1 - tail])
    return float(low), float(high)


def sample_kernels(
    time: Callable[[int, int], np.ndarray],
    protocol: Protocol,
    *,
    clock: Clock = _time.perf_counter,
    probing: Probing | None = None,
) -> KernelSampling:
    """Time every kernel ``kernel_repeats`` times; with ``probing``, while the device is quiet.

    ``time(number, repeat)`` gives the mean in ms of each kernel over ``number`` runs. The number is
    such that a sweep over all kernels lasts ``min_sample_s``, so one run for a slow network.
    """
    start = clock()
    first = np.asarray(time(1, 1), dtype=np.float64)
    sweep_s = float(first.sum()) * 1e-3
    number = max(1, math.ceil(protocol.min_sample_s / max(sweep_s, 1e-6)))
    if probing is None:
        samples = np.asarray(time(number, protocol.kernel_repeats), dtype=np.float64)
    else:
        samples = _sweeps(lambda: time(number, 1)[0], protocol, clock, probing)
    return KernelSampling(samples=samples, inner_count=number, duration_s=clock() - start)


def _sweeps(
    time: Callable[[], np.ndarray], protocol: Protocol, clock: Clock, probing: Probing
) -> Samples:
    """Samples of all kernels at once, until enough of them count or the time of a round is over."""
    taken = _Taken(protocol, clock, probing)
    wanted = protocol.kernel_repeats
    while len(taken) < wanted or not (taken.is_late() or len(taken.counting()) >= wanted):
        taken.take(time)
    return taken.values()


class _Taken:
    """The samples of one round so far, with what the probes said around each."""

    def __init__(self, protocol: Protocol, clock: Clock, probing: Probing | None) -> None:
        self._samples: list[float | np.ndarray] = []
        self._protocol = protocol
        self._clock = clock
        self._probing = probing
        self._start_s = clock()

    def __len__(self) -> int:
        return len(self._samples)

    def take(self, time: Callable[[], float | np.ndarray]) -> None:
        """Take one more, when the device is quiet or the round has lasted as long as it may."""
        if self._probing is not None:
            self._probing.await_quiet(lambda: not self.is_late())
        self._samples.append(time())
        if self._probing is not None:
            self._probing.sampled()

    def values(self) -> Samples:
        """All samples, along the first axis."""
        return np.array(self._samples, dtype=np.float64)

    def counting(self) -> Samples:
        """Those that count, adjusted to the reference of the device, along the first axis."""
        if self._probing is None:
            return self.values()
        return quiet_and_adjusted(self.values().T, self._probing.notes()).T

    def is_late(self) -> bool:
        """Whether the round has lasted as long as it may."""
        return self._clock() - self._start_s >= self._protocol.max_round_s


def label(samples: Samples, protocol: str | Protocol = _STANDARD_NAME) -> float:
    """The latency in ms that ``samples`` of all rounds stand for, as the protocol's name says.

    Raises:
        ProtocolError: the name ends in no known statistic, or there are no samples.
    """
    quantile = label_quantile(protocol)
    if len(samples) == 0:
        raise ProtocolError("no samples: a label needs at least one")
    return float(np.quantile(samples, quantile))


def label_quantile(protocol: str | Protocol) -> float:
    """Which quantile of its samples a label is, as the protocol's name says.

    Raises:
        ProtocolError: the name ends in no known statistic.
    """
    name = protocol if isinstance(protocol, str) else protocol.name
    quantile = _QUANTILES.get(name.rpartition("-")[2])
    if quantile is None:
        raise ProtocolError(f"protocol {name!r} names no statistic: one of {list(_QUANTILES)}")
    return quantile


def label_noise(
    rounds: Sequence[Samples], protocol: str | Protocol = _STANDARD_NAME
) -> float | None:
    """Mean relative error of one round's label as an estimate of another's; None for one round.

    The absolute percentage error (as a fraction) that a perfect model would show against labels
    from a single round: no model can be better than this.
    """
    labels = [label(samples, protocol) for samples in rounds]
    pairs = list(itertools.permutations(labels, 2))
    if not pairs:
        return None
    return sum(abs(estimate - truth) / truth for estimate, truth in pairs) / len(pairs)


def between_round_spread(
    rounds: Sequence[Samples], protocol: str | Protocol = _STANDARD_NAME
) -> float | None:
    """How far the highest label of a round lies above the lowest, as a part of the lowest.

    None for one round.
    """
    labels = [label(samples, protocol) for samples in rounds]
    return max(labels) / min(labels) - 1 if len(labels) > 1 else None


def within_round_spread(rounds: Sequence[Samples]) -> float:
    """Interquartile range of the samples of a round as a part of their median; mean over rounds."""
    spreads = []
    for samples in rounds:
        low, median, high = np.quantile(samples, [0.25, 0.5, 0.75])
        spreads.append((high - low) / median)
    return float(np.mean(spreads))
