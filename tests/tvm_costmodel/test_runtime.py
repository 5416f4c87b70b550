"""The numpy runtime computes what the torch model does, without torch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("hypothesis")

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from relay_frontend.errors import InputError
from relay_frontend.tokens import GraphTokens
from tests.tvm_costmodel.graphs import SMALL, random_tokens, tokens_with_edges
from tvm_costmodel.nar_former_v2 import GraphBatch, NarFormerV2
from tvm_costmodel.runtime import NarFormerV2Config, NumpyPredictor


def predict_both(
    graphs: list[GraphTokens], config: NarFormerV2Config, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    torch.manual_seed(seed)
    model = NarFormerV2(config)
    with torch.no_grad():
        expected = model(GraphBatch.from_tokens(graphs)).numpy()
    return NumpyPredictor(model.weights(), config).predict(graphs), expected


@settings(deadline=None, max_examples=50, derandomize=True)
@given(
    sizes=st.lists(st.integers(min_value=1, max_value=30), min_size=1, max_size=4),
    seed=st.integers(min_value=0, max_value=2**32 - 1),
    density=st.sampled_from([0.0, 0.05, 0.3, 1.0]),
)
def test_equals_torch_on_random_graphs(sizes: list[int], seed: int, density: float) -> None:
    graphs = [random_tokens(n, seed + i, edge_probability=density) for i, n in enumerate(sizes)]
    found, expected = predict_both(graphs, SMALL, seed)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


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
def test_equals_torch_on_special_graphs(tokens: GraphTokens) -> None:
    found, expected = predict_both([tokens], SMALL, seed=0)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_equals_torch_at_the_default_size_and_scale() -> None:
    config = NarFormerV2Config(latency_scale=37.5)
    graphs = [random_tokens(n, n, edge_probability=2 / n, config=config) for n in (40, 150)]
    found, expected = predict_both(graphs, config, seed=3)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_equals_torch_with_a_branch_scale() -> None:
    config = replace(SMALL, branch_scale=0.5)
    found, expected = predict_both([random_tokens(9, seed=0)], config, seed=0)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    plain, _ = predict_both([random_tokens(9, seed=0)], SMALL, seed=0)
    assert not np.allclose(found, plain, rtol=1e-4)


def test_saturated_gates_equal_torch_without_warnings() -> None:
    config = SMALL
    torch.manual_seed(0)
    weights = NarFormerV2(config).weights()
    weights["blocks.0.degree_gate.bias"] -= np.float32(200.0)
    model = NarFormerV2(config)
    model.load_state_dict({name: torch.from_numpy(w) for name, w in weights.items()})
    tokens = random_tokens(8, seed=0)
    with np.errstate(all="raise", under="ignore"):
        found = NumpyPredictor(weights, config).predict([tokens])
    np.testing.assert_allclose(found, model(GraphBatch.from_tokens([tokens])).detach(), rtol=1e-5)


def test_no_graphs_give_no_predictions() -> None:
    predictor = NumpyPredictor(NarFormerV2(SMALL).weights(), SMALL)
    assert predictor.predict([]).shape == (0,)


def test_inputs_are_left_as_they_were() -> None:
    predictor = NumpyPredictor(NarFormerV2(SMALL).weights(), SMALL)
    tokens = random_tokens(9, seed=0)
    for array in (tokens.node_features, tokens.edge_index, tokens.static_features):
        array.setflags(write=False)
    np.testing.assert_array_equal(predictor.predict([tokens]), predictor.predict([tokens]))


def test_tokens_of_another_width_are_refused() -> None:
    predictor = NumpyPredictor(NarFormerV2(SMALL).weights(), SMALL)
    foreign = random_tokens(3, seed=0, config=NarFormerV2Config())
    with pytest.raises(InputError, match=r"152 node and 40 static features.* on 12 and 6"):
        predictor.predict([foreign])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fc3.bias": None}, "weight 'fc3.bias' is missing"),
        ({"fc4.bias": np.zeros(1, np.float32)}, "weight 'fc4.bias' is unknown"),
        ({"fc3.bias": np.zeros(2, np.float32)}, r"'fc3.bias' has shape \(2,\)"),
    ],
)
def test_weights_that_do_not_fit_are_refused(
    change: dict[str, np.ndarray | None], message: str
) -> None:
    merged = {**NarFormerV2(SMALL).weights(), **change}
    weights = {name: w for name, w in merged.items() if w is not None}
    with pytest.raises(InputError, match=message):
        NumpyPredictor(weights, SMALL)
