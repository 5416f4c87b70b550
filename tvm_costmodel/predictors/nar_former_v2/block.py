r"""One graph-aided Transformer block of NAR-Former V2, equations 5-11, and its ablations.

.. math::
    \tilde H &= \sigma(W_d D + b_d) \odot H \\
    X &= \sigma(W_q \tilde H + b_q), \quad S = (X X^T / \sqrt d) \odot A \\
    \hat H &= L_2(W_a (\mathrm{Norm}(S) \tilde H) + b_a + W_r \tilde H) \\
    H' &= \mathrm{GFFN}(\mathrm{LN}(\hat H)) + \hat H

The text is followed to the letter, and where it is silent the authors' public code is: ReLU inside
the feed-forward network, and no layer that projects the tokens before the first block: its own
matrices W_a and W_r map the features to the width, while its W_d and W_q act on the features as
they come.

Shape suffixes: N nodes of all graphs, E directed edges, G graphs, C features that enter the block,
D width, K groups of features, d features of a group, M nodes of the largest graph.
"""

# ruff: noqa: N803, N806 (shape suffixes)
from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from tvm_costmodel.learning.graphs import GraphBatch
from tvm_costmodel.predictors.nar_former_v2.config import NarFormerV2Config


class Block(nn.Module):
    """``[N, C]`` to ``[N, D]``."""

    def __init__(self, features: int, config: NarFormerV2Config) -> None:
        super().__init__()
        self.enhance = TypeAwareEnhancement(features) if config.enhance else NoEnhancement()
        self.names = config.relations
        self.relations = nn.ModuleList(RelationAttention(features, config) for _ in self.names)
        self.root = nn.Linear(features, config.width, bias=False)
        self.normalize = NORMS[config.normalize](config.width)
        self.activation = nn.ReLU() if config.activation else nn.Identity()
        self.dropout = nn.Dropout(config.dropout)
        self.ffn = nn.Identity() if config.ffn == "none" else FeedForward(config)

    def forward(self, h_NC: Tensor, degree_N1: Tensor, batch: GraphBatch) -> Tensor:
        """The nodes of ``batch`` after the block."""
        h_NC = self.enhance(h_NC, degree_N1)
        z_ND = self.root(h_NC)
        for name, attention in zip(self.names, self.relations, strict=True):
            z_ND = z_ND + attention(h_NC, edges_of(batch, name), batch)
        h_ND = self.dropout(self.activation(self.normalize(z_ND)))
        out_ND: Tensor = self.ffn(h_ND)
        return out_ND


def edges_of(batch: GraphBatch, relation: str) -> Tensor:
    """The edge list of a relation, ``[2, E]``."""
    return batch.edge_index_2E if relation == "undirected" else batch.relations[relation]


class TypeAwareEnhancement(nn.Module):
    """TAEnhance(H, D) = sigmoid(W_d D + b_d) * H, equation 11."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.degree_gate = nn.Linear(1, features)

    def forward(self, h_NC: Tensor, degree_N1: Tensor) -> Tensor:
        """Each node gated by how many neighbours it has."""
        return torch.sigmoid(self.degree_gate(degree_N1)) * h_NC


class NoEnhancement(nn.Module):
    """H as it is: table 5 without TAEnhance."""

    def forward(self, h_NC: Tensor, _degree_N1: Tensor) -> Tensor:
        """``h_NC``."""
        return h_NC


class RelationAttention(nn.Module):
    """GraphAttn over one relation: Z = W_a (Norm(S) H) + b_a, equation 10; ``[N, D]``."""

    def __init__(self, features: int, config: NarFormerV2Config) -> None:
        super().__init__()
        self.attention = ATTENTIONS[config.attention](features)
        self.aggregate = nn.Linear(features, config.width)

    def forward(self, h_NC: Tensor, edges_2E: Tensor, batch: GraphBatch) -> Tensor:
        """What each node hears from those that it sees."""
        z_ND: Tensor = self.aggregate(self.attention(h_NC, edges_2E, batch))
        return z_ND


class GraphAttention(nn.Module):
    """Norm(S) H with S = (X X^T / sqrt(d)) * A, equations 8-10."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.query = nn.Linear(features, features)

    def forward(self, h_NC: Tensor, edges_2E: Tensor, _batch: GraphBatch) -> Tensor:
        """Neighbours, weighted by their scores."""
        return graph_attention(torch.sigmoid(self.query(h_NC)), h_NC, edges_2E)


class GlobalAttention(nn.Module):
    """Norm(S) H with S = X X^T / sqrt(d): every pair of nodes of a graph (table 6)."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.query = nn.Linear(features, features)

    def forward(self, h_NC: Tensor, _edges_2E: Tensor, batch: GraphBatch) -> Tensor:
        """All nodes of the graph, weighted by their scores."""
        x_NC = torch.sigmoid(self.query(h_NC))
        return global_attention(x_NC, h_NC, batch.graph_index_N, batch.num_graphs)


class MeanAggregation(nn.Module):
    """Norm(A) H: the mean of the neighbours, equation 3 (the GNN rows of table 5)."""

    def __init__(self, _features: int) -> None:
        super().__init__()

    def forward(self, h_NC: Tensor, edges_2E: Tensor, _batch: GraphBatch) -> Tensor:
        """Neighbours, all alike."""
        return weighted_mean(h_NC, h_NC.new_ones(edges_2E.shape[1]), edges_2E)


ATTENTIONS: dict[str, Callable[[int], nn.Module]] = {
    "graph": GraphAttention,
    "global": GlobalAttention,
    "mean": MeanAggregation,
}


def graph_attention(x_NC: Tensor, h_NC: Tensor, edges_2E: Tensor) -> Tensor:
    """Equations 9 and 10 in O(E C): only the scores of edges are computed.

    1 / sqrt(d) cancels in Norm and is left out.
    """
    source_E, target_E = edges_2E
    score_E = (x_NC.index_select(0, source_E) * x_NC.index_select(0, target_E)).sum(-1)
    return weighted_mean(h_NC, score_E.to(h_NC.dtype), edges_2E)


def weighted_mean(h_NC: Tensor, weight_E: Tensor, edges_2E: Tensor) -> Tensor:
    """The mean of each node's neighbours by positive weights; 0 for a node without neighbours."""
    source_E, target_E = edges_2E
    total_N = weight_E.new_zeros(len(h_NC)).index_add(0, target_E, weight_E)
    share_E1 = (weight_E / total_N.index_select(0, target_E)).unsqueeze(-1)
    messages_EC = share_E1 * h_NC.index_select(0, source_E)
    return torch.zeros_like(h_NC).index_add(0, target_E, messages_EC)


def global_attention(x_NC: Tensor, h_NC: Tensor, graph_index_N: Tensor, num_graphs: int) -> Tensor:
    """Attention over all pairs in O(N C^2), without scores: (X X^T) H = X (X^T H).

    The row sums of X X^T are X (X^T 1), so a column of ones beside H yields them.
    """
    sizes_G = torch.bincount(graph_index_N, minlength=num_graphs)
    largest = int(sizes_G.max())
    starts_G = sizes_G.cumsum(0) - sizes_G
    place_N = torch.arange(len(h_NC), device=h_NC.device) - starts_G[graph_index_N]
    row_N = graph_index_N * largest + place_N

    def padded(value_NC: Tensor) -> Tensor:
        flat = value_NC.new_zeros(num_graphs * largest, value_NC.shape[1])
        return flat.index_copy(0, row_N, value_NC).view(num_graphs, largest, -1)

    x_GMC = padded(x_NC.to(h_NC.dtype))
    ones_N1 = h_NC.new_ones(len(h_NC), 1)
    values_GMC = padded(torch.cat([h_NC, ones_N1], dim=1))
    sums_GMC = x_GMC @ (x_GMC.transpose(1, 2) @ values_GMC)
    sums_NC = sums_GMC.flatten(0, 1).index_select(0, row_N)
    return sums_NC[:, :-1] / sums_NC[:, -1:]


class L2Norm(nn.Module):
    """Every node's features on the unit sphere, equations 4 and 6."""

    def __init__(self, _width: int) -> None:
        super().__init__()

    def forward(self, h_ND: Tensor) -> Tensor:
        """Normalized ``h_ND``."""
        return functional.normalize(h_ND, dim=-1)


NORMS: dict[str, Callable[[int], nn.Module]] = {
    "l2": L2Norm,
    "layer": nn.LayerNorm,
    "none": lambda _width: nn.Identity(),
}


class FeedForward(nn.Module):
    """GFFN(LN(H)) + H, equation 7; with one group FFN(LN(H)) + H, equation 2."""

    def __init__(self, config: NarFormerV2Config) -> None:
        super().__init__()
        width, hidden = config.width, config.width * config.ffn_expansion
        self.norm = nn.GroupNorm(config.groups, width) if config.group_norm else nn.LayerNorm(width)
        self.up = GroupedLinear(width, hidden, config.groups)
        self.down = GroupedLinear(hidden, width, config.groups)
        scale = config.branch_scale
        self.branch_scale = None if scale is None else nn.Parameter(torch.full((width,), scale))

    def forward(self, h_ND: Tensor) -> Tensor:
        """``[N, D]`` to ``[N, D]``."""
        groups, size, _ = self.up.weight.shape
        # Groups are a few features wide: products are faster with the nodes innermost.
        x_KdN = self.norm(h_ND).T.contiguous().view(groups, size, len(h_ND))
        branch_KdN: Tensor = self.down(functional.relu(self.up(x_KdN)))
        branch_ND = branch_KdN.flatten(0, 1).T
        if self.branch_scale is not None:
            branch_ND = self.branch_scale * branch_ND
        return branch_ND + h_ND


class GroupedLinear(nn.Module):
    """A linear map within each of K equal groups: ``[K, in / K, N]`` to ``[K, out / K, N]``."""

    def __init__(self, in_features: int, out_features: int, groups: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(
            torch.empty(groups, in_features // groups, out_features // groups)
        )
        self.bias = nn.Parameter(torch.empty(groups, 1, out_features // groups))
        bound = 1 / math.sqrt(in_features // groups)  # that of nn.Linear on one group
        nn.init.uniform_(self.weight, -bound, bound)
        nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, x_KdN: Tensor) -> Tensor:
        """Mapped ``x_KdN``."""
        return torch.baddbmm(self.bias.mT, self.weight.mT, x_KdN)

    def extra_repr(self) -> str:
        """Sizes, for ``repr``."""
        groups, inputs, outputs = self.weight.shape
        return f"{groups * inputs}, {groups * outputs}, groups={groups}"
