"""Where values come from: through rewrites of nodes, and through passes of a compiler."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from relay_frontend.canonical.canonicalize import canonicalize
from relay_frontend.canonical.provenance import (
    Call,
    Origins,
    Trace,
    inherit,
    mark,
    marked,
    members,
    returned,
)
from relay_frontend.errors import NetworkError
from relay_frontend.graph import Operator, OpGraph, TensorType
from relay_frontend.nodes import INPUT, Network, Node, constant

_IMAGE = TensorType((1, 4, 8, 8))
_CHANNELS = TensorType((4,))


def _node(number: int, op: str, *inputs: Node, **attrs: tuple[int, ...] | int) -> Node:
    return Node(op, _IMAGE, inputs, dict(attrs), source=mark(frozenset({number})))


def _conv(number: int, data: Node) -> Node:
    window = {"kernel_size": (1, 1), "strides": (1, 1), "padding": (0, 0, 0, 0)}
    weight = constant(TensorType((4, 4, 1, 1)))
    return _node(number, "conv2d", data, weight, **window, dilation=(1, 1), groups=1)


def _bound(value: float) -> Node:
    return constant(TensorType(()), np.asarray(value, np.float32))


def _traced(inputs: Sequence[Node], *outputs: Node) -> dict[str, set[int]]:
    """Origins by operator."""
    trace = Trace()
    graph = canonicalize(Network(inputs, outputs), trace)
    return {
        operator.op: set(origins) for operator, origins in zip(graph, trace.operators, strict=True)
    }


def test_a_mark_survives_what_is_appended_to_names() -> None:
    assert marked(mark(frozenset({12, 3})) + "_1") == {3, 12}
    assert marked("lv12") == frozenset()


def test_an_operator_comes_from_all_that_it_has_absorbed() -> None:
    x = Node(INPUT, _IMAGE)
    norm = _node(1, "batch_norm", _conv(0, x), *[constant(_CHANNELS)] * 4)
    bias = _node(2, "add", norm, constant(TensorType((4, 1, 1))))
    assert _traced([x], _node(3, "relu", bias)) == {"conv2d": {0, 1, 2}, "relu": {3}}


def test_what_does_nothing_leaves_no_trace() -> None:
    x = Node(INPUT, _IMAGE)
    identity = _node(1, "identity", _node(0, "relu", x))
    assert _traced([x], _node(2, "tanh", identity)) == {"relu": {0}, "tanh": {2}}


def test_an_operator_comes_from_the_parts_that_it_was_put_together_of() -> None:
    x, y = Node(INPUT, _IMAGE), Node(INPUT, _IMAGE)
    product = _node(2, "multiply", _node(0, "tanh", x), _node(1, "sigmoid", y))
    low = _node(3, "maximum", product, _bound(0))
    high = _node(4, "minimum", low, _bound(6))
    traced = _traced([x, y], high)
    assert traced == {"tanh": {0}, "sigmoid": {1}, "multiply": {2}, "clip": {3, 4}}


def _call(name: str, *operands: int, origin: int | None = None) -> Call:
    return Call(name, operands, frozenset() if origin is None else frozenset({origin}))


def _inherited(before: list[Call], after: list[Call]) -> list[set[int]]:
    inherit(before, after, ("layout_transform",))
    return [set(call.origins) for call in after[:-1]]


def test_parts_of_a_call_compute_what_it_does() -> None:
    before = [_call("norm", -1, origin=0), _call("relu", 0, origin=1), returned([1])]
    after = [
        _call("multiply", -1),
        _call("add", 0, origin=0),
        _call("relu", 1, origin=1),
        returned([2]),
    ]
    assert _inherited(before, after) == [{0}, {0}, {1}]


def test_a_call_that_was_made_anew_is_that_which_its_consumer_used() -> None:
    before = [
        _call("conv", -1, origin=0),
        _call("scale", 0, origin=1),
        _call("relu", 1, origin=2),
        _call("conv", 2, origin=3),
        _call("concatenate", 0, 3, origin=4),
        returned([4]),
    ]
    after = [
        _call("conv", -1, origin=0),
        _call("relu", 0),
        _call("conv", 1),
        _call("concatenate", 0, 2, origin=4),
        returned([3]),
    ]
    assert _inherited(before, after) == [{0}, {2}, {3}, {4}]


def test_a_result_that_was_made_anew_is_that_which_was_returned() -> None:
    before = [_call("norm", -1, origin=0), _call("norm", 0, origin=1), returned([0, 1])]
    after = [_call("add", -1), _call("add", 0, origin=1), returned([0, 1])]
    assert _inherited(before, after) == [{0}, {1}]


def test_a_change_of_layout_computes_nothing() -> None:
    before = [_call("conv", -1, origin=0), returned([0])]
    after = [_call("layout_transform", -1), _call("conv", 0, origin=0), returned([1])]
    assert _inherited(before, after) == [set(), {0}]


def _graph(*operators: tuple[str, int]) -> OpGraph:
    return OpGraph(
        inputs=(_IMAGE,),
        operators=tuple(Operator(op=op, inputs=(at,), type=_IMAGE) for op, at in operators),
        outputs=(len(operators) - 1,),
    )


def _origins(*numbers: set[int]) -> list[Origins]:
    return [frozenset(own) for own in numbers]


def test_an_operator_is_a_member_of_all_kernels_that_compute_it() -> None:
    graph = _graph(("softmax", -1), ("reshape", 0), ("relu", 1))
    kernels = _origins({0}, {1, 3}, set())
    assert members(graph, _origins({0, 1}, {2}, {3}), kernels) == [(0,), (0, 2), ()]


def test_an_operator_that_was_merged_belongs_to_its_consumers() -> None:
    graph = _graph(("multiply", -1), ("reshape", 0), ("conv2d", 1))
    assert members(graph, _origins({0}, {1}, {2}), _origins({2})) == [(0, 2)]


def test_an_operator_in_no_kernel_is_an_error_that_names_it() -> None:
    graph = _graph(("relu", -1), ("conv2d", 0), ("tanh", 1))
    with pytest.raises(NetworkError, match=r"operator 1 of the network \(conv2d, float32\[1, 4"):
        members(graph, _origins({0}, {1}, {2}), _origins({0}, {2}))
