"""The timing protocol, on a clock that only moves when a fake network runs."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest

from measure.errors import ProtocolError
from measure.protocol import (
    Protocol,
    between_round_spread,
    calibrate,
    is_settled,
    label,
    label_noise,
    median_interval,
    sample_kernels,
    sample_latency,
    within_round_spread,
)


class FakeNetwork:
    """Takes ``latency(run_index)`` seconds per inference, on a clock of its own."""

    def __init__(self, latency: Callable[[int], float]) -> None:
        self._latency = latency
        self.now = 0.0
        self.calls: list[int] = []

    def clock(self) -> float:
        return self.now

    def time(self, number: int) -> float:
        elapsed = number * self._latency(len(self.calls))
        self.calls.append(number)
        self.now += elapsed
        return elapsed


def steady(latency_s: float) -> FakeNetwork:
    return FakeNetwork(lambda _: latency_s)


def noisy(latency_s: float, spread: float) -> FakeNetwork:
    rng = np.random.default_rng(1)
    return FakeNetwork(lambda _: latency_s * rng.uniform(1 - spread, 1 + spread))


@pytest.mark.parametrize("latency_s", [1e-7, 3e-5, 0.004, 0.09, 0.1, 2.2])
def test_a_sample_lasts_the_minimum_or_one_run(latency_s: float) -> None:
    protocol = Protocol()
    number = calibrate(steady(latency_s).time, protocol).inner_count
    assert number * latency_s >= protocol.min_sample_s
    assert number == 1 or number * latency_s < 2.5 * protocol.min_sample_s


def test_calibration_survives_a_clock_that_shows_nothing_for_one_run() -> None:
    elapsed = iter([0.0, 0.0, 0.2, 0.2])
    assert calibrate(lambda _: next(elapsed), Protocol()).inner_count == 100


def test_one_disturbed_run_does_not_make_samples_short() -> None:
    network = FakeNetwork(lambda call: 1.0 if call == 0 else 0.001)
    assert calibrate(network.time, Protocol()).inner_count >= 40


def test_calibration_keeps_every_try_with_its_time() -> None:
    network = FakeNetwork(lambda call: 0.024 if call == 0 else 0.02)
    calibration = calibrate(network.time, Protocol())
    assert calibration.steps == ((1, 0.024), (2, 0.04), (2, 0.04))
    assert calibration.inner_count == 2


def test_samples_are_milliseconds_per_inference() -> None:
    network = steady(0.004)
    sampling = sample_latency(network.time, Protocol(), clock=network.clock)
    assert sampling.samples == pytest.approx(4.0)
    assert sampling.first_ms == pytest.approx(4.0)
    assert sampling.duration_s == pytest.approx(network.now)


def test_a_steady_network_ends_at_the_minimum_of_samples() -> None:
    network = steady(0.004)
    protocol = Protocol()
    sampling = sample_latency(network.time, protocol, clock=network.clock)
    assert len(sampling.samples) == protocol.min_samples
    assert sampling.stop == "settled"


def test_a_noisy_network_is_sampled_until_the_time_limit() -> None:
    network = noisy(0.004, 0.3)
    protocol = Protocol()
    sampling = sample_latency(network.time, protocol, clock=network.clock)
    assert len(sampling.samples) > 10
    assert sampling.stop == "max_round_s"
    sampled_s = float(sampling.samples.sum()) * sampling.inner_count / 1e3
    assert protocol.max_round_s <= sampled_s < protocol.max_round_s + 0.3


def test_a_slow_network_gets_its_minimum_of_samples_beyond_the_time_limit() -> None:
    network = noisy(2.2, 0.3)
    protocol = Protocol()
    samples = sample_latency(network.time, protocol, clock=network.clock).samples
    assert len(samples) == protocol.min_samples


def test_samples_end_at_their_maximum() -> None:
    network = noisy(0.001, 0.5)
    protocol = Protocol(name="few-lq", min_samples=5, max_samples=7, max_round_s=1e9)
    sampling = sample_latency(network.time, protocol, clock=network.clock)
    assert len(sampling.samples) == 7
    assert sampling.stop == "max_samples"


def test_a_round_that_settled_has_a_median_interval_within_what_was_asked() -> None:
    network = noisy(0.004, 0.02)
    protocol = Protocol()
    sampling = sample_latency(network.time, protocol, clock=network.clock)
    low, high = sampling.median_interval
    median = float(np.median(sampling.samples))
    assert sampling.stop == "settled"
    assert median * (1 - protocol.interval) <= low < median < high
    assert high <= median * (1 + protocol.interval)


def test_the_notes_of_a_round_survive_json() -> None:
    network = noisy(0.004, 0.3)
    sampling = sample_latency(network.time, Protocol(), clock=network.clock)
    notes = json.loads(json.dumps(sampling.notes()))
    assert notes == sampling.notes()
    assert notes["calibration"][-1][0] == sampling.inner_count
    assert notes["warmup_s"] < sampling.duration_s


def test_the_warm_up_is_no_sample() -> None:
    slow_start = FakeNetwork(lambda call: 1.0 if call == 0 else 0.01)
    sampling = sample_latency(slow_start.time, Protocol(), clock=slow_start.clock)
    assert sampling.first_ms == pytest.approx(1000.0)
    assert sampling.samples == pytest.approx(10.0)


def test_warming_up_lasts_as_long_as_asked() -> None:
    network = steady(0.01)
    protocol = Protocol(name="warm-lq", warmup_s=3.0)
    sampling = sample_latency(network.time, protocol, clock=network.clock)
    sampled_s = float(sampling.samples.sum()) * sampling.inner_count / 1e3
    assert network.now - sampled_s >= 3.0


def test_outliers_are_kept() -> None:
    network = FakeNetwork(lambda call: 0.2 if call != 5 else 9.0)
    samples = sample_latency(network.time, Protocol(), clock=network.clock).samples
    assert samples.max() == pytest.approx(9000.0)


def test_the_same_seed_stops_at_the_same_sample() -> None:
    lengths = {
        len(sample_latency(n.time, Protocol(), seed=7, clock=n.clock).samples)
        for n in (noisy(0.004, 0.02) for _ in range(3))
    }
    assert len(lengths) == 1


def test_the_interval_of_the_median_covers_it_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(200):
        low, high = median_interval(rng.normal(10.0, 1.0, 15), 0.95, rng)
        covered += low <= 10.0 <= high
    assert 170 <= covered <= 200


def test_settling_depends_on_the_spread() -> None:
    rng = np.random.default_rng(0)
    protocol = Protocol()

    def settles(samples: np.ndarray) -> bool:
        return is_settled(samples, median_interval(samples, 0.95, rng), protocol)

    assert settles(10 + rng.normal(0, 0.01, 20))
    assert not settles(10 + rng.normal(0, 1.0, 20))
    assert not settles(np.array([10.0]))


def test_the_label_is_what_the_name_says() -> None:
    samples = np.array([5.0, 1.0, 4.0, 2.0, 3.0])
    assert label(samples, "noisy-lq") == 2.0
    assert label(samples) == 2.0
    assert label(samples, "quiet-median") == 3.0
    assert label(samples, Protocol(name="quiet-median")) == 3.0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Protocol(name="v1"), "ends? in the statistic"),
        (lambda: Protocol(min_sample_s=0.01), "min_sample_s differ: give the protocol another"),
        (lambda: Protocol(name="v2-lq", max_samples=11), "'v2-lq'.*max_samples differ"),
        (lambda: Protocol(name="v1-lq"), "'v1-lq'.*min_sample_s, min_samples,.* differ"),
        (lambda: Protocol(name="x-lq", min_samples=9, max_samples=8), "min_samples <= max_samples"),
        (lambda: label(np.array([1.0]), "x"), "names no statistic"),
        (lambda: label(np.array([])), "no samples"),
    ],
)
def test_a_contradictory_protocol_is_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ProtocolError, match=message):
        make()


def test_label_noise_is_the_error_of_one_round_against_the_other() -> None:
    rounds = [np.array([10.0, 10.0]), np.array([11.0, 11.0])]
    assert label_noise(rounds) == pytest.approx((1 / 11 + 1 / 10) / 2)
    assert label_noise(rounds[:1]) is None
    assert label_noise([rounds[0]] * 3) == 0.0


def test_the_spread_between_rounds_is_that_of_their_labels() -> None:
    rounds = [np.array([10.0, 30.0, 30.0, 30.0, 30.0]), np.array([33.0]), np.array([31.0])]
    assert between_round_spread(rounds) == pytest.approx(0.1)
    assert between_round_spread(rounds[:1]) is None


def test_the_spread_between_rounds_goes_by_the_protocol_s_statistic() -> None:
    rounds = [np.array([10.0, 20.0, 30.0]), np.array([19.0, 20.0, 21.0])]
    assert between_round_spread(rounds, "quiet-median") == 0.0
    assert between_round_spread(rounds, "noisy-lq") == pytest.approx(19.5 / 15 - 1)


def test_the_spread_within_rounds_knows_nothing_of_their_distance() -> None:
    near = np.array([9.0, 10.0, 11.0])
    assert within_round_spread([near]) == pytest.approx(0.1)
    assert within_round_spread([near, 7 * near]) == pytest.approx(0.1)


@pytest.mark.parametrize(("kernel_ms", "number"), [(0.5, 40), (0.001, 20000), (400.0, 1)])
def test_a_sweep_over_the_kernels_lasts_the_minimum_sample(kernel_ms: float, number: int) -> None:
    asked: list[tuple[int, int]] = []

    def time_kernels(number: int, repeat: int) -> np.ndarray:
        asked.append((number, repeat))
        return np.full((repeat, 2), kernel_ms)

    clock = iter([3.0, 8.0])
    sampling = sample_kernels(time_kernels, Protocol(), clock=lambda: next(clock))
    assert sampling.samples.shape == (Protocol().kernel_repeats, 2)
    assert asked[-1] == (pytest.approx(number, rel=1e-3), Protocol().kernel_repeats)
    assert sampling.inner_count == asked[-1][0]
    assert sampling.duration_s == 5.0
