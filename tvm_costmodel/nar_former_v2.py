"""NAR-Former V2 (Yi et al., NeurIPS 2023) for the latency of whole networks, equations 5-12.

The text is followed to the letter, and where it is silent the authors' public code is: widths,
initialization, ReLU inside the feed-forward network, the sum over the nodes. As there, no layer
projects the tokens before the first block: its own matrices W_a and W_r map the features to the
width, while its W_d and W_q act on the features as they come. The public code adds to the text a
scale on the feed-forward branch (here ``branch_scale``, off by default), and a ReLU and dropout
after the L2 norm and a LayerNorm per group, which are left out.

Shape suffixes: N nodes of all graphs, E directed edges, G graphs, C features that enter a block,
D width, S static features, K groups.
"""

# ruff: noqa: N803, N806 (shape suffixes)
from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from relay_frontend.tokens import GraphTokens
from tvm_costmodel.runtime import NarFormerV2Config

__all__ = ["Block", "GraphBatch", "GroupedLinear", "NarFormerV2", "NarFormerV2Config"]


@dataclass(frozen=True, eq=False, kw_only=True)
class GraphBatch:
    """Several graphs as one whose adjacency is block-diagonal.

    Args:
        node_features: ``[N, C]``, the nodes of the first graph first.
        edge_index: ``[2, E]``, sources and destinations, both directions of every edge.
        static_features: ``[G, S]``.
        graph_index: ``[N]``, the graph of each node.
    """

    node_features: Tensor
    edge_index: Tensor
    static_features: Tensor
    graph_index: Tensor

    @classmethod
    def from_tokens(cls, graphs: Sequence[GraphTokens]) -> GraphBatch:
        """Batch ``graphs`` (at least one) on the CPU."""
        sizes = [graph.num_nodes for graph in graphs]
        offsets = np.cumsum([0, *sizes[:-1]])
        edges = [graph.edge_index + offset for graph, offset in zip(graphs, offsets, strict=True)]
        return cls(
            node_features=torch.from_numpy(np.concatenate([g.node_features for g in graphs])),
            edge_index=torch.from_numpy(np.concatenate(edges, axis=1)),
            static_features=torch.from_numpy(np.stack([g.static_features for g in graphs])),
            graph_index=torch.from_numpy(np.repeat(np.arange(len(graphs)), sizes)),
        )

    def to(self, device: torch.device) -> GraphBatch:
        """The same batch on ``device``."""
        return GraphBatch(
            node_features=self.node_features.to(device),
            edge_index=self.edge_index.to(device),
            static_features=self.static_features.to(device),
            graph_index=self.graph_index.to(device),
        )


def graph_attention(x_NC: Tensor, h_NC: Tensor, edge_index_2E: Tensor) -> Tensor:
    r"""Norm(S) H with S = (X X^T / sqrt(d)) * A, equations 9 and 10, in O(E C).

    Only the scores of edges are computed. 1 / sqrt(d) cancels in Norm and is left out. A node
    without neighbours aggregates to 0.
    """
    source_E, target_E = edge_index_2E
    score_E = (x_NC.index_select(0, source_E) * x_NC.index_select(0, target_E)).sum(-1)
    total_N = score_E.new_zeros(len(h_NC)).index_add(0, target_E, score_E)
    weight_E1 = (score_E / total_N.index_select(0, target_E)).unsqueeze(-1)
    messages_EC = weight_E1 * h_NC.index_select(0, source_E)
    return torch.zeros_like(h_NC).index_add(0, target_E, messages_EC)


class GroupedLinear(nn.Module):
    """A linear map within each of K equal groups of features: ``[N, in]`` to ``[N, out]``."""

    def __init__(self, in_features: int, out_features: int, groups: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(
            torch.empty(groups, in_features // groups, out_features // groups)
        )
        self.bias = nn.Parameter(torch.empty(groups, 1, out_features // groups))
        bound = 1 / math.sqrt(in_features // groups)  # that of nn.Linear on one group
        nn.init.uniform_(self.weight, -bound, bound)
        nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        groups, inputs, _ = self.weight.shape
        x_KN = x.reshape(len(x), groups, inputs).transpose(0, 1)
        return torch.baddbmm(self.bias, x_KN, self.weight).transpose(0, 1).flatten(1)

    def extra_repr(self) -> str:
        groups, inputs, outputs = self.weight.shape
        return f"{groups * inputs}, {groups * outputs}, groups={groups}"


class Block(nn.Module):
    r"""One graph-aided Transformer block; ``[N, C]`` to ``[N, D]``.

    .. math::
        \tilde H &= \sigma(W_d D + b_d) \odot H \\
        X &= \sigma(W_q \tilde H + b_q), \quad S = (X X^T / \sqrt d) \odot A \\
        \hat H &= L_2(W_a (\mathrm{Norm}(S) \tilde H) + b_a + W_r \tilde H) \\
        H' &= \mathrm{GFFN}(\mathrm{LN}(\hat H)) + \hat H
    """

    def __init__(self, features: int, config: NarFormerV2Config) -> None:
        super().__init__()
        width, hidden = config.width, config.width * config.ffn_expansion
        self.degree_gate = nn.Linear(1, features)
        self.query = nn.Linear(features, features)
        self.aggregate = nn.Linear(features, width)
        self.root = nn.Linear(features, width, bias=False)
        self.norm = nn.LayerNorm(width)
        self.ffn_up = GroupedLinear(width, hidden, config.ffn_groups)
        self.ffn_down = GroupedLinear(hidden, width, config.ffn_groups)
        scale = config.branch_scale
        self.branch_scale = None if scale is None else nn.Parameter(torch.full((width,), scale))

    def forward(self, h_NC: Tensor, edge_index_2E: Tensor, degree_N1: Tensor) -> Tensor:
        h_NC = torch.sigmoid(self.degree_gate(degree_N1)) * h_NC
        x_NC = torch.sigmoid(self.query(h_NC))
        z_ND = self.aggregate(graph_attention(x_NC, h_NC, edge_index_2E))
        h_ND = functional.normalize(z_ND + self.root(h_NC), dim=-1)
        branch_ND: Tensor = self.ffn_down(functional.relu(self.ffn_up(self.norm(h_ND))))
        if self.branch_scale is not None:
            branch_ND = self.branch_scale * branch_ND
        return branch_ND + h_ND


class NarFormerV2(nn.Module):
    """Blocks, the sum over the nodes of a graph, the static features, and the head (equation 12).

    ``-logsigmoid`` is positive, so every prediction is; it counts in ``config.latency_scale`` ms.
    """

    def __init__(self, config: NarFormerV2Config) -> None:
        super().__init__()
        self.config = config
        features = [config.num_features] + [config.width] * (config.num_blocks - 1)
        self.blocks = nn.ModuleList(Block(size, config) for size in features)
        self.static = nn.Linear(config.num_static, config.width)
        self.fc1 = nn.Linear(2 * config.width, config.width)
        self.fc2 = nn.Linear(config.width, config.width)
        self.fc3 = nn.Linear(config.width, 1)

    def forward(self, batch: GraphBatch) -> Tensor:
        """Predicted latencies in ms, ``[G]``."""
        h_NC = batch.node_features
        degree_N1 = torch.bincount(batch.edge_index[1], minlength=len(h_NC)).to(h_NC).unsqueeze(-1)
        for block in self.blocks:
            h_NC = block(h_NC, batch.edge_index, degree_N1)
        static_GD = functional.relu(self.static(batch.static_features))
        sum_GD = torch.zeros_like(static_GD).index_add(0, batch.graph_index, h_NC)
        z_GD = functional.relu(
            self.fc2(functional.relu(self.fc1(torch.cat([sum_GD, static_GD], dim=-1))))
        )
        return -functional.logsigmoid(self.fc3(z_GD)).squeeze(-1) * self.config.latency_scale

    def weights(self) -> dict[str, npt.NDArray[np.float32]]:
        """Copies of the weights by name, for a checkpoint or the numpy runtime."""
        return {name: w.detach().cpu().numpy().copy() for name, w in self.state_dict().items()}
