"""Kernel-sum: predict each fused kernel of a network by gradient boosting, and add up.

The kernels are those that the compiler would really emit (:mod:`relay_frontend.kernels`), or
those that fusion rules give where it is not to be asked (:mod:`relay_frontend.fusion`); each sort
has trees of its own, which predict a kernel alone (:mod:`tvm_costmodel.predictors.kernel_trees`). A
network is not the sum of its kernels: a kernel alone finds its data elsewhere in the caches than in
its network, and calls take time. So the sum is scaled, and each call and each network costs
something, as fits the measured networks best.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from relay_frontend.errors import InputError
from relay_frontend.graph import OpGraph
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
from tvm_costmodel.predictors.examples import (
    checked_targets,
    measured_kernels,
    validation_mape,
)
from tvm_costmodel.predictors.guesses import plain_kernels, running, timed_guesses
from tvm_costmodel.predictors.kernel_trees import SHARED, KernelTrees, TreeConfig
from tvm_costmodel.predictors.kernel_tuning import tune
from tvm_costmodel.predictors.overheads import Overheads
from tvm_costmodel.predictors.storage import encode_description, write_directory
from tvm_costmodel.predictors.storage import read_description as read_json
from tvm_costmodel.predictors.summed_trees import SummedTrees

if TYPE_CHECKING:
    from typing_extensions import Self

KernelSource = Literal["compiler", "guess"]
"""Whose kernels are added up: the compiler's, or those of fusion rules."""

GUESS: KernelSource = "guess"
"""The sort that asks no compiler; a checkpoint has its errors under this name."""

_DESCRIPTION_FILE = "kernel-sum.json"
_FORMAT_VERSION = 3
_SORTS: dict[KernelSource, str] = {
    "compiler": "kernels of a compiler",
    "guess": "guessed kernels",
}
_STEMS: dict[KernelSource, str] = {"compiler": "kernels", "guess": "guesses"}


@dataclass(frozen=True, kw_only=True)
class KernelSumConfig:
    """How kernel-sum is fitted.

    Args:
        kernels: which of them are learned, and add up to a network in :meth:`KernelSum.predict`.
        trees: how they are grown.
        overhead: whether what happens between kernels is learned from the networks' latencies.
        trials: ways to grow trees that are tried by cross-validation first, of which the best is
            taken; 0 takes ``trees`` as they are.
    """

    kernels: KernelSource = "compiler"
    trees: TreeConfig = field(default_factory=TreeConfig)
    overhead: bool = True
    trials: int = 0


class KernelSum(Predictor[Network]):
    """A kernel-sum predictor for one platform.

    Args:
        config: how it is fitted.
        description: what else its checkpoint is to say (platform, training data, quality), as
            plain JSON values.
    """

    name: ClassVar[str] = "kernel-sum"
    config_type: ClassVar[type[KernelSumConfig]] = KernelSumConfig

    def __init__(
        self,
        config: KernelSumConfig | None = None,
        description: Mapping[str, Any] | None = None,
    ) -> None:
        self.config = config or KernelSumConfig()
        self.description: dict[str, Any] = {**(description or {}), "config": asdict(self.config)}
        self._sums: dict[KernelSource, SummedTrees] = {}

    def fit(
        self,
        inputs: Sequence[Network],
        targets: FloatArray,
        *,
        validation: tuple[Sequence[Network], FloatArray] | None = None,
        progress: Progress = silent,
    ) -> None:
        """Learn the measured kernels of the networks, and what their sums lack.

        What was learned before, of the other sort too, is forgotten.

        Raises:
            InputError: a network has no kernels, or none that were timed.
            MissingDependencyError: trials are asked for without Optuna.
        """
        self._sums.clear()
        self.description.pop("tuned", None)
        self.learn(self.config.kernels, inputs, targets, progress)
        steps = self.config.trees.num_trees
        error = validation_mape(self, validation)
        progress(FitEvent(step=steps, steps=steps, validation=error))

    def learn(
        self,
        source: KernelSource,
        inputs: Sequence[Network],
        targets: FloatArray,
        progress: Progress = silent,
    ) -> None:
        """Learn one sort of kernels, beside what has been learned of the other one.

        :meth:`fit` learns the sort that it is to predict with; a checkpoint has both.

        Args:
            source: the sort.
            inputs: networks with their measured kernels.
            targets: latencies in ms, ``[num_networks]``.
            progress: told of each tree.

        Raises:
            InputError, MissingDependencyError: as for :meth:`fit`.
        """
        latencies = checked_targets(self.name, inputs, targets)
        measured = [measured_kernels(self.name, network) for network in inputs]
        guesses = source == GUESS
        timed = [timed_guesses(network) for network in inputs] if guesses else measured
        kernels, times, owner = _known_times(timed)
        config = self.config.trees
        if self.config.trials:
            config = tune(kernels, times, owner, config, self.config.trials, progress)
            self.description["tuned"] = {
                **self.description.get("tuned", {}),
                source: asdict(config),
            }
        trees = KernelTrees.grow(kernels, times, config, progress)
        overheads = Overheads()
        if self.config.overhead:
            own_ms = [trees.predict(calls) if guesses else alone for calls, alone in timed]
            overheads = Overheads.fit(own_ms, latencies)
        self._sums[source] = SummedTrees(trees=trees, overheads=overheads)
        self.description["kernel_calls"] = sum(len(calls) for calls, _ in measured)

    def fit_kernels(
        self, kernels: Sequence[Kernel], times_ms: FloatArray, progress: Progress = silent
    ) -> None:
        """Learn the time of each of a compiler's calls, ``[num_kernels]`` in ms; no overhead."""
        trees = KernelTrees.grow(kernels, times_ms, self.config.trees, progress)
        self._sums["compiler"] = SummedTrees(trees=trees, overheads=Overheads())
        self.description["kernel_calls"] = len(kernels)

    def predict(self, inputs: Sequence[Network]) -> FloatArray:
        if self.config.kernels == GUESS:
            return np.array([self.guess(network.graph).sum() for network in inputs])
        self._fitted("compiler")
        return np.array([self.latency_ms(_known_kernels(network)) for network in inputs])

    @property
    def can_guess(self) -> bool:
        """Whether it has learned guessed kernels; older checkpoints have not."""
        return GUESS in self._sums

    def guess(self, graph: OpGraph) -> FloatArray:
        """What each kernel that fusion gives adds to the latency of ``graph``, in ms.

        ``[num_fused]``, as :func:`relay_frontend.fusion.fuse` numbers them. Nothing is compiled.

        Raises:
            NotFittedError: guessed kernels were not learned.
        """
        kernels = plain_kernels(graph)
        runs = running(kernels)
        added_ms = np.zeros(len(kernels))
        calls = list(itertools.compress(kernels, runs))
        added_ms[runs] = self._fitted(GUESS).contributions(calls)
        return added_ms

    def predict_kernels(self, kernels: Sequence[Kernel]) -> FloatArray:
        """Predicted time of each of a compiler's calls when it runs alone, in ms.

        ``[num_kernels]``.
        """
        return self._fitted("compiler").trees.predict(kernels)

    def contributions(self, kernels: Sequence[Kernel]) -> FloatArray:
        """What each of a compiler's calls adds to the latency, in ms, ``[num_kernels]``.

        Its time alone with the overheads, of which each call has its part.
        """
        return self._fitted("compiler").contributions(kernels)

    def latency_ms(self, kernels: Sequence[Kernel]) -> float:
        """Predicted latency in ms of a network with these calls of a compiler's kernels."""
        return float(self.contributions(kernels).sum())

    def save(self, directory: Path) -> None:
        """Write the predictor as ``directory``, in XGBoost's own format beside plain JSON."""
        if not self._sums:
            self._fitted(self.config.kernels)
        sums: dict[str, Any] = {}
        files: dict[str, bytes] = {}
        for source, summed in self._sums.items():
            sums[source], boosters = summed.to_files(_STEMS[source])
            files |= boosters
        values = {**self.description, "sums": sums}
        files[_DESCRIPTION_FILE] = encode_description(_FORMAT_VERSION, values)
        write_directory(directory, files)

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Read what :meth:`save` wrote, by this version of the package or an older one.

        Raises:
            CheckpointError: it is missing, damaged or of a newer format.
            MissingDependencyError: XGBoost is not installed.
        """
        values = _as_second_format(read_description(directory))
        try:
            values = _as_third_format(values)
            options, sums = values.pop("config"), values.pop("sums")
            config = KernelSumConfig(**{**options, "trees": TreeConfig(**options["trees"])})
            predictor = cls(config, values)
            predictor._sums = {
                source: SummedTrees.from_files(directory, _STEMS[source], saved)
                for source, saved in sums.items()
            }
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"kernel-sum checkpoint {directory}: {error!r}") from error
        return predictor

    def describe(self) -> dict[str, Any]:
        summed = self._sums.get(self.config.kernels)
        known = {
            "kernel_words": [] if summed is None else list(summed.trees.words),
            "overheads": asdict(Overheads() if summed is None else summed.overheads),
        }
        return {"name": self.name, **self.description, **known}

    def _fitted(self, source: KernelSource) -> SummedTrees:
        if source not in self._sums:
            raise NotFittedError(
                f"{self.name} has not learned {_SORTS[source]}"
                + ("" if not self._sums else ", as checkpoints of older versions have not")
                + ": fit it first"
            )
        return self._sums[source]


def metrics_of(description: Mapping[str, Any], source: KernelSource) -> Mapping[str, Any]:
    """How good a checkpoint says that it is with a sort of kernels.

    Older ones say it of the compiler's alone, which then stands for both.
    """
    metrics: Mapping[str, Any] = description["metrics"]
    found: Mapping[str, Any] = metrics.get(source, metrics)
    return found


def read_description(directory: Path) -> dict[str, Any]:
    """What a kernel-sum checkpoint says of itself, read without XGBoost.

    Raises:
        CheckpointError: it is missing, damaged or of a newer format.
    """
    return read_json(directory, _DESCRIPTION_FILE, _FORMAT_VERSION)


def _as_second_format(values: dict[str, Any]) -> dict[str, Any]:
    """The description of a checkpoint of format 1 as one of format 2 would have it.

    Trees had fewer features then and started from nothing, and kernels were added up as they are.
    """
    if "features" in values or "sums" in values:
        return values
    grown = {**values["config"], "column_share": 1.0, "min_kernels": 1}
    grown |= {"monotone": False, "start": False}
    return {
        **{name: value for name, value in values.items() if name != "model_sha256"},
        "config": {"trees": grown, "overhead": False, "trials": 0},
        "features": 1,
        "rates_ms": None,
        "overheads": asdict(Overheads()),
        "kinds": [SHARED],
        "models_sha256": [values.get("model_sha256")],
    }


def _as_third_format(values: dict[str, Any]) -> dict[str, Any]:
    """The description of a checkpoint of format 2, which knew the compiler's kernels alone."""
    if "sums" in values:
        return values
    names = ("words", "features", "rates_ms", "overheads", "kinds", "models_sha256")
    kept = {name: value for name, value in values.items() if name not in names}
    return {**kept, "sums": {"compiler": {name: values[name] for name in names}}}


def _known_times(
    timed: Sequence[tuple[Sequence[Kernel], FloatArray]],
) -> tuple[list[Kernel], FloatArray, npt.NDArray[np.int64]]:
    """All kernels whose time is known, their times, and the number of each one's network."""
    times = np.concatenate([network_times for _, network_times in timed])
    owner = np.repeat(np.arange(len(timed)), [len(kernels) for kernels, _ in timed])
    known = ~np.isnan(times)
    kernels = [kernel for network_kernels, _ in timed for kernel in network_kernels]
    return list(itertools.compress(kernels, known)), times[known], owner[known]


def _known_kernels(network: Network) -> Sequence[Kernel]:
    if not network.kernels:
        raise InputError(
            f"kernel-sum needs the kernels of network {network.name!r}, which the toolchain of "
            f"{network.platform} finds (tvm_costmodel.kernel_finding.KernelFinder); with "
            "kernels=guess it needs none"
        )
    return network.kernels
