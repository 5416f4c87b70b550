"""Kernel-sum: predict each fused kernel of a network by gradient boosting, and add up.

The kernels are those that the compiler would really emit (:mod:`relay_frontend.kernels`); XGBoost
(Chen and Guestrin, KDD 2016) predicts the logarithm of each kernel's time from its operators, costs
and shapes. What happens between kernels is not in the sum.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from relay_frontend.errors import InputError, MissingDependencyError
from relay_frontend.graph import TensorType
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
from tvm_costmodel.predictors.storage import (
    encode_description,
    read_bytes,
    sha256,
    write_directory,
)
from tvm_costmodel.predictors.storage import read_description as read_json

if TYPE_CHECKING:
    import xgboost
    from typing_extensions import Self

_MODEL_FILE = "kernels.ubj"
_DESCRIPTION_FILE = "kernel-sum.json"
_FORMAT_VERSION = 1
_NUM_ARGUMENTS = 3  # data, weight, bias or residual
_NUM_DIMS = 6  # NCHW4c weights have six


@dataclass(frozen=True, kw_only=True)
class KernelSumConfig:
    """How the booster is grown.

    Args:
        num_trees: boosting rounds.
        max_depth: of a tree.
        learning_rate: weight of each tree.
        subsample: share of the kernels that a tree sees.
        seed: of the sampling.
    """

    num_trees: int = 400
    max_depth: int = 6
    learning_rate: float = 0.05
    subsample: float = 0.8
    seed: int = 0


class KernelSum(Predictor[Network]):
    """A kernel-sum predictor for one platform.

    Args:
        config: how it is grown.
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
        self._words: tuple[str, ...] = ()
        self._booster: xgboost.Booster | None = None

    def fit(
        self,
        inputs: Sequence[Network],
        targets: FloatArray,
        *,
        validation: tuple[Sequence[Network], FloatArray] | None = None,
        progress: Progress = silent,
    ) -> None:
        """Learn the measured kernels of the networks; their latencies are not looked at.

        Raises:
            InputError: a network has no kernels, or none that were timed.
        """
        checked_targets(self.name, inputs, targets)
        measured = [measured_kernels(self.name, network) for network in inputs]
        kernels = [kernel for network_kernels, _ in measured for kernel in network_kernels]
        self.fit_kernels(kernels, np.concatenate([times for _, times in measured]), progress)
        steps = self.config.num_trees
        error = validation_mape(self, validation)
        progress(FitEvent(step=steps, steps=steps, validation=error))

    def fit_kernels(
        self, kernels: Sequence[Kernel], times_ms: FloatArray, progress: Progress = silent
    ) -> None:
        """Learn the time of each kernel call, ``[num_kernels]`` in ms.

        Equal calls are to be given as often as networks make them, so that the booster weighs
        kernels as often as they are used. The median of a kernel's samples is the time to give: a
        kernel that ran alone has no other process's load in its lower tail.
        """
        config = self.config
        words = tuple(sorted({word for kernel in kernels for word in kernel_words(kernel)}))
        xgb = _xgboost()
        data = xgb.DMatrix(kernel_features(kernels, words), label=np.log(times_ms))
        parameters = {
            "objective": "reg:squarederror",
            "max_depth": config.max_depth,
            "eta": config.learning_rate,
            "subsample": config.subsample,
            "seed": config.seed,
            "tree_method": "hist",
        }
        booster = xgb.Booster(parameters, [data])
        for tree in range(config.num_trees):
            booster.update(data, tree)
            if tree + 1 < config.num_trees:
                progress(FitEvent(step=tree + 1, steps=config.num_trees))
        self._words, self._booster = words, booster
        self.description["kernel_calls"] = len(kernels)

    def predict(self, inputs: Sequence[Network]) -> FloatArray:
        self._fitted()
        return np.array([self.latency_ms(_known_kernels(network)) for network in inputs])

    def predict_kernels(self, kernels: Sequence[Kernel]) -> FloatArray:
        """Predicted time of each kernel call in ms, ``[num_kernels]``."""
        data = _xgboost().DMatrix(kernel_features(kernels, self._words))
        log_ms: FloatArray = self._fitted().predict(data).astype(np.float64)
        return np.exp(log_ms)

    def latency_ms(self, kernels: Sequence[Kernel]) -> float:
        """Predicted latency in ms of a network with these kernel calls."""
        return float(self.predict_kernels(kernels).sum())

    def save(self, directory: Path) -> None:
        """Write the predictor as ``directory``, in XGBoost's own format beside plain JSON."""
        booster = bytes(self._fitted().save_raw("ubj"))
        values = {"words": self._words, **self.description, "model_sha256": sha256(booster)}
        description = encode_description(_FORMAT_VERSION, values)
        write_directory(directory, {_MODEL_FILE: booster, _DESCRIPTION_FILE: description})

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Read what :meth:`save` wrote.

        Raises:
            CheckpointError: it is missing, damaged or of a newer format.
            MissingDependencyError: XGBoost is not installed.
        """
        description = read_description(directory)
        content = read_bytes(directory, _MODEL_FILE)
        # The first checkpoints do not name their booster's digest.
        if description.pop("model_sha256", None) not in {None, sha256(content)}:
            raise CheckpointError(
                f"predictor {directory}: {_MODEL_FILE} is not the file that was saved with "
                f"{_DESCRIPTION_FILE} (SHA-256 differs): copy or train the predictor again"
            )
        xgb = _xgboost()
        booster = xgb.Booster()
        try:
            words = tuple(description.pop("words"))
            predictor = cls(KernelSumConfig(**description.pop("config")), description)
            booster.load_model(bytearray(content))
        except (KeyError, TypeError, ValueError, xgb.core.XGBoostError) as error:
            raise CheckpointError(f"kernel-sum checkpoint {directory}: {error!r}") from error
        predictor._words, predictor._booster = words, booster
        return predictor

    def describe(self) -> dict[str, Any]:
        return {"name": self.name, **self.description, "kernel_words": list(self._words)}

    def _fitted(self) -> xgboost.Booster:
        if self._booster is None:
            raise NotFittedError(f"{self.name} has no trees yet: fit or load it first")
        return self._booster


def read_description(directory: Path) -> dict[str, Any]:
    """What a kernel-sum checkpoint says of itself, read without XGBoost.

    Raises:
        CheckpointError: it is missing, damaged or of a newer format.
    """
    return read_json(directory, _DESCRIPTION_FILE, _FORMAT_VERSION)


def kernel_features(kernels: Sequence[Kernel], words: Sequence[str]) -> FloatArray:
    """What the booster sees of each kernel, ``[num_kernels, num_words + 4 + 24 + 1]``.

    How often each word occurs in its kind; log1p of FLOPs, bytes read and written, and FLOPs per
    byte; log1p of the extents of its first three arguments and its result; the number of arguments.
    """
    index = {word: i for i, word in enumerate(words)}
    counts = np.zeros((len(kernels), len(words)))
    for row, kernel in enumerate(kernels):
        for word in kernel_words(kernel):
            if word in index:
                counts[row, index[word]] += 1
    costs = np.array([_costs(kernel) for kernel in kernels], dtype=np.float64).reshape(-1, 4)
    shapes = np.array([_extents(kernel) for kernel in kernels], dtype=np.float64)
    num_arguments = np.array([[len(kernel.arguments)] for kernel in kernels], dtype=np.float64)
    return np.concatenate([counts, np.log1p(costs), np.log1p(shapes), num_arguments], axis=1)


def kernel_words(kernel: Kernel) -> list[str]:
    """The words of a kernel's kind."""
    return kernel.kind.split("_")


def _known_kernels(network: Network) -> Sequence[Kernel]:
    if not network.kernels:
        raise InputError(
            f"kernel-sum needs the kernels of network {network.name!r}, which the toolchain of "
            f"{network.platform} finds (tvm_costmodel.kernel_finding.KernelFinder); nn-meter "
            "guesses them"
        )
    return network.kernels


def _costs(kernel: Kernel) -> tuple[float, float, float, float]:
    moved = kernel.read_bytes + kernel.write_bytes
    return kernel.flops, kernel.read_bytes, kernel.write_bytes, kernel.flops / max(moved, 1)


def _extents(kernel: Kernel) -> list[int]:
    scalar = TensorType(())
    arguments = (*kernel.arguments, *[scalar] * _NUM_ARGUMENTS)[:_NUM_ARGUMENTS]
    result = kernel.results[0] if kernel.results else scalar
    padded = [(*t.shape, *[0] * _NUM_DIMS)[:_NUM_DIMS] for t in (*arguments, result)]
    return [extent for shape in padded for extent in shape]


def _xgboost() -> Any:
    """XGBoost, unless it would crash this process.

    The Relay build that installs today puts the system's OpenMP into the global scope, where
    XGBoost finds half of the calls that it means for its own copy.
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
