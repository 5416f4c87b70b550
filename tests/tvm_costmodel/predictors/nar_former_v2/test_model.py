"""The whole module: whatever the order and the batching of nodes, with every switch."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from torch import nn

from relay_frontend.errors import InputError
from relay_frontend.tokens import GraphTokens
from tests.tvm_costmodel.batches import batch_of, in_double, weights_of
from tests.tvm_costmodel.graphs import SMALL, random_tokens, tokens_with_edges
from tvm_costmodel.learning.graphs import GraphBatch, GraphStore
from tvm_costmodel.learning.scales import Standardize
from tvm_costmodel.predictors.nar_former_v2.config import NarFormerV2Config
from tvm_costmodel.predictors.nar_former_v2.model import NarFormerV2
from tvm_costmodel.predictors.nar_former_v2.predictor import as_graph
from tvm_costmodel.weights import weight_shapes

ALL_RELATIONS = ("undirected", "forward", "backward", "siblings", "kernel")
CELLS = replace(SMALL, num_blocks=3, readout="hierarchical", static=False)
SWITCHES: dict[str, dict[str, Any]] = {
    "paper": {},
    "global": {"attention": "global"},
    "mean": {"attention": "mean"},
    "relations": {"relations": ALL_RELATIONS},
    "contributions": {"readout": "contributions"},
    "hierarchical": {"readout": "hierarchical", "num_blocks": 3},
    "no static features": {"static": False},
    "layer norm of inputs": {"input_norm": "layer"},
    "standardized inputs": {"input_norm": "standardize"},
    "exp": {"output": "exp"},
    "platforms": {"num_domains": 3},
    "platforms, contributions": {"num_domains": 3, "readout": "contributions"},
}


def permuted(tokens: GraphTokens, order: np.ndarray) -> GraphTokens:
    """The same graph with node ``order[i]`` of the old numbering as node ``i``."""
    renumbered = np.argsort(order)[tokens.edge_index]
    by_target = np.lexsort((renumbered[0], renumbered[1]))
    return GraphTokens(
        node_features=tokens.node_features[order],
        edge_index=renumbered[:, by_target],
        static_features=tokens.static_features,
    )


def make(config: NarFormerV2Config = SMALL) -> NarFormerV2:
    torch.manual_seed(0)
    return NarFormerV2(config).double()


def encode(tokens: GraphTokens, domain: int = 0) -> Any:
    groups = np.arange(tokens.num_nodes) // 3
    return as_graph(tokens, ALL_RELATIONS, group_index=groups, domain=domain)


def predict(model: NarFormerV2, *graphs: GraphTokens) -> torch.Tensor:
    batch = in_double(GraphBatch.from_graphs([encode(g, i % 3) for i, g in enumerate(graphs)]))
    with torch.no_grad():
        result: torch.Tensor = model(batch)
    return result


@pytest.fixture
def model() -> NarFormerV2:
    return make()


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
    predictions = [predict(model, graph).item() for graph in (chain, fork, features, static)]
    assert len(set(predictions)) == 4


@pytest.mark.parametrize("switches", SWITCHES.values(), ids=SWITCHES)
def test_batch_predicts_as_one_by_one(switches: dict[str, Any]) -> None:
    model = make(replace(SMALL, **switches))
    graphs = [random_tokens(n, seed=n) for n in (7, 1, 30)]
    together = predict(model, *graphs)
    for i, tokens in enumerate(graphs):
        batch = in_double(GraphBatch.from_graphs([encode(tokens, i)]))
        torch.testing.assert_close(model(batch)[0], together[i], rtol=1e-11, atol=0)


@pytest.mark.parametrize("switches", SWITCHES.values(), ids=SWITCHES)
@pytest.mark.parametrize(
    "tokens",
    [
        pytest.param(tokens_with_edges(1, []), id="single node"),
        pytest.param(tokens_with_edges(5, [(0, 1), (3, 4)]), id="isolated node"),
        pytest.param(tokens_with_edges(3, []), id="no edges"),
    ],
)
def test_nodes_without_neighbours_give_finite_predictions_and_gradients(
    tokens: GraphTokens, switches: dict[str, Any]
) -> None:
    model = NarFormerV2(replace(SMALL, **switches))
    prediction = model(GraphBatch.from_graphs([encode(tokens)]))
    prediction.sum().backward()
    assert torch.isfinite(prediction).all()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_every_weight_of_the_model_learns() -> None:
    config = replace(SMALL, relations=ALL_RELATIONS, num_domains=3, branch_scale=0.5)
    model = NarFormerV2(config)
    batch = GraphBatch.from_graphs([encode(random_tokens(20, seed=i), i) for i in range(3)])
    model(batch).sum().backward()
    unused = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert unused == []


def test_output_is_positive_and_counts_in_its_scale(model: NarFormerV2) -> None:
    tokens = random_tokens(5, seed=0)
    before = predict(model, tokens)
    model.scale.fill_(250.0)
    assert before > 0
    torch.testing.assert_close(predict(model, tokens), 250.0 * before)


def test_weights_of_the_default_model_have_the_documented_names_and_shapes() -> None:
    config = NarFormerV2Config()
    shapes = {name: w.shape for name, w in weights_of(NarFormerV2(config)).items()}
    assert shapes == weight_shapes(config)
    assert shapes["blocks.0.relations.0.attention.query.weight"] == (152, 152)
    assert shapes["blocks.0.relations.0.aggregate.weight"] == (512, 152)
    assert shapes["blocks.1.ffn.up.weight"] == (8, 64, 256)
    assert shapes["readout.head.fc1.weight"] == (512, 1024)


def test_contributions_explain_the_prediction() -> None:
    model = make(replace(SMALL, readout="contributions"))
    model.scale.fill_(7.0)
    graphs = [random_tokens(n, seed=n) for n in (4, 9)]
    batch = in_double(batch_of(*graphs))
    parts = model.contributions(batch)
    assert parts.shape == (13,)
    assert (parts > 0).all()
    sums = torch.stack([parts[:4].sum(), parts[4:].sum()])
    torch.testing.assert_close(sums, model(batch))


def test_pooled_predictions_have_no_contributions(model: NarFormerV2) -> None:
    with pytest.raises(InputError, match="readout 'pooled' does not sum over nodes"):
        model.contributions(in_double(batch_of(random_tokens(3, seed=0))))


def test_prediction_knows_the_platform() -> None:
    model = make(replace(SMALL, num_domains=3))
    tokens = random_tokens(6, seed=0)
    predictions = predict(model, tokens, tokens, tokens)
    assert len(set(predictions.tolist())) == 3


def test_hierarchical_fusion_weighs_the_mean_of_each_block() -> None:
    model = make(CELLS)
    tokens = random_tokens(5, seed=0)
    batch = in_double(batch_of(tokens))
    means = [h.mean(dim=0) for h in model.layers(batch)]
    readout: Any = model.readout
    weights = readout.weights(torch.cat(means))
    assert ((weights > 0) & (weights < 1)).all()
    fused = sum(w * mean for w, mean in zip(weights, means, strict=True))
    expected = readout.head(fused[None], batch.domain_G)
    torch.testing.assert_close(predict(model, tokens), expected)


def test_scales_come_from_the_training_data() -> None:
    graphs = [random_tokens(4, seed) for seed in range(3)]
    store = GraphStore([as_graph(g) for g in graphs])
    targets = np.array([2001.0, 1.0, 1001.0])
    scales = {}
    for name, switches in {
        "pooled": {},
        "contributions": {"readout": "contributions"},
        "hierarchical": {"readout": "hierarchical"},
        "exp": {"output": "exp"},
    }.items():
        model = NarFormerV2(replace(SMALL, **switches))
        model.calibrate(store, targets)
        scales[name] = model.scale.item()
    expected = {"pooled": 21.0, "contributions": 21.0 / 4, "hierarchical": 1.0, "exp": 1001.0}
    assert scales == pytest.approx(expected)


def test_standardized_inputs_have_the_deviation_of_the_training_data() -> None:
    graphs = [random_tokens(40, seed) for seed in range(3)]
    store = GraphStore([as_graph(g) for g in graphs])
    model = NarFormerV2(replace(SMALL, input_norm="standardize"))
    model.calibrate(store, np.ones(3))
    assert isinstance(model.input_norm, Standardize)
    assert isinstance(model.static_norm, Standardize)
    normed = model.input_norm(store.node_features)
    torch.testing.assert_close(normed.mean(dim=0), torch.zeros(12), atol=1e-5, rtol=0)
    torch.testing.assert_close(normed.std(dim=0, correction=0), torch.ones(12))


def test_accuracy_model_reads_no_static_features() -> None:
    model = NarFormerV2(replace(CELLS, num_static=0))
    assert isinstance(model.static_norm, nn.Identity)
    assert model(batch_of(random_tokens(5, seed=0))).shape == (1,)


def test_bfloat16_is_near_float32() -> None:
    model = NarFormerV2(replace(SMALL, relations=ALL_RELATIONS, num_domains=3)).eval()
    batch = GraphBatch.from_graphs([encode(random_tokens(20, seed=i), i) for i in range(3)])
    with torch.no_grad():
        expected = model(batch)
        with torch.autocast("cpu", torch.bfloat16):
            found = model(batch)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=0.05, atol=0)
