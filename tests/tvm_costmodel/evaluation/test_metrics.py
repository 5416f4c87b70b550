"""Metrics against values worked out by hand."""

from __future__ import annotations

import pytest

from relay_frontend.errors import InputError
from tvm_costmodel.evaluation.metrics import (
    error_bound_accuracy,
    evaluate,
    kendall_tau,
    mape,
    spearman,
)

MEASURED = [10.0, 20.0, 40.0, 80.0]
PREDICTED = [10.4, 18.5, 50.0, 80.0]  # errors of 4 %, 7.5 %, 25 % and 0 %


def test_mape_is_the_mean_error_relative_to_the_measured_latency() -> None:
    assert mape(PREDICTED, MEASURED) == pytest.approx((4 + 7.5 + 25 + 0) / 4)


def test_error_bound_accuracy_is_the_share_within_delta() -> None:
    assert error_bound_accuracy(PREDICTED, MEASURED, 0.05) == 50.0
    assert error_bound_accuracy(PREDICTED, MEASURED, 0.10) == 75.0
    assert error_bound_accuracy(PREDICTED, MEASURED, 0.30) == 100.0


def test_error_bound_accuracy_includes_the_bound() -> None:
    assert error_bound_accuracy([1.5], [1.0], 0.5) == 100.0


def test_kendall_tau_counts_ordered_pairs() -> None:
    # Of the six pairs only (2, 3) is in the wrong order: (5 - 1) / 6.
    assert kendall_tau([1.0, 3.0, 2.0, 4.0], [1.0, 2.0, 3.0, 4.0]) == pytest.approx(4 / 6)
    assert kendall_tau([4.0, 3.0, 2.0, 1.0], [1.0, 2.0, 3.0, 4.0]) == pytest.approx(-1.0)


def test_spearman_sees_ranks_alone() -> None:
    assert spearman([1.0, 8.0, 27.0], [1.0, 2.0, 3.0]) == pytest.approx(1.0)
    # Squared differences of ranks 0, 1, 1, 0: 1 - 6 * 2 / (4 * 15).
    assert spearman([1.0, 3.0, 2.0, 4.0], [1.0, 2.0, 3.0, 4.0]) == pytest.approx(0.8)


@pytest.mark.parametrize("predicted", [[5.0], [5.0, 5.0, 5.0]], ids=["one network", "all equal"])
def test_undefined_rank_correlation_is_none(predicted: list[float]) -> None:
    measured = list(range(1, len(predicted) + 1))
    assert kendall_tau(predicted, measured) is None
    assert spearman(predicted, measured) is None


def test_evaluate_gathers_all_metrics() -> None:
    metrics = evaluate(PREDICTED, MEASURED)
    assert metrics.num_networks == 4
    assert metrics.mape == pytest.approx(9.125)
    assert metrics.acc_10 == 75.0
    assert metrics.acc_5 == 50.0
    assert metrics.kendall_tau == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("predicted", "measured", "message"),
    [
        ([], [], "at least 1"),
        ([1.0, 2.0], [1.0], r"shapes \(2,\) and \(1,\)"),
        ([float("nan")], [1.0], "finite"),
        ([1.0], [0.0], "above 0"),
    ],
)
def test_values_that_mean_nothing_are_refused(
    predicted: list[float], measured: list[float], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        evaluate(predicted, measured)
