"""What predictors ask of the examples that they are fitted on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from relay_frontend.errors import InputError
from relay_frontend.kernel import Kernel
from tvm_costmodel.predictors.base import FloatArray, Network, Predictor


def checked_targets(name: str, inputs: Sequence[Any], targets: FloatArray) -> FloatArray:
    """``targets`` as float64, ``[num_inputs]``.

    Args:
        name: of what is fitted, for messages.
        inputs: what they belong to.
        targets: positive finite numbers.

    Raises:
        InputError: there are none, another number than of ``inputs``, or one is out of range.
    """
    values = np.asarray(targets, dtype=np.float64)
    if not len(inputs):
        raise InputError(f"{name} has nothing to learn from: give it at least one example")
    if values.shape != (len(inputs),):
        raise InputError(
            f"{name}: expected {len(inputs)} targets, one for each input, got shape {values.shape}"
        )
    wrong = np.flatnonzero(~(np.isfinite(values) & (values > 0)))
    if len(wrong):
        raise InputError(
            f"{name}: targets must be positive finite numbers, but number {wrong[0]} is "
            f"{values[wrong[0]]}"
        )
    return values


def measured_kernels(name: str, network: Network) -> tuple[tuple[Kernel, ...], FloatArray]:
    """The kernels of ``network`` and their times in ms, ``[num_kernels]``.

    Raises:
        InputError: they were not timed, or their times are no positive finite numbers.
    """
    if not network.kernels or network.kernel_ms is None:
        raise InputError(
            f"{name} learns from measured kernels, but those of network {network.name!r} were not "
            "timed: measure its platform with kernels, or leave it out"
        )
    times = np.asarray(network.kernel_ms, dtype=np.float64)
    if times.shape != (len(network.kernels),) or not (np.isfinite(times) & (times > 0)).all():
        raise InputError(
            f"{name}: network {network.name!r} has {len(network.kernels)} kernels; kernel_ms must "
            f"hold a positive finite time for each of them, got {times}"
        )
    return network.kernels, times


def validation_mape(
    predictor: Predictor[Network], validation: tuple[Sequence[Network], FloatArray] | None
) -> float | None:
    """Mean absolute percentage error of a fitted predictor in %; None without a validation set."""
    if validation is None:
        return None
    networks, latencies = validation
    measured = checked_targets(predictor.name, networks, latencies)
    return float(100 * np.mean(np.abs(predictor.predict(networks) / measured - 1)))


def describe_targets(targets: FloatArray) -> dict[str, Any]:
    """How many examples there were and between which targets, as plain JSON values."""
    return {"examples": len(targets), "targets": [float(targets.min()), float(targets.max())]}
