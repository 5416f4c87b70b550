"""Rates at which costs become times, none negative, by the least relative errors."""

from __future__ import annotations

import numpy as np

from relay_frontend.errors import MissingDependencyError
from tvm_costmodel.predictors.base import FloatArray

_ROUNDS = 20
_SMALLEST_ERROR = 0.01  # smaller ones weigh no more


def fit_rates(
    costs: FloatArray, times: FloatArray, weights: FloatArray | None = None
) -> FloatArray:
    """The non-negative rates whose sum of costs is nearest to what was measured, ``[num_costs]``.

    Relative errors are what MAPE and Acc(10 %) look at; with rates that are not negative, more work
    never takes less time.

    Args:
        costs: ``[num_rows, num_costs]``, in units that may be many decades apart.
        times: ``[num_rows]``, positive.
        weights: of the rows' squared errors, ``[num_rows]``; 1 by default.

    Raises:
        MissingDependencyError: SciPy is not installed.
    """
    try:
        from scipy.optimize import nnls  # noqa: PLC0415 (optional; asking needs numpy alone)
    except ImportError:
        raise MissingDependencyError(
            "fitting rates needs SciPy: pip install 'tvm-costmodel[train]'"
        ) from None
    root = np.ones(len(times)) if weights is None else np.sqrt(weights)
    relative = costs / times[:, None] * root[:, None]
    unit = np.maximum(np.linalg.norm(relative, axis=0), np.finfo(float).tiny)
    rates: FloatArray = nnls(relative / unit, root)[0] / unit
    return rates


def fit_rates_robustly(costs: FloatArray, times: FloatArray) -> FloatArray:
    """As :func:`fit_rates`, with the least absolute relative errors instead of squared ones.

    So that rows which something disturbed, or that other costs decide, do not draw the rest to
    them. By iteratively reweighted least squares.
    """
    rates = fit_rates(costs, times)
    for _ in range(_ROUNDS):
        errors = np.abs(costs @ rates / times - 1)
        rates = fit_rates(costs, times, 1 / np.maximum(errors, _SMALLEST_ERROR))
    return rates
