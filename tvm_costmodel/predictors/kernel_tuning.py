"""Hyper-parameters of kernel-sum by cross-validation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import compress
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from relay_frontend.errors import InputError, MissingDependencyError
from relay_frontend.kernel import Kernel
from tvm_costmodel.predictors.base import FitEvent, FloatArray, Progress, silent
from tvm_costmodel.predictors.kernel_trees import KernelTrees, TreeConfig

if TYPE_CHECKING:
    import optuna

_FOLDS = 3


def tune(
    kernels: Sequence[Kernel],
    times_ms: FloatArray,
    network: npt.NDArray[np.int64],
    config: TreeConfig,
    trials: int,
    progress: Progress = silent,
) -> TreeConfig:
    """The best of ``trials`` ways to grow trees, of which ``config`` is the first.

    Optuna's tree-structured Parzen estimator (Akiba et al., KDD 2019) chooses what to try. Networks
    are cut into three parts, and each part is predicted by trees that have learned the kernels of
    the others: what counts is the mean relative error of the sum of a network's kernels against
    the sum of the measured ones.

    Args:
        kernels: all calls.
        times_ms: their measured times, ``[num_kernels]``.
        network: which network each call is of, numbered from 0, ``[num_kernels]``.
        config: what to start from; its seed and what is not searched are kept.
        trials: how many to try.
        progress: told after each trial.

    Raises:
        InputError: fewer networks than parts.
        MissingDependencyError: Optuna is not installed.
    """
    try:
        import optuna  # noqa: PLC0415 (optional)
    except ImportError:
        raise MissingDependencyError(
            "searching hyper-parameters of kernel-sum needs Optuna: "
            "pip install 'tvm-costmodel[train]'"
        ) from None
    count = int(network.max(initial=-1)) + 1
    if count < _FOLDS:
        raise InputError(f"kernel-sum: {count} networks are too few to tune by, {_FOLDS} needed")
    part = np.random.default_rng(config.seed).permutation(count) % _FOLDS

    def error(trial: optuna.Trial) -> float:
        candidate = _suggested(trial, config)
        predicted = np.empty(len(kernels))
        for fold in range(_FOLDS):
            tested = part[network] == fold
            learned = list(compress(kernels, ~tested))
            trees = KernelTrees.grow(learned, times_ms[~tested], candidate)
            predicted[tested] = trees.predict(list(compress(kernels, tested)))
        sums, measured = (np.bincount(network, values) for values in (predicted, times_ms))
        return float(np.mean(np.abs(sums / measured - 1)))

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=config.seed))
    study.enqueue_trial(_searched(config))
    study.optimize(
        error,
        n_trials=trials,
        callbacks=[lambda _study, trial: progress(FitEvent(step=trial.number + 1, steps=trials))],
    )
    return replace(config, **study.best_params)


def _suggested(trial: optuna.Trial, config: TreeConfig) -> TreeConfig:
    return replace(
        config,
        num_trees=trial.suggest_int("num_trees", 100, 1000, log=True),
        max_depth=trial.suggest_int("max_depth", 4, 12),
        learning_rate=trial.suggest_float("learning_rate", 0.02, 0.2, log=True),
        subsample=trial.suggest_float("subsample", 0.5, 1.0),
        column_share=trial.suggest_float("column_share", 0.3, 1.0),
        min_kernels=trial.suggest_int("min_kernels", 1, 50, log=True),
    )


def _searched(config: TreeConfig) -> dict[str, Any]:
    """What the search varies, as ``config`` has it."""
    names = ("num_trees", "max_depth", "learning_rate", "subsample", "column_share", "min_kernels")
    return {name: getattr(config, name) for name in names}
