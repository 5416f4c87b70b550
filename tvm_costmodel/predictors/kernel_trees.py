"""The time of a single kernel by gradient boosting.

XGBoost (Chen and Guestrin, KDD 2016) predicts the logarithm of how much longer a kernel takes than
its costs would at one rate each (:data:`ROOFLINE_COSTS`); the rates fit the measured kernels best.
Trees alone answer with the mean of a leaf, however large a kernel is; what they start from here
grows with it.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from relay_frontend.errors import InputError, MissingDependencyError
from relay_frontend.kernel import Kernel
from tvm_costmodel.predictors import kernel_features as features
from tvm_costmodel.predictors.base import FitEvent, FloatArray, Progress, silent
from tvm_costmodel.predictors.configurations import kernel_kind
from tvm_costmodel.predictors.rates import fit_rates_robustly

if TYPE_CHECKING:
    import xgboost

_SMALLEST_MS = 1e-9
_LEAST_SHARE = 0.1  # of a kernel's time that is not its exponentials

SHARED = ""
"""The kind of the trees that know all kernels."""


@dataclass(frozen=True, kw_only=True)
class TreeConfig:
    """How trees are grown. ``docs/results`` tells on which families the defaults were tried.

    Args:
        num_trees: boosting rounds.
        max_depth: of a tree.
        learning_rate: weight of each tree.
        subsample: share of the kernels that a tree sees.
        column_share: share of the features that a tree sees.
        min_kernels: that a leaf holds at least.
        monotone: whether more FLOPs or bytes never take less time, all else being equal.
        start: whether trees start from what costs take at one rate each. The costs are those of
            TOPI's schedules; where kernels are scheduled otherwise, nothing may be the better
            start.
        own_kinds: kinds of which so many kernels were measured get trees of their own beside the
            shared ones, and the mean of the two logarithms counts; 0 for none.
        seed: of the sampling.

    Raises:
        InputError: a number is out of its range.
    """

    num_trees: int = 400
    max_depth: int = 8
    learning_rate: float = 0.06
    subsample: float = 0.8
    column_share: float = 0.5
    min_kernels: int = 10
    monotone: bool = True
    start: bool = True
    own_kinds: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.num_trees, self.max_depth, self.min_kernels, 1 + self.own_kinds) < 1:
            raise InputError(f"kernel-sum: expected positive numbers, got {self}")
        if not all(0 < x <= 1 for x in (self.learning_rate, self.subsample, self.column_share)):
            raise InputError(f"kernel-sum: rates and shares are above 0 and at most 1, got {self}")

    def parameters(self, rising: Sequence[int]) -> dict[str, Any]:
        """The same in XGBoost's words."""
        return {
            "objective": "reg:squarederror",
            "tree_method": "hist",
            "max_depth": self.max_depth,
            "eta": self.learning_rate,
            "subsample": self.subsample,
            "colsample_bytree": self.column_share,
            "min_child_weight": self.min_kernels,
            "seed": self.seed,
            **({"monotone_constraints": tuple(rising)} if self.monotone else {}),
        }


@dataclass(frozen=True, eq=False, kw_only=True)
class KernelTrees:
    """Predicts the time of kernels. Immutable.

    Args:
        words: of the kinds of kernels, see :func:`kernel_words`.
        boosters: by kind; that of :data:`SHARED` knows them all.
        rates_ms: of each of the costs, ``[5]``; None where trees start from nothing.
        version: of the features.
    """

    words: tuple[str, ...]
    boosters: dict[str, xgboost.Booster]
    rates_ms: FloatArray | None = None
    version: int = field(default=features.VERSION)

    @classmethod
    def grow(
        cls,
        kernels: Sequence[Kernel],
        times_ms: FloatArray,
        config: TreeConfig,
        progress: Progress = silent,
    ) -> KernelTrees:
        """Learn the time of each kernel call, ``[num_kernels]`` in ms.

        Equal calls are to be given as often as networks make them, so that they weigh as much as
        they are used.
        """
        words = tuple(sorted({word for k in kernels for word in features.kernel_words(k)}))
        costs = features.roofline_costs(kernels)
        rates = fit_rates_robustly(costs, times_ms) if config.start else None
        trees = cls(words=words, boosters={}, rates_ms=rates)
        margin, apart_ms = trees._start(costs)
        y = np.log(np.maximum(times_ms - apart_ms, _LEAST_SHARE * times_ms))
        x = trees._features(kernels, margin)
        own = _rows_by_kind(kernels, config.own_kinds) if config.own_kinds else {}
        chosen = {SHARED: np.arange(len(kernels)), **own}
        for number, (kind, rows) in enumerate(chosen.items()):
            data = xgboost_module().DMatrix(x[rows], label=y[rows], base_margin=_at(margin, rows))
            trees.boosters[kind] = _boost(data, config, words, number, len(chosen), progress)
        return trees

    def predict(self, kernels: Sequence[Kernel]) -> FloatArray:
        """The time of each call when it runs alone, in ms, ``[num_kernels]``."""
        if not kernels:
            return np.empty(0)
        margin, apart_ms = self._start(features.roofline_costs(kernels, self.version))
        x = self._features(kernels, margin)
        log_ms = self._ask(SHARED, x, margin)
        own = _rows_by_kind(kernels, 1) if len(self.boosters) > 1 else {}
        for kind, rows in own.items():
            if kind in self.boosters:
                log_ms[rows] = (log_ms[rows] + self._ask(kind, x[rows], _at(margin, rows))) / 2
        times_ms: FloatArray = np.exp(log_ms) + apart_ms
        return times_ms

    def _ask(self, kind: str, x: FloatArray, margin: FloatArray | None) -> FloatArray:
        data = xgboost_module().DMatrix(x, base_margin=margin)
        log_ms: FloatArray = self.boosters[kind].predict(data).astype(np.float64)
        return log_ms

    def _features(self, kernels: Sequence[Kernel], margin: FloatArray | None) -> FloatArray:
        """What trees see: the features, and what they start from."""
        x = features.kernel_features(kernels, self.words, self.version)
        return x if margin is None else np.concatenate([x, margin[:, None]], axis=1)

    def _start(self, costs: FloatArray) -> tuple[Any, Any]:
        """What trees start from, as a logarithm of ms, and what is added to their answer, in ms.

        Each ``[num_kernels]``, of costs ``[num_kernels, 5]``. Exponentials take as long wherever
        they are, while how far the rest of a kernel falls short of its rates is what the trees
        know.
        """
        if self.rates_ms is None:
            return None, 0.0
        costs_ms = costs * self.rates_ms
        apart = features.ROOFLINE_COSTS.index("exponentials")
        rest_ms = costs_ms.sum(axis=1) - costs_ms[:, apart]
        return np.log(np.maximum(rest_ms, _SMALLEST_MS)), costs_ms[:, apart]


def _at(margin: FloatArray | None, rows: Any) -> Any:
    return None if margin is None else margin[rows]


def _rows_by_kind(kernels: Sequence[Kernel], least: int) -> dict[str, Any]:
    """Positions of the kernels of each kind that has ``least`` of them, or more."""
    kinds = np.array([kernel_kind(kernel) for kernel in kernels])
    counts = Counter(kinds.tolist())
    frequent = sorted(kind for kind, count in counts.items() if kind and count >= least)
    return {kind: np.flatnonzero(kinds == kind) for kind in frequent}


def _boost(
    data: xgboost.DMatrix,
    config: TreeConfig,
    words: Sequence[str],
    number: int,
    count: int,
    progress: Progress,
) -> xgboost.Booster:
    parameters = config.parameters(features.rising(words, data.num_col()))
    booster = xgboost_module().Booster(parameters, [data])
    for tree in range(config.num_trees):
        booster.update(data, tree)
        if tree + 1 < config.num_trees:
            step = number * config.num_trees + tree + 1
            progress(FitEvent(step=step, steps=count * config.num_trees))
    return booster


def xgboost_module() -> Any:
    """XGBoost, unless it would crash this process.

    The Relay build that installs today puts the system's OpenMP into the global scope, where
    XGBoost finds half of the calls that it means for its own copy.

    Raises:
        InputError: TVM with Relay was imported.
        MissingDependencyError: XGBoost is not installed.
    """
    if "tvm.relay" in sys.modules:
        raise InputError(
            "kernel-sum cannot run in a process that has imported TVM with Relay, whose OpenMP "
            "crashes XGBoost; save the network as ONNX and estimate in another process"
        )
    try:
        import xgboost  # noqa: PLC0415 (optional)
    except ImportError:
        raise MissingDependencyError(
            "the kernel-sum baseline needs XGBoost: pip install 'tvm-costmodel[kernel-sum]'"
        ) from None
    return xgboost
