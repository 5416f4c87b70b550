"""How the nodes of a whole network become its latency.

Shape suffixes: N nodes of all graphs, G graphs, D width, S static features.
"""

# ruff: noqa: N803, N806 (shape suffixes)
from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from tvm_costmodel.learning.graphs import GraphBatch
from tvm_costmodel.predictors.nar_former_v2.config import NarFormerV2Config
from tvm_costmodel.predictors.nar_former_v2.head import Head, in_full


class PooledReadout(nn.Module):
    """The sum over the nodes of a graph, joined by its static features, through the head."""

    def __init__(self, config: NarFormerV2Config) -> None:
        super().__init__()
        self.static = nn.Linear(config.num_static, config.width) if config.reads_static else None
        self.head = Head(config.width * (2 if config.reads_static else 1), config)

    def forward(self, layers: Sequence[Tensor], batch: GraphBatch, static_GS: Tensor) -> Tensor:
        """Latencies, ``[G]``; ``layers`` are the nodes after each block."""
        sum_GD = sum_over_graphs(layers[-1], batch)
        if self.static is not None:
            sum_GD = torch.cat([sum_GD, functional.relu(self.static(static_GS))], dim=-1)
        y_G: Tensor = self.head(sum_GD, batch.domain_G)
        return y_G


class ContributionsReadout(nn.Module):
    """Every node through the head to what it contributes; the contributions are summed."""

    def __init__(self, config: NarFormerV2Config) -> None:
        super().__init__()
        self.head = Head(config.width, config)

    def forward(self, layers: Sequence[Tensor], batch: GraphBatch, _static_GS: Tensor) -> Tensor:
        """Latencies, ``[G]``."""
        return sum_over_graphs(self.contributions(layers, batch), batch)

    def contributions(self, layers: Sequence[Tensor], batch: GraphBatch) -> Tensor:
        """Of each node, ``[N]``, none negative."""
        y_N: Tensor = self.head(layers[-1], batch.domain_G.index_select(0, batch.graph_index_N))
        return y_N


def sum_over_graphs(value_N: Tensor, batch: GraphBatch) -> Tensor:
    """The sum of ``[N, ...]`` over the nodes of each graph, ``[G, ...]``."""
    value_N = in_full(value_N)
    empty = value_N.new_zeros(batch.num_graphs, *value_N.shape[1:])
    return empty.index_add(0, batch.graph_index_N, value_N)
