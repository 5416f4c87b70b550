"""NAR-Former V2 for latency by the extension module, where it was built.

It computes what :class:`tvm_costmodel.runtime.NumpyPredictor` does, up to the rounding of float32,
on one core and without Python's lock. The environment variable ``TVM_COSTMODEL_NATIVE``, set to
``0``, turns it off.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from relay_frontend.native import extension
from relay_frontend.tokens import GraphTokens
from tvm_costmodel.predictors.nar_former_v2.config import NarFormerV2Config
from tvm_costmodel.runtime import Arrays, FloatArray, IntArray, NumpyPredictor, Runtime

module = extension("tvm_costmodel._forward")


def make_runtime(
    weights: Mapping[str, npt.NDArray[np.generic]], config: NarFormerV2Config
) -> Runtime:
    """The fastest runtime that there is in this process.

    Raises:
        CheckpointError: a switch of the configuration needs torch.
        InputError: the weights do not fit the configuration.
    """
    return (NumpyPredictor if module is None else NativePredictor)(weights, config)


def instruction_sets() -> tuple[str, ...]:
    """Those that the extension module can use on this processor, the fastest first."""
    return () if module is None else tuple(module.instruction_sets())


class NativePredictor(Runtime):
    """The runtime in C++.

    Args:
        weights: as for :class:`Runtime`.
        config: as for :class:`Runtime`.
        instructions: one of :func:`instruction_sets`; the first by default.
    """

    def __init__(
        self,
        weights: Mapping[str, npt.NDArray[np.generic]],
        config: NarFormerV2Config,
        instructions: str | None = None,
    ) -> None:
        self._instructions = instructions or instruction_sets()[0]
        super().__init__(weights, config)

    def _prepare(self, arrays: Arrays) -> None:
        assert module is not None
        self._model = module.Model(dict(arrays), self.config, self._instructions)

    def _predict(
        self, graphs: Sequence[GraphTokens], kernels: Sequence[IntArray] | None
    ) -> FloatArray:
        known = [None] * len(graphs) if kernels is None else kernels
        latencies: FloatArray = self._model.predict(
            [_arrays(graph, k) for graph, k in zip(graphs, known, strict=True)]
        )
        return latencies

    def _contributions(self, graph: GraphTokens, kernels: IntArray | None) -> FloatArray:
        parts: FloatArray = self._model.contributions(_arrays(graph, kernels))
        return parts


def _arrays(
    graph: GraphTokens, kernels: IntArray | None
) -> tuple[FloatArray, IntArray, FloatArray, IntArray | None]:
    return graph.node_features, graph.edge_index, graph.static_features, kernels
