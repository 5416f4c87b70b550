"""Tokens: the paper's encoding, and what must not change them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay_frontend import TokenConfig, tokenize, vocabulary
from relay_frontend.graph import Operator, OpGraph, TensorType
from relay_frontend.onnx import read_onnx
from relay_frontend.tokens import position_encoding, undirected_edges
from tests.networks import conv_bn_relu


def test_the_default_widths_are_those_of_the_paper():
    config = TokenConfig(vocabulary=1)
    assert (vocabulary.SIZES[1], config.num_features, config.num_static) == (32, 152, 40)
    tokens = tokenize(read_onnx(conv_bn_relu()), config)
    assert tokens.node_features.shape == (6, 152)
    assert tokens.node_features.dtype == np.float32
    assert tokens.static_features.shape == (40,)


def test_position_encoding_follows_the_formula():
    encoded = position_encoding(np.array([3.0]), 5)[0]
    for j in range(5):
        angle = 3.0 / 10000 ** (j / 5)
        assert encoded[j] == pytest.approx(math.sin(angle))
        assert encoded[5 + j] == pytest.approx(math.cos(angle))


def test_the_type_is_one_hot_and_attributes_sit_in_their_slots():
    graph = read_onnx(conv_bn_relu())
    row = tokenize(graph, TokenConfig(vocabulary=1)).node_features[0]
    one_hot = row[: vocabulary.SIZES[1]]
    assert one_hot.sum() == 1
    assert one_hot[vocabulary.index("conv2d")] == 1
    kernel = position_encoding(np.array([3.0]), 5)[0]
    assert row[vocabulary.SIZES[1] :][:10] == pytest.approx(kernel, abs=1e-6)


def test_edges_are_undirected_without_self_loops_sorted_by_destination():
    edges = undirected_edges([(0, 1), (1, 2), (0, 2), (2, 2), (0, 1)])
    assert edges.tolist() == [[1, 2, 0, 2, 0, 1], [0, 0, 1, 1, 2, 2]]


def test_a_network_of_one_operator_has_no_edges():
    graph = OpGraph((TensorType((1, 4)),), (Operator(op="relu", type=TensorType((1, 4))),), (0,))
    assert tokenize(graph).edge_index.shape == (2, 0)


def test_the_node_position_is_appended_where_configured():
    graph = read_onnx(conv_bn_relu())
    config = TokenConfig(vocabulary=1, node_position=True)
    tokens = tokenize(graph, config)
    assert tokens.node_features.shape[1] == config.num_features == 162
    expected = position_encoding(np.arange(len(graph)), 5)
    assert tokens.node_features[:, -10:] == pytest.approx(expected, abs=1e-6)


@st.composite
def graphs(draw: st.DrawFn) -> OpGraph:
    num_nodes = draw(st.integers(1, 12))
    operators = []
    for index in range(num_nodes):
        inputs = draw(st.lists(st.integers(-1, index - 1), min_size=1, max_size=3))
        op = draw(st.sampled_from(["relu", "add", "tanh", "concatenate"]))
        attrs = {"axis": 1} if op == "concatenate" else {}
        type_ = TensorType((1, draw(st.integers(1, 64))))
        operators.append(
            Operator(op=op, attrs=attrs, inputs=tuple(inputs), type=type_, flops=index)
        )
    return OpGraph((TensorType((1, 4)),), tuple(operators), (num_nodes - 1,))


@settings(max_examples=50, deadline=None)
@given(graphs(), st.randoms(use_true_random=False))
def test_renumbering_the_operators_permutes_the_tokens(graph, random):
    order = list(range(len(graph)))
    random.shuffle(order)  # new position of each operator
    renumbered: list[Operator] = [graph.operators[0]] * len(graph)
    for old, operator in enumerate(graph):
        inputs = tuple(order[i] if i >= 0 else i for i in operator.inputs)
        renumbered[order[old]] = Operator(
            op=operator.op, attrs=operator.attrs, inputs=inputs, type=operator.type,
            flops=operator.flops,
        )  # fmt: skip
    other = OpGraph(graph.inputs, tuple(renumbered), tuple(order[i] for i in graph.outputs))
    a, b = tokenize(graph), tokenize(other)
    assert np.array_equal(a.node_features, b.node_features[order])
    assert np.array_equal(a.static_features, b.static_features)
    edges_a = {(order[s], order[d]) for s, d in a.edge_index.T.tolist()}
    assert edges_a == {(s, d) for s, d in b.edge_index.T.tolist()}
