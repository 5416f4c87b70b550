"""Probes around samples, on a device whose speed a test makes up."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from measure.conditions import disturbance, is_disturbed
from measure.probes import (
    MIN_QUIET,
    Prober,
    Probing,
    Quiet,
    Reading,
    RoundOfCpus,
    median_slowdowns,
    quiet_and_adjusted,
    quiet_count,
    steady,
    watch,
)
from measure.protocol import Protocol, label, sample_kernels, sample_latency

REFERENCE: Reading = (0.3, 6.0)
QUIET = Quiet(reference_ms=REFERENCE)
QUIET_MS = 4.0


class SharedDevice:
    """Runs a network of ``QUIET_MS``; now and then a neighbour makes the core twice as slow."""

    def __init__(self, busy_s: float, idle_s: float) -> None:
        self.now = 0.0
        self._busy_s, self._period_s = busy_s, busy_s + idle_s

    @property
    def slowdown(self) -> float:
        return 2.0 if self.now % self._period_s < self._busy_s else 1.0

    def clock(self) -> float:
        return self.now

    def spend(self, quiet_s: float) -> float:
        elapsed = quiet_s * self.slowdown
        self.now += elapsed
        return elapsed

    def time(self, number: int) -> float:
        return sum(self.spend(QUIET_MS * 1e-3) for _ in range(number))

    def time_kernels(self, number: int, repeat: int) -> np.ndarray:
        means = [self.time(number) / number * 1e3 for _ in range(repeat)]
        return np.array(means)[:, None] * [0.25, 0.75]

    def read(self) -> Reading:
        core, memory = self.spend(REFERENCE[0] * 1e-3), self.spend(REFERENCE[1] * 1e-3)
        return core * 1e3, memory * 1e3


def conditions(*around: tuple[float, float]) -> dict[str, object]:
    """Of a round with one sample for each of ``around``: slow-downs of the core before, after."""
    rows = [(a * REFERENCE[0], REFERENCE[1], b * REFERENCE[0], REFERENCE[1]) for a, b in around]
    return {"probes_ms": rows, "reference_ms": REFERENCE}


def test_the_label_is_that_of_the_quiet_device_whatever_its_neighbour_does() -> None:
    device = SharedDevice(busy_s=1.2, idle_s=0.3)
    blind = sample_latency(device.time, Protocol(), clock=device.clock)
    assert label(blind.samples) == pytest.approx(2 * QUIET_MS)
    probing = Probing(device.read, QUIET)
    seen = sample_latency(device.time, Protocol(), clock=device.clock, probing=probing)
    assert label(steady(seen.samples, probing.notes())) == pytest.approx(QUIET_MS, rel=1e-3)
    quiet, samples = quiet_count(probing.notes()) or (0, 0)
    assert MIN_QUIET <= quiet < samples == len(seen.samples)
    assert not is_disturbed(probing.notes())


def test_kernels_are_timed_on_the_quiet_device() -> None:
    device = SharedDevice(busy_s=0.4, idle_s=0.4)
    probing = Probing(device.read, QUIET)
    found = sample_kernels(device.time_kernels, Protocol(), clock=device.clock, probing=probing)
    counting = steady(found.samples.T, probing.notes())
    assert counting.shape[0] == 2
    assert counting.shape[1] >= Protocol().kernel_repeats
    np.testing.assert_allclose(np.median(counting, axis=1), [1.0, 3.0], rtol=1e-3)


def test_on_a_device_that_is_never_quiet_a_round_ends_and_is_disturbed() -> None:
    device = SharedDevice(busy_s=1.0, idle_s=0.0)
    probing = Probing(device.read, QUIET)
    sampling = sample_latency(device.time, Protocol(), clock=device.clock, probing=probing)
    assert sampling.stop == "max_round_s"
    assert len(sampling.samples) == Protocol().min_samples
    assert disturbance(probing.notes()) == (
        "only 0 of 10 samples were taken while the device was quiet (at least 3): its probes took "
        "core 2.00, memory 2.00 times their reference (limits 1.15 and 1.4)"
    )


def test_waiting_goes_to_other_cpus_until_one_is_quiet() -> None:
    readings = iter([(0.6, 6.0), (0.6, 6.0), (0.31, 6.1)])
    moves: list[int] = []
    probing = Probing(lambda: next(readings), QUIET, lambda: moves.append(1))
    probing.await_quiet(lambda: True)
    assert len(moves) == 2
    assert next(readings, None) is None


def test_nobody_waits_for_ever() -> None:
    probing = Probing(lambda: (0.6, 6.0), QUIET)
    patience = iter([True, True, False])
    probing.await_quiet(lambda: next(patience))
    assert next(patience, None) is None


def test_samples_beside_a_loud_reading_do_not_count() -> None:
    assert QUIET.limits is not None
    loud = QUIET.limits[0] + 0.01
    told = conditions((1.0, 1.0), (1.0, loud), (loud, 1.0), (1.0, 1.0), (1.0, 1.0))
    samples = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    assert steady(samples, told).tolist() == [1.0, 4.0, 5.0]
    assert quiet_count(told) == (3, 5)


def test_where_too_few_are_quiet_all_are_adjusted_and_the_round_is_disturbed() -> None:
    told = conditions(*[(1.0, 1.0)] * (MIN_QUIET - 1), (32.0, 32.0))
    samples = np.full(MIN_QUIET, 2.0)
    assert steady(samples, told).tolist() == pytest.approx([2.0] * (MIN_QUIET - 1) + [0.25])
    assert len(quiet_and_adjusted(samples, told)) == MIN_QUIET - 1
    assert is_disturbed(told)


def test_a_round_is_judged_by_what_its_conditions_say() -> None:
    samples = np.full(4, 2.0)
    told = conditions(*[(2.0, 2.0)] * 4)
    calm = Quiet(reference_ms=REFERENCE, limits=None, sensitivity=(1.0, 0.0))
    assert is_disturbed(told)
    assert not is_disturbed({**told, **calm.notes()})
    assert steady(samples, {**told, **calm.notes()}) == pytest.approx([1.0] * 4)
    assert steady(samples, told) == pytest.approx([2 / 2**0.6] * 4)
    assert Quiet.of(told) == QUIET
    assert Quiet.of(json.loads(json.dumps(calm.notes()))) == calm
    assert Quiet.of({}) is None


def test_where_any_sample_counts_nobody_waits() -> None:
    calm = Quiet(reference_ms=REFERENCE, limits=None)
    moves: list[int] = []
    Probing(lambda: (9.0, 9.0), calm, lambda: moves.append(1)).await_quiet(lambda: True)
    assert moves == []


def test_a_drift_of_the_anchors_says_nothing_of_a_round_with_probes() -> None:
    assert is_disturbed({}, 0.5)
    assert not is_disturbed(conditions(*[(1.0, 1.0)] * MIN_QUIET), 0.5)


@given(st.lists(st.floats(0.5, 1.1), min_size=MIN_QUIET, max_size=9), st.floats(1e-3, 1e3))
def test_a_slower_device_only_lowers_what_its_samples_stand_for(
    slowdowns: list[float], latency_ms: float
) -> None:
    samples = np.full(len(slowdowns), latency_ms)
    found = steady(samples, conditions(*[(s, s) for s in slowdowns]))
    order = np.argsort(slowdowns)
    assert (np.diff(found[order]) <= 1e-12 * latency_ms).all()
    at_reference = [s == 1.0 for s in slowdowns]
    assert (found[at_reference] == latency_ms).all()


def test_without_probes_samples_stay_as_they_are() -> None:
    samples = np.array([[3.0, 1.0], [2.0, 5.0]])
    assert steady(samples, {}) is samples
    assert quiet_count({}) is None
    assert median_slowdowns({}) is None


def test_the_reference_is_the_device_at_its_fastest() -> None:
    device = SharedDevice(busy_s=1.2, idle_s=0.1)
    assert watch(device.read, 20.0, clock=device.clock) == pytest.approx(REFERENCE)


def test_one_odd_reading_is_no_reference() -> None:
    readings: Iterator[Reading] = iter([(0.01, 0.1), *[REFERENCE] * 9, *[(0.6, 9.0)] * 90])
    seconds = itertools.count()
    found = watch(lambda: next(readings), 98.0, clock=lambda: float(next(seconds)))
    assert found == pytest.approx(REFERENCE)
    assert len(list(readings)) == 2


def test_the_probes_of_this_machine_take_milliseconds() -> None:
    core, memory = Prober()()
    assert 0.01 < core < 100
    assert 0.1 < memory < 1000


def test_a_round_of_cpus_visits_all() -> None:
    usable = os.sched_getaffinity(0)
    try:
        move = RoundOfCpus(usable)
        seen = []
        for _ in usable:
            seen.append(os.sched_getaffinity(0))
            move()
        assert sorted(cpu for cpus in seen for cpu in cpus) == sorted(usable)
    finally:
        os.sched_setaffinity(0, usable)
