"""FLOPs and FLOPs+MAC: latency as a linear function of the costs of the whole network.

The simplest baselines of nn-Meter (Zhang et al., MobiSys 2021, section 5.2) and of NAR-Former V2
(table 2). The coefficients are non-negative, so that more work never takes less time, and minimize
the squared *relative* error, which is what MAPE and Acc(10%) look at.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tvm_costmodel.errors import CheckpointError
from tvm_costmodel.predictors.base import (
    FitEvent,
    FloatArray,
    Network,
    NotFittedError,
    Predictor,
    Progress,
    silent,
)
from tvm_costmodel.predictors.examples import (
    checked_targets,
    describe_targets,
    validation_mape,
)
from tvm_costmodel.predictors.rates import fit_rates
from tvm_costmodel.predictors.storage import (
    encode_description,
    read_description,
    write_directory,
)

if TYPE_CHECKING:
    from typing_extensions import Self

_FILE = "linear.json"
_FORMAT_VERSION = 1
_SMALLEST_MS = 1e-6  # a network without FLOPs still takes time


class _Linear(Predictor[Network]):
    """``latency = c_0 + c_1 cost_1 + ...`` with ``c >= 0``."""

    costs: ClassVar[tuple[str, ...]]
    """Attributes of an operator graph."""

    def __init__(self) -> None:
        self._coefficients: FloatArray | None = None
        self._fitted_on: dict[str, Any] = {}

    def fit(
        self,
        inputs: Sequence[Network],
        targets: FloatArray,
        *,
        validation: tuple[Sequence[Network], FloatArray] | None = None,
        progress: Progress = silent,
    ) -> None:
        latencies = checked_targets(self.name, inputs, targets)
        costs = self._features(inputs)
        self._coefficients = fit_rates(costs, latencies)
        self._fitted_on = describe_targets(latencies)
        loss = float(np.mean((costs @ self._coefficients / latencies - 1) ** 2))
        error = validation_mape(self, validation)
        progress(FitEvent(step=1, steps=1, loss=loss, validation=error))

    def predict(self, inputs: Sequence[Network]) -> FloatArray:
        coefficients = self._fitted()
        # Summed column by column: a matrix product may round differently in another batch.
        latencies: FloatArray = (self._features(inputs) * coefficients).sum(axis=1)
        return np.maximum(latencies, _SMALLEST_MS)

    def save(self, directory: Path) -> None:
        values = {
            "predictor": self.name,
            "coefficients": self._fitted().tolist(),
            "fitted_on": self._fitted_on,
        }
        write_directory(directory, {_FILE: encode_description(_FORMAT_VERSION, values)})

    @classmethod
    def load(cls, directory: Path) -> Self:
        values = read_description(directory, _FILE, _FORMAT_VERSION)
        predictor = cls()
        try:
            name, coefficients = values["predictor"], np.array(values["coefficients"], np.float64)
            predictor._fitted_on = dict(values["fitted_on"])
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"predictor {directory}: {_FILE} lacks {error!r}") from error
        if name != cls.name or coefficients.shape != (1 + len(cls.costs),):
            raise CheckpointError(
                f"predictor {directory} is {name!r} with {coefficients.size} coefficients, but "
                f"{cls.name!r} with {1 + len(cls.costs)} was expected"
            )
        predictor._coefficients = coefficients
        return predictor

    def describe(self) -> dict[str, Any]:
        fitted = self._coefficients
        names = ("constant", *self.costs)
        known = {} if fitted is None else dict(zip(names, fitted.tolist(), strict=True))
        return {"name": self.name, "ms_per": known, "fitted_on": self._fitted_on}

    def _fitted(self) -> FloatArray:
        if self._coefficients is None:
            raise NotFittedError(f"{self.name} has no coefficients yet: fit or load it first")
        return self._coefficients

    def _features(self, networks: Sequence[Network]) -> FloatArray:
        """A constant and the costs, ``[num_networks, 1 + num_costs]``."""
        rows = [[1.0, *(getattr(n.graph, cost) for cost in self.costs)] for n in networks]
        return np.array(rows, dtype=np.float64).reshape(len(rows), 1 + len(self.costs))


class Flops(_Linear):
    """Latency from the floating-point operations of a network."""

    name: ClassVar[str] = "flops"
    costs: ClassVar[tuple[str, ...]] = ("flops",)


class FlopsMac(_Linear):
    """Latency from the floating-point operations and the memory access cost (bytes moved)."""

    name: ClassVar[str] = "flops-mac"
    costs: ClassVar[tuple[str, ...]] = ("flops", "memory_bytes")
