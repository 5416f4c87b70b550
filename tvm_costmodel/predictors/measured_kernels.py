"""The sum of a network's own measured kernels: kernel-sum that knows every kernel.

No prediction, but a mark to compare with: a predictor that answers with the measured time of each
kernel still has what the sum is off the latency of the network, since a kernel alone finds its data
elsewhere in the caches than in its network. Where single timings are noisy, one that has learned
from many may be nearer. It needs the network measured, kernel by kernel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
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
    measured_kernels,
    validation_mape,
)
from tvm_costmodel.predictors.overheads import Overheads
from tvm_costmodel.predictors.storage import (
    encode_description,
    read_description,
    write_directory,
)

if TYPE_CHECKING:
    from typing_extensions import Self

_FILE = "measured-kernels.json"
_FORMAT_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class MeasuredKernelsConfig:
    """How kernels are added up.

    Args:
        overhead: whether what happens between kernels is learned from the networks' latencies.
    """

    overhead: bool = True


class MeasuredKernels(Predictor[Network]):
    """Adds up the measured kernels of the very network that is asked for."""

    name: ClassVar[str] = "measured-kernels"
    config_type: ClassVar[type[MeasuredKernelsConfig]] = MeasuredKernelsConfig

    def __init__(self, config: MeasuredKernelsConfig | None = None) -> None:
        self.config = config or MeasuredKernelsConfig()
        self._overheads: Overheads | None = None
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
        times = [measured_kernels(self.name, network)[1] for network in inputs]
        self._overheads = Overheads.fit(times, latencies) if self.config.overhead else Overheads()
        self._fitted_on = describe_targets(latencies)
        error = validation_mape(self, validation)
        progress(FitEvent(step=1, steps=1, validation=error))

    def predict(self, inputs: Sequence[Network]) -> FloatArray:
        overheads = self._fitted()
        times = [measured_kernels(self.name, network)[1] for network in inputs]
        return np.array([overheads.contributions(own_ms).sum() for own_ms in times])

    def save(self, directory: Path) -> None:
        values = {
            "config": asdict(self.config),
            "overheads": asdict(self._fitted()),
            "fitted_on": self._fitted_on,
        }
        write_directory(directory, {_FILE: encode_description(_FORMAT_VERSION, values)})

    @classmethod
    def load(cls, directory: Path) -> Self:
        values = read_description(directory, _FILE, _FORMAT_VERSION)
        try:
            predictor = cls(MeasuredKernelsConfig(**values["config"]))
            predictor._overheads = Overheads(**values["overheads"])
            predictor._fitted_on = dict(values["fitted_on"])
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"predictor {directory}: {_FILE} lacks {error!r}") from error
        return predictor

    def describe(self) -> dict[str, Any]:
        overheads = None if self._overheads is None else asdict(self._overheads)
        return {
            "name": self.name,
            "config": asdict(self.config),
            "overheads": overheads,
            "fitted_on": self._fitted_on,
        }

    def _fitted(self) -> Overheads:
        if self._overheads is None:
            raise NotFittedError(f"{self.name} has no overheads yet: fit or load it first")
        return self._overheads
