"""Neural Predictor, "NP" (Wen et al., ECCV 2020, section 3.2): a bidirectional GCN for accuracy.

Each of three layers takes the mean over a node and what it reads from, and over a node and what
reads from it, each through a matrix and ReLU of its own, and averages the two; width 144. The mean
over the nodes passes fully connected layers of 128 units and of 1. Trained with Adam on squared
errors, 300 epochs in batches of 10, learning rate 1e-4, weight decay 1e-3. The paper lets a
classifier sort out bad cells first, which is left out, as in NAR-Former V2's comparison; the
learning rate falls linearly, where the paper has a cosine.

Shape suffixes: N nodes, E directed edges, G graphs, D width.
"""

# ruff: noqa: N803, N806 (shape suffixes)
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from relay_frontend.cells import NAS_BENCH_201, Cell
from relay_frontend.tokens import undirected_edges
from tvm_costmodel.learning.graphs import Graph, GraphBatch, GraphStore
from tvm_costmodel.learning.torch_predictor import TorchPredictor
from tvm_costmodel.learning.trainer import TrainingConfig
from tvm_costmodel.predictors.base import FloatArray
from tvm_costmodel.predictors.cell_graphs import one_hot_labels
from tvm_costmodel.predictors.geometric import SAGEConv, global_mean_pool
from tvm_costmodel.predictors.outputs import AccuracyOutput


@dataclass(frozen=True, kw_only=True)
class NeuralPredictorConfig:
    """Shape of the network; the defaults are the paper's.

    Args:
        width: features of a node.
        num_layers: graph convolutions.
        hidden: units of the layer before the last.
        dropout: share of the units that a training step leaves out, after every convolution and
            before the last layer.
        labels: all labels that cells may have.
    """

    width: int = 144
    num_layers: int = 3
    hidden: int = 128
    dropout: float = 0.1
    labels: tuple[str, ...] = NAS_BENCH_201


class NeuralPredictor(TorchPredictor[Cell]):
    """The bidirectional GCN over cells."""

    name: ClassVar[str] = "neural-predictor"
    task: ClassVar[str] = "accuracy"
    config_type = NeuralPredictorConfig
    default_training = TrainingConfig(
        epochs=300, batch_size=10, learning_rate=1e-4, weight_decay=1e-3, loss="squared"
    )
    config: NeuralPredictorConfig

    def encode(self, inputs: Sequence[Cell]) -> list[Graph]:
        return [
            Graph(
                node_features=one_hot_labels(cell, self.config.labels),
                edge_index=undirected_edges(cell.edges),
                static_features=np.zeros(0, dtype=np.float32),
            )
            for cell in inputs
        ]

    def make_model(self) -> nn.Module:
        return _BidirectionalGcn(self.config)

    def calibrate(self, model: nn.Module, _store: GraphStore, targets: FloatArray) -> None:
        assert isinstance(model, _BidirectionalGcn)
        model.output.calibrate(targets)


class _BidirectionalGcn(nn.Module):
    def __init__(self, config: NeuralPredictorConfig) -> None:
        super().__init__()
        features = [len(config.labels)] + [config.width] * (config.num_layers - 1)
        self.down, self.up = (
            nn.ModuleList(_mean_convolution(size, config.width) for size in features)
            for _ in range(2)
        )
        self.dropout = nn.Dropout(config.dropout)
        self.hidden = nn.Linear(config.width, config.hidden)
        self.last = nn.Linear(config.hidden, 1)
        self.output = AccuracyOutput()

    def forward(self, batch: GraphBatch) -> Tensor:
        """Predicted accuracies, ``[G]``."""
        h_ND = batch.node_features_NC
        down_2E, up_2E = _with_self_loops(batch.edge_index_2E, len(h_ND))
        for down, up in zip(self.down, self.up, strict=True):
            both_ND = functional.relu(down(h_ND, down_2E)) + functional.relu(up(h_ND, up_2E))
            h_ND = self.dropout(both_ND / 2)
        mean_GD = global_mean_pool(h_ND, batch.graph_index_N, batch.num_graphs)
        z_GD = self.dropout(functional.relu(self.hidden(mean_GD)))
        accuracy_G: Tensor = self.output(self.last(z_GD).squeeze(1))
        return accuracy_G


def _mean_convolution(inputs: int, outputs: int) -> SAGEConv:
    """``D^-1 (A + I) V W`` on edges that include the self loops."""
    return SAGEConv(inputs, outputs, aggr="mean", root_weight=False, bias=False)


def _with_self_loops(edge_index_2E: Tensor, num_nodes: int) -> tuple[Tensor, Tensor]:
    """Edges along the data flow and edges against it, each with an edge of every node to itself."""
    source_E, target_E = edge_index_2E
    loop_2N = torch.arange(num_nodes, device=edge_index_2E.device).expand(2, -1)
    down_2E, up_2E = (
        torch.cat([edge_index_2E[:, chosen_E], loop_2N], dim=1)
        for chosen_E in (source_E < target_E, source_E > target_E)
    )
    return down_2E, up_2E
