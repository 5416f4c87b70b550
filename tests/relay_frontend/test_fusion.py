"""Guessed kernels: the rules of TVM's fusion, and how often the guess is what TVM does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from relay_frontend.fusion import fuse, kernels_of
from relay_frontend.graph import Operator, OpGraph, TensorType
from relay_frontend.kernel import NO_KERNEL, Kernel
from relay_frontend.onnx import read_onnx
from tests.networks import conv_bn_relu, zoo_network

_IMAGE = (1, 8, 4, 4)
_CHANNELS = (1, 8, 1, 1)
_CONV = {
    "kernel_size": (1, 1),
    "strides": (1, 1),
    "padding": (0, 0, 0, 0),
    "dilation": (1, 1),
    "groups": 1,
    "has_bias": False,
}
_ATTRS: dict[str, dict[str, Any]] = {
    "conv2d": _CONV,
    "concatenate": {"axis": 1},
    "transpose": {"axes": (0, 1, 3, 2)},
    "sum": {"axes": (1,), "keepdims": True},
    "cumsum": {"axis": 1},
}


def node(op: str, *inputs: int, shape: tuple[int, ...] = _IMAGE, **attrs: Any) -> Operator:
    return Operator(
        op=op, inputs=inputs, type=TensorType(shape), attrs={**_ATTRS.get(op, {}), **attrs}
    )


def graph_of(*operators: Operator, outputs: Sequence[int] = ()) -> OpGraph:
    return OpGraph((TensorType(_IMAGE),), operators, tuple(outputs or [len(operators) - 1]))


def members(groups: np.ndarray) -> list[list[int]]:
    return [np.flatnonzero(groups == kernel).tolist() for kernel in range(groups.max() + 1)]


# --- Rules ------------------------------------------------------------------------------------


def test_what_is_elementwise_joins_the_convolution_before_it():
    graph = graph_of(node("conv2d", -1), node("add", 0, -1), node("relu", 1))
    assert members(fuse(graph)) == [[0, 1, 2]]


def test_a_kernel_has_one_convolution():
    graph = graph_of(node("conv2d", -1), node("conv2d", -1), node("add", 0, 1), node("relu", 2))
    assert members(fuse(graph)) == [[1], [0, 2, 3]]


def test_a_convolution_is_not_broadcast_into_what_follows():
    graph = graph_of(
        node("conv2d", -1),
        node("global_avg_pool2d", 0, shape=_CHANNELS),
        node("conv2d", 1, shape=_CHANNELS),
        node("sigmoid", 2, shape=_CHANNELS),
        node("multiply", 0, 3),
    )
    assert members(fuse(graph)) == [[0], [1], [2, 3], [4]]


def test_elementwise_branches_join_where_they_meet():
    graph = graph_of(
        node("conv2d", -1), node("sigmoid", 0), node("tanh", 0), node("multiply", 1, 2)
    )
    assert members(fuse(graph)) == [[0, 1, 2, 3]]


def test_a_branch_with_a_convolution_keeps_the_way_around_it_apart():
    graph = graph_of(node("relu", -1), node("conv2d", 0), node("add", 0, 1))
    assert members(fuse(graph)) == [[0], [1, 2]]


def test_a_reduction_takes_what_is_before_it_and_nothing_behind_it():
    reduced = (1, 1, 4, 4)
    graph = graph_of(node("exp", -1), node("sum", 0, shape=reduced), node("exp", 1, shape=reduced))
    assert members(fuse(graph)) == [[0, 1], [2]]


def test_nothing_joins_an_opaque_operator():
    graph = graph_of(node("exp", -1), node("cumsum", 0, axis=1), node("exp", 1))
    assert members(fuse(graph)) == [[0], [1], [2]]


def test_what_moves_elements_joins_what_follows_but_not_a_convolution():
    graph = graph_of(
        node("transpose", -1), node("relu", 0), node("transpose", 1), node("conv2d", 2)
    )
    assert members(fuse(graph)) == [[0, 1, 2], [3]]


def test_a_concatenation_takes_elementwise_operands_alone():
    wide = (1, 24, 4, 4)
    graph = graph_of(
        node("conv2d", -1),
        node("relu", 0),
        node("sigmoid", -1),
        node("max_pool2d", -1, kernel_size=(1, 1), strides=(1, 1), padding=(0, 0, 0, 0)),
        node("concatenate", 1, 2, 3, shape=wide),
        node("relu", 4, shape=wide),
    )
    assert members(fuse(graph)) == [[0, 1], [3], [2, 4, 5]]


def test_parts_of_a_split_are_computed_together():
    half = (1, 4, 4, 4)
    graph = graph_of(
        node("split", -1, shape=half, axis=1, index=0),
        node("conv2d", 0, shape=half),
        node("split", -1, shape=half, axis=1, index=1),
        node("concatenate", 1, 2),
    )
    assert members(fuse(graph)) == [[0, 2], [1], [3]]


def test_a_further_result_is_computed_with_the_first():
    graph = graph_of(
        node("top_k", -1, axis=1, k=8), node("item", 0, index=1), node("exp", 1), outputs=(0, 2)
    )
    assert members(fuse(graph)) == [[0, 1], [2]]


def test_an_output_ends_a_kernel():
    graph = graph_of(node("exp", -1), node("tanh", 0), node("sigmoid", 1), outputs=(2, 0))
    assert members(fuse(graph)) == [[0], [1, 2]]


def test_a_kernel_has_at_most_256_operators():
    graph = graph_of(*(node("exp", i - 1) for i in range(300)))
    sizes = np.bincount(fuse(graph))
    assert sizes.max() == 256
    assert sizes.sum() == 300


def test_a_deep_network_needs_no_recursion():
    ops = ("conv2d", "relu", "add", "sigmoid")
    chain = [node(ops[i % 4], *({i - 1, -1} if i % 4 == 2 else {i - 1})) for i in range(20_000)]
    assert fuse(graph_of(*chain)).max() + 1 == 5_000


def test_a_network_without_operators_has_no_kernels():
    graph = OpGraph((TensorType(_IMAGE),), (), (-1,))
    assert fuse(graph).shape == (0,)
    assert kernels_of(graph) == ()


_OPS = ("relu", "add", "concatenate", "conv2d", "transpose", "cumsum", "sum")


@st.composite
def graphs(draw: st.DrawFn) -> OpGraph:
    operators = []
    for index in range(draw(st.integers(1, 14))):
        op = draw(st.sampled_from(_OPS))
        arity = (2, 2) if op in ("add", "concatenate") else (1, 1)
        bounds = st.integers(max(-1, index - 5), index - 1)
        inputs = draw(st.lists(bounds, min_size=arity[0], max_size=arity[1]))
        operators.append(node(op, *inputs))
    used = {i for operator in operators for i in operator.inputs}
    return graph_of(*operators, outputs=[i for i in range(len(operators)) if i not in used])


@settings(max_examples=200, deadline=None)
@given(graphs())
def test_kernels_can_run_in_their_order_and_give_only_their_last_result(graph):
    groups = fuse(graph)
    assert sorted(set(groups.tolist())) == list(range(groups.max() + 1))
    for producer, consumer in graph.edges:
        assert groups[producer] <= groups[consumer]
        if groups[producer] != groups[consumer]:
            assert producer == members(groups)[groups[producer]][-1]
    for own in members(groups):
        heavy = [i for i in own if graph.operators[i].op in ("conv2d", "cumsum", "sum")]
        assert len(heavy) <= 1
        assert "cumsum" not in {graph.operators[i].op for i in own} or len(own) == 1


# --- Kernels ----------------------------------------------------------------------------------


def test_a_kernel_is_described_by_its_operators():
    graph = read_onnx(conv_bn_relu())
    assert [operator.op for operator in graph] == [
        *("conv2d", "relu", "add", "global_avg_pool2d", "reshape", "dense")
    ]
    image, pooled = TensorType((1, 8, 16, 16)), TensorType((1, 8, 1, 1))
    first, pool, reshape, dense = kernels_of(graph)
    weights = TensorType((8 * 8 * 9 + 8,))
    assert first == Kernel(
        name="conv2d_relu_add",
        kind="conv2d_relu_add",
        arguments=(image, weights),
        results=(image,),
        flops=sum(operator.flops for operator in graph.operators[:3]),
        operators=(0, 1, 2),
    )
    assert (pool.kind, pool.arguments, pool.results) == ("global_avg_pool2d", (image,), (pooled,))
    assert (reshape.name, reshape.kind) == (NO_KERNEL, "reshape")
    assert dense.arguments == (TensorType((1, 8)), TensorType((90,)))
    assert dense.flops == graph.operators[-1].flops


def test_all_costs_are_in_some_kernel():
    graph = read_onnx(zoo_network("mobilenet_v3"))
    kernels = kernels_of(graph)
    assert sum(kernel.flops for kernel in kernels) == graph.flops
    assert sorted(i for kernel in kernels for i in kernel.operators) == list(range(len(graph)))
    assert sum(kernel.write_bytes for kernel in kernels) < sum(o.write_bytes for o in graph)
    for kernel in kernels:
        last = graph.operators[kernel.operators[-1]]
        assert kernel.results == (last.type,)


def test_equal_kernels_share_a_name():
    graph = graph_of(
        *(node("conv2d", i - 1) for i in range(2)),
        node("conv2d", 1, groups=8),
        node("exp", 2),
    )
    names = [kernel.name for kernel in kernels_of(graph)]
    assert names == ["conv2d", "conv2d", "conv2d_exp"]
    apart = graph_of(node("conv2d", -1), node("conv2d", 0, groups=8))
    assert [kernel.name for kernel in kernels_of(apart)] == ["conv2d", "conv2d_1"]


def test_bytes_of_parameters_count_whatever_their_type():
    odd = Operator(op="exp", inputs=(-1,), type=TensorType(_IMAGE), param_bytes=7)
    (kernel,) = kernels_of(graph_of(odd))
    assert kernel.read_bytes == TensorType(_IMAGE).num_bytes + 7
