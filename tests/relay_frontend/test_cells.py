"""Cells: what both benchmarks make of them, their isomorphic copies, their tokens."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay_frontend.cells import (
    NAS_BENCH_101,
    NAS_BENCH_201,
    Cell,
    CellTokenConfig,
    nerf_encoding,
    random_order,
    relabel,
    tokenize_cell,
)
from relay_frontend.errors import InputError

_OPERATORS = NAS_BENCH_201[1:-1]


@st.composite
def cells(draw: st.DrawFn) -> Cell:
    """Random cells of at most nine nodes, each of them on a way from input to output."""
    inner = draw(st.lists(st.sampled_from(_OPERATORS), max_size=7))
    last = len(inner) + 1
    pairs = list(itertools.combinations(range(last + 1), 2))
    edges = set(draw(st.lists(st.sampled_from(pairs), unique=True)))
    for node in range(1, last + 1):
        if not any(b == node for _, b in edges):
            edges.add((draw(st.integers(0, node - 1)), node))
    for node in range(last):
        if not any(a == node for a, _ in edges):
            edges.add((node, draw(st.integers(node + 1, last))))
    return Cell(("input", *inner, "output"), tuple(edges))


def labelled_graph(cell: Cell) -> Any:
    networkx = pytest.importorskip("networkx", reason="tells whether graphs are isomorphic")
    graph = networkx.DiGraph(list(cell.edges))
    networkx.set_node_attributes(graph, dict(enumerate(cell.operators)), "label")
    return graph


def isomorphic(a: Cell, b: Cell) -> bool:
    networkx = pytest.importorskip("networkx", reason="tells whether graphs are isomorphic")
    same_label = networkx.algorithms.isomorphism.categorical_node_match("label", None)
    result: bool = networkx.is_isomorphic(
        labelled_graph(a), labelled_graph(b), node_match=same_label
    )
    return result


# --- Cells ------------------------------------------------------------------------------------


def test_operators_on_edges_become_nodes():
    cell = Cell.from_nas_bench_201(["none", *_OPERATORS])
    assert cell.operators == ("input", "none", *_OPERATORS, "output")
    assert cell.edges == (
        *((0, 1), (0, 2), (0, 4)),  # those that read the input
        *((1, 3), (1, 5)),  # those that read what 1<-0 writes
        *((2, 6), (3, 6)),  # 3<-2 reads the sum of 2<-0 and 2<-1
        *((4, 7), (5, 7), (6, 7)),
    )


def test_the_longest_way_through_a_cell_has_three_operators():
    networkx = pytest.importorskip("networkx", reason="finds the longest way")
    graph = labelled_graph(Cell.from_nas_bench_201(_OPERATORS + _OPERATORS[:1]))
    assert networkx.dag_longest_path(graph) == [0, 1, 3, 6, 7]


def test_an_adjacency_matrix_gives_its_edges():
    matrix = [[0, 1, 1, 0], [0, 0, 1, 1], [0, 0, 0, 1], [0, 0, 0, 0]]
    operators = ["input", "conv3x3-bn-relu", "maxpool3x3", "output"]
    cell = Cell.from_nas_bench_101(operators, matrix)
    assert cell.edges == ((0, 1), (0, 2), (1, 2), (1, 3), (2, 3))
    assert cell.operators == tuple(operators)


def test_cells_are_equal_whatever_the_order_of_their_edges():
    a = Cell(("input", "none", "output"), ((0, 1), (1, 2)))
    b = Cell(("input", "none", "output"), ((1, 2), (0, 1)))
    assert (a, hash(a)) == (b, hash(b))


@pytest.mark.parametrize(
    ("operators", "edges", "message"),
    [
        ((), (), "'input' first"),
        (("input",), (), "'output' last"),
        (("none", "input", "output"), (), "'input' first"),
        (("input", "input", "output"), (), "one 'input'"),
        (("input", "none", "output"), ((1, 0),), "topological order"),
        (("input", "none", "output"), ((1, 1),), "topological order"),
        (("input", "none", "output"), ((1, 3),), "destination < 3"),
        (("input", "none", "output"), ((0, 1), (0, 1)), "twice"),
    ],
)
def test_what_is_no_cell_is_refused(operators, edges, message):
    with pytest.raises(InputError, match=message):
        Cell(operators, edges)


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match=r"shape \(2, 2\), expected \(3, 3\)"):
        Cell.from_nas_bench_101(["input", "none", "output"], np.zeros((2, 2)))
    with pytest.raises(InputError, match="5 operators, expected six"):
        Cell.from_nas_bench_201(_OPERATORS)


# --- Isomorphic copies ------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(cells(), st.integers(0, 2**32))
def test_a_relabelled_cell_is_isomorphic(cell, seed):
    copy = relabel(cell, random_order(cell, np.random.default_rng(seed)))
    assert isomorphic(cell, copy)
    assert copy.operators[0] == "input"
    assert copy.operators[-1] == "output"


@settings(max_examples=60, deadline=None)
@given(cells(), st.integers(0, 2**32))
def test_relabelling_permutes_the_tokens_but_for_positions(cell, seed):
    order = list(random_order(cell, np.random.default_rng(seed)))
    before, after = tokenize_cell(cell), tokenize_cell(relabel(cell, order))
    labels = slice(0, 64)
    assert np.array_equal(before.node_features[order][:, labels], after.node_features[:, labels])
    assert np.array_equal(before.node_features[:, 64:], after.node_features[:, 64:])
    renamed = {(order[s], order[d]) for s, d in after.edge_index.T.tolist()}
    assert renamed == set(map(tuple, before.edge_index.T.tolist()))


def test_every_topological_order_comes_up():
    cell = Cell.from_nas_bench_201(_OPERATORS + _OPERATORS[:1])
    inner = itertools.permutations(range(1, 7))
    possible = {
        (0, *order, 7)
        for order in inner
        if all(order.index(a) < order.index(b) for a, b in cell.edges if a > 0 and b < 7)
    }
    rng = np.random.default_rng(0)
    assert {random_order(cell, rng) for _ in range(2000)} == possible


@pytest.mark.parametrize("order", [(0, 1), (0, 1, 1, 3), (0, 2, 1, 3), (1, 0, 2, 3)])
def test_other_orders_are_refused(order):
    cell = Cell(("input", "none", "skip_connect", "output"), ((0, 1), (1, 2), (2, 3)))
    with pytest.raises(InputError):
        relabel(cell, order)


# --- Tokens -----------------------------------------------------------------------------------


def test_the_default_widths_are_those_of_the_paper():
    tokens = tokenize_cell(Cell.from_nas_bench_201(_OPERATORS + _OPERATORS[:1]))
    assert tokens.node_features.shape == (8, 128)
    assert tokens.node_features.shape[1] == CellTokenConfig().num_features
    assert tokens.node_features.dtype == np.float32
    assert tokens.static_features.shape == (0,)
    assert tokens.edge_index.shape == (2, 20)


@pytest.mark.parametrize("frequencies", [1, 2, 3, 8])
def test_the_encoding_follows_the_formula(frequencies):
    table = nerf_encoding(7, frequencies)
    scales = np.linspace(1, 2 ** (frequencies - 1), frequencies)
    angles = math.pi * np.arange(7)[:, None] * scales
    expected = np.concatenate([np.sin(angles), np.cos(angles)], axis=1)
    assert table == pytest.approx(expected, abs=1e-10)


def test_high_frequencies_keep_the_digits_of_the_angle():
    """The highest frequency of 32 is even, so that whole numbers are whole turns."""
    table = nerf_encoding(9, 32)
    assert table[:, 31] == pytest.approx(0, abs=1e-12)
    assert table[:, 63] == pytest.approx(1)


def test_no_two_labels_or_positions_are_encoded_alike():
    table = nerf_encoding(31, 32)
    distances = np.linalg.norm(table[:, None] - table[None], axis=2)
    assert (distances + 10 * np.eye(31)).min() > 1


def test_labels_are_those_of_the_configuration():
    cell = Cell(("input", "maxpool3x3", "output"), ((0, 1), (1, 2)))
    rows = tokenize_cell(cell, CellTokenConfig(labels=NAS_BENCH_101)).node_features
    assert rows[:, :64] == pytest.approx(nerf_encoding(5, 32)[[0, 3, 4]], abs=1e-6)
    with pytest.raises(InputError, match="maxpool3x3"):
        tokenize_cell(cell)


def test_a_configuration_survives_json():
    config = CellTokenConfig(frequencies=4, labels=list(NAS_BENCH_101))
    assert config == CellTokenConfig(frequencies=4, labels=NAS_BENCH_101)
    assert hash(config) == hash(CellTokenConfig(frequencies=4, labels=NAS_BENCH_101))


@pytest.mark.parametrize("settings_", [{"frequencies": 0}, {"labels": ("a", "a")}])
def test_impossible_configurations_are_refused(settings_):
    with pytest.raises(InputError, match="cell tokens"):
        CellTokenConfig(**settings_)
