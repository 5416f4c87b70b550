"""What sets the graph networks among the baselines apart from one another."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch_geometric", reason="the baselines need PyTorch Geometric")

import torch

from relay_frontend.cells import Cell
from relay_frontend.errors import InputError
from tests.tvm_costmodel.predictors.contract import small
from tests.tvm_costmodel.predictors.networks import (
    OTHER_PLATFORM,
    accuracies,
    convolutions,
    latencies,
    small_cells,
    small_networks,
)
from tvm_costmodel.learning.graphs import Graph, GraphBatch
from tvm_costmodel.learning.trainer import TrainingConfig
from tvm_costmodel.predictors import nar_former
from tvm_costmodel.predictors.brp_nas import BrpNas, BrpNasConfig
from tvm_costmodel.predictors.cell_graphs import laplacian_encoding
from tvm_costmodel.predictors.nar_former import LatencyNarFormer
from tvm_costmodel.predictors.neural_predictor import (
    NeuralPredictor,
    NeuralPredictorConfig,
)
from tvm_costmodel.predictors.nnlp import Nnlp, NnlpConfig
from tvm_costmodel.predictors.tpu import Tpu, TpuConfig

NETWORKS = small_networks()
LATENCIES = latencies(NETWORKS)
BRIEF = TrainingConfig(epochs=2, device="cpu")


def test_defaults_are_the_papers():
    assert (BrpNasConfig().width, BrpNasConfig().num_layers) == (600, 4)
    assert (NnlpConfig().width, NnlpConfig().num_layers) == (512, 2)
    assert (NeuralPredictorConfig().width, NeuralPredictorConfig().num_layers) == (144, 3)
    blocks = nar_former.AccuracyNarFormerConfig().blocks
    assert (blocks.width, blocks.heads) == (192, 6)


# --- BRP-NAS ----------------------------------------------------------------------------------


def test_brp_nas_sees_operators_and_not_shapes():
    predictor = BrpNas(BrpNasConfig(width=16), BRIEF)
    predictor.fit(NETWORKS, LATENCIES)
    narrow, wide, deep = (
        replace(NETWORKS[0], graph=convolutions(depth, width))
        for depth, width in ((2, 8), (2, 64), (3, 8))
    )
    predicted = predictor.predict([narrow, wide, deep])
    assert predicted[0] == pytest.approx(predicted[1], rel=1e-6)
    assert predicted[0] != pytest.approx(predicted[2], rel=1e-6)


def test_the_global_node_of_brp_nas_hears_every_operator():
    graph = BrpNas(BrpNasConfig(width=16)).encode(NETWORKS[:1])[0]
    count = len(NETWORKS[0].graph)
    assert graph.num_nodes == count + 1
    source, target = graph.edge_index
    assert sorted(source[target == count]) == list(range(count))
    assert (graph.node_features.sum(axis=1) == 1).all()
    assert graph.node_features[count].argmax() == graph.node_features.shape[1] - 1


def test_brp_nas_reads_cells_where_it_is_told_to():
    predictor = BrpNas(BrpNasConfig(width=16, graph="cell"), BRIEF)
    networks = [replace(n, cell=c) for n, c in zip(NETWORKS, small_cells(), strict=False)]
    assert [graph.num_nodes for graph in predictor.encode(networks)] == [9] * len(networks)
    predictor.fit(networks, LATENCIES)
    elsewhere = replace(networks[0], graph=networks[-1].graph)
    assert predictor.predict([elsewhere]) == pytest.approx(predictor.predict(networks[:1]))
    with pytest.raises(InputError, match="repeats no known cell"):
        predictor.predict(NETWORKS)


# --- NNLP -------------------------------------------------------------------------------------


def test_nnlp_learns_a_head_for_each_platform():
    elsewhere = [replace(network, platform=OTHER_PLATFORM) for network in NETWORKS]
    training = TrainingConfig(epochs=40, batch_size=4, learning_rate=2e-3, device="cpu")
    predictor = Nnlp(NnlpConfig(width=16, dropout=0.0), training)
    predictor.fit([*NETWORKS, *elsewhere], np.concatenate([LATENCIES, 20 * LATENCIES]))
    assert len(predictor.describe()["config"]["platforms"]) == 2
    ratio = predictor.predict(elsewhere) / predictor.predict(NETWORKS)
    assert ratio.mean() == pytest.approx(20, rel=0.3)


def test_nnlp_names_a_platform_that_it_does_not_know():
    predictor = Nnlp(NnlpConfig(width=16), BRIEF)
    predictor.fit(NETWORKS, LATENCIES)
    with pytest.raises(InputError, match=OTHER_PLATFORM):
        predictor.predict([replace(NETWORKS[0], platform=OTHER_PLATFORM)])


# --- TPU --------------------------------------------------------------------------------------


def test_the_tpu_model_adds_up_kernels_that_know_nothing_of_each_other():
    predictor = Tpu(TpuConfig(width=16, num_layers=2), BRIEF)
    predictor.fit(NETWORKS, LATENCIES)
    graph = predictor.encode(NETWORKS[-1:])[0]
    assert graph.group_index is not None
    parts = [_subgraph(graph, graph.group_index == kernel) for kernel in set(graph.group_index)]
    assert len(parts) > 2
    with torch.no_grad():
        whole = predictor.model(GraphBatch.from_graphs([graph]))
        summed = predictor.model(GraphBatch.from_graphs(parts)).sum()
    assert float(whole[0]) == pytest.approx(float(summed), rel=1e-5)


def _subgraph(graph: Graph, chosen: np.ndarray) -> Graph:
    inside = chosen[graph.edge_index].all(axis=0)
    return Graph(
        node_features=graph.node_features[chosen],
        edge_index=(np.cumsum(chosen) - 1)[graph.edge_index[:, inside]],
        static_features=graph.static_features,
        group_index=np.zeros(int(chosen.sum()), dtype=np.int64),
    )


# --- NAR-Former -------------------------------------------------------------------------------


def test_nar_former_encodes_where_a_node_reads_from():
    encoded = np.arange(5.0)[:, None] * [1.0, 10.0]  # of the positions -1, 0, 1, 2, 3
    sources = nar_former._sources(encoded, [(0, 2), (1, 2), (2, 3)])
    assert sources.tolist() == [[0, 0], [0, 0], [3, 30], [3, 30]]


def test_nerf_goes_on_below_zero():
    table = nar_former._nerf_from_minus_one(3, 4)
    frequencies = np.linspace(1, 8, 4)
    angles = np.pi * np.arange(-1, 3)[:, None] * frequencies
    expected = np.concatenate([np.sin(angles), np.cos(angles)], axis=1)
    np.testing.assert_allclose(table, expected, atol=1e-9)


def test_long_networks_are_read_few_at_a_time(monkeypatch):
    predictor = small("nar-former", "latency")
    assert isinstance(predictor, LatencyNarFormer)
    predictor.training = BRIEF
    predictor.fit(NETWORKS, LATENCIES)
    together = predictor.predict(NETWORKS)
    monkeypatch.setattr(nar_former, "_MOST_SCORES", 1)
    np.testing.assert_allclose(predictor.predict(NETWORKS), together, rtol=2e-5)


# --- Cells ------------------------------------------------------------------------------------


def test_neural_predictor_does_what_its_equation_says():
    predictor = NeuralPredictor(NeuralPredictorConfig(width=4, num_layers=1, hidden=3), BRIEF)
    cells = small_cells()
    predictor.fit(cells, accuracies(cells))
    model = predictor.model
    weights = {name: torch.from_numpy(w).double() for name, w in predictor.weights().items()}
    adjacency = torch.eye(cells[0].num_nodes, dtype=torch.float64)
    for a, b in cells[0].edges:
        adjacency[b, a] = 1.0  # b reads from a
    nodes = torch.from_numpy(predictor.encode(cells[:1])[0].node_features).double()
    down, up = (
        torch.relu(a / a.sum(1, keepdim=True) @ nodes @ weights[f"{name}.0.lin_l.weight"].T)
        for name, a in (("down", adjacency), ("up", adjacency.T))
    )
    pooled = ((down + up) / 2).mean(dim=0)
    hidden = torch.relu(weights["hidden.weight"] @ pooled + weights["hidden.bias"])
    last = weights["last.weight"] @ hidden + weights["last.bias"]
    expected = torch.sigmoid(weights["output.mean"] + weights["output.deviation"] * last)
    assert not model.training
    assert predictor.predict(cells[:1])[0] == pytest.approx(float(expected), rel=1e-5)


def test_laplacian_positions_are_eigenvectors():
    cell = Cell(("input", "a", "b", "output"), ((0, 1), (0, 2), (1, 3), (2, 3), (0, 3)))
    encoding = laplacian_encoding(cell, 5).astype(np.float64)
    assert encoding.shape == (4, 5)
    assert (encoding[:, 3:] == 0).all()
    adjacency = np.zeros((4, 4))
    for a, b in cell.edges:
        adjacency[a, b] = adjacency[b, a] = 1
    inverse = np.diag(adjacency.sum(axis=1) ** -0.5)
    laplacian = np.eye(4) - inverse @ adjacency @ inverse
    for vector in encoding.T[:3]:
        eigenvalue = vector @ laplacian @ vector
        assert eigenvalue > 1e-6
        np.testing.assert_allclose(laplacian @ vector, eigenvalue * vector, atol=1e-6)
