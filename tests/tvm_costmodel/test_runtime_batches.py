"""Batches of different graphs in one call of a runtime."""

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
from tests.tvm_costmodel.batches import weights_of
from tests.tvm_costmodel.graphs import SMALL, random_tokens, tokens_with_edges
from tests.tvm_costmodel.runtimes import MakeRuntime, numpy_or_native
from tests.tvm_costmodel.test_runtime import kernels_of, with_costs
from tvm_costmodel import runtime as runtime_module
from tvm_costmodel.learning.graphs import GraphBatch
from tvm_costmodel.predictors.nar_former_v2.config import NarFormerV2Config
from tvm_costmodel.predictors.nar_former_v2.model import NarFormerV2
from tvm_costmodel.predictors.nar_former_v2.predictor import as_graph
from tvm_costmodel.runtime import NumpyPredictor, Runtime

CONTRIBUTIONS = replace(
    SMALL, readout="contributions", prior="costs", relations=("forward", "backward", "kernel")
)


def predictor(
    config: NarFormerV2Config, runtime: MakeRuntime = NumpyPredictor
) -> tuple[Runtime, NarFormerV2]:
    torch.manual_seed(0)
    model = NarFormerV2(config).eval()
    if config.prior == "costs":
        model.readout.prior.rates.copy_(torch.rand(len(model.readout.prior.rates)))
    return runtime(weights_of(model), config), model


def coarse(graph: GraphTokens) -> GraphTokens:
    """The graph with features of few values, so that many nodes are alike."""
    return replace(graph, node_features=np.sign(graph.node_features) * (graph.node_features > 0.8))


graphs_of_sizes = st.lists(st.integers(0, 20), min_size=1, max_size=6)


@numpy_or_native
@pytest.mark.parametrize("config", [SMALL, CONTRIBUTIONS], ids=["pooled", "contributions"])
@settings(deadline=None, max_examples=40, derandomize=True)
@given(sizes=graphs_of_sizes, seed=st.integers(0, 99), alike=st.booleans(), data=st.data())
def test_a_batch_is_its_graphs_one_by_one_in_any_order(runtime, config, sizes, seed, alike, data):
    graphs = [with_costs(random_tokens(n, seed + n), seed + n) for n in sizes]
    if alike:
        graphs = [coarse(graph) for graph in graphs]
    order = data.draw(st.permutations(range(len(graphs))))
    plain, model = predictor(config, runtime)
    kernels = [kernels_of(g) for g in graphs]
    together = plain.predict(graphs, kernels)
    alone = [plain.predict([g], [k])[0] for g, k in zip(graphs, kernels, strict=True)]
    np.testing.assert_allclose(together, alone, rtol=1e-5)
    shuffled = plain.predict([graphs[i] for i in order], [kernels[i] for i in order])
    np.testing.assert_allclose(shuffled, together[list(order)], rtol=1e-5)
    encoded = [as_graph(g, config.relations, group_index=kernels_of(g)) for g in graphs]
    with torch.no_grad():
        expected = model(GraphBatch.from_graphs(encoded)).numpy()
    np.testing.assert_allclose(together, expected, rtol=1e-5)


@numpy_or_native
def test_destinations_with_several_sources_add_up(runtime):
    star = tokens_with_edges(6, [(0, 5), (1, 5), (2, 5), (3, 5), (4, 5)])
    same = replace(star, node_features=np.ones_like(star.node_features))
    plain, model = predictor(SMALL, runtime)
    graphs = [star, same, same, star]
    with torch.no_grad():
        expected = model(GraphBatch.from_graphs([as_graph(g) for g in graphs])).numpy()
    np.testing.assert_allclose(plain.predict(graphs), expected, rtol=1e-5)


def test_large_batches_are_computed_in_parts(monkeypatch):
    graphs = [random_tokens(n, n) for n in (3, 30, 4, 1, 9)]
    plain, _ = predictor(SMALL)
    whole = plain.predict(graphs)
    monkeypatch.setattr(runtime_module, "_NODES_AT_ONCE", 10)
    np.testing.assert_allclose(plain.predict(graphs), whole, rtol=1e-5)


@numpy_or_native
def test_batches_of_many_nodes_are_their_graphs_one_by_one(runtime):
    graphs = [random_tokens(n, n, edge_probability=0.02) for n in [*range(100, 180), 0, 5]]
    plain, _ = predictor(SMALL, runtime)
    alone = [plain.predict([graph])[0] for graph in graphs]
    np.testing.assert_allclose(plain.predict(graphs), alone, rtol=1e-5)


@numpy_or_native
def test_kernels_of_other_networks_are_refused(runtime):
    plain, _ = predictor(CONTRIBUTIONS, runtime)
    graphs = [random_tokens(3, 0), random_tokens(4, 1)]
    with pytest.raises(InputError, match="kernels of 1 networks for 2 networks"):
        plain.predict(graphs, [kernels_of(graphs[0])])
