"""BRP-NAS (Dudziak et al., NeurIPS 2020, section 3.1): a graph convolutional network for latency.

Four layers of 600 units over the data flow of one-hot operators, and a *global node*, fed by every
other one, from which a linear layer reads the latency. It knows nothing of shapes. The graph is
that of the whole network, as NNLQP has it, or of the cell that it repeats, as in the paper itself.
Layers are those of Kipf and Welling (ICLR 2017), which the paper names. The public code adds to the
text, and so does this: LayerNorm after each layer, dropout, AdamW and the figures of its
configuration for latency (250 epochs, learning rate 4e-4, weight decay 5e-4). It trains on one
network at a time and its output is unbounded; here batches are of 16, and the output is positive,
as NNLQP's is.

Shape suffixes: N nodes, E directed edges, G graphs, D width.
"""

# ruff: noqa: N803, N806 (shape suffixes)
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from relay_frontend import cells, vocabulary
from relay_frontend.errors import InputError
from relay_frontend.tokens import undirected_edges
from tvm_costmodel.learning.graphs import Graph, GraphBatch, GraphStore
from tvm_costmodel.learning.torch_predictor import TorchPredictor
from tvm_costmodel.learning.trainer import TrainingConfig
from tvm_costmodel.predictors.base import FloatArray, Network
from tvm_costmodel.predictors.cell_graphs import one_hot_labels
from tvm_costmodel.predictors.geometric import GCNConv
from tvm_costmodel.predictors.outputs import LatencyOutput

Edge = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class BrpNasConfig:
    """Shape of the network; the defaults are the paper's.

    Args:
        width: units of a layer.
        num_layers: graph convolutions.
        dropout: share of the units that a training step leaves out.
        graph: whose operators are the nodes: those of the whole ``network``, or of the ``cell``
            that it repeats.
        vocabulary: version of the vocabulary of operators.
        labels: all labels that cells may have.

    Raises:
        InputError: another graph.
    """

    width: int = 600
    num_layers: int = 4
    dropout: float = 0.002
    graph: Literal["network", "cell"] = "network"
    vocabulary: int = vocabulary.VERSION
    labels: tuple[str, ...] = cells.NAS_BENCH_201

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", tuple(self.labels))  # a list where it comes from JSON
        if self.graph not in {"network", "cell"}:
            raise InputError(f"brp-nas: graph={self.graph!r}, expected network or cell")

    @property
    def num_labels(self) -> int:
        """Kinds of nodes, without the global one."""
        return vocabulary.SIZES[self.vocabulary] if self.graph == "network" else len(self.labels)


class BrpNas(TorchPredictor[Network]):
    """The GCN of BRP-NAS over operator graphs."""

    name: ClassVar[str] = "brp-nas"
    config_type = BrpNasConfig
    default_training = TrainingConfig(epochs=250, learning_rate=4e-4, weight_decay=5e-4)
    config: BrpNasConfig

    def encode(self, inputs: Sequence[Network]) -> list[Graph]:
        return [self._encode(network) for network in inputs]

    def make_model(self) -> nn.Module:
        return _Gcn(self.config)

    def calibrate(self, model: nn.Module, store: GraphStore, targets: FloatArray) -> None:
        assert isinstance(model, _Gcn)
        model.output.calibrate(targets, torch.zeros(len(store)))

    def _encode(self, network: Network) -> Graph:
        """One-hot operators, and the global node after them."""
        one_hot, edges = self._operators(network)
        count, size = one_hot.shape
        with_global = np.zeros((count + 1, size + 1), dtype=np.float32)
        with_global[:count, :size] = one_hot
        with_global[count, size] = 1
        to_global = [(node, count) for node in range(count)]
        return Graph(
            node_features=with_global,
            edge_index=undirected_edges([*edges, *to_global]),
            static_features=np.zeros(0, dtype=np.float32),
        )

    def _operators(self, network: Network) -> tuple[npt.NDArray[np.float32], Sequence[Edge]]:
        """One-hot operators, ``[num_operators, num_labels]``, and the edges between them."""
        if self.config.graph == "cell":
            if network.cell is None:
                raise InputError(
                    f"brp-nas[graph=cell]: network {network.name!r} repeats no known cell; choose "
                    "graph=network"
                )
            return one_hot_labels(network.cell, self.config.labels), network.cell.edges
        graph, version = network.graph, self.config.vocabulary
        one_hot = np.zeros((len(graph), self.config.num_labels), dtype=np.float32)
        one_hot[np.arange(len(graph)), [vocabulary.index(o.op, version) for o in graph]] = 1
        return one_hot, graph.edges


class _Gcn(nn.Module):
    def __init__(self, config: BrpNasConfig) -> None:
        super().__init__()
        features = [config.num_labels + 1]
        features += [config.width] * (config.num_layers - 1)
        self.layers = nn.ModuleList(GCNConv(size, config.width) for size in features)
        self.norms = nn.ModuleList(nn.LayerNorm(config.width) for _ in features)
        self.dropout = nn.Dropout(config.dropout)
        self.last = nn.Linear(config.width, 1)
        self.output = LatencyOutput()

    def forward(self, batch: GraphBatch) -> Tensor:
        """Predicted latencies in ms, ``[G]``."""
        edge_index_2E = downstream(batch.edge_index_2E)
        h_ND = batch.node_features_NC
        for layer, norm in zip(self.layers, self.norms, strict=True):
            h_ND = self.dropout(functional.relu(norm(layer(h_ND, edge_index_2E))))
        sizes_G = torch.bincount(batch.graph_index_N, minlength=batch.num_graphs)
        global_GD = h_ND.index_select(0, sizes_G.cumsum(0) - 1)
        latency_G: Tensor = self.output(self.last(global_GD).squeeze(-1))
        return latency_G


def downstream(edge_index_2E: Tensor) -> Tensor:
    """Those of the edges in both directions that run along the data flow."""
    source_E, target_E = edge_index_2E
    return edge_index_2E[:, source_E < target_E]
