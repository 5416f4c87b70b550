"""Kernel-sum: predict each fused kernel of a network by gradient boosting, and add up.

The kernels are those that the compiler would really emit (:mod:`relay_frontend.kernels`); XGBoost
(Chen and Guestrin, KDD 2016) predicts the logarithm of each kernel's time from its operators, costs
and shapes. What happens between kernels is not in the sum.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from measure.records import KernelTimes
from relay_frontend.errors import InputError, MissingDependencyError
from relay_frontend.graph import TensorType
from relay_frontend.kernel import Kernel
from tvm_costmodel.checkpoint import CheckpointError

if TYPE_CHECKING:
    import xgboost

FloatArray = npt.NDArray[np.float64]

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


class KernelSum:
    """A trained kernel-sum predictor for one platform.

    Args:
        booster: predicts log(ms) from :func:`kernel_features`.
        words: the words of kernel kinds that the features know.
        description: platform, training data and quality, as plain JSON values.
    """

    def __init__(
        self, booster: xgboost.Booster, words: Sequence[str], description: Mapping[str, Any]
    ) -> None:
        self._booster = booster
        self.words = tuple(words)
        self.description = dict(description)

    @classmethod
    def fit(
        cls,
        networks: Sequence[KernelTimes],
        config: KernelSumConfig | None = None,
        description: Mapping[str, Any] | None = None,
    ) -> KernelSum:
        """Train on the measured kernels of ``networks``.

        The label of a kernel is the median of its samples: a kernel that ran alone has no other
        process's load in its lower tail. Equal calls are kept, so that the booster weighs kernels
        as often as networks use them.
        """
        config = config or KernelSumConfig()
        kernels = [kernel for network in networks for kernel in network.kernels]
        labels = np.concatenate([np.median(network.samples, axis=1) for network in networks])
        words = sorted({word for kernel in kernels for word in _words(kernel)})
        xgb = _xgboost()
        data = xgb.DMatrix(kernel_features(kernels, words), label=np.log(labels))
        parameters = {
            "objective": "reg:squarederror",
            "max_depth": config.max_depth,
            "eta": config.learning_rate,
            "subsample": config.subsample,
            "seed": config.seed,
            "tree_method": "hist",
        }
        booster = xgb.train(parameters, data, num_boost_round=config.num_trees)
        return cls(booster, words, {**(description or {}), "config": asdict(config)})

    def predict_kernels(self, kernels: Sequence[Kernel]) -> FloatArray:
        """Predicted time of each kernel call in ms, ``[num_kernels]``."""
        data = _xgboost().DMatrix(kernel_features(kernels, self.words))
        log_ms: FloatArray = self._booster.predict(data).astype(np.float64)
        return np.exp(log_ms)

    def predict(self, kernels: Sequence[Kernel]) -> float:
        """Predicted latency in ms of a network with these kernel calls."""
        return float(self.predict_kernels(kernels).sum())

    def save(self, directory: Path) -> None:
        """Write the predictor into ``directory``, in XGBoost's own format beside plain JSON."""
        directory.mkdir(parents=True, exist_ok=True)
        self._booster.save_model(directory / _MODEL_FILE)
        text = json.dumps(
            {"format_version": _FORMAT_VERSION, "words": self.words, **self.description}, indent=1
        )
        (directory / _DESCRIPTION_FILE).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, directory: Path) -> KernelSum:
        """Read what :meth:`save` wrote.

        Raises:
            CheckpointError: it is missing, damaged or of a newer format.
            MissingDependencyError: XGBoost is not installed.
        """
        description = read_description(directory)
        xgb = _xgboost()
        booster = xgb.Booster()
        try:
            booster.load_model(directory / _MODEL_FILE)
        except (OSError, ValueError, xgb.core.XGBoostError) as error:
            raise CheckpointError(f"kernel-sum checkpoint {directory}: {error}") from error
        return cls(booster, description.pop("words"), description)


def read_description(directory: Path) -> dict[str, Any]:
    """What a kernel-sum checkpoint says of itself, read without XGBoost.

    Raises:
        CheckpointError: it is missing, damaged or of a newer format.
    """
    path = directory / _DESCRIPTION_FILE
    try:
        description = dict(json.loads(path.read_text(encoding="utf-8")))
        version = description.pop("format_version")
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError(f"kernel-sum checkpoint {path}: {error}") from error
    if version != _FORMAT_VERSION:
        raise CheckpointError(
            f"kernel-sum checkpoint {path} has format {version}, this version of tvm-costmodel "
            f"reads {_FORMAT_VERSION}: update the package"
        )
    return description


def kernel_features(kernels: Sequence[Kernel], words: Sequence[str]) -> FloatArray:
    """What the booster sees of each kernel, ``[num_kernels, num_words + 4 + 24 + 1]``.

    How often each word occurs in its kind; log1p of FLOPs, bytes read and written, and FLOPs per
    byte; log1p of the extents of its first three arguments and its result; the number of arguments.
    """
    index = {word: i for i, word in enumerate(words)}
    counts = np.zeros((len(kernels), len(words)))
    for row, kernel in enumerate(kernels):
        for word in _words(kernel):
            if word in index:
                counts[row, index[word]] += 1
    costs = np.array([_costs(kernel) for kernel in kernels], dtype=np.float64).reshape(-1, 4)
    shapes = np.array([_extents(kernel) for kernel in kernels], dtype=np.float64)
    num_arguments = np.array([[len(kernel.arguments)] for kernel in kernels], dtype=np.float64)
    return np.concatenate([counts, np.log1p(costs), np.log1p(shapes), num_arguments], axis=1)


def _words(kernel: Kernel) -> list[str]:
    return kernel.kind.split("_")


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
