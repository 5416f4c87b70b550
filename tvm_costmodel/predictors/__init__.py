"""Predictors by name: the learned cost model, the baselines of its paper, and kernel-sum.

Nothing heavy is imported before a predictor is asked for: some need torch, some scikit-learn, some
XGBoost, and the estimates of a shipped checkpoint need none of them.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Literal

from relay_frontend.errors import InputError, MissingDependencyError
from tvm_costmodel.predictors.base import Predictor
from tvm_costmodel.predictors.options import known_options, override

Task = Literal["latency", "accuracy"]

_CLASSES: dict[Task, dict[str, str]] = {
    "latency": {
        "flops": "linear:Flops",
        "flops-mac": "linear:FlopsMac",
        "nn-meter": "nn_meter:NnMeter",
        "tpu": "tpu:Tpu",
        "brp-nas": "brp_nas:BrpNas",
        "nnlp": "nnlp:Nnlp",
        "nar-former": "nar_former:LatencyNarFormer",
        "nar-former-v2": "nar_former_v2.predictor:LatencyNarFormerV2",
        "kernel-sum": "kernel_sum:KernelSum",
        "blend": "blend:Blend",
        "measured-kernels": "measured_kernels:MeasuredKernels",
    },
    "accuracy": {
        "neural-predictor": "neural_predictor:NeuralPredictor",
        "tnasp": "tnasp:Tnasp",
        "nar-former": "nar_former:AccuracyNarFormer",
        "nar-former-v2": "nar_former_v2.predictor:AccuracyNarFormerV2",
    },
}

LATENCY = tuple(_CLASSES["latency"])
"""Predictors of the latency of a :class:`tvm_costmodel.predictors.base.Network` in ms."""

ACCURACY = tuple(_CLASSES["accuracy"])
"""Predictors of the accuracy, 0 to 1, of a :class:`relay_frontend.cells.Cell`."""


def predictor_class(name: str, task: Task = "latency") -> type[Predictor[Any]]:
    """The class of a predictor.

    Raises:
        InputError: there is none of this name for the task.
        MissingDependencyError: what it needs is not installed.
    """
    if name not in _CLASSES[task]:
        known = ", ".join(_CLASSES[task])
        raise InputError(f"unknown predictor {name!r} of {task}: choose one of {known}")
    module, class_name = _CLASSES[task][name].split(":")
    try:
        loaded = import_module(f"{__name__}.{module}")
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"predictor {name!r} needs {error.name}: pip install 'tvm-costmodel[train]'"
        ) from error
    found: type[Predictor[Any]] = getattr(loaded, class_name)
    return found


def create(name: str, task: Task = "latency", **options: Any) -> Predictor[Any]:
    """A new predictor, not fitted yet.

    Args:
        name: of :data:`LATENCY` or :data:`ACCURACY`.
        task: what it shall predict.
        options: fields of its configuration and of its training, by name or by path
            (``tokens.static``); ``preset`` begins with a configuration that has a name.

    Raises:
        InputError: no such predictor, preset or option, or a value that it may not have.
        MissingDependencyError: what it needs is not installed.
    """
    cls: Any = predictor_class(name, task)
    presets = getattr(cls, "presets", {})
    preset = options.pop("preset", None)
    if preset is not None and preset not in presets:
        known = ", ".join(presets) or "none"
        raise InputError(f"{name} has no preset {preset!r}: known are {known}")
    parts = _configurations(cls, preset)
    left = options
    for index, part in enumerate(parts):
        parts[index], left = override(part, left)
    if left:
        raise InputError(
            f"{name} has no option {', '.join(map(repr, left))}: known are "
            f"{', '.join(known_options(*parts)) or 'none'}"
        )
    made: Predictor[Any] = cls(*parts)
    return made


def option_names(name: str, task: Task = "latency") -> list[str]:
    """Paths of all options of a predictor, ``preset`` aside.

    Raises:
        InputError: there is no such predictor.
        MissingDependencyError: what it needs is not installed.
    """
    return known_options(*_configurations(predictor_class(name, task)))


def _configurations(cls: Any, preset: str | None = None) -> list[Any]:
    """What the constructor of ``cls`` takes: its configuration and its training, if it has any."""
    config_type = cls.presets[preset] if preset else getattr(cls, "config_type", None)
    parts = [] if config_type is None else [config_type()]
    if hasattr(cls, "default_training"):
        parts.append(cls.default_training)
    return parts
