"""Rates at which costs become times, and overheads."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("scipy")

from tvm_costmodel.predictors.overheads import Overheads
from tvm_costmodel.predictors.rates import fit_rates, fit_rates_robustly

RNG = np.random.default_rng(0)
COSTS = RNG.uniform(0.1, 1.0, (40, 3)) * (1e9, 1e6, 1.0)
RATES = np.array([2e-9, 3e-6, 0.0])


def test_rates_are_found_over_many_decades():
    assert fit_rates(COSTS, COSTS @ RATES) == pytest.approx(RATES, rel=1e-6, abs=1e-9)


def test_no_rate_is_negative():
    times = COSTS @ [2e-9, 3e-6, -0.01]
    assert (fit_rates(COSTS, times) >= 0).all()


def test_rows_without_weight_do_not_count():
    times = COSTS @ RATES
    times[0] *= 5
    weights = np.ones(len(times))
    weights[0] = 0
    assert fit_rates(COSTS, times, weights) == pytest.approx(RATES, rel=1e-6, abs=1e-9)


def test_a_disturbed_row_does_not_draw_the_others_to_it():
    times = COSTS @ RATES
    times[:4] *= 1.5
    robust = np.abs(fit_rates_robustly(COSTS, times)[:2] / RATES[:2] - 1).max()
    assert robust < 0.02
    assert robust < np.abs(fit_rates(COSTS, times)[:2] / RATES[:2] - 1).max()


def test_overheads_are_shared_among_the_calls():
    overheads = Overheads(factor=0.9, call_ms=0.1, network_ms=1.0)
    added = overheads.contributions(np.array([1.0, 3.0]))
    assert added == pytest.approx([0.9 + 0.1 + 0.5, 2.7 + 0.1 + 0.5])
    assert len(overheads.contributions(np.empty(0))) == 0


def test_without_overheads_a_network_is_the_sum_of_its_calls():
    times = np.array([1.0, 3.0])
    assert Overheads().contributions(times).tolist() == times.tolist()
