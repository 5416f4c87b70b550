"""Probes: two small workloads of constant work, whose times show how fast a device is just now.

On shared hardware a neighbour on the same core (hyper-threading) makes everything there up to twice
as slow, one that streams through the shared cache slows what reaches for memory, and the clock
moves; no counter of the guest shows any of it. So the probes are run before and after each sample.
Where a device has once been seen quiet, its *reference*, a sample counts only if the probes around
it took about as long as then, and it is adjusted for what little they differed. Where one thread
is timed, it goes to whichever CPU is quiet. How far a sample may be from the reference, and how
much a network slows down with the probes, is what :mod:`measure.calibration` finds out.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Reading = tuple[float, float]
"""Times in ms of the probes ``core`` and ``memory``."""
Read = Callable[[], Reading]

PROBES = ("core", "memory")
MIN_QUIET = 3
"""Fewer quiet samples say nothing."""

_REFERENCE_QUANTILE = 0.03
_DIGITS = 5

_CORE_RUNS = 400
_CORE_ELEMENTS = 2_048
_MEMORY_ELEMENTS = 8_000_000
_APART = 256  # elements between the two vectors: a store would wait for a load 4 KiB before it


@dataclass(frozen=True, kw_only=True)
class Quiet:
    """When a device counts as quiet, and how much it matters to a network when it is not.

    The defaults are those by which rounds of the zoo's networks agree best on a busy machine
    (``data/README.md``).

    Args:
        reference_ms: times of the probes where nothing disturbs them.
        limits: the device is quiet while each probe takes at most so many times its reference; None
            where any sample counts.
        sensitivity: how much a network slows down with each probe, as exponents.
    """

    reference_ms: Reading
    limits: tuple[float, float] | None = (1.15, 1.4)
    sensitivity: tuple[float, float] = (0.6, 0.2)

    @classmethod
    def of(cls, conditions: Mapping[str, Any]) -> Quiet | None:
        """What the conditions of a round say; None without probes."""
        if not conditions.get("reference_ms"):
            return None
        named = {
            key: conditions[key] and tuple(conditions[key])
            for key in ("reference_ms", "limits", "sensitivity")
            if key in conditions
        }
        return cls(**named)

    def notes(self) -> dict[str, Any]:
        """The same as plain JSON values, which are among the conditions of a round."""
        return {
            "reference_ms": [round(ms, _DIGITS) for ms in self.reference_ms],
            "limits": self.limits and list(self.limits),
            "sensitivity": list(self.sensitivity),
        }

    def is_loud(self, reading: Reading) -> bool:
        """Whether a probe takes longer than it may."""
        slowdowns = np.array(reading) / self.reference_ms
        return self.limits is not None and bool((slowdowns > self.limits).any())

    def admits(self, slowdowns: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
        """Which samples are of the quiet device.

        Args:
            slowdowns: of the probes before and after each, ``[num_samples, 2, num_probes]``.
        """
        limits = np.inf if self.limits is None else self.limits
        return np.asarray((slowdowns <= limits).all(axis=(-2, -1)))

    def counts(self, slowdowns: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
        """Which samples a label is taken from: those of the quiet device, or all if too few are."""
        admitted = self.admits(slowdowns)
        return admitted if admitted.sum() >= MIN_QUIET else np.ones_like(admitted)

    def adjust(
        self, samples: npt.NDArray[np.float64], slowdowns: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.float64]:
        """The samples (last axis) as they would be on the device in its reference state.

        In the middle of a sample it is about as slow as it was before and after.
        """
        slowdown = np.sqrt(slowdowns.prod(axis=-2))
        return np.asarray(samples / (slowdown**self.sensitivity).prod(axis=-1))


class Prober:
    """The probes of this machine, on one core.

    ``core`` adds vectors that lie in the first-level cache: it shows the clock and who shares the
    core. ``memory`` adds vectors of 32 MB once, so much that it does not matter what ran before: it
    shows who shares the last-level cache and the memory.
    """

    def __init__(self) -> None:
        self._core = _pair(_CORE_ELEMENTS)
        self._memory = _pair(_MEMORY_ELEMENTS)

    def __call__(self) -> Reading:
        """Run both; takes some milliseconds."""
        source, target = self._memory
        start = time.perf_counter()
        np.add(source, source, out=target)
        middle = time.perf_counter()
        source, target = self._core
        for _ in range(_CORE_RUNS):
            np.add(source, source, out=target)
        return (time.perf_counter() - middle) * 1e3, (middle - start) * 1e3


def _pair(elements: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """A vector to read and one to write."""
    both = np.ones(2 * elements + _APART, np.float32)
    return both[:elements], both[elements + _APART :]


class Probing:
    """Readings around samples, and whether the device is quiet.

    Args:
        read: runs the probes on the device.
        quiet: when it is quiet.
        move: goes to another CPU, where that is possible.
    """

    def __init__(self, read: Read, quiet: Quiet, move: Callable[[], None] = lambda: None) -> None:
        self._quiet = quiet
        self._read = read
        self._move = move
        self._last: Reading | None = None
        self._before: Reading = quiet.reference_ms
        self._around: list[tuple[float, ...]] = []

    def await_quiet(self, patient: Callable[[], bool]) -> None:
        """Before a sample: read the probes until the device is quiet, or nobody is ``patient``."""
        reading = self._last or self._read()
        while self._quiet.is_loud(reading) and patient():
            self._move()
            reading = self._read()
        self._before = reading

    def sampled(self) -> None:
        """After a sample."""
        self._last = self._read()
        self._around.append((*self._before, *self._last))

    def notes(self) -> dict[str, Any]:
        """The readings as plain JSON values among the conditions of a round."""
        return {
            "probes_ms": [[round(ms, _DIGITS) for ms in row] for row in self._around],
            **self._quiet.notes(),
        }


class RoundOfCpus:
    """Moves this thread to one of ``cpus`` after the other; calls of it are the moves."""

    def __init__(self, cpus: Iterable[int]) -> None:
        self._next = itertools.cycle(sorted(cpus))
        self()

    def __call__(self) -> None:
        """To the next CPU."""
        os.sched_setaffinity(0, {next(self._next)})


def watch(
    read: Read,
    duration_s: float,
    move: Callable[[], None] = lambda: None,
    clock: Callable[[], float] = time.monotonic,
) -> Reading:
    """The reference of a device: how long its probes take at its fastest within ``duration_s``."""
    readings = [read()]
    end = clock() + duration_s
    while clock() < end:
        move()
        readings.append(read())
    core, memory = np.quantile(readings, _REFERENCE_QUANTILE, axis=0)
    return float(core), float(memory)


def quiet_count(conditions: Mapping[str, Any]) -> tuple[int, int] | None:
    """How many samples were taken while the device was quiet, and of how many; None unprobed."""
    probed = _probed(conditions)
    if probed is None:
        return None
    quiet, slowdowns = probed
    return int(quiet.admits(slowdowns).sum()), len(slowdowns)


def quiet_and_adjusted(
    samples: npt.NDArray[np.float64], conditions: Mapping[str, Any]
) -> npt.NDArray[np.float64]:
    """The samples (last axis) of a quiet device, as they would be in its reference state.

    Where there were no probes, all samples as they are.
    """
    probed = _probed(conditions)
    if probed is None:
        return samples
    quiet, slowdowns = probed
    return quiet.adjust(samples, slowdowns)[..., quiet.admits(slowdowns)]


def steady(
    samples: npt.NDArray[np.float64], conditions: Mapping[str, Any]
) -> npt.NDArray[np.float64]:
    """The samples (last axis) that a label is taken from: :func:`quiet_and_adjusted`.

    Where fewer than ``MIN_QUIET`` were quiet, the adjusted ones of all: the round is disturbed.
    """
    probed = _probed(conditions)
    if probed is None:
        return samples
    quiet, slowdowns = probed
    return quiet.adjust(samples, slowdowns)[..., quiet.counts(slowdowns)]


def median_slowdowns(conditions: Mapping[str, Any]) -> dict[str, float] | None:
    """Of each probe, the median over the samples; None without probes."""
    slowdowns = slowdowns_around(conditions)
    if slowdowns is None:
        return None
    return dict(zip(PROBES, np.median(slowdowns, axis=(0, 1)).tolist(), strict=True))


def _probed(conditions: Mapping[str, Any]) -> tuple[Quiet, npt.NDArray[np.float64]] | None:
    """When the device counts as quiet, and :func:`slowdowns_around`; None without probes."""
    quiet, slowdowns = Quiet.of(conditions), slowdowns_around(conditions)
    return None if quiet is None or slowdowns is None else (quiet, slowdowns)


def slowdowns_around(conditions: Mapping[str, Any]) -> npt.NDArray[np.float64] | None:
    """Times of the probes over their reference before and after each sample of a round.

    ``[num_samples, 2, num_probes]``; None without probes.
    """
    rows = conditions.get("probes_ms")
    if not rows:
        return None
    readings = np.array(rows, np.float64).reshape(len(rows), 2, len(PROBES))
    return np.asarray(readings / np.array(conditions["reference_ms"], np.float64))
