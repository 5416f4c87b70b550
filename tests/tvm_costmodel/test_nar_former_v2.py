"""The torch model: it is the paper's equations, whatever the order and the batching of nodes."""

# ruff: noqa: N803, N806 (shape suffixes)
from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("hypothesis")

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from relay_frontend.errors import InputError
from relay_frontend.tokens import GraphTokens
from tests.tvm_costmodel.graphs import SMALL, random_tokens, tokens_with_edges
from tvm_costmodel.nar_former_v2 import (
    Block,
    GraphBatch,
    GroupedLinear,
    NarFormerV2,
    NarFormerV2Config,
    graph_attention,
)
from tvm_costmodel.runtime import weight_shapes


def dense_graph_attention(
    x_NC: torch.Tensor, h_NC: torch.Tensor, adjacency_NN: torch.Tensor
) -> torch.Tensor:
    """Equations 9 and 10 as they are written, with all N x N scores."""
    s_NN = (x_NC @ x_NC.T / math.sqrt(x_NC.shape[1])) * adjacency_NN
    row_sums_N1 = s_NN.sum(-1, keepdim=True)
    norm_NN = torch.where(row_sums_N1 > 0, s_NN / row_sums_N1, torch.zeros_like(s_NN))
    return norm_NN @ h_NC


def dense_grouped_linear(layer: GroupedLinear, x: torch.Tensor) -> torch.Tensor:
    weight: torch.Tensor = torch.block_diag(*layer.weight)  # type: ignore[no-untyped-call]
    return x @ weight + layer.bias.flatten()


def dense_block(block: Block, h_NC: torch.Tensor, adjacency_NN: torch.Tensor) -> torch.Tensor:
    """Equations 5-11 as they are written."""
    degree_N1 = adjacency_NN.sum(-1, keepdim=True)
    gate_NC = torch.sigmoid(degree_N1 @ block.degree_gate.weight.T + block.degree_gate.bias)
    h_NC = gate_NC * h_NC
    x_NC = torch.sigmoid(h_NC @ block.query.weight.T + block.query.bias)
    aggregate_NC = dense_graph_attention(x_NC, h_NC, adjacency_NN)
    z_ND = aggregate_NC @ block.aggregate.weight.T + block.aggregate.bias
    h_ND = z_ND + h_NC @ block.root.weight.T
    h_ND = h_ND / h_ND.square().sum(-1, keepdim=True).sqrt()
    normed_ND = functional.layer_norm(h_ND, h_ND.shape[1:], block.norm.weight, block.norm.bias)
    hidden = torch.relu(dense_grouped_linear(block.ffn_up, normed_ND))
    return dense_grouped_linear(block.ffn_down, hidden) + h_ND


def adjacency_of(tokens: GraphTokens) -> torch.Tensor:
    adjacency = torch.zeros(tokens.num_nodes, tokens.num_nodes, dtype=torch.float64)
    adjacency[tokens.edge_index[1], tokens.edge_index[0]] = 1.0
    return adjacency


def permuted(tokens: GraphTokens, order: np.ndarray) -> GraphTokens:
    """The same graph with node ``order[i]`` of the old numbering as node ``i``."""
    renumbered = np.argsort(order)[tokens.edge_index]
    by_target = np.lexsort((renumbered[0], renumbered[1]))
    return GraphTokens(
        node_features=tokens.node_features[order],
        edge_index=renumbered[:, by_target],
        static_features=tokens.static_features,
    )


@pytest.fixture
def model() -> NarFormerV2:
    torch.manual_seed(0)
    return NarFormerV2(SMALL).double()


def predict(model: NarFormerV2, *graphs: GraphTokens) -> torch.Tensor:
    batch = GraphBatch.from_tokens(graphs)
    double = GraphBatch(
        node_features=batch.node_features.double(),
        edge_index=batch.edge_index,
        static_features=batch.static_features.double(),
        graph_index=batch.graph_index,
    )
    with torch.no_grad():
        result: torch.Tensor = model(double)
    return result


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
    h_NC = torch.from_numpy(tokens.node_features).double()
    adjacency = adjacency_of(tokens)
    sparse = block(h_NC, torch.from_numpy(tokens.edge_index), adjacency.sum(-1, keepdim=True))
    torch.testing.assert_close(sparse, dense_block(block, h_NC, adjacency), rtol=1e-10, atol=1e-10)


def test_prediction_does_not_depend_on_the_numbering_of_nodes(model: NarFormerV2) -> None:
    tokens = random_tokens(20, seed=1)
    shuffled = permuted(tokens, np.random.default_rng(2).permutation(20))
    assert not np.array_equal(shuffled.edge_index, tokens.edge_index)
    torch.testing.assert_close(predict(model, shuffled), predict(model, tokens), rtol=1e-12, atol=0)


def test_prediction_depends_on_edges_features_and_static_features(model: NarFormerV2) -> None:
    chain = tokens_with_edges(4, [(0, 1), (1, 2), (2, 3)])
    fork = tokens_with_edges(4, [(0, 1), (1, 2), (1, 3)])
    features = GraphTokens(-chain.node_features, chain.edge_index, chain.static_features)
    static = GraphTokens(chain.node_features, chain.edge_index, -chain.static_features)
    predictions = predict(model, chain, fork, features, static)
    assert len(set(predictions.tolist())) == 4


def test_batch_predicts_as_one_by_one(model: NarFormerV2) -> None:
    graphs = [random_tokens(n, seed=n) for n in (7, 1, 30, 2)]
    one_by_one = torch.cat([predict(model, graph) for graph in graphs])
    torch.testing.assert_close(predict(model, *graphs), one_by_one, rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    "tokens",
    [
        pytest.param(tokens_with_edges(1, []), id="single node"),
        pytest.param(tokens_with_edges(5, [(0, 1), (3, 4)]), id="isolated node"),
        pytest.param(tokens_with_edges(3, []), id="no edges"),
    ],
)
def test_nodes_without_neighbours_give_finite_predictions_and_gradients(
    tokens: GraphTokens,
) -> None:
    model = NarFormerV2(SMALL)
    prediction = model(GraphBatch.from_tokens([tokens]))
    prediction.sum().backward()
    assert torch.isfinite(prediction).all()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_isolated_node_aggregates_to_zero() -> None:
    edges = torch.tensor([[1, 0], [0, 1]])
    out = graph_attention(torch.rand(3, 4), torch.ones(3, 4), edges)
    torch.testing.assert_close(out, torch.tensor([[1.0], [1.0], [0.0]]).expand(3, 4))


def test_output_is_positive_and_counts_in_latency_scale(model: NarFormerV2) -> None:
    tokens = random_tokens(5, seed=0)
    scaled = NarFormerV2(replace(SMALL, latency_scale=250.0)).double()
    scaled.load_state_dict(model.state_dict())
    assert predict(model, tokens) > 0
    torch.testing.assert_close(predict(scaled, tokens), 250.0 * predict(model, tokens))


def test_weights_of_the_default_model_have_the_documented_names_and_shapes() -> None:
    config = NarFormerV2Config()
    shapes = {name: w.shape for name, w in NarFormerV2(config).weights().items()}
    assert shapes == weight_shapes(config)
    assert shapes["blocks.0.query.weight"] == (152, 152)
    assert shapes["blocks.0.aggregate.weight"] == (512, 152)
    assert shapes["blocks.1.ffn_up.weight"] == (8, 64, 256)
    assert shapes["fc1.weight"] == (512, 1024)


def test_branch_scale_is_a_learned_factor_on_the_feed_forward_branch() -> None:
    tokens = random_tokens(6, seed=0)
    h_NC, edges = torch.from_numpy(tokens.node_features), torch.from_numpy(tokens.edge_index)
    degree_N1 = torch.ones(6, 1)
    plain = Block(SMALL.num_features, SMALL)
    scaled = Block(SMALL.num_features, replace(SMALL, branch_scale=1e-4))
    missing = scaled.load_state_dict(plain.state_dict(), strict=False).missing_keys
    assert missing == ["branch_scale"]
    assert torch.equal(scaled.state_dict()["branch_scale"], torch.full((16,), 1e-4))
    out_ND = scaled(h_NC, edges, degree_N1)
    torch.testing.assert_close(out_ND.norm(dim=-1), torch.ones(6), rtol=1e-2, atol=0)
    scaled.load_state_dict({**plain.state_dict(), "branch_scale": torch.ones(16)})
    torch.testing.assert_close(scaled(h_NC, edges, degree_N1), plain(h_NC, edges, degree_N1))


def test_grouped_linear_keeps_groups_apart() -> None:
    layer = GroupedLinear(6, 4, groups=2)
    x = torch.randn(1, 6)
    changed = x.clone()
    changed[:, :3] += 1.0
    same = layer(x) == layer(changed)
    assert same.tolist() == [[False, False, True, True]]
    assert repr(layer) == "GroupedLinear(6, 4, groups=2)"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"width": 0}, "width must be positive, got 0"),
        ({"latency_scale": float("nan")}, "latency_scale must be positive, got nan"),
        ({"branch_scale": 0.0}, "branch_scale must be positive, got 0.0"),
        ({"width": 20, "ffn_groups": 8}, r"ffn_groups \(8\) must divide width \(20\)"),
    ],
)
def test_impossible_configuration_is_refused(values: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        NarFormerV2Config(**values)  # type: ignore[arg-type]
