"""How far predictions are from what was measured, in the paper's measures and units."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import kendalltau, spearmanr

from relay_frontend.errors import InputError

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """Quality of predictions on one set of networks.

    Args:
        num_networks: size of the set.
        mape: mean absolute percentage error, in %.
        acc_10: share of the networks predicted within 10 %, in %.
        acc_5: share of the networks predicted within 5 %, in %.
        kendall_tau: Kendall's rank correlation (tau-b), -1 to 1; None where it is undefined (fewer
            than two networks, or all predictions or all labels equal).
        spearman: Spearman's rank correlation, -1 to 1; None where it is undefined.
    """

    num_networks: int
    mape: float
    acc_10: float
    acc_5: float
    kendall_tau: float | None
    spearman: float | None


def evaluate(predicted: npt.ArrayLike, measured: npt.ArrayLike) -> Metrics:
    """All metrics of ``predicted`` against ``measured``, both ``[num_networks]``.

    Raises:
        InputError: no networks, lengths that differ, a value that is not finite, or a measured
            one that is not positive.
    """
    y_hat, y = _paired(predicted, measured)
    return Metrics(
        num_networks=len(y),
        mape=mape(y_hat, y),
        acc_10=error_bound_accuracy(y_hat, y, 0.10),
        acc_5=error_bound_accuracy(y_hat, y, 0.05),
        kendall_tau=kendall_tau(y_hat, y),
        spearman=spearman(y_hat, y),
    )


def mape(predicted: npt.ArrayLike, measured: npt.ArrayLike) -> float:
    """Mean absolute percentage error, mean of ``100 |y_hat - y| / y``, in %."""
    return float(100.0 * _relative_errors(predicted, measured).mean())


def error_bound_accuracy(predicted: npt.ArrayLike, measured: npt.ArrayLike, delta: float) -> float:
    """Acc(delta): share of the networks with ``|y_hat - y| / y <= delta``, in %."""
    return float(100.0 * (_relative_errors(predicted, measured) <= delta).mean())


def kendall_tau(predicted: npt.ArrayLike, measured: npt.ArrayLike) -> float | None:
    """Kendall's tau-b of the two rankings; None where it is undefined."""
    y_hat, y = _paired(predicted, measured)
    if _is_constant(y_hat) or _is_constant(y):
        return None
    return float(kendalltau(y_hat, y).statistic)


def spearman(predicted: npt.ArrayLike, measured: npt.ArrayLike) -> float | None:
    """Spearman's correlation of the two rankings; None where it is undefined."""
    y_hat, y = _paired(predicted, measured)
    if _is_constant(y_hat) or _is_constant(y):
        return None
    return float(spearmanr(y_hat, y).statistic)


def _is_constant(values: FloatArray) -> bool:
    return bool((values == values[0]).all())


def _relative_errors(predicted: npt.ArrayLike, measured: npt.ArrayLike) -> FloatArray:
    y_hat, y = _paired(predicted, measured)
    errors: FloatArray = np.abs(y_hat - y) / y
    return errors


def _paired(predicted: npt.ArrayLike, measured: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    y_hat, y = np.asarray(predicted, dtype=np.float64), np.asarray(measured, dtype=np.float64)
    if y_hat.shape != y.shape or y.ndim != 1 or not len(y):
        raise InputError(
            "predictions and measurements must be two lists of one length, at least 1; got "
            f"shapes {y_hat.shape} and {y.shape}"
        )
    if not (np.isfinite(y_hat).all() and np.isfinite(y).all() and (y > 0).all()):
        raise InputError("predictions and measurements must be finite numbers, the latter above 0")
    return y_hat, y
