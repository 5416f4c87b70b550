"""Operators that are dropped while learning look as unknown ones will."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from relay_frontend.tokens import TokenConfig, tokenize
from tests.tvm_costmodel.predictors.networks import small_networks
from tvm_costmodel.learning.graphs import GraphBatch
from tvm_costmodel.predictors.nar_former_v2.dropout import OperatorDropout
from tvm_costmodel.predictors.nar_former_v2.predictor import as_graph

NETWORKS = [network.graph for network in small_networks()[:4]]
CONFIGS = (
    TokenConfig(),
    TokenConfig(
        values=("real", "position", "logarithm"), input_dims=2, divisors=(4,), node_position=True
    ),
    TokenConfig(vocabulary=1, values=("logarithm",), costs=True, frequencies=2),
)


def seen_by_the_objective(tokens: TokenConfig, probability: float, seed: int = 0) -> np.ndarray:
    seen: list[torch.Tensor] = []

    def objective(_model, batch, y_G, *_):  # noqa: N803 (an Objective)
        seen.append(batch.node_features_NC)
        return y_G.sum()

    dropout = OperatorDropout(tokens, probability).before(objective)
    batch = GraphBatch.from_graphs([as_graph(tokenize(g, tokens)) for g in NETWORKS])
    generator = torch.Generator().manual_seed(seed)
    dropout(torch.nn.Identity(), batch, torch.ones(4), torch.arange(4), generator)
    return seen[0].numpy()


@pytest.mark.parametrize("tokens", CONFIGS, ids=repr)
def test_a_dropped_operator_is_written_as_one_that_is_not_named(tokens: TokenConfig) -> None:
    found = seen_by_the_objective(tokens, 1.0 - 1e-9)
    without = replace(tokens, operators=("erf",))
    expected = [tokenize(graph, without).node_features for graph in NETWORKS]
    np.testing.assert_array_equal(found, np.concatenate(expected))


@pytest.mark.parametrize("tokens", CONFIGS, ids=repr)
def test_each_row_is_as_it_was_or_dropped(tokens: TokenConfig) -> None:
    plain, dropped = (
        np.concatenate([tokenize(graph, config).node_features for graph in NETWORKS])
        for config in (tokens, replace(tokens, operators=("erf",)))
    )
    found = seen_by_the_objective(tokens, 0.5, seed=1)
    kept = (found == plain).all(axis=1)
    assert (kept | (found == dropped).all(axis=1)).all()
    assert 0 < kept.sum() < len(kept)


def test_all_nodes_of_a_graph_with_one_operator_are_dropped_together() -> None:
    tokens = CONFIGS[0]
    found, start = seen_by_the_objective(tokens, 0.5, seed=2), 0
    for graph in NETWORKS:
        rows = found[start : start + len(graph)]
        start += len(graph)
        convolutions = [
            row[:32].argmax() for row, o in zip(rows, graph, strict=True) if o.op == "conv2d"
        ]
        assert len(set(convolutions)) == 1


def test_nothing_is_dropped_without_a_probability() -> None:
    tokens = CONFIGS[1]
    expected = np.concatenate([tokenize(graph, tokens).node_features for graph in NETWORKS])
    np.testing.assert_array_equal(seen_by_the_objective(tokens, 0.0), expected)
