"""Every runtime computes what the torch model does, without torch."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("hypothesis")

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from relay_frontend.errors import InputError
from relay_frontend.tokens import NUM_COSTS, GraphTokens
from tests.tvm_costmodel.batches import weights_of
from tests.tvm_costmodel.graphs import SMALL, random_tokens, tokens_with_edges
from tests.tvm_costmodel.runtimes import MakeRuntime, every_runtime, numpy_or_native
from tvm_costmodel.errors import CheckpointError
from tvm_costmodel.learning.graphs import GraphBatch, GraphStore
from tvm_costmodel.predictors.nar_former_v2.config import PRIOR_COSTS, NarFormerV2Config
from tvm_costmodel.predictors.nar_former_v2.model import NarFormerV2
from tvm_costmodel.predictors.nar_former_v2.predictor import as_graph
from tvm_costmodel.weights import weight_shapes


def kernels_of(graph: GraphTokens) -> np.ndarray:
    return np.arange(graph.num_nodes) // 3


def predict_both(
    runtime: MakeRuntime,
    graphs: list[GraphTokens],
    config: NarFormerV2Config,
    seed: int,
    scale: float = 1.0,
) -> tuple[np.ndarray, np.ndarray]:
    torch.manual_seed(seed)
    model = NarFormerV2(config).eval()
    if config.prior == "costs":
        model.readout.prior.rates.copy_(torch.rand(len(PRIOR_COSTS)) * scale)
    encoded = [as_graph(g, config.relations, group_index=kernels_of(g)) for g in graphs]
    model.calibrate(GraphStore(encoded), np.array([scale] * len(graphs)))
    with torch.no_grad():
        expected = model(GraphBatch.from_graphs(encoded)).numpy()
    plain = runtime(weights_of(model), config)
    return plain.predict(graphs, [kernels_of(g) for g in graphs]), expected


def with_costs(graph: GraphTokens, seed: int) -> GraphTokens:
    """The graph with costs at the end of its tokens: logarithms up to those of 1e9, some of 0."""
    rng = np.random.default_rng([seed, 2])
    costs = rng.uniform(0, 20, (graph.num_nodes, NUM_COSTS)) * (rng.random(NUM_COSTS) < 0.7)
    costs[rng.random(costs.shape) < 0.2] = 0
    features = np.concatenate([graph.node_features[:, :-NUM_COSTS], costs], axis=1)
    return replace(graph, node_features=features.astype(np.float32))


def possible(switches: dict[str, Any]) -> dict[str, Any]:
    """The switches with the readout that a prior asks for."""
    return switches if switches["prior"] == "none" else {**switches, "readout": "contributions"}


configurations = st.fixed_dictionaries(
    {
        "num_blocks": st.integers(1, 3),
        "input_norm": st.sampled_from(["none", "layer", "standardize"]),
        "embed": st.booleans(),
        "enhance": st.booleans(),
        "attention": st.sampled_from(["graph", "mean"]),
        "relations": st.lists(
            st.sampled_from(["undirected", "forward", "backward", "siblings", "kernel"]),
            min_size=1,
            max_size=3,
            unique=True,
        ).map(tuple),
        "normalize": st.sampled_from(["l2", "layer", "none"]),
        "activation": st.booleans(),
        "dropout": st.sampled_from([0.0, 0.5]),
        "ffn": st.sampled_from(["grouped", "plain", "none"]),
        "group_norm": st.booleans(),
        "branch_scale": st.sampled_from([None, 0.5]),
        "readout": st.sampled_from(["pooled", "contributions"]),
        "prior": st.sampled_from(["none", "costs"]),
        "static": st.booleans(),
        "output": st.sampled_from(["softplus", "exp"]),
    }
).map(possible)


@every_runtime
@settings(deadline=None, max_examples=100, derandomize=True)
@given(
    switches=configurations,
    sizes=st.lists(st.integers(min_value=2, max_value=20), min_size=1, max_size=3),
    seed=st.integers(min_value=0, max_value=2**32 - 1),
)
def test_equals_torch_with_every_supported_switch(
    runtime: MakeRuntime, switches: dict[str, Any], sizes: list[int], seed: int
) -> None:
    config = replace(SMALL, **switches)
    graphs = [random_tokens(n, seed + i) for i, n in enumerate(sizes)]
    if config.prior == "costs":
        graphs = [with_costs(graph, seed) for graph in graphs]
    found, expected = predict_both(runtime, graphs, config, seed)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert {name: w.shape for name, w in weights_of(NarFormerV2(config)).items()} == weight_shapes(
        config
    )


@every_runtime
@pytest.mark.parametrize(
    "switch",
    [{"attention": "global"}, {"readout": "hierarchical"}, {"num_domains": 2}],
    ids=str,
)
def test_switches_that_need_torch_are_named(runtime: MakeRuntime, switch: dict[str, Any]) -> None:
    config = replace(SMALL, **switch)
    name, value = next(iter(switch.items()))
    message = rf"with {name}={value!r} needs torch.* Only LatencyNarFormerV2\.load"
    with pytest.raises(CheckpointError, match=message):
        runtime(weights_of(NarFormerV2(config)), config)


@every_runtime
@pytest.mark.parametrize("prior", ["none", "costs"])
def test_contributions_sum_to_the_prediction_and_equal_torch(
    runtime: MakeRuntime, prior: Any
) -> None:
    config = replace(SMALL, readout="contributions", prior=prior)
    model = NarFormerV2(config)
    model.scale.fill_(3.0)
    tokens = with_costs(random_tokens(9, seed=0), seed=0)
    plain = runtime(weights_of(model), config)
    parts = plain.contributions(tokens)
    with torch.no_grad():
        expected = model.contributions(GraphBatch.from_graphs([as_graph(tokens)]))
    np.testing.assert_allclose(parts, expected, rtol=1e-5)
    assert parts.sum() == pytest.approx(plain.predict([tokens])[0])


@every_runtime
def test_pooled_predictions_have_no_contributions(runtime: MakeRuntime) -> None:
    plain = runtime(weights_of(NarFormerV2(SMALL)), SMALL)
    with pytest.raises(InputError, match="readout 'pooled' does not sum over nodes"):
        plain.contributions(random_tokens(9, seed=0))


@every_runtime
def test_kernels_are_asked_for_where_the_model_reads_them(runtime: MakeRuntime) -> None:
    config = replace(SMALL, relations=("undirected", "kernel"))
    plain = runtime(weights_of(NarFormerV2(config)), config)
    with pytest.raises(InputError, match="needs the kernel of each node"):
        plain.predict([random_tokens(4, seed=0)])


@numpy_or_native
@settings(deadline=None, max_examples=50, derandomize=True)
@given(
    sizes=st.lists(st.integers(min_value=1, max_value=30), min_size=1, max_size=4),
    seed=st.integers(min_value=0, max_value=2**32 - 1),
    density=st.sampled_from([0.0, 0.05, 0.3, 1.0]),
)
def test_equals_torch_on_random_graphs(
    runtime: MakeRuntime, sizes: list[int], seed: int, density: float
) -> None:
    graphs = [random_tokens(n, seed + i, edge_probability=density) for i, n in enumerate(sizes)]
    found, expected = predict_both(runtime, graphs, SMALL, seed)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@every_runtime
@pytest.mark.parametrize(
    "tokens",
    [
        pytest.param(tokens_with_edges(6, [(0, 5), (1, 5), (2, 5), (3, 5), (4, 5)]), id="star"),
        pytest.param(tokens_with_edges(5, [(1, 2), (2, 3)]), id="first and last node isolated"),
        pytest.param(tokens_with_edges(5, [(0, 1), (3, 4)]), id="middle node isolated"),
        pytest.param(tokens_with_edges(4, []), id="no edges"),
        pytest.param(tokens_with_edges(1, []), id="single node"),
        pytest.param(tokens_with_edges(0, []), id="no nodes"),
    ],
)
def test_equals_torch_on_special_graphs(runtime: MakeRuntime, tokens: GraphTokens) -> None:
    found, expected = predict_both(runtime, [tokens], SMALL, seed=0)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@every_runtime
def test_equals_torch_at_the_default_size_and_scale(runtime: MakeRuntime) -> None:
    config = NarFormerV2Config()
    graphs = [random_tokens(n, n, edge_probability=2 / n, config=config) for n in (40, 150)]
    found, expected = predict_both(runtime, graphs, config, seed=3, scale=37.5)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@every_runtime
def test_saturated_gates_equal_torch_without_warnings(runtime: MakeRuntime) -> None:
    config = SMALL
    torch.manual_seed(0)
    weights = weights_of(NarFormerV2(config))
    weights["blocks.0.enhance.degree_gate.bias"] -= np.float32(200.0)
    model = NarFormerV2(config)
    model.load_state_dict({name: torch.from_numpy(w) for name, w in weights.items()})
    tokens = random_tokens(8, seed=0)
    with np.errstate(all="raise", under="ignore"):
        found = runtime(weights, config).predict([tokens])
    expected = model(GraphBatch.from_graphs([as_graph(tokens)])).detach()
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@every_runtime
def test_no_graphs_give_no_predictions(runtime: MakeRuntime) -> None:
    predictor = runtime(weights_of(NarFormerV2(SMALL)), SMALL)
    assert predictor.predict([]).shape == (0,)


@every_runtime
def test_inputs_are_left_as_they_were(runtime: MakeRuntime) -> None:
    predictor = runtime(weights_of(NarFormerV2(SMALL)), SMALL)
    tokens = random_tokens(9, seed=0)
    for array in (tokens.node_features, tokens.edge_index, tokens.static_features):
        array.setflags(write=False)
    np.testing.assert_array_equal(predictor.predict([tokens]), predictor.predict([tokens]))


@every_runtime
def test_tokens_of_another_width_are_refused(runtime: MakeRuntime) -> None:
    predictor = runtime(weights_of(NarFormerV2(SMALL)), SMALL)
    foreign = random_tokens(3, seed=0, config=NarFormerV2Config())
    with pytest.raises(InputError, match=r"152 node and 40 static features.* on 12 and 6"):
        predictor.predict([foreign])


@every_runtime
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"readout.head.fc3.bias": None}, "weight 'readout.head.fc3.bias' is missing"),
        (
            {"readout.head.fc4.bias": np.zeros(1, np.float32)},
            "weight 'readout.head.fc4.bias' is unknown",
        ),
        (
            {"readout.head.fc3.bias": np.zeros(2, np.float32)},
            r"'readout.head.fc3.bias' has shape \(2,\)",
        ),
    ],
)
def test_weights_that_do_not_fit_are_refused(
    runtime: MakeRuntime, change: dict[str, np.ndarray | None], message: str
) -> None:
    merged = {**weights_of(NarFormerV2(SMALL)), **change}
    weights = {name: w for name, w in merged.items() if w is not None}
    with pytest.raises(InputError, match=message):
        runtime(weights, SMALL)
