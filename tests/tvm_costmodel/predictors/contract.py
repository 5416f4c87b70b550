"""The predictors under the shared contract tests, in configurations that fit within a second."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from measure.interpreters import running_generation
from tvm_costmodel import predictors
from tvm_costmodel.predictors.base import Predictor

_WITHOUT_TORCH = {"flops", "flops-mac", "nn-meter", "kernel-sum", "measured-kernels"}
_NEEDED = {
    "flops": "scipy",
    "flops-mac": "scipy",
    "nn-meter": "sklearn",
    "kernel-sum": "xgboost",
    "measured-kernels": "scipy",
    "nar-former-v2": "torch",
    "blend": "torch",
}
_BATCH = {"latency": 4, "accuracy": 8}
_RATE = {"latency": 2e-3, "accuracy": 1e-2}
_EPOCHS = {"latency": 40, "accuracy": 25}


def small(name: str, task: predictors.Task) -> Predictor[Any]:
    """A new predictor in a small configuration, or a skipped test."""
    _skip_what_is_missing(name)
    found: Any = predictors.predictor_class(name, task)
    if name in _WITHOUT_TORCH:
        return _SMALL_WITHOUT_TORCH[name](found)
    training = replace(
        found.default_training,
        epochs=_EPOCHS[task],
        batch_size=_BATCH[task],
        learning_rate=_RATE[task],
        device="cpu",
    )
    return found(_small_config(found.config_type(), name, task), training)


def _skip_what_is_missing(name: str) -> None:
    if importlib.util.find_spec(_NEEDED.get(name, "torch_geometric")) is None:
        pytest.skip(f"{name} needs what is not installed")
    if name == "blend" and importlib.util.find_spec("xgboost") is None:
        pytest.skip("blend needs XGBoost, which is not installed")
    if name in {"kernel-sum", "blend"} and running_generation() == "relay":
        pytest.skip("XGBoost crashes in a process with Relay's OpenMP")


def _small_kernel_sum() -> Any:
    from tvm_costmodel.predictors.kernel_sum import KernelSumConfig  # noqa: PLC0415
    from tvm_costmodel.predictors.kernel_trees import TreeConfig  # noqa: PLC0415

    return KernelSumConfig(trees=TreeConfig(num_trees=40, learning_rate=0.2, min_kernels=1))


def _nn_meter(found: Any) -> Predictor[Any]:
    from tvm_costmodel.predictors.nn_meter import NnMeterConfig  # noqa: PLC0415

    return found(NnMeterConfig(num_trees=5))


_SMALL_WITHOUT_TORCH: dict[str, Callable[[Any], Predictor[Any]]] = {
    "flops": lambda found: found(),
    "flops-mac": lambda found: found(),
    "nn-meter": _nn_meter,
    "kernel-sum": lambda found: found(_small_kernel_sum()),
    "measured-kernels": lambda found: found(),
}


def _small_config(config: Any, name: str, task: str) -> Any:
    if name in {"nar-former", "tnasp"}:
        blocks = replace(config.blocks, width=16, heads=2, dropout=0.0)
        extra = {"position_frequencies": 4} if task == "latency" else {}
        return replace(config, blocks=blocks, num_blocks=1, **extra)
    if name == "nar-former-v2":
        return _small_v2(config)
    if name == "blend":
        return replace(config, network=_small_v2(config.network), kernel_sum=_small_kernel_sum())
    return replace(config, width=16, **({"dropout": 0.0} if hasattr(config, "dropout") else {}))


def _small_v2(config: Any) -> Any:
    num_blocks = min(config.model.num_blocks, 2)
    return replace(config, model=replace(config.model, width=16, num_blocks=num_blocks))
