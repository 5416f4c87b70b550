"""TNASP (Lu et al., NeurIPS 2021): a Transformer over cells with Laplacian positions, for accuracy.

A node is a linear map of its one-hot label plus one of its position, which is its entries in the
eigenvectors of the cell's normalized Laplacian. Transformer blocks attend to all nodes; their mean
passes two fully connected layers. The paper's self-evolution, which lets predictions on validation
cells correct the training, is left out: this is the row "TNASP" of the tables, not "TNASP + SE".
Eigenvectors are taken in a fixed sign. Three blocks with four heads; width and training are ours.

Shape suffixes: G graphs, L nodes of the largest cell, D width.
"""

# ruff: noqa: N806 (shape suffixes)
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from torch import Tensor, nn

from relay_frontend.cells import NAS_BENCH_201, Cell
from relay_frontend.tokens import undirected_edges
from tvm_costmodel.learning.graphs import Graph, GraphBatch, GraphStore
from tvm_costmodel.learning.torch_predictor import TorchPredictor
from tvm_costmodel.learning.trainer import TrainingConfig
from tvm_costmodel.predictors.attention import AttentionConfig, SelfAttentionBlock
from tvm_costmodel.predictors.base import FloatArray
from tvm_costmodel.predictors.cell_graphs import laplacian_encoding, one_hot_labels
from tvm_costmodel.predictors.geometric import to_dense_batch
from tvm_costmodel.predictors.outputs import AccuracyOutput


@dataclass(frozen=True, kw_only=True)
class TnaspConfig:
    """Shape of the network.

    Args:
        blocks: shape of the Transformer blocks.
        num_blocks: of them.
        eigenvectors: of the Laplacian that a position is made of; 7 hold all of eight nodes.
        labels: all labels that cells may have.
    """

    blocks: AttentionConfig = field(default_factory=lambda: AttentionConfig(width=128, heads=4))
    num_blocks: int = 3
    eigenvectors: int = 7
    labels: tuple[str, ...] = NAS_BENCH_201


class Tnasp(TorchPredictor[Cell]):
    """TNASP without self-evolution."""

    name: ClassVar[str] = "tnasp"
    task: ClassVar[str] = "accuracy"
    config_type = TnaspConfig
    default_training = TrainingConfig(
        epochs=300, batch_size=16, learning_rate=1e-4, weight_decay=0.01, loss="squared"
    )
    config: TnaspConfig

    def encode(self, inputs: Sequence[Cell]) -> list[Graph]:
        return [self._encode(cell) for cell in inputs]

    def make_model(self) -> nn.Module:
        return _Transformer(self.config)

    def calibrate(self, model: nn.Module, _store: GraphStore, targets: FloatArray) -> None:
        assert isinstance(model, _Transformer)
        model.output.calibrate(targets)

    def _encode(self, cell: Cell) -> Graph:
        labels = one_hot_labels(cell, self.config.labels)
        positions = laplacian_encoding(cell, self.config.eigenvectors)
        return Graph(
            node_features=np.concatenate([labels, positions], axis=1),
            edge_index=undirected_edges(cell.edges),
            static_features=np.zeros(0, dtype=np.float32),
        )


class _Transformer(nn.Module):
    def __init__(self, config: TnaspConfig) -> None:
        super().__init__()
        width = config.blocks.width
        self.num_labels = len(config.labels)
        self.embed = nn.Linear(self.num_labels, width)
        self.position = nn.Linear(config.eigenvectors, width)
        self.blocks = nn.ModuleList(
            SelfAttentionBlock(config.blocks) for _ in range(config.num_blocks)
        )
        self.norm = nn.LayerNorm(width)
        self.head = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1))
        self.output = AccuracyOutput()

    def forward(self, batch: GraphBatch) -> Tensor:
        """Predicted accuracies, ``[G]``."""
        labels, positions = batch.node_features_NC.tensor_split([self.num_labels], dim=1)
        x_GLD, mask_GL = to_dense_batch(
            self.embed(labels) + self.position(positions),
            batch.graph_index_N,
            batch_size=batch.num_graphs,
        )
        for block in self.blocks:
            x_GLD = block(x_GLD, mask_GL)
        real_GL1 = mask_GL.unsqueeze(-1)
        mean_GD = (self.norm(x_GLD) * real_GL1).sum(dim=1) / real_GL1.sum(dim=1)
        accuracy_G: Tensor = self.output(self.head(mean_GD).squeeze(1))
        return accuracy_G
