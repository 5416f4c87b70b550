"""How the nodes of a whole network become its latency.

Shape suffixes: N nodes of all graphs, G graphs, C features of the tokens, D width, S static
features, K costs of a prior, R rows of what was measured.
"""

# ruff: noqa: N803, N806 (shape suffixes)
from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from relay_frontend.tokens import NUM_COSTS
from tvm_costmodel.learning.graphs import GraphBatch
from tvm_costmodel.predictors.base import FloatArray
from tvm_costmodel.predictors.nar_former_v2.config import PRIOR_COSTS, NarFormerV2Config
from tvm_costmodel.predictors.nar_former_v2.head import Head, in_full
from tvm_costmodel.predictors.rates import fit_rates


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
        self.prior = CostPrior() if config.prior == "costs" else None

    def forward(self, layers: Sequence[Tensor], batch: GraphBatch, _static_GS: Tensor) -> Tensor:
        """Latencies, ``[G]``."""
        return sum_over_graphs(self.contributions(layers, batch), batch)

    def contributions(self, layers: Sequence[Tensor], batch: GraphBatch) -> Tensor:
        """Of each node, ``[N]``, none negative."""
        factor_N, prior_N = self.factors(layers, batch)
        return factor_N * prior_N

    def factors(self, layers: Sequence[Tensor], batch: GraphBatch) -> tuple[Tensor, Tensor]:
        """How often each node contributes its prior, and the priors, ``[N]`` each; 1 without."""
        factor_N: Tensor = self.head(
            layers[-1], batch.domain_G.index_select(0, batch.graph_index_N)
        )
        if self.prior is None:
            return factor_N, torch.ones_like(factor_N)
        return factor_N, self.prior(batch.node_features_NC)


class CostPrior(nn.Module):
    """What nodes would take at one rate for each of their costs, in ms.

    The costs are those that :func:`prior_costs` takes from tokens.
    """

    rates: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("rates", torch.ones(len(PRIOR_COSTS)))

    def forward(self, node_features_NC: Tensor) -> Tensor:
        """Of each node, ``[N]``."""
        # No matrix product, which autocasting would round to bfloat16.
        return (prior_costs(in_full(node_features_NC)) * self.rates).sum(dim=1)

    def calibrate(self, costs_RK: FloatArray, y_R: FloatArray, weight_R: FloatArray) -> None:
        """Fit the rates, none negative, to what was measured: least squares of relative errors.

        Args:
            costs_RK: of each row, summed over the nodes that were measured together.
            y_R: what they take in ms, positive.
            weight_R: of the squared error of the row.
        """
        self.rates.copy_(torch.from_numpy(fit_rates(costs_RK, y_R, weight_R)))


def prior_costs(node_features_NC: Tensor) -> Tensor:
    """The costs at the end of tokens, as :data:`PRIOR_COSTS` lists them, ``[N, 6]``.

    An operator that writes for others counts as a kernel: with tokens whose costs are those between
    kernels, the last one of a kernel does.
    """
    costs_NK = node_features_NC[:, -NUM_COSTS:].expm1()
    *compute, parameters_N, read_N, written_N, _ = costs_NK.unbind(dim=1)
    writes_N = (written_N > 0).to(costs_NK.dtype)
    return torch.stack([*compute, parameters_N + read_N + written_N, writes_N], dim=1)


def sum_over_graphs(value_N: Tensor, batch: GraphBatch) -> Tensor:
    """The sum of ``[N, ...]`` over the nodes of each graph, ``[G, ...]``."""
    value_N = in_full(value_N)
    empty = value_N.new_zeros(batch.num_graphs, *value_N.shape[1:])
    return empty.index_add(0, batch.graph_index_N, value_N)
