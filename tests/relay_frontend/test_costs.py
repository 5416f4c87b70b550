"""Costs against two independent counters: torch's of products, TVM's of whole kernels.

``FlopCounterMode`` counts a multiply-add as two, as we do, but nothing besides convolutions and
matrix products: no bias, no mask, no softmax, no activation. TVM's estimate counts every arithmetic
operation in the loops of a kernel, index arithmetic left out. It counts otherwise than we do where

- a clip is a maximum and a minimum: two per element, one of ours;
- a mean divides once per output, which we leave out, and a mean over windows also counts how many
  of its elements are padding, once per element;
- a transposed convolution multiplies the zeros that TVM puts between its input's elements;
- a softmax over n elements takes 4 per element (we count the maximum twice), and ``exp``, ``erf``
  and their like are one call each;
- a norm is counted as its implementation goes: TVM's layer norm takes about 11 per element of
  ours 8, a batch norm that stands alone 4 of ours 2;
- an interpolation is arithmetic, of ours it is a move of data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

pytest.importorskip("torch", reason="an independent counter of FLOPs")

import torch
import tvm
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from torch.utils.flop_counter import FlopCounterMode

from measure.weights import fill_weights
from relay_frontend import costs, kernels, load
from relay_frontend.graph import Operator, OpGraph, TensorType
from relay_frontend.nodes import INPUT, Node, constant
from relay_frontend.relax.importer import import_onnx
from tests.networks import PLAIN_FAMILIES, TORCH_FILES, TORCH_NETWORKS, zoo_network
from tests.relay_frontend import torch_networks

# Torch warns of the machine when oneDNN is switched off.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@contextmanager
def _visible_products() -> Iterator[None]:
    """Attention and recurrent layers as their products, which the counter knows."""
    math_only = torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH)
    with torch.no_grad(), torch.backends.mkldnn.flags(enabled=False), math_only:
        yield


def _counted(call: Callable[..., Any], *inputs: Tensor) -> int:
    with FlopCounterMode(display=False) as counter, _visible_products():
        call(*inputs)
    return int(counter.get_total_flops())


# --- One operator -----------------------------------------------------------------------------


def _type(tensor: Tensor) -> TensorType:
    return TensorType(tuple(tensor.shape))


def _window(layer: Any) -> dict[str, Any]:
    return {
        "kernel_size": tuple(layer.kernel_size),
        "groups": layer.groups,
        "has_bias": layer.bias is not None,
    }


_CONVOLUTIONS = {
    "conv1d": (nn.Conv1d(6, 8, 5, stride=2, padding=2), (2, 6, 30)),
    "conv2d": (nn.Conv2d(6, 8, (3, 5), padding=1, dilation=2), (2, 6, 17, 19)),
    "conv2d grouped": (nn.Conv2d(6, 12, 3, groups=3, bias=False), (2, 6, 17, 19)),
    "conv2d depthwise": (nn.Conv2d(6, 6, 3, groups=6), (1, 6, 9, 9)),
    "conv3d": (nn.Conv3d(4, 6, 3, stride=(1, 2, 2)), (1, 4, 7, 9, 9)),
    "conv1d_transpose": (nn.ConvTranspose1d(6, 8, 4, stride=2), (2, 6, 15)),
    "conv2d_transpose": (nn.ConvTranspose2d(6, 8, 3, stride=2, padding=1), (2, 6, 9, 9)),
    "conv2d_transpose grouped": (nn.ConvTranspose2d(6, 9, 3, groups=3), (2, 6, 9, 9)),
    "conv3d_transpose": (nn.ConvTranspose3d(4, 6, 2, stride=2, bias=False), (1, 4, 5, 5, 5)),
}


@pytest.mark.parametrize("name", _CONVOLUTIONS)
def test_convolutions_count_as_torch_counts_them(name: str) -> None:
    layer, shape = _CONVOLUTIONS[name]
    data = torch.zeros(shape)
    result = layer(data)
    operands = [Node(INPUT, _type(data)), constant(_type(layer.weight))]
    node = Node(name.split(maxsplit=1)[0], _type(result), operands, _window(layer))
    bias = result.numel() if layer.bias is not None else 0
    assert costs.flops(node) == _counted(layer, data) + bias


_Call = Callable[..., Tensor]
_PRODUCTS: dict[str, tuple[_Call, list[tuple[int, ...]], dict[str, Any]]] = {
    "matmul": (torch.matmul, [(5, 7), (7, 3)], {}),
    "matmul in batches": (torch.matmul, [(2, 3, 5, 7), (2, 3, 7, 4)], {}),
    "dense": (torch.matmul, [(2, 5, 7), (7, 3)], {"has_bias": False}),
    "einsum": (
        lambda a, b: torch.einsum("bhqd,bhkd->bhqk", a, b),
        [(2, 3, 5, 7), (2, 3, 6, 7)],
        {"equation": "bhqd,bhkd->bhqk"},
    ),
    "einsum with ellipsis": (
        lambda a, b: torch.einsum("...qd, ...kd -> ...qk", a, b),
        [(2, 3, 5, 7), (2, 3, 6, 7)],
        {"equation": "...qd, ...kd -> ...qk"},
    ),
}


@pytest.mark.parametrize("name", _PRODUCTS)
def test_products_count_as_torch_counts_them(name: str) -> None:
    call, shapes, attrs = _PRODUCTS[name]
    operands = [torch.zeros(shape) for shape in shapes]
    node = Node(
        name.split(maxsplit=1)[0],
        _type(call(*operands)),
        [Node(INPUT, _type(operand)) for operand in operands],
        attrs,
    )
    assert costs.flops(node) == _counted(call, *operands)


@pytest.mark.parametrize("has_mask", [False, True])
def test_attention_counts_products_as_torch_and_softmax_apart(has_mask: bool) -> None:
    query, key, value = torch.zeros(2, 3, 5, 8), torch.zeros(2, 3, 6, 8), torch.zeros(2, 3, 6, 7)
    operands = [Node(INPUT, _type(tensor)) for tensor in (query, key, value)]
    attrs: dict[str, Any] = {"has_mask": has_mask, "is_causal": False}
    node = Node("attention", TensorType((2, 3, 5, 7)), operands, attrs)
    counted = _counted(scaled_dot_product_attention, query, key, value)
    assert costs.flops(node) == counted + 2 * 3 * 5 * 6 * (6 + has_mask)


_RECURRENT = {"lstm": (nn.LSTM, 4), "gru": (nn.GRU, 3), "rnn": (nn.RNN, 1)}


@pytest.mark.parametrize("op", _RECURRENT)
@pytest.mark.parametrize("directions", [1, 2])
def test_recurrent_layers_count_as_torch_counts_them(op: str, directions: int) -> None:
    make, gates = _RECURRENT[op]
    length, batch, inputs, hidden = 5, 2, 6, 7
    layer = make(inputs, hidden, bidirectional=directions == 2)
    data = torch.zeros(length, batch, inputs)
    attrs: dict[str, Any] = {"hidden_size": hidden, "num_directions": directions}
    result = TensorType((length, directions, batch, hidden))
    node = Node(op, result, [Node(INPUT, _type(data))], attrs)
    elementwise = 4 * gates * length * batch * directions * hidden
    assert costs.flops(node) == _counted(layer, data) + elementwise


# --- Whole networks ---------------------------------------------------------------------------


def _products(graph: OpGraph) -> int:
    """FLOPs of the products alone."""
    return sum(_product(graph, operator) for operator in graph)


def _product(graph: OpGraph, operator: Operator) -> int:
    shapes = [
        graph.operators[at].shape if at >= 0 else graph.inputs[-1 - at].shape
        for at in operator.inputs
    ]
    if operator.op == "attention":
        *lead, queries, features = shapes[0]
        keys, values = shapes[1][-2], shapes[2][-1]
        return 2 * int(torch.Size(lead).numel()) * queries * keys * (features + values)
    if operator.op in ("lstm", "gru", "rnn"):
        gates = _RECURRENT[operator.op][1]
        length, batch, _ = shapes[0]
        hidden, directions = operator.attrs["hidden_size"], operator.attrs["num_directions"]
        assert isinstance(hidden, int)
        assert isinstance(directions, int)
        return operator.flops - 4 * gates * length * batch * directions * hidden
    if operator.op.startswith(("conv", "dense", "matmul", "einsum")):
        bias = operator.type.num_elements if operator.attrs.get("has_bias") else 0
        return operator.flops - bias
    return 0


@pytest.mark.parametrize("name", TORCH_NETWORKS)
def test_networks_count_as_torch_counts_them(name: str) -> None:
    module, inputs = torch_networks.build(name)
    graph = load(str(TORCH_FILES / f"{name}.onnx"))
    assert _products(graph) == pytest.approx(_counted(module, *inputs), rel=0.01)


# --- Kernels ----------------------------------------------------------------------------------

# Operators that TVM's estimate counts as we do.
_SAME_RULES = {
    "add",
    "concatenate",
    "conv2d",
    "dense",
    "max_pool2d",
    "relu",
    "reshape",
}


@pytest.mark.relax
@pytest.mark.parametrize("name", PLAIN_FAMILIES)
def test_kernels_cost_what_their_operators_do(name: str) -> None:
    module = import_onnx(fill_weights(zoo_network(name), seed=0))
    graph = load(module)
    compared = 0
    for kernel in kernels(module, tvm.target.Target({"kind": "llvm"})):
        own = [graph.operators[position] for position in kernel.operators]
        if {operator.op for operator in own} <= _SAME_RULES | {"clip"}:
            clipped = sum(o.type.num_elements for o in own if o.op == "clip")
            flops = sum(operator.flops for operator in own)
            assert kernel.flops == pytest.approx(flops + clipped, rel=0.01)
            compared += flops
    assert compared > 0.9 * graph.flops
