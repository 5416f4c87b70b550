"""What training minimizes: losses between predictions and targets, and objectives of a step.

Shape suffixes: G graphs of the batch.
"""

# ruff: noqa: N803, N806 (shape suffixes)
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from tvm_costmodel.learning.graphs import Graph, GraphBatch, GraphStore

LossName = Literal["relative-squared", "log-squared", "squared"]
Loss = Callable[[Tensor, Tensor], Tensor]

Objective = Callable[[nn.Module, GraphBatch, Tensor, Tensor, torch.Generator], Tensor]
"""Loss of one step: ``objective(model, batch, y_G, index_G, generator)``.

``index_G`` are the positions of the batch's graphs in the training set, ``generator`` (on the CPU)
draws whatever is random.
"""

RANKING_WEIGHT = 0.1
CONSISTENCY_WEIGHT = 0.5


def relative_squared(y_hat_G: Tensor, y_G: Tensor) -> Tensor:
    """MSE(ŷ / y, 1): the error counts relative to the target, as in MAPE and Acc(δ)."""
    return (y_hat_G / y_G - 1).square().mean()


def log_squared(y_hat_G: Tensor, y_G: Tensor) -> Tensor:
    """MSE(log ŷ, log y): twice too much costs as much as half too little."""
    return (y_hat_G.log() - y_G.log()).square().mean()


def squared(y_hat_G: Tensor, y_G: Tensor) -> Tensor:
    """MSE(ŷ, y)."""
    return functional.mse_loss(y_hat_G, y_G)


LOSSES: dict[LossName, Loss] = {
    "relative-squared": relative_squared,
    "log-squared": log_squared,
    "squared": squared,
}


def sequence_ranking(y_hat_G: Tensor, y_G: Tensor, pairing_G: Tensor) -> Tensor:
    """SR of NAR-Former: L1 between the differences of paired predictions and of paired targets."""
    return functional.l1_loss(y_hat_G - y_hat_G[pairing_G], y_G - y_G[pairing_G])


def architecture_consistency(y_hat_G: Tensor, y_hat_copy_G: Tensor) -> Tensor:
    """AC of NAR-Former: L1 between the predictions of graphs and of their isomorphic copies."""
    return functional.l1_loss(y_hat_G, y_hat_copy_G)


def pointwise(loss: LossName) -> Objective:
    """The objective of a predictor that looks at each graph by itself."""
    function = LOSSES[loss]

    def objective(
        model: nn.Module, batch: GraphBatch, y_G: Tensor, _index_G: Tensor, _: torch.Generator
    ) -> Tensor:
        return function(model(batch).float(), y_G)

    return objective


class RankingAndConsistency:
    """``loss + 0.1 SR + 0.5 AC``, with which NAR-Former and NAR-Former V2 learn accuracies.

    Args:
        loss: of each graph by itself.
        copies: isomorphic copies of the training graphs with their nodes in another order, equally
            many of each graph, in the order of the graphs; every step draws one of them.
        num_graphs: size of the training set.
    """

    def __init__(self, loss: LossName, copies: Sequence[Graph], num_graphs: int) -> None:
        self._loss = LOSSES[loss]
        self._copies = list(copies)
        self._copies_per_graph = len(copies) // num_graphs
        self._store: GraphStore | None = None

    def __call__(
        self,
        model: nn.Module,
        batch: GraphBatch,
        y_G: Tensor,
        index_G: Tensor,
        generator: torch.Generator,
    ) -> Tensor:
        if self._store is None or self._store.device != y_G.device:
            self._store = GraphStore(self._copies, y_G.device)
        size = len(y_G)
        pairing_G = torch.randperm(size, generator=generator).to(y_G.device)
        drawn_G = torch.randint(self._copies_per_graph, (size,), generator=generator)
        copies = self._store.batch(index_G * self._copies_per_graph + drawn_G.to(y_G.device))
        y_hat_G, y_hat_copy_G = model(batch).float(), model(copies).float()
        return (
            self._loss(y_hat_G, y_G)
            + RANKING_WEIGHT * sequence_ranking(y_hat_G, y_G, pairing_G)
            + CONSISTENCY_WEIGHT * architecture_consistency(y_hat_G, y_hat_copy_G)
        )
