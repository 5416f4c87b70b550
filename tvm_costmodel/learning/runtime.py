"""NAR-Former V2 for latency by torch, where many networks are asked for at once.

Answers as :class:`tvm_costmodel.runtime.Runtime` does, from the same checkpoint.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from relay_frontend.errors import InputError
from relay_frontend.tokens import GraphTokens
from tvm_costmodel.learning.graphs import GraphStore
from tvm_costmodel.learning.trainer import predict_store
from tvm_costmodel.predictors.nar_former_v2.predictor import LatencyNarFormerV2, as_graph


class TorchRuntime:
    """The predictor of a checkpoint on a device; threads may share it.

    Args:
        checkpoint: directory of a checkpoint of NAR-Former V2.
        device: ``cpu`` or ``cuda``.

    Raises:
        CheckpointError: it is missing or damaged.
        InputError: torch finds no such device.
    """

    def __init__(self, checkpoint: Path, device: str) -> None:
        if device == "cuda" and not torch.cuda.is_available():
            raise InputError("device cuda: torch finds none here; choose cpu")
        predictor = LatencyNarFormerV2.load(checkpoint)
        self._relations = predictor.config.model.relations
        self._model = predictor.model.to(device)
        self._device = torch.device(device)

    def predict(
        self,
        graphs: Sequence[GraphTokens],
        kernels: Sequence[npt.NDArray[np.int64]] | None = None,
    ) -> npt.NDArray[np.float32]:
        """See :meth:`tvm_costmodel.runtime.Runtime.predict`."""
        if not graphs:
            return np.empty(0, dtype=np.float32)
        known = [None] * len(graphs) if kernels is None else kernels
        encoded = [
            as_graph(graph, self._relations, group_index=groups)
            for graph, groups in zip(graphs, known, strict=True)
        ]
        latencies = predict_store(self._model, GraphStore(encoded, self._device))
        return latencies.astype(np.float32)
