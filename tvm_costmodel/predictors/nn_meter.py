"""nn-Meter (Zhang et al., MobiSys 2021): a random forest for each kind of kernel, and their sum.

The kernels of a network are those that its toolchain makes; where they are not known, those that
fusion rules would make of it, as nn-Meter finds them by rules too. Each kind of kernel has a forest
of its own over the kernels' configurations, with the hyper-parameters of nn-Meter's public code
(``tflite_cpu``). Two things differ: the features are 19 for all kinds instead of 4 to 7 chosen for
each, so that nn-Meter's number of features per split is kept as a share of them; and a kind that
was never measured, for which nn-Meter has no answer, is predicted by a forest over all kernels.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from relay_frontend.errors import InputError
from relay_frontend.kernel import Kernel
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
from tvm_costmodel.predictors.configurations import (
    kernel_configurations,
    kernel_kind,
    network_kernels,
)
from tvm_costmodel.predictors.examples import (
    checked_targets,
    describe_targets,
    measured_kernels,
    validation_mape,
)
from tvm_costmodel.predictors.forest import Forest, ForestConfig, join, part
from tvm_costmodel.predictors.storage import (
    encode_arrays,
    encode_description,
    read_arrays,
    read_description,
    sha256,
    write_directory,
)

if TYPE_CHECKING:
    from typing_extensions import Self

_FORESTS_FILE = "forests.safetensors"
_DESCRIPTION_FILE = "nn-meter.json"
_FORMAT_VERSION = 1

_DEFAULT = ForestConfig(num_trees=370, max_depth=50, max_features=1.0)
_BY_WORD = {
    "depthwise": ForestConfig(num_trees=240, max_depth=50, max_features=6 / 7),
    "conv2d": ForestConfig(num_trees=320, max_depth=70, max_features=6 / 7),
    "dense": ForestConfig(num_trees=370, max_depth=50, max_features=2 / 4),
    "max": ForestConfig(num_trees=210, max_depth=50, max_features=1.0),
    "concatenate": ForestConfig(num_trees=690, max_depth=100, max_features=5 / 5),
    "split": ForestConfig(num_trees=190, max_depth=50, max_features=1.0),
    "add": ForestConfig(num_trees=570, max_depth=50, max_features=1.0),
}
"""By the first of these words in a kernel's kind; the order says which operator is principal."""

_SHARED = ""  # the forest of all kinds


@dataclass(frozen=True, kw_only=True)
class NnMeterConfig:
    """How the forests are grown.

    Args:
        num_trees: of every forest; None takes nn-Meter's number for its kind.
        seed: of the forests; 10 in nn-Meter.
    """

    num_trees: int | None = None
    seed: int = 10

    def __post_init__(self) -> None:
        if self.num_trees is not None and self.num_trees < 1:
            raise InputError(f"NnMeterConfig.num_trees must be positive, got {self.num_trees}")

    def forest(self, kind: str) -> ForestConfig:
        """How the forest of a kind of kernel is grown."""
        words = kind.split("_")
        config = next((c for word, c in _BY_WORD.items() if word in words), _DEFAULT)
        return config if self.num_trees is None else replace(config, num_trees=self.num_trees)


class NnMeter(Predictor[Network]):
    """Forests over measured kernels, summed over the kernels of a network."""

    name: ClassVar[str] = "nn-meter"
    config_type: ClassVar[type[NnMeterConfig]] = NnMeterConfig

    def __init__(self, config: NnMeterConfig | None = None) -> None:
        self.config = config or NnMeterConfig()
        self._forests: dict[str, Forest] = {}
        self._fitted_on: dict[str, Any] = {}

    def fit(
        self,
        inputs: Sequence[Network],
        targets: FloatArray,
        *,
        validation: tuple[Sequence[Network], FloatArray] | None = None,
        progress: Progress = silent,
    ) -> None:
        """Learn the measured kernels of the networks; their latencies are not looked at.

        Networks whose kernels were not timed are passed over.

        Raises:
            InputError: no network has timed kernels.
        """
        latencies = checked_targets(self.name, inputs, targets)
        timed = [measured_kernels(self.name, n) for n in inputs if n.kernel_ms is not None]
        if not timed:
            raise InputError(
                "nn-meter learns from measured kernels (kernel_ms), and none of the "
                f"{len(inputs)} networks has any: measure kernels too, or choose a predictor that "
                "learns from whole networks"
            )
        kernels = [kernel for network_kernels, _ in timed for kernel in network_kernels]
        self._grow(kernels, np.concatenate([times for _, times in timed]), progress)
        self._fitted_on = {
            **describe_targets(latencies),
            "networks_with_kernels": len(timed),
            "kernels": len(kernels),
        }
        steps = len(self._forests)
        error = validation_mape(self, validation)
        progress(FitEvent(step=steps, steps=steps, validation=error))

    def predict(self, inputs: Sequence[Network]) -> FloatArray:
        forests = self._fitted()
        found = [network_kernels(network) for network in inputs]
        for network, kernels in zip(inputs, found, strict=True):
            if not kernels:
                raise InputError(f"nn-meter: network {network.name!r} has no kernels to sum up")
        if not found:
            return np.empty(0)
        configurations = kernel_configurations([k for kernels in found for k in kernels])
        times = np.empty(len(configurations))
        for kind, rows in _by_kind(k for kernels in found for k in kernels).items():
            distinct, which = np.unique(configurations[rows], axis=0, return_inverse=True)
            forest = forests.get(kind, forests[_SHARED])
            times[rows] = forest.predict(distinct)[which.ravel()]
        owner = np.repeat(np.arange(len(found)), [len(kernels) for kernels in found])
        return np.bincount(owner, weights=times).astype(np.float64)

    def save(self, directory: Path) -> None:
        arrays, num_trees = join(self._fitted())
        content = encode_arrays(arrays)
        values = {
            "config": asdict(self.config),
            "num_trees": num_trees,
            "fitted_on": self._fitted_on,
            "forests_sha256": sha256(content),
        }
        description = encode_description(_FORMAT_VERSION, values)
        write_directory(directory, {_FORESTS_FILE: content, _DESCRIPTION_FILE: description})

    @classmethod
    def load(cls, directory: Path) -> Self:
        values = read_description(directory, _DESCRIPTION_FILE, _FORMAT_VERSION)
        arrays = read_arrays(directory, _FORESTS_FILE, values.get("forests_sha256"))
        try:
            predictor = cls(NnMeterConfig(**values["config"]))
            predictor._fitted_on = dict(values["fitted_on"])
            predictor._forests = part(arrays, values["num_trees"])
            _ = predictor._forests[_SHARED]
        except (InputError, KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(
                f"predictor {directory}: {_DESCRIPTION_FILE} does not describe its forests: "
                f"{error!r}"
            ) from error
        return predictor

    def describe(self) -> dict[str, Any]:
        kinds = sorted(kind for kind in self._forests if kind != _SHARED)
        return {
            "name": self.name,
            "config": asdict(self.config),
            "kinds": kinds,
            "trees": sum(len(forest.roots) for forest in self._forests.values()),
            "fitted_on": self._fitted_on,
        }

    def _grow(self, kernels: Sequence[Kernel], times: FloatArray, progress: Progress) -> None:
        """A forest for each kind, and one for all; each configuration counts once, by its median.

        nn-Meter samples configurations and times each of them once, so that none of them weighs
        more because many networks use it.
        """
        configurations = kernel_configurations(kernels)
        groups = {_SHARED: np.arange(len(kernels)), **_by_kind(kernels)}
        forests = {}
        for step, (kind, rows) in enumerate(sorted(groups.items()), 1):
            distinct, which = np.unique(configurations[rows], axis=0, return_inverse=True)
            median = _medians(times[rows], which.ravel())
            forests[kind] = Forest.grow(
                distinct, median, self.config.forest(kind), self.config.seed
            )
            if step < len(groups):
                progress(FitEvent(step=step, steps=len(groups)))
        self._forests = forests

    def _fitted(self) -> dict[str, Forest]:
        if not self._forests:
            raise NotFittedError("nn-meter has no forests yet: fit or load it first")
        return self._forests


def _by_kind(kernels: Iterable[Kernel]) -> dict[str, Any]:
    """Positions of the kernels of each kind."""
    rows: dict[str, list[int]] = {}
    for row, kernel in enumerate(kernels):
        rows.setdefault(kernel_kind(kernel), []).append(row)
    return {kind: np.array(positions) for kind, positions in rows.items()}


def _medians(values: FloatArray, group: Any) -> FloatArray:
    """The median of the values of each group, ``[num_groups]``."""
    order = np.argsort(group, kind="stable")
    bounds = np.flatnonzero(np.diff(group[order])) + 1
    return np.array([np.median(part) for part in np.split(values[order], bounds)])
