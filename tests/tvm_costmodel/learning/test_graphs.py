"""A batch cut out of a store is the graphs put side by side."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("hypothesis")

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from relay_frontend.errors import InputError
from tests.tvm_costmodel.graphs import random_tokens
from tvm_costmodel.learning.graphs import Graph, GraphBatch, GraphStore


def graph(num_nodes: int, seed: int, *, grouped: bool = True, **changes: Any) -> Graph:
    tokens = random_tokens(num_nodes, seed)
    rng = np.random.default_rng(seed)
    values: dict[str, Any] = {
        "node_features": tokens.node_features,
        "edge_index": tokens.edge_index,
        "static_features": tokens.static_features,
        "group_index": 5 * rng.integers(0, 4, num_nodes) if grouped else None,
        "domain": seed % 3,
        "relations": {"forward": tokens.edge_index[:, tokens.edge_index[0] < tokens.edge_index[1]]},
    }
    return Graph(**{**values, **changes})


def side_by_side(graphs: list[Graph]) -> dict[str, np.ndarray]:
    """What a batch of ``graphs`` holds, put together one graph after the other."""
    offset, groups = 0, 0
    parts: dict[str, list[np.ndarray]] = {
        key: [] for key in ("edges", "forward", "owner", "group", "group_graph")
    }
    for position, g in enumerate(graphs):
        assert g.group_index is not None
        parts["edges"].append(g.edge_index + offset)
        parts["forward"].append(g.relations["forward"] + offset)
        parts["owner"].append(np.full(g.num_nodes, position))
        names = sorted(set(g.group_index.tolist()))
        parts["group"].append(np.array([names.index(x) for x in g.group_index], dtype=int) + groups)
        parts["group_graph"].append(np.full(len(names), position))
        offset += g.num_nodes
        groups += len(names)
    return {key: np.concatenate(value, axis=-1) for key, value in parts.items()}


@settings(deadline=None, max_examples=50, derandomize=True)
@given(
    sizes=st.lists(st.integers(0, 9), min_size=1, max_size=5),
    chosen=st.lists(st.integers(0, 4), min_size=1, max_size=6),
    seed=st.integers(0, 1000),
)
def test_batch_is_the_chosen_graphs_side_by_side(
    sizes: list[int], chosen: list[int], seed: int
) -> None:
    graphs = [graph(n, seed + i) for i, n in enumerate(sizes)]
    index = [i % len(graphs) for i in chosen]
    picked = [graphs[i] for i in index]
    batch = GraphStore(graphs).batch(torch.tensor(index))
    expected = side_by_side(picked)
    found = {
        "edges": batch.edge_index_2E,
        "forward": batch.relations["forward"],
        "owner": batch.graph_index_N,
        "group": batch.group_index_N,
        "group_graph": batch.group_graph_K,
    }
    for key, value in found.items():
        assert value is not None
        np.testing.assert_array_equal(value.numpy(), expected[key], err_msg=key)
    np.testing.assert_array_equal(
        batch.node_features_NC.numpy(), np.concatenate([g.node_features for g in picked])
    )
    np.testing.assert_array_equal(
        batch.static_features_GS.numpy(), np.stack([g.static_features for g in picked])
    )
    assert batch.domain_G.tolist() == [g.domain for g in picked]
    assert batch.num_graphs == len(picked)


def test_graphs_without_groups_make_a_batch_without() -> None:
    batch = GraphBatch.from_graphs([graph(3, 0, grouped=False)])
    assert batch.group_index_N is None
    assert batch.group_graph_K is None
    assert batch.to("cpu").group_index_N is None


def test_batch_moves_with_all_that_it_has() -> None:
    batch = GraphBatch.from_graphs([graph(3, 0)]).to("meta")
    assert batch.node_features_NC.device.type == "meta"
    assert batch.relations["forward"].device.type == "meta"
    assert batch.group_graph_K is not None
    assert batch.group_graph_K.device.type == "meta"


def test_batch_of_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="at least one graph"):
        GraphBatch.from_graphs([])


@pytest.mark.parametrize(
    "change",
    [
        {"node_features": np.zeros((3, 5), np.float32)},
        {"static_features": np.zeros(2, np.float32)},
        {"group_index": None},
        {"relations": {}},
    ],
)
def test_graphs_of_different_encodings_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"graph 1 has .* one configuration"):
        GraphStore([graph(3, 0), graph(3, 1, **change)])
