"""Losses are what their formulas say."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from torch import Tensor, nn

from tests.tvm_costmodel.batches import batch_of
from tests.tvm_costmodel.graphs import random_tokens
from tvm_costmodel.learning.graphs import Graph, GraphBatch
from tvm_costmodel.learning.losses import (
    RankingAndConsistency,
    architecture_consistency,
    log_squared,
    pointwise,
    relative_squared,
    sequence_ranking,
    squared,
)

Y_HAT = torch.tensor([2.0, 8.0])
Y = torch.tensor([4.0, 4.0])


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (relative_squared, (0.5**2 + 1.0**2) / 2),
        (log_squared, np.log(2) ** 2),
        (squared, (2.0**2 + 4.0**2) / 2),
    ],
)
def test_losses_of_each_prediction_by_itself(loss, expected) -> None:
    assert loss(Y_HAT, Y).item() == pytest.approx(expected)
    assert loss(Y, Y).item() == 0


def test_ranking_compares_differences_of_pairs() -> None:
    y_hat, y = torch.tensor([1.0, 2.0, 4.0]), torch.tensor([1.0, 3.0, 2.0])
    pairing = torch.tensor([1, 2, 0])
    # Differences -1, -2, 3 against -2, 1, 1.
    assert sequence_ranking(y_hat, y, pairing).item() == pytest.approx((1 + 3 + 2) / 3)
    assert sequence_ranking(y + 5, y, pairing).item() == 0


def test_consistency_compares_copies() -> None:
    assert architecture_consistency(Y_HAT, Y).item() == pytest.approx(3.0)


class _FirstFeature(nn.Module):
    """Predicts the sum of the first feature of a graph's nodes."""

    def forward(self, batch: GraphBatch) -> Tensor:
        empty = torch.zeros(batch.num_graphs)
        return empty.index_add(0, batch.graph_index_N, batch.node_features_NC[:, 0])


def _graph(value: float) -> Graph:
    return Graph(
        np.array([[value]], np.float32), np.zeros((2, 0), np.int64), np.zeros(0, np.float32)
    )


def test_pointwise_objective_is_the_loss_of_the_model() -> None:
    batch = batch_of(random_tokens(3, 0), random_tokens(4, 1))
    model, y = _FirstFeature(), torch.tensor([1.0, 2.0])
    found = pointwise("squared")(model, batch, y, torch.arange(2), torch.Generator())
    assert found == squared(model(batch), y)


def test_copies_belong_to_the_graphs_of_the_batch() -> None:
    graphs = [_graph(x) for x in (1.0, 2.0, 3.0)]
    copies = [_graph(x + away) for x in (1.0, 2.0, 3.0) for away in (0.5, -0.5)]
    objective = RankingAndConsistency("squared", copies, num_graphs=3)
    index = torch.tensor([2, 0])
    batch = GraphBatch.from_graphs([graphs[2], graphs[0]])
    y = torch.tensor([3.0, 1.0])
    generator = torch.Generator().manual_seed(0)
    # The predictions are right, so that squares and ranking are 0, and all copies are 0.5 away.
    losses = [objective(_FirstFeature(), batch, y, index, generator).item() for _ in range(5)]
    assert losses == pytest.approx([0.5 * 0.5] * 5)
