"""A block is the paper's equations, computed on edges alone."""

# ruff: noqa: N803, N806 (shape suffixes)
from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("hypothesis")

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from tests.tvm_costmodel.batches import adjacency_of, batch_of, in_double
from tests.tvm_costmodel.graphs import SMALL, random_tokens
from tvm_costmodel.predictors.nar_former_v2.block import (
    Block,
    GroupedLinear,
    MeanAggregation,
    global_attention,
    graph_attention,
)
from tvm_costmodel.predictors.nar_former_v2.config import NarFormerV2Config


def row_normalized(s_NN: torch.Tensor) -> torch.Tensor:
    sums_N1 = s_NN.sum(-1, keepdim=True)
    return torch.where(sums_N1 > 0, s_NN / sums_N1, torch.zeros_like(s_NN))


def dense_graph_attention(
    x_NC: torch.Tensor, h_NC: torch.Tensor, adjacency_NN: torch.Tensor
) -> torch.Tensor:
    """Equations 9 and 10 as they are written, with all N x N scores."""
    return row_normalized((x_NC @ x_NC.T / math.sqrt(x_NC.shape[1])) * adjacency_NN) @ h_NC


def dense_grouped_linear(layer: GroupedLinear, x: torch.Tensor) -> torch.Tensor:
    weight: torch.Tensor = torch.block_diag(*layer.weight)  # type: ignore[no-untyped-call]
    return x @ weight + layer.bias.flatten()


def dense_block(block: Any, h_NC: torch.Tensor, adjacency_NN: torch.Tensor) -> torch.Tensor:
    """Equations 5-11 as they are written."""
    gate, relation = block.enhance.degree_gate, block.relations[0]
    degree_N1 = adjacency_NN.sum(-1, keepdim=True)
    h_NC = torch.sigmoid(degree_N1 @ gate.weight.T + gate.bias) * h_NC
    query = relation.attention.query
    x_NC = torch.sigmoid(h_NC @ query.weight.T + query.bias)
    aggregate_NC = dense_graph_attention(x_NC, h_NC, adjacency_NN)
    z_ND = aggregate_NC @ relation.aggregate.weight.T + relation.aggregate.bias
    h_ND = z_ND + h_NC @ block.root.weight.T
    h_ND = h_ND / h_ND.square().sum(-1, keepdim=True).sqrt()
    norm = block.ffn.norm
    normed_ND = functional.layer_norm(h_ND, h_ND.shape[1:], norm.weight, norm.bias)
    hidden = torch.relu(dense_grouped_linear(block.ffn.up, normed_ND))
    return dense_grouped_linear(block.ffn.down, hidden) + h_ND


def run(config: NarFormerV2Config, seed: int = 0) -> tuple[Any, torch.Tensor]:
    """A block with fixed weights, and what it makes of a fixed graph."""
    torch.manual_seed(0)
    block = Block(config.num_features, config).double()
    tokens = random_tokens(9, seed)
    batch = in_double(batch_of(tokens))
    degree_N1 = adjacency_of(tokens).sum(-1, keepdim=True)
    return block, block(batch.node_features_NC, degree_N1, batch)


graph_sizes = st.integers(min_value=1, max_value=24)
seeds = st.integers(min_value=0, max_value=2**32 - 1)
densities = st.sampled_from([0.0, 0.05, 0.3, 1.0])


@settings(deadline=None, max_examples=50, derandomize=True)
@given(num_nodes=graph_sizes, seed=seeds, density=densities)
def test_edge_list_attention_equals_the_dense_equations(
    num_nodes: int, seed: int, density: float
) -> None:
    tokens = random_tokens(num_nodes, seed, edge_probability=density)
    generator = torch.Generator().manual_seed(seed)
    x_NC = torch.rand(num_nodes, 9, dtype=torch.float64, generator=generator)
    h_NC = torch.randn(num_nodes, 9, dtype=torch.float64, generator=generator)
    sparse = graph_attention(x_NC, h_NC, torch.from_numpy(tokens.edge_index))
    dense = dense_graph_attention(x_NC, h_NC, adjacency_of(tokens))
    torch.testing.assert_close(sparse, dense, rtol=1e-10, atol=1e-10)


@settings(deadline=None, max_examples=25, derandomize=True)
@given(num_nodes=graph_sizes, seed=seeds, density=densities)
def test_block_equals_the_dense_equations(num_nodes: int, seed: int, density: float) -> None:
    tokens = random_tokens(num_nodes, seed, edge_probability=density)
    torch.manual_seed(seed)
    block = Block(SMALL.num_features, SMALL).double()
    batch, adjacency = in_double(batch_of(tokens)), adjacency_of(tokens)
    h_NC = batch.node_features_NC
    sparse = block(h_NC, adjacency.sum(-1, keepdim=True), batch)
    torch.testing.assert_close(sparse, dense_block(block, h_NC, adjacency), rtol=1e-10, atol=1e-10)


@settings(deadline=None, max_examples=25, derandomize=True)
@given(sizes=st.lists(graph_sizes, min_size=1, max_size=4), seed=seeds)
def test_global_attention_without_scores_equals_that_with_all_scores(
    sizes: list[int], seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    x_NC = torch.rand(sum(sizes), 7, dtype=torch.float64, generator=generator)
    h_NC = torch.randn(sum(sizes), 7, dtype=torch.float64, generator=generator)
    graph_index_N = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    same_graph_NN = (graph_index_N[:, None] == graph_index_N[None, :]).double()
    linear = global_attention(x_NC, h_NC, graph_index_N, len(sizes))
    dense = dense_graph_attention(x_NC, h_NC, same_graph_NN)
    torch.testing.assert_close(linear, dense, rtol=1e-10, atol=1e-10)


def test_global_attention_skips_graphs_without_nodes() -> None:
    h_NC = torch.randn(3, 2)
    out_NC = global_attention(torch.rand(3, 2), h_NC, torch.tensor([1, 1, 1]), 3)
    assert torch.isfinite(out_NC).all()


def test_mean_aggregation_is_the_mean_of_the_neighbours() -> None:
    tokens = random_tokens(12, seed=3)
    batch = in_double(batch_of(tokens))
    mean_NC = MeanAggregation(12)(batch.node_features_NC, batch.edge_index_2E, batch)
    expected = row_normalized(adjacency_of(tokens)) @ batch.node_features_NC
    torch.testing.assert_close(mean_NC, expected, rtol=1e-12, atol=1e-12)


def test_isolated_node_aggregates_to_zero() -> None:
    edges = torch.tensor([[1, 0], [0, 1]])
    out = graph_attention(torch.rand(3, 4), torch.ones(3, 4), edges)
    torch.testing.assert_close(out, torch.tensor([[1.0], [1.0], [0.0]]).expand(3, 4))


@pytest.mark.parametrize(
    "change",
    [
        {"enhance": False},
        {"attention": "global"},
        {"attention": "mean"},
        {"normalize": "layer"},
        {"normalize": "none"},
        {"activation": True},
        {"ffn": "plain"},
        {"ffn": "none"},
        {"group_norm": True},
        {"branch_scale": 1e-4},
    ],
    ids=str,
)
def test_every_switch_changes_what_a_block_computes(change: dict[str, Any]) -> None:
    _, paper = run(SMALL)
    _, changed = run(replace(SMALL, **change))
    assert torch.isfinite(changed).all()
    assert not torch.allclose(paper, changed, rtol=1e-3)


def test_gnn_row_of_table_5_is_equations_3_and_4() -> None:
    config = replace(SMALL, enhance=False, attention="mean", ffn="none")
    block, out_ND = run(config)
    tokens = random_tokens(9, seed=0)
    h_NC = torch.from_numpy(tokens.node_features).double()
    aggregate = block.relations[0].aggregate
    mean_NC = row_normalized(adjacency_of(tokens)) @ h_NC
    h_ND = mean_NC @ aggregate.weight.T + aggregate.bias + h_NC @ block.root.weight.T
    torch.testing.assert_close(out_ND, functional.normalize(h_ND), rtol=1e-10, atol=1e-10)
    assert sorted(name.split(".")[0] for name, _ in block.named_parameters()) == [
        "relations",
        "relations",
        "root",
    ]


def test_grouped_feed_forward_is_smaller_than_the_plain_one() -> None:
    grouped, plain = (Block(12, replace(SMALL, ffn=ffn)).ffn for ffn in ("grouped", "plain"))
    assert grouped.up.weight.numel() * SMALL.ffn_groups == plain.up.weight.numel()


def test_norm_by_groups_sees_each_group_by_itself() -> None:
    block, _ = run(replace(SMALL, group_norm=True))
    x = torch.randn(1, 16, dtype=torch.float64)
    changed = x.clone()
    changed[:, :4] *= 3.0
    changed[:, 0] += 1.0
    same = torch.isclose(block.ffn.norm(x), block.ffn.norm(changed))
    assert same[0, 4:].all()
    assert not same[0, :4].all()


def test_branch_scale_is_a_learned_factor_on_the_feed_forward_branch() -> None:
    plain, plain_ND = run(SMALL)
    scaled, scaled_ND = run(replace(SMALL, branch_scale=1e-4))
    missing = scaled.load_state_dict(plain.state_dict(), strict=False).missing_keys
    assert missing == ["ffn.branch_scale"]
    ones = torch.ones(9, dtype=torch.float64)
    torch.testing.assert_close(scaled_ND.norm(dim=-1), ones, rtol=1e-2, atol=0)
    scaled.load_state_dict({**plain.state_dict(), "ffn.branch_scale": torch.ones(16)})
    tokens = random_tokens(9, seed=0)
    batch = in_double(batch_of(tokens))
    degree_N1 = adjacency_of(tokens).sum(-1, keepdim=True)
    torch.testing.assert_close(scaled(batch.node_features_NC, degree_N1, batch), plain_ND)


def test_dropout_works_while_training_alone() -> None:
    block, evaluated = run(replace(SMALL, dropout=0.5))
    tokens = random_tokens(9, seed=0)
    batch = in_double(batch_of(tokens))
    degree_N1 = adjacency_of(tokens).sum(-1, keepdim=True)
    block.eval()
    again = block(batch.node_features_NC, degree_N1, batch)
    _, paper = run(SMALL)
    torch.testing.assert_close(again, paper)
    assert not torch.allclose(evaluated, paper)


def test_grouped_linear_keeps_groups_apart() -> None:
    layer = GroupedLinear(6, 4, groups=2)
    x_KdN = torch.randn(2, 3, 1)
    changed = x_KdN.clone()
    changed[0] += 1.0
    same = layer(x_KdN) == layer(changed)
    assert same.tolist() == [[[False], [False]], [[True], [True]]]
    assert repr(layer) == "GroupedLinear(6, 4, groups=2)"
