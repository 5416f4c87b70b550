"""How the nodes of a cell become the accuracy of its network: hierarchical fusion.

Shape suffixes: N nodes of all graphs, G graphs, L blocks, D width.
"""

# ruff: noqa: N803, N806 (shape suffixes)
from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tvm_costmodel.learning.graphs import GraphBatch
from tvm_costmodel.predictors.nar_former_v2.config import NarFormerV2Config
from tvm_costmodel.predictors.nar_former_v2.head import Head
from tvm_costmodel.predictors.nar_former_v2.latency import sum_over_graphs


class HierarchicalReadout(nn.Module):
    """The weighted sum of the outputs of all blocks, with weights that the cell itself decides.

    Section 3.3: "we compute the weighted sum of the outputs of each transformer layer with adaptive
    weights"; an MLP with a sigmoid gives one weight per block from all of them.
    """

    def __init__(self, config: NarFormerV2Config) -> None:
        super().__init__()
        self.weights = nn.Sequential(
            nn.Linear(config.num_blocks * config.width, config.width),
            nn.ReLU(),
            nn.Linear(config.width, config.num_blocks),
            nn.Sigmoid(),
        )
        self.head = Head(config.width, config)

    def forward(self, layers: Sequence[Tensor], batch: GraphBatch, _static_GS: Tensor) -> Tensor:
        """Accuracies, ``[G]``; ``layers`` are the nodes after each block."""
        ones_N1 = layers[-1].new_ones(len(layers[-1]), 1)
        size_G1 = sum_over_graphs(ones_N1, batch).clamp(min=1)
        mean_GLD = torch.stack([sum_over_graphs(h, batch) / size_G1 for h in layers], dim=1)
        weight_GL = self.weights(mean_GLD.flatten(1))
        fused_GD = (weight_GL.unsqueeze(-1) * mean_GLD).sum(dim=1)
        y_G: Tensor = self.head(fused_GD, batch.domain_G)
        return y_G
