"""What importers write around an operator vanishes, and only that."""

from __future__ import annotations

import numpy as np
import pytest

from relay_frontend.canonical.canonicalize import canonicalize
from relay_frontend.graph import TensorType
from relay_frontend.nodes import INPUT, Network, Node, constant


def _input(*shape, dtype="float32"):
    return Node(INPUT, TensorType(shape, dtype))


def _constant(*shape, value=None, dtype="float32"):
    return constant(TensorType(shape, dtype), None if value is None else np.full(shape, value))


def _node(op, shape, *inputs, dtype="float32", **attrs):
    return Node(op, TensorType(shape, dtype), inputs, attrs)


def _graph(output, *inputs):
    graph = canonicalize(Network(inputs, [output]))
    return [(operator.op, operator.shape) for operator in graph]


def test_dense_over_rows_is_dense_over_the_last_dimension():
    x = _input(2, 5, 8)
    rows = _node("reshape", (10, 8), x)
    product = _node("matmul", (10, 3), rows, _constant(8, 3))
    shifted = _node("add", (10, 3), product, _constant(1, 3))
    for merged in (product, shifted):
        assert _graph(_node("reshape", (2, 5, 3), merged), x) == [("dense", (2, 5, 3))]


def test_rows_of_what_was_reshaped_before_keep_that_reshape():
    x = _input(2, 5, 4, 2)
    rows = _node("reshape", (10, 8), _node("reshape", (2, 5, 8), x))
    parted = _node("reshape", (2, 5, 3), _node("matmul", (10, 3), rows, _constant(8, 3)))
    assert _graph(parted, x) == [("reshape", (2, 5, 8)), ("dense", (2, 5, 3))]


@pytest.mark.parametrize("shape", [(2, 15), (30,), (5, 3, 2)])
def test_a_reshape_of_the_features_of_dense_stays(shape):
    x = _input(2, 5, 8)
    rows = _node("reshape", (10, 8), x)
    product = _node("matmul", (10, 3), rows, _constant(8, 3))
    assert [op for op, _ in _graph(_node("reshape", shape, product), x)] == [
        "reshape",
        "dense",
        "reshape",
    ]


def test_a_product_of_stacks_has_any_rank():
    a, b = _input(2, 3, 4, 8), _input(2, 3, 8, 5)
    stacks = [_node("reshape", (6, *x.type.shape[-2:]), x) for x in (a, b)]
    product = _node("reshape", (2, 3, 4, 5), _node("matmul", (6, 4, 5), *stacks))
    assert _graph(product, a, b) == [("matmul", (2, 3, 4, 5))]


def test_a_product_repeats_its_operands_by_itself():
    a, b = _input(2, 3, 4, 8), _input(3, 8, 5)
    repeated = _node("broadcast_to", (2, 3, 8, 5), b)
    assert _graph(_node("matmul", (2, 3, 4, 5), a, repeated), a, b) == [("matmul", (2, 3, 4, 5))]


def test_a_repetition_that_the_product_needs_stays():
    a, b = _input(1, 4, 8), _input(1, 8, 5)
    both = [_node("broadcast_to", (2, *x.type.shape[-2:]), x) for x in (a, b)]
    assert [op for op, _ in _graph(_node("matmul", (2, 4, 5), *both), a, b)] == [
        "broadcast_to",
        "broadcast_to",
        "matmul",
    ]


def _wrapped(bound, dtype):
    data, positions = _input(7, 4), _input(3, dtype=dtype)
    below = _node("less", (3,), positions, _constant(value=bound, dtype=dtype), dtype="bool")
    shifted = _node("add", (3,), positions, _constant(value=7, dtype=dtype), dtype=dtype)
    wrapped = _node("where", (3,), below, shifted, positions, dtype=dtype)
    take = _node("take", (3, 4), data, wrapped, axis=0)
    return [op for op, _ in _graph(take, data, positions)]


def test_positions_that_count_from_the_end_are_positions():
    assert _wrapped(0, "int64") == ["take"]


def test_another_choice_of_numbers_stays():
    assert _wrapped(1, "int64") == ["less", "add", "where", "take"]
    assert _wrapped(0, "float32") == ["less", "add", "where", "take"]


def test_the_position_of_a_maximum_is_an_integer_of_any_size():
    x = _input(2, 5)
    position = _node("argmax", (2,), x, dtype="int32", axis=1, keepdims=False)
    assert _graph(_node("cast", (2,), position, dtype="int64"), x) == [("argmax", (2,))]
    assert _graph(_node("cast", (2,), position), x) == [("argmax", (2,)), ("cast", (2,))]


def _padded_pool(value, widths):
    x = _input(1, 4, 8, 8)
    padded = _node("pad", (1, 4, 9, 9), x, pad_width=widths, value=value)
    window = {"kernel_size": (3, 3), "strides": (2, 2), "padding": (0, 0, 0, 0)}
    graph = canonicalize(Network([x], [_node("max_pool2d", (1, 4, 4, 4), padded, **window)]))
    return [(operator.op, operator.attrs.get("padding")) for operator in graph]


def test_padding_that_no_maximum_picks_is_its_own():
    widths = (0, 0, 0, 0, 0, 0, 1, 1)
    lowest = float(np.finfo(np.float32).min)
    assert _padded_pool(lowest, widths) == [("max_pool2d", (0, 0, 1, 1))]
    assert _padded_pool(0.0, widths) == [("pad", None), ("max_pool2d", (0, 0, 0, 0))]
    assert _padded_pool(lowest, (0, 0, 0, 0, 0, 1, 1, 1))[0] == ("pad", None)
