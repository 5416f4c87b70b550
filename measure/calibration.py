"""Calibrating a platform: which samples count there, and how much its networks mind a neighbour.

Two networks that share a core or a cache slow each other down by how much both need of it, which
differs from processor to processor and from compiler to compiler: code that fills the vector units
of a core loses half of its speed to a neighbour there, naive loops a tenth. Nothing tells it
beforehand, but rounds of one network should agree; so the limits and exponents are taken by which
they do best.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from measure.conditions import saw_other_work
from measure.probes import MIN_QUIET, PROBES, Quiet, slowdowns_around
from measure.protocol import label_quantile
from relay_frontend.errors import InputError

MIN_NETWORKS = 20
"""Networks with several rounds that tell enough to go by."""

_LIMITS: tuple[tuple[float, float] | None, ...] = (Quiet.limits, (1.5, 2.0), None)
_AS_GOOD = 1.02
_EXPONENTS = tuple(round(0.05 * step, 2) for step in range(21))


class ProbedRound(Protocol):
    """What is looked at of a timing round."""

    @property
    def samples(self) -> npt.NDArray[np.float64]:
        """Latencies in ms, in the order taken."""

    @property
    def conditions(self) -> Mapping[str, Any]:
        """With the readings of the probes around each sample."""


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What rounds say of a platform.

    Args:
        quiet: with the limits and exponents by which they agree best.
        networks: how many have several rounds.
        noise_before: mean over the networks of the relative error of one round's label against
            another's, by what was assumed.
        noise: the same by ``quiet``.
    """

    quiet: Quiet
    networks: int
    noise_before: float
    noise: float


def calibrate(networks: Iterable[Sequence[ProbedRound]], protocol: str) -> Calibration:
    """Find the limits and exponents by which the rounds of each network agree best.

    Rounds during which counters saw other work do not count. Where too few samples of a round are
    quiet, all do, as in its label. Of what is about as good, that by which most rounds are quiet.

    Args:
        networks: the rounds of each, all of one platform.
        protocol: by which they were timed.

    Raises:
        InputError: fewer than ``MIN_NETWORKS`` have two rounds with probes.
    """
    probed = [
        [
            entry
            for entry in rounds
            if entry.conditions.get("probes_ms") and not saw_other_work(entry.conditions)
        ]
        for rounds in networks
    ]
    several = [rounds for rounds in probed if len(rounds) > 1]
    if len(several) < MIN_NETWORKS:
        raise InputError(
            f"{len(several)} networks have two or more rounds with probes that no other work "
            f"disturbed, and {MIN_NETWORKS} are needed to calibrate by: measure more of them"
        )
    known = Quiet.of(several[0][0].conditions)
    assert known is not None  # that of the probes
    rounds = _Rounds(several, label_quantile(protocol))
    found = [known, *(_best(rounds, known, limits) for limits in _LIMITS)]
    least = min(map(rounds.noise, found))
    good = [quiet for quiet in found if rounds.noise(quiet) <= _AS_GOOD * least]
    best = max(good, key=rounds.num_quiet)
    return Calibration(
        quiet=best,
        networks=len(several),
        noise_before=rounds.noise(known),
        noise=rounds.noise(best),
    )


def _best(rounds: _Rounds, known: Quiet, limits: tuple[float, float] | None) -> Quiet:
    """With these limits, and the exponents that do best, each found while the others stay."""
    best = replace(known, limits=limits)
    while True:
        tried = best
        for probe in range(len(PROBES)):
            others = [_with_exponent(tried, probe, exponent) for exponent in _EXPONENTS]
            tried = min([tried, *others], key=rounds.noise)
        if tried == best:
            return best
        best = tried


def _with_exponent(quiet: Quiet, probe: int, exponent: float) -> Quiet:
    exponents = list(quiet.sensitivity)
    exponents[probe] = exponent
    return replace(quiet, sensitivity=(exponents[0], exponents[1]))


class _Rounds:
    """All rounds of some networks, so that many ways to judge them can be tried.

    Args:
        networks: the rounds of each, two or more.
        quantile: of its samples that the label of a round is.
    """

    def __init__(self, networks: Sequence[Sequence[ProbedRound]], quantile: float) -> None:
        self._quantile = quantile
        self._samples = [entry.samples for rounds in networks for entry in rounds]
        self._slowdowns = [_slowdowns(entry) for rounds in networks for entry in rounds]
        sizes = np.array([len(rounds) for rounds in networks])
        starts = np.cumsum(sizes) - sizes
        pairs = [
            (start + one, start + other, 1 / (size * (size - 1)))
            for start, size in zip(starts, sizes, strict=True)
            for one, other in itertools.permutations(range(size), 2)
        ]
        ones, others, shares = zip(*pairs, strict=True)
        self._pairs = np.array([ones, others])
        self._shares = np.array(shares) / len(networks)
        self._groups: dict[tuple[float, float] | None, list[_Group]] = {}

    def noise(self, quiet: Quiet) -> float:
        """Mean over the networks of the relative error of one round's label against another's."""
        if quiet.limits not in self._groups:
            self._groups[quiet.limits] = list(self._grouped(quiet))
        labels = np.empty(len(self._samples))
        for group in self._groups[quiet.limits]:
            adjusted = quiet.adjust(group.samples, group.slowdowns)
            labels[group.rounds] = np.quantile(adjusted, self._quantile, axis=-1)
        one, other = labels[self._pairs]
        return float((self._shares * np.abs(one / other - 1)).sum())

    def num_quiet(self, quiet: Quiet) -> int:
        """Rounds of which enough samples are of the quiet device."""
        return sum(quiet.admits(slowdowns).sum() >= MIN_QUIET for slowdowns in self._slowdowns)

    def _grouped(self, quiet: Quiet) -> Iterator[_Group]:
        """The samples that count by ``quiet``, of rounds that have as many of them together."""
        counting = [quiet.counts(slowdowns) for slowdowns in self._slowdowns]
        alike: dict[int, list[int]] = defaultdict(list)
        for number, counts in enumerate(counting):
            alike[int(counts.sum())].append(number)
        for numbers in alike.values():
            yield _Group(
                np.array(numbers),
                np.stack([self._samples[n][counting[n]] for n in numbers]),
                np.stack([self._slowdowns[n][counting[n]] for n in numbers]),
            )


class _Group(NamedTuple):
    """Rounds ``[R]``, their samples ``[R, S]`` and slow-downs ``[R, S, 2, num_probes]``."""

    rounds: npt.NDArray[np.int64]
    samples: npt.NDArray[np.float64]
    slowdowns: npt.NDArray[np.float64]


def _slowdowns(entry: ProbedRound) -> npt.NDArray[np.float64]:
    found = slowdowns_around(entry.conditions)
    assert found is not None
    return found
