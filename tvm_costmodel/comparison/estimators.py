"""The predictors of a platform behind one face, each timed from the ONNX model to the estimate."""

from __future__ import annotations

import itertools
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx

from relay_frontend.errors import InputError
from relay_frontend.graph import OpGraph
from relay_frontend.kernel import Kernel
from relay_frontend.onnx import read_onnx
from tvm_costmodel.answering import (
    Answering,
    BlendAnswering,
    KernelSumAnswering,
    NarFormerV2Answering,
)
from tvm_costmodel.comparison.records import KernelOrigin, Prediction
from tvm_costmodel.cost_model import CostModel
from tvm_costmodel.predictors.base import FloatArray
from tvm_costmodel.predictors.blending import blended
from tvm_costmodel.predictors.guesses import running


@dataclass(frozen=True, eq=False, kw_only=True)
class Kernels:
    """The kernels of a network.

    Args:
        calls: in execution order; those of a guess by the number that fusion gives them.
        origin: who said so.
        seconds: what finding them took just now; nothing where a database remembers them.
    """

    calls: tuple[Kernel, ...]
    origin: KernelOrigin
    seconds: float = 0.0


@dataclass(frozen=True, eq=False, kw_only=True)
class Subject:
    """A network that was read, as estimators see it."""

    name: str
    model: onnx.ModelProto
    graph: OpGraph
    kernels: Kernels | None


@dataclass(frozen=True, eq=False, kw_only=True)
class Estimated:
    """A prediction, and what it is made of.

    Args:
        prediction: of the whole network.
        operators_ms: what each operator adds, ``[num_operators]``; None where it does not tell.
        kernels_ms: what each kernel call of the subject adds, ``[num_kernels]``; None likewise.
    """

    prediction: Prediction
    operators_ms: FloatArray | None = None
    kernels_ms: FloatArray | None = None


class Estimator(ABC):
    """Answers for networks of one platform with one checkpoint, which is loaded already."""

    needs_kernels: bool = False
    can_guess: bool = True
    """Whether the checkpoint has learned guessed kernels, where it needs any."""

    def __init__(self, answering: Answering) -> None:
        known = answering.known_networks
        self._known = None if known is None else frozenset(known.names)

    @abstractmethod
    def estimate(self, subject: Subject) -> Estimated:
        """The estimate for ``subject`` with its time."""

    def _is_known(self, subject: Subject) -> bool | None:
        return None if self._known is None else subject.name in self._known


class NarFormerV2Estimator(Estimator):
    """NAR-Former V2, which reads the network alone."""

    def __init__(self, answering: NarFormerV2Answering) -> None:
        super().__init__(answering)
        self._answering = answering
        self.tells_operators = answering.tells_operators

    def estimate(self, subject: Subject) -> Estimated:
        start = time.perf_counter()
        latency_ms = float(self._answering.predict([read_onnx(subject.model)])[0])
        seconds = time.perf_counter() - start
        return Estimated(
            prediction=Prediction(
                latency_ms=latency_ms,
                time_ms=1e3 * seconds,
                is_known=self._is_known(subject),
            ),
            operators_ms=self._operators_ms(subject.graph) if self.tells_operators else None,
        )

    def _operators_ms(self, graph: OpGraph) -> FloatArray:
        return self._answering.operator_latencies(graph).astype(np.float64)


class KernelSumEstimator(Estimator):
    """Kernel-sum, which adds up the kernels of the subject."""

    needs_kernels = True

    def __init__(self, answering: KernelSumAnswering) -> None:
        super().__init__(answering)
        self._predictor = answering.predictor
        self.can_guess = self._predictor.can_guess

    def estimate(self, subject: Subject) -> Estimated:
        kernels = subject.kernels
        if kernels is None:
            raise InputError(f"kernel-sum needs the kernels of network {subject.name!r}")
        start = time.perf_counter()
        times = (
            self._guessed(subject.graph, kernels.calls)
            if kernels.origin == "guess"
            else self._predictor.contributions(kernels.calls)
        )
        seconds = kernels.seconds + time.perf_counter() - start
        return Estimated(
            prediction=Prediction(
                latency_ms=float(times.sum()),
                time_ms=1e3 * seconds,
                kernels=kernels.origin,
                is_known=self._is_known(subject),
            ),
            kernels_ms=times,
        )

    def _guessed(self, graph: OpGraph, calls: Sequence[Kernel]) -> FloatArray:
        if self._predictor.can_guess:
            return self._predictor.guess(graph)
        # As if they were a compiler's; what is guessed to move nothing is not added up.
        runs = running(calls)
        times = np.zeros(len(calls))
        times[runs] = self._predictor.contributions(list(itertools.compress(calls, runs)))
        return times


class BlendEstimator(Estimator):
    """The mean of NAR-Former V2 and kernel-sum, which does not tell what it is made of."""

    needs_kernels = True

    def __init__(self, answering: BlendAnswering) -> None:
        super().__init__(answering)
        self._weight = answering.weight
        self._network = NarFormerV2Estimator(answering.network)
        self._kernel_sum = KernelSumEstimator(answering.kernel_sum)
        self.can_guess = self._kernel_sum.can_guess

    def estimate(self, subject: Subject) -> Estimated:
        by_network = self._network.estimate(subject).prediction
        by_kernels = self._kernel_sum.estimate(subject).prediction
        return Estimated(
            prediction=replace(
                by_kernels,
                latency_ms=blended(by_network.latency_ms, by_kernels.latency_ms, self._weight),
                time_ms=(by_network.time_ms or 0.0) + (by_kernels.time_ms or 0.0),
            )
        )


def load_estimators(
    platform: str, predictors: Sequence[str], checkpoints: str | None
) -> dict[str, Estimator]:
    """The estimators of a platform by the names of their predictors.

    Raises:
        InputError: there is no such predictor.
        UnknownPlatformError: no checkpoint is for such a platform, or those of several are.
        CheckpointError: a checkpoint is missing or damaged.
    """
    return {
        name: _estimator(
            CostModel.load(platform, predictor=name, checkpoints=checkpoints).answering
        )
        for name in dict.fromkeys(predictors)
    }


def _estimator(answering: Answering) -> Estimator:
    if isinstance(answering, BlendAnswering):
        return BlendEstimator(answering)
    if isinstance(answering, KernelSumAnswering):
        return KernelSumEstimator(answering)
    assert isinstance(answering, NarFormerV2Answering)
    return NarFormerV2Estimator(answering)
