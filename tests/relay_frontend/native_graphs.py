"""Networks of nodes for both canonicalizers: random ones, and any as a plain description."""

from __future__ import annotations

import math
from random import Random
from typing import Any

import numpy as np

from relay_frontend.graph import TensorType
from relay_frontend.nodes import INPUT, Network, Node, constant, topological
from relay_frontend.operators import OPERATORS

SHAPES = ((1, 4, 6, 6), (1, 4, 1, 1), (2, 3, 8), (4, 8), (1, 8), (8,), ())
UNARY = tuple(
    name
    for name, spec in OPERATORS.items()
    if spec.category == "elementwise" and not spec.attrs and name != "elementwise"
)
BINARY = ("add", "subtract", "multiply", "divide", "maximum", "minimum", "power")
SCALARS = (0.0, 1.0, -1.0, 2.0, 3.0, 6.0, 0.5, 1 / 6, math.sqrt(0.5), 1e-5, math.inf)


def describe(network: Network) -> tuple[list[tuple[Any, ...]], list[int], list[int]]:
    """The arguments of the extension's ``build``: nodes, positions of inputs and outputs."""
    reachable = topological(network.outputs)
    known = {id(node) for node in reachable}
    order = [*(node for node in network.inputs if id(node) not in known), *reachable]
    position = {id(node): i for i, node in enumerate(order)}
    rows = [_row(node, [position[id(operand)] for operand in node.inputs]) for node in order]
    inputs = [position[id(node)] for node in network.inputs]
    return rows, inputs, [position[id(node)] for node in network.outputs]


def _row(node: Node, operands: list[int]) -> tuple[Any, ...]:
    values, integral = None, False
    if node.value is not None:
        integral = node.value.dtype.kind in "biu"
        values = [int(v) if integral else float(v) for v in node.value.ravel()]
    shape, dtype = node.type.shape, node.type.dtype
    attrs, source = dict(node.attrs), node.source
    return node.op, shape, dtype, operands, attrs, source, values, integral


# --- What all steps use -----------------------------------------------------------------------


def coin(rng: Random) -> bool:
    return rng.random() < 0.5


def recent(rng: Random, nodes: list[Node]) -> Node:
    """Any node, but rather a late one, so that chains come about."""
    return nodes[-1 - min(rng.randint(0, 3), len(nodes) - 1)]


def image(rng: Random, nodes: list[Node]) -> Node:
    images = [node for node in nodes if len(node.type.shape) == 4]
    if images:
        return rng.choice(images)
    operand = recent(rng, nodes)
    return Node("broadcast_to", TensorType((1, 4, 6, 6)), [operand])


def full(shape: tuple[int, ...], value: float) -> Node:
    return constant(TensorType(shape), np.full(shape, value, np.float32))


def parameter(rng: Random, shape: tuple[int, ...]) -> Node:
    """A scalar, a vector per channel, or a whole tensor; of known content or not."""
    channels = shape[1] if len(shape) == 4 else shape[-1] if shape else 1
    vector = (channels, 1, 1) if len(shape) == 4 else (channels,)
    type_ = TensorType(rng.choice([(), (1,) * len(shape), vector, shape]))
    return constant(type_) if rng.random() < 0.25 else full(type_.shape, rng.choice(SCALARS))


def some_axes(rng: Random, rank: int) -> tuple[int, ...]:
    return tuple(sorted(rng.sample(range(rank), rng.randint(1, rank)))) if rank else ()


# --- Steps ------------------------------------------------------------------------------------


def unary(rng: Random, nodes: list[Node]) -> Node:
    operand = recent(rng, nodes)
    return Node(rng.choice(UNARY), operand.type, [operand])


def binary(rng: Random, nodes: list[Node]) -> Node:
    left = recent(rng, nodes)
    same = [node for node in nodes if node.type == left.type]
    right = rng.choice(same) if coin(rng) else parameter(rng, left.type.shape)
    operands = [left, right] if rng.random() < 0.75 else [right, left]
    return Node(rng.choice(BINARY), left.type, operands)


def clip(rng: Random, nodes: list[Node]) -> Node:
    operand = recent(rng, nodes)
    for _ in range(2):
        low, high = rng.choice([-math.inf, 0.0, 1.0]), rng.choice([6.0, math.inf])
        operand = Node("clip", operand.type, [operand], {"min": low, "max": high})
    return operand


def cast(rng: Random, nodes: list[Node]) -> Node:
    operand = recent(rng, nodes)
    if coin(rng):
        shape = TensorType(operand.type.shape, "int64")
        operand = Node("argmax", shape, [operand], {"axis": 0, "keepdims": True})
    return Node("cast", TensorType(operand.type.shape, rng.choice(["int32", "float32"])), [operand])


def reshape(rng: Random, nodes: list[Node]) -> Node:
    operand = recent(rng, nodes)
    extents = [extent for extent in operand.type.shape if extent != 1]
    for _ in range(rng.randint(0, 2)):
        extents.insert(rng.randint(0, len(extents)), 1)
    if coin(rng):
        extents = [math.prod(extents)]
    return Node("reshape", TensorType(tuple(extents)), [operand])


def transpose(rng: Random, nodes: list[Node]) -> Node:
    operand = recent(rng, nodes)
    for _ in range(rng.randint(1, 2)):
        rank = len(operand.type.shape)
        axes = tuple(rng.sample(range(rank), rank))
        shape = tuple(operand.type.shape[axis] for axis in axes)
        operand = Node("transpose", TensorType(shape), [operand], {"axes": axes})
    return operand


def fixed(rng: Random, nodes: list[Node]) -> Node:
    operand = recent(rng, nodes)
    folded = Node("exp", operand.type, [parameter(rng, operand.type.shape)])
    return Node(rng.choice(BINARY), operand.type, [operand, folded])


def reduction(rng: Random, nodes: list[Node]) -> Node:
    operand = recent(rng, nodes)
    axes = some_axes(rng, len(operand.type.shape))
    keep = coin(rng)
    extents = [(1 if axis in axes else e) for axis, e in enumerate(operand.type.shape)]
    left = tuple(e for axis, e in enumerate(extents) if keep or axis not in axes)
    op = rng.choice(["mean", "sum", "max", "variance"])
    return Node(op, TensorType(left), [operand], {"axes": axes, "keepdims": keep})


def softmax(rng: Random, nodes: list[Node]) -> Node:
    operand = recent(rng, nodes)
    axis = rng.randint(0, max(0, len(operand.type.shape) - 1))
    return Node("softmax", operand.type, [operand], {"axis": axis})


def product(rng: Random, nodes: list[Node]) -> Node:
    left = recent(rng, nodes)
    if not left.type.shape:
        return unary(rng, nodes)
    right = rng.choice(nodes) if coin(rng) else constant(TensorType((left.type.shape[-1], 5)))
    return Node("matmul", TensorType((*left.type.shape[:-1], 5)), [left, right])


def conv2d(rng: Random, nodes: list[Node]) -> Node:
    x = image(rng, nodes)
    weight = constant(TensorType((x.type.shape[1],) * 2 + (3, 3)))
    attrs = {"kernel_size": (3, 3), "strides": (1, 1), "dilation": (1, 1), "groups": 1}
    op = rng.choice(["conv2d", "conv2d", "conv2d_transpose", "conv2d_nhwc"])
    return Node(op, x.type, [x, weight], {**attrs, "padding": (1, 1, 1, 1)})


def batch_norm(rng: Random, nodes: list[Node]) -> Node:
    x = image(rng, nodes)
    return Node("batch_norm", x.type, [x, constant(TensorType(x.type.shape[1:2]))])


def pad(rng: Random, nodes: list[Node]) -> Node:
    x = image(rng, nodes)
    width = rng.randint(0, 2)
    batch, channels, height, columns = x.type.shape
    shape = (batch, channels, height + 2 * width, columns + 2 * width)
    attrs = {"pad_width": (0, 0, width, width) * 2, "value": rng.choice([0.0, 1.0])}
    return Node("pad", TensorType(shape), [x], attrs)


def pool(rng: Random, nodes: list[Node]) -> Node:
    x = image(rng, nodes)
    window = rng.choice([x.type.shape[2:], (1, 1)])
    shape = tuple(e - w + 1 for e, w in zip(x.type.shape[2:], window, strict=True))
    attrs = {"kernel_size": window, "strides": (1, 1), "padding": (0, 0, 0, 0)}
    op = rng.choice(["max_pool2d", "avg_pool2d"])
    if op == "avg_pool2d":
        attrs["count_include_pad"] = coin(rng)
    return Node(op, TensorType((*x.type.shape[:2], *shape)), [x], attrs)


def concatenate(rng: Random, nodes: list[Node]) -> Node:
    operand = recent(rng, nodes)
    if not operand.type.shape:
        return Node("negative", operand.type, [operand])
    count = rng.randint(1, 2)
    shape = (operand.type.shape[0] * count, *operand.type.shape[1:])
    return Node("concatenate", TensorType(shape), [operand] * count, {"axis": 0})


def outside(rng: Random, nodes: list[Node]) -> Node:
    operand = recent(rng, nodes)
    name = rng.choice(["Det", "nn.Log2", "other.relu", "identity", 'a"b\\'])
    return Node(name, operand.type, [operand])


STEPS = (
    *(unary, binary, binary, clip, cast, reshape, transpose, transpose, reduction, softmax),
    *(product, fixed, conv2d, conv2d, batch_norm, pad, pool, concatenate, outside),
)


# --- Networks that no reader would make -------------------------------------------------------

_NAMES = sorted({name for spec in OPERATORS.values() for name in spec.attrs} | {"value"})
_VALUES = (
    *(True, False, -2, 0, 1, 3, 0.0, 1.0, math.inf, math.nan, "", "ij,jk->ik", "a...,b"),
    *((), (0,), (1,), (0, 1), (2, 3), (1, 0), (0, 2, 1), (-1, 2), (0, 0, 0, 0), (0, 0, 1, 1) * 2),
)


def malformed(rng: Random) -> Network:
    """Operators with any operands, types and attributes."""

    def extents() -> tuple[int, ...]:
        return tuple(rng.choice([0, 1, 2, 3, 2**31]) for _ in range(rng.randint(0, 5)))

    nodes = [Node(INPUT, TensorType(extents()), source="x"), constant(TensorType(extents()))]
    nodes.append(constant(TensorType((), "int64"), np.array(rng.randint(-2, 2))))
    for _ in range(rng.randint(1, 12)):
        op = rng.choice([*OPERATORS, "identity"])
        operands = [rng.choice(nodes) for _ in range(rng.choice([0, 1, 1, 2, 2, 2, 3, 4]))]
        type_ = rng.choice([node.type for node in nodes] + [TensorType(extents())])
        known = OPERATORS[op].attrs if op in OPERATORS else ()
        names = {*known[: rng.randint(0, 9)], *rng.sample(_NAMES, rng.randint(0, 2))}
        attrs = {name: rng.choice(_VALUES) for name in sorted(names)}
        nodes.append(Node(op, type_, operands, attrs))
    return Network(nodes[:1], nodes[-2:])
