"""Tokens: the paper's encoding, and what must not change them."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay_frontend import TokenConfig, tokenize, vocabulary
from relay_frontend.errors import InputError
from relay_frontend.graph import Operator, OpGraph, TensorType
from relay_frontend.onnx import read_onnx
from relay_frontend.tokens import (
    NUM_COSTS,
    first_input_shape,
    position_encoding,
    undirected_edges,
)
from tests.networks import conv_bn_relu
from tests.relay_frontend.token_configs import CONFIGS


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


# --- Other encodings --------------------------------------------------------------------------

_EVERYTHING = TokenConfig(
    frequencies=3,
    shape_dims=4,
    vocabulary=1,
    op_type="position",
    values=("real", "logarithm"),
    input_dims=2,
    divisors=(5,),
    costs=True,
    node_position=True,
    static="logarithm",
)


def test_all_that_is_configured_stands_in_its_order():
    graph = read_onnx(conv_bn_relu())
    conv = graph.operators[0]
    assert (conv.op, conv.shape, conv.inputs) == ("conv2d", (1, 8, 16, 16), (-1,))
    row = tokenize(graph, _EVERYTHING).node_features[0]
    type_, real, logs, position, costs = np.split(row, np.cumsum([6, 20, 20, 6]))
    index = vocabulary.index("conv2d", 1)
    assert type_ == pytest.approx(position_encoding(np.array(index), 3), abs=1e-6)
    values = [3, 3, 1, 1, 1, 1, 1, 1, 1, 8, 16, 16, 1, 8, 1, 4, 4, 4, 1, 4]
    assert real.tolist() == values
    assert logs == pytest.approx(np.log1p(values))
    assert position == pytest.approx(position_encoding(np.array(0), 3), abs=1e-6)
    moved = [conv.param_bytes, conv.read_bytes, conv.write_bytes]
    compute = [conv.flops, 0, conv.flops / 4, 0]
    expected = [*compute, *moved, conv.flops / sum(moved)]
    assert costs == pytest.approx(np.log1p(expected))


def test_operators_that_are_not_named_count_as_their_category():
    graph = read_onnx(conv_bn_relu())
    config = TokenConfig(operators=("conv2d",), values=("real",))
    rows = tokenize(graph, config).node_features
    expected = tokenize(graph, replace(config, operators=())).node_features
    types, slots = vocabulary.SIZES[2], vocabulary.NUM_ATTRIBUTE_SLOTS
    for operator, row, as_itself in zip(graph, rows, expected, strict=True):
        if operator.op == "conv2d":
            assert row.tolist() == as_itself.tolist()
            continue
        category = vocabulary.OPERATORS[operator.op].category
        assert np.flatnonzero(row[:types]).tolist() == [vocabulary.index(category)]
        assert not row[types : types + slots].any(), "attributes of an operator that is not known"
        assert row[types + slots :].tolist() == as_itself[types + slots :].tolist()


@pytest.mark.parametrize("config", CONFIGS, ids=repr)
def test_widths_are_those_of_the_arrays(config):
    tokens = tokenize(read_onnx(conv_bn_relu()), config)
    assert tokens.node_features.shape[1] == config.num_features
    assert tokens.static_features.shape == (config.num_static,)
    assert tokens.node_features.dtype == tokens.static_features.dtype == np.float32


def test_the_first_input_is_that_of_the_data():
    graph = read_onnx(conv_bn_relu())
    (pool,) = [operator for operator in graph if operator.op == "global_avg_pool2d"]
    assert first_input_shape(graph, graph.operators[0]) == (1, 8, 16, 16), "the graph's input"
    assert first_input_shape(graph, pool) == (1, 8, 16, 16), "of the operator before it"
    assert first_input_shape(graph, Operator(op="exp", type=TensorType((3,)))) == ()


def costs_of(graph: OpGraph, **settings: Any) -> np.ndarray:
    """``[num_nodes, 8]``, in the order of :class:`TokenConfig`."""
    tokens = tokenize(graph, TokenConfig(costs=True, **settings))
    return np.expm1(tokens.node_features[:, -NUM_COSTS:].astype(np.float64))


def test_transcendental_functions_count_for_each_element_of_the_output():
    type_ = TensorType((2, 3))
    ops = ["relu", "sigmoid", "mish", "erf"]
    operators = [Operator(op=op, inputs=(-1,), type=type_) for op in ops]
    costs = costs_of(OpGraph((type_,), tuple(operators), (0, 1, 2, 3)))
    assert costs[:, 1] == pytest.approx([0, 6, 30, 24])


def test_an_attention_has_an_exponential_for_each_score():
    type_ = TensorType((2, 3, 7, 16))
    scores = 2 * 3 * 7 * 11
    attention = Operator(
        op="attention", inputs=(-1, -1, -1), type=type_, flops=scores * (2 * 16 + 2 * 16 + 6)
    )
    assert costs_of(OpGraph((type_,), (attention,), (0,)))[0, 1] == pytest.approx(scores)


def test_flops_are_divided_by_the_blocks_that_loops_are_tiled_into():
    graph = read_onnx(conv_bn_relu())
    conv, dense = graph.operators[0], graph.operators[-1]
    assert (conv.shape, dense.shape) == ((1, 8, 16, 16), (1, 10))
    costs = costs_of(graph, divisors=(6, 5))
    assert costs[0, 2:4] == pytest.approx([conv.flops / 4, 0]), "16 columns, 4 at a time"
    assert costs[-1, 2:4] == pytest.approx([dense.flops, 0]), "10 are no full vectors"
    assert costs_of(graph, divisors=(6, 3))[0, 3] == pytest.approx(conv.flops / 4), "2 rows"
    assert costs_of(graph)[0, :4] == pytest.approx([conv.flops, 0, conv.flops, 0])


def test_what_is_fused_moves_bytes_between_kernels_alone():
    graph = read_onnx(conv_bn_relu())
    assert [operator.op for operator in graph] == [
        *("conv2d", "relu", "add", "global_avg_pool2d", "reshape", "dense")
    ]
    conv, _, add, pool, _, dense = graph
    alone, fused = costs_of(graph), costs_of(graph, fused=True)
    assert np.array_equal(fused[:, :5], alone[:, :5])
    image = TensorType((1, 8, 16, 16)).num_bytes
    assert add.read_bytes == 2 * image, "the sum also reads the input of the network"
    # The convolution, the activation and the sum are one kernel; the reshape runs no code.
    read, written = fused[:, 5], fused[:, 6]
    assert read == pytest.approx([image, 0, image, pool.read_bytes, 0, dense.read_bytes])
    assert written == pytest.approx([0, 0, image, pool.write_bytes, 0, dense.write_bytes])
    assert fused[0, 7] == pytest.approx(conv.flops / (conv.param_bytes + image))


def test_static_features_are_logarithms_of_plain_counts():
    graph = read_onnx(conv_bn_relu())
    counts = [graph.batch_size, graph.flops, graph.param_bytes / 4, graph.memory_bytes]
    assert tokenize(graph, _EVERYTHING).static_features == pytest.approx(np.log1p(counts))


def test_negative_and_enormous_values_stay_finite():
    type_ = TensorType((2, 3))
    clip = Operator(op="clip", attrs={"min": -6.0, "max": 1e300}, inputs=(-1,), type=type_)
    config = TokenConfig(values=("real", "logarithm"))
    row = tokenize(OpGraph((type_,), (clip,), (0,)), config).node_features[0]
    real, logs = np.split(row[vocabulary.SIZES[2] :], 2)
    assert real[:2].tolist() == [-6.0, np.finfo(np.float32).max]
    assert logs[:2] == pytest.approx([-np.log1p(6.0), np.log(1e300)])


def test_a_configuration_survives_json_and_older_ones_load():
    again = TokenConfig(**json.loads(json.dumps(asdict(_EVERYTHING))))
    assert (again, hash(again)) == (_EVERYTHING, hash(_EVERYTHING))
    old = {"frequencies": 5, "shape_dims": 4, "vocabulary": 1, "node_position": False}
    assert TokenConfig(**old) == TokenConfig(vocabulary=1)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("operators", ("conv9d",)),
        ("op_type", "two-hot"),
        ("values", ()),
        ("values", ("real", "real")),
        ("values", ("cubic",)),
        ("static", "real"),
        ("vocabulary", 99),
        ("frequencies", 0),
        ("shape_dims", -1),
        ("input_dims", -1),
        ("divisors", (1,)),
        ("divisors", (16, 31, 4)),
    ],
)
def test_a_setting_that_does_not_exist_is_named(name, value):
    with pytest.raises(InputError, match=f"tokens: {name} is"):
        TokenConfig(**{name: value})


# --- What must not change tokens --------------------------------------------------------------


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


@pytest.mark.parametrize("config", CONFIGS, ids=repr)
@settings(max_examples=20, deadline=None)
@given(graphs(), st.randoms(use_true_random=False))
def test_renumbering_the_operators_permutes_the_tokens(config, graph, random):
    order = list(range(len(graph)))
    random.shuffle(order)  # new position of each operator
    renumbered: list[Operator] = [graph.operators[0]] * len(graph)
    for old, operator in enumerate(graph):
        inputs = tuple(order[i] if i >= 0 else i for i in operator.inputs)
        renumbered[order[old]] = replace(operator, inputs=inputs)
    other = OpGraph(graph.inputs, tuple(renumbered), tuple(order[i] for i in graph.outputs))
    a, b = tokenize(graph, config), tokenize(other, config)
    assert np.array_equal(a.node_features, b.node_features[order])
    assert np.array_equal(a.static_features, b.static_features)
    edges_a = {(order[s], order[d]) for s, d in a.edge_index.T.tolist()}
    assert edges_a == {(s, d) for s, d in b.edge_index.T.tolist()}


@pytest.mark.parametrize("config", CONFIGS, ids=repr)
def test_weights_and_names_do_not_change_tokens(config):
    model = conv_bn_relu()
    expected = tokenize(read_onnx(model), config)
    for tensor in model.graph.initializer:
        tensor.raw_data = bytes(len(tensor.raw_data))
    for node in model.graph.node:
        node.name = f"another_{node.name}"
    found = tokenize(read_onnx(model), config)
    assert np.array_equal(found.node_features, expected.node_features)
    assert np.array_equal(found.static_features, expected.static_features)
