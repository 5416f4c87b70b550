"""Nodes that are computed once are those that nothing tells apart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("hypothesis")

from hypothesis import given, settings
from hypothesis import strategies as st

from relay_frontend.tokens import undirected_edges
from tvm_costmodel.equal_nodes import Plan, every_node, kinds_of_nodes

NUM_BLOCKS = 2


def states(features: np.ndarray, plan: Plan) -> np.ndarray:
    """Integers in the place of states: a block adds what a node sees to what it was."""
    h = features[plan.first].astype(np.int64)
    for layer in plan.layers:
        out = 3 * h[layer.own]
        for weight, (sources, targets) in enumerate(layer.edges, start=5):
            np.add.at(out, targets, weight * h[sources])
        h = out
    return h[plan.last]


def directed(edges: np.ndarray) -> list[np.ndarray]:
    return [edges[:, edges[0] < edges[1]], edges[:, edges[0] > edges[1]]]


@settings(deadline=None, max_examples=200, derandomize=True)
@given(
    values=st.lists(st.integers(0, 2), max_size=25),
    pairs=st.lists(st.tuples(st.integers(0, 24), st.integers(0, 24)), max_size=40),
    num_blocks=st.integers(0, 3),
)
def test_states_are_those_of_every_node(values, pairs, num_blocks):
    count = len(values)
    features = np.array(values, dtype=np.float32).reshape(count, 1)
    edges = undirected_edges([(a, b) for a, b in pairs if a < count and b < count])
    degree = np.bincount(edges[1], minlength=count)
    plans = [
        every_node(count, directed(edges), num_blocks),
        kinds_of_nodes(features, degree, directed(edges), num_blocks),
    ]
    expected, found = (states(features, plan) for plan in plans)
    np.testing.assert_array_equal(found, expected)


def chain(length: int) -> np.ndarray:
    return undirected_edges([(i, i + 1) for i in range(length - 1)])


def test_copies_of_a_graph_need_no_more_than_one():
    edges = chain(6)
    both = np.concatenate([edges, edges + 6], axis=1)
    features = np.tile(np.arange(6, dtype=np.float32)[:, None], (2, 1))
    plan = kinds_of_nodes(features, np.bincount(both[1]), directed(both), NUM_BLOCKS)
    assert [len(layer.own) for layer in plan.layers] == [6, 6]
    np.testing.assert_array_equal(plan.first, np.arange(6))
    np.testing.assert_array_equal(plan.last, [*range(6)] * 2)


def test_each_block_sees_one_step_further():
    edges = chain(9)
    features = np.ones((9, 1), dtype=np.float32)
    plan = kinds_of_nodes(features, np.zeros(9, dtype=np.int64), [edges], 3)
    # The ends, their neighbours, theirs, and all the rest; the ends look alike.
    assert [len(layer.own) for layer in plan.layers] == [2, 3, 4]


def test_a_degree_tells_nodes_apart():
    edges = undirected_edges([])
    plan = kinds_of_nodes(np.ones((3, 1), np.float32), np.array([1, 2, 1]), [edges], 1)
    np.testing.assert_array_equal(plan.first, [0, 1])
    assert replace(plan, layers=()).last.tolist() == [0, 1, 0]
