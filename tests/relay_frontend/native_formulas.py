"""Steps of random networks that write an operator out, as exporters and importers do."""

from __future__ import annotations

import math
from random import Random
from typing import Any

import numpy as np

from relay_frontend.canonical.patterns import PATTERNS, Term, parse
from relay_frontend.graph import TensorType
from relay_frontend.nodes import INPUT, Network, Node, constant
from relay_frontend.operators import OPERATORS
from tests.relay_frontend.native_graphs import (
    SHAPES,
    STEPS,
    coin,
    full,
    image,
    parameter,
    recent,
    some_axes,
    unary,
)


def formula(rng: Random, nodes: list[Node]) -> Node:
    """One of the formulas that stand for an operator, or something close to it."""
    _, text = rng.choice(PATTERNS)
    operand = recent(rng, nodes)
    same = [node for node in nodes if node.type == operand.type]
    axes = some_axes(rng, len(operand.type.shape))
    attrs = {"axes": axes, "axis": axes[-1] if axes else 0, "keepdims": True, "num_groups": 2}
    attrs.update(min=rng.choice([1e-12, 0.0]), max=math.inf, approximate=False)

    def term(part: Term) -> Node:
        if part.kind == "operand":
            return operand if part.name == "x" else rng.choice(same)
        if part.kind == "constant":
            extents = tuple(operand.type.shape[axis] for axis in axes)
            return rng.choice([parameter(rng, operand.type.shape), full(extents, 1.5)])
        if part.kind == "number":
            return full((), part.value * rng.choice([1.0] * 9 + [1.0005, 1.1]))
        operands = [term(child) for child in part.operands]
        own: dict[str, Any] = {n: attrs.get(n, 1.0) for n in OPERATORS[part.name].attrs}
        own.update((name, value) for name, value in part.attrs if not isinstance(value, str))
        own.update((name, bool(own[name])) for name in ("approximate", "keepdims") if name in own)
        if rng.random() < 0.1:
            operands.reverse()
        return Node(part.name, _type_of(own, operands), operands, own)

    return term(parse(text))


def _type_of(attrs: dict[str, Any], operands: list[Node]) -> TensorType:
    type_ = max((operand.type for operand in operands), key=lambda t: t.num_elements)
    if "keepdims" not in attrs:
        return type_
    extents = ((1 if axis in attrs["axes"] else e) for axis, e in enumerate(type_.shape))
    return TensorType(tuple(extents))


def attention(rng: Random, nodes: list[Node]) -> Node:
    query = Node("reshape", TensorType((2, 3, 8)), [recent(rng, nodes)])
    keys = Node("transpose", TensorType((2, 8, 3)), [query], {"axes": (0, 2, 1)})
    scores = TensorType((2, 3, 3))
    step = Node("matmul", scores, [query, rng.choice([keys, keys, query])])
    if coin(rng):
        step = Node(rng.choice(["multiply", "divide"]), scores, [step, parameter(rng, ())])
    masked = rng.choice(["no", "add", "where"])
    if masked == "add":
        step = Node("add", scores, [step, constant(scores)])
    if masked == "where":
        condition = Node("less", TensorType((3, 3), "bool"), [query, full((), 0.0)])
        step = Node("where", scores, [condition, step, full((), -1e9)])
    weights = Node("softmax", scores, [step], {"axis": 2})
    return Node("matmul", query.type, [weights, query])


def dense_of_rows(rng: Random, nodes: list[Node]) -> Node:
    x = recent(rng, nodes)
    if len(x.type.shape) < 2:
        return unary(rng, nodes)
    *lead, depth = x.type.shape
    rows = Node("reshape", TensorType((math.prod(lead), depth)), [x])
    weights = constant(TensorType((depth, 5)))
    product = Node("matmul", TensorType((math.prod(lead), 5)), [rows, weights])
    if coin(rng):
        product = Node("add", product.type, [product, constant(TensorType((5,)))])
    return Node("reshape", TensorType((*lead, 5)), [product])


def stacked_product(rng: Random, nodes: list[Node]) -> Node:
    x = Node("reshape", TensorType((2, 2, 3, 3)), [recent(rng, nodes)])
    y = Node("broadcast_to", x.type, [Node("reshape", TensorType((1, 3, 3)), [x])])
    if coin(rng):
        return Node("matmul", x.type, [x, y])
    joined = [Node("reshape", TensorType((4, 3, 3)), [part]) for part in (x, y)]
    joined[1] = Node("transpose", TensorType((4, 3, 3)), joined[1:], {"axes": (0, 2, 1)})
    product = Node("matmul", TensorType((4, 3, 3)), joined)
    return Node("reshape", x.type, [product])


def slices(rng: Random, nodes: list[Node]) -> Node:
    """Parts of a tensor along an axis, which may be all of it."""
    x = Node("reshape", TensorType((4, 6)), [recent(rng, nodes)])
    extent = rng.choice([1, 2, 3, 4, 6])
    begins = list(range(0, 6 - extent + 1, extent))
    step = rng.choice([1, 1, 1, 2])
    parts = [
        Node("slice", TensorType((4, extent)), [x], {"begin": (0, begin), "strides": (1, step)})
        for begin in rng.sample(begins, len(begins))
    ]
    inner = {"begin": (rng.randint(0, 2), 0), "strides": (2, 1)}
    parts.append(Node("slice", TensorType((1, extent)), parts[:1], inner))
    return Node("concatenate", TensorType((len(parts) * 4 - 3, extent)), parts, {"axis": 0})


def take(rng: Random, nodes: list[Node]) -> Node:
    data = recent(rng, nodes)
    if not data.type.shape:
        return unary(rng, nodes)
    axis = rng.randint(0, len(data.type.shape) - 1)
    rest = (*data.type.shape[:axis], *data.type.shape[axis + 1 :])
    if coin(rng):
        position = constant(TensorType((), "int64"), np.array(rng.randint(-1, 0)))
        return Node("take", TensorType(rest), [data, position], {"axis": axis})
    counts = TensorType((2, 2), rng.choice(["int64", "float32"]))
    positions = Node("cast", TensorType((2, 2), "int32"), [Node("abs", counts, [data])])
    if coin(rng):
        return Node("take", TensorType((2, 2, *rest)), [data, positions], {"axis": axis})
    flat = Node("reshape", TensorType((4,), "int32"), [positions])
    less = Node("less", TensorType((4,), "bool"), [flat, full((), 0.0)])
    shifted = Node("add", flat.type, [flat, full((), 4.0)])
    wrapped = Node("where", flat.type, [less, shifted, flat])
    taken = Node("take", TensorType((4, *rest)), [data, wrapped], {"axis": axis})
    return Node("reshape", TensorType((2, 2, *rest)), [taken])


def padded_pool(rng: Random, nodes: list[Node]) -> Node:
    x = image(rng, nodes)
    shape = TensorType((*x.type.shape[:2], *(e + 2 for e in x.type.shape[2:])))
    value = rng.choice([-math.inf, 0.0])
    pad = Node("pad", shape, [x], {"pad_width": (0, 0, 1, 1) * 2, "value": value})
    attrs = {"kernel_size": (3, 3), "strides": (1, 1), "padding": (0, 0, 0, 0)}
    return Node("max_pool2d", x.type, [pad], attrs)


def group_norm(rng: Random, nodes: list[Node]) -> Node:
    x = image(rng, nodes)
    grouped = TensorType((x.type.shape[0], 2, math.prod(x.type.shape[1:]) // 2))
    inner = Node("reshape", grouped, [x])
    normal = Node("instance_norm", grouped, [inner, constant(TensorType((2,)))])
    whole = Node("reshape", x.type, [normal])
    return Node("multiply", x.type, [whole, parameter(rng, x.type.shape)])


def instance_norm(rng: Random, nodes: list[Node]) -> Node:
    x = image(rng, nodes)
    normal = Node("layer_norm", x.type, [x], {"axes": (2, 3)})
    scaled = Node("multiply", x.type, [normal, parameter(rng, x.type.shape)])
    return Node("add", x.type, [scaled, parameter(rng, x.type.shape)])


def blocks(rng: Random, nodes: list[Node]) -> Node:
    """Channels to pixels, or pixels to channels."""
    x = Node("reshape", TensorType((1, 8, 4, 6)), [recent(rng, nodes)])
    x = Node("negative", x.type, [x])
    parted, axes, result = rng.choice(
        [
            ((1, 2, 2, 2, 4, 6), (0, 3, 4, 1, 5, 2), (1, 2, 8, 12)),
            ((1, 2, 2, 2, 4, 6), (0, 1, 4, 2, 5, 3), (1, 2, 8, 12)),
            ((1, 8, 2, 2, 3, 2), (0, 3, 5, 1, 2, 4), (1, 32, 2, 3)),
        ]
    )
    apart = Node("reshape", TensorType(parted), [x])
    moved = TensorType(tuple(parted[axis] for axis in axes))
    transposed = Node("transpose", moved, [apart], {"axes": axes})
    return Node("reshape", TensorType(result), [transposed])


def softmax_of_rows(rng: Random, nodes: list[Node]) -> Node:
    x = recent(rng, nodes)
    inner = rng.choice([(*x.type.shape, 1), (1, *x.type.shape), (-1, *x.type.shape[-1:])])
    size = x.type.num_elements // max(1, inner[-1])
    inner = tuple(size if extent == -1 else extent for extent in inner)
    flat = Node("reshape", TensorType(inner), [x])
    axis = rng.randint(0, len(inner) - 1)
    return Node("reshape", x.type, [Node("softmax", flat.type, [flat], {"axis": axis})])


def stack(rng: Random, nodes: list[Node]) -> Node:
    operand = recent(rng, nodes)
    terms = [node for node in nodes if node.type == operand.type]
    stacked = TensorType((len(terms), *operand.type.shape))
    whole = Node("stack", stacked, terms, {"axis": 0})
    if coin(rng):
        return whole
    op = rng.choice(["sum", "mean", "max", "min", "prod"])
    return Node(op, operand.type, [whole], {"axes": (0,), "keepdims": False})


def lrn(rng: Random, nodes: list[Node]) -> Node:
    x = image(rng, nodes)
    window = {"kernel_size": (5, 1, 1), "strides": (1, 1, 1), "padding": (2, 0, 0, 2, 0, 0)}
    deep = TensorType((x.type.shape[0], 1, *x.type.shape[1:]))
    step = Node("reshape", deep, [Node("multiply", x.type, [x, x])])
    if coin(rng):
        step = Node("pad", TensorType((1, *deep.shape[1:])), [step], {"pad_width": (0,) * 10})
    step = Node("avg_pool3d", deep, [step], {**window, "count_include_pad": True})
    step = Node("reshape", x.type, [step])
    for op, value in (("multiply", 1e-4), ("add", 1.5), ("power", 0.75)):
        step = Node(op, x.type, [step, full((), value)])
    return Node("divide", x.type, [x, step])


def top_one(rng: Random, nodes: list[Node]) -> Node:
    x = recent(rng, nodes)
    rank = len(x.type.shape)
    if not rank:
        return unary(rng, nodes)
    axis = rng.randint(0, rank - 1)
    kept = TensorType((*x.type.shape[:axis], 1, *x.type.shape[axis + 1 :]))
    top = Node("top_k", kept, [x], {"axis": axis, "k": 1, "largest": coin(rng)})
    part = Node("item", kept, [top], {"index": 1}) if coin(rng) else top
    if rng.random() < 0.2:
        part = Node("logsumexp", kept, [x], {"axes": (axis,), "keepdims": True})
    return Node("reshape", TensorType(kept.shape[:axis] + kept.shape[axis + 1 :]), [part])


def ranked(rng: Random, nodes: list[Node]) -> Node:
    x = Node("reshape", TensorType((4, 6)), [recent(rng, nodes)])
    best = Node("top_k", TensorType((4, 3)), [x], {"axis": 1, "k": 3, "largest": True})
    positions = Node("item", TensorType((4, 3), "int64"), [best], {"index": 1})
    shown = Node("cast", best.type, [positions])
    return Node("add", best.type, [best, shown]) if coin(rng) else rng.choice([best, shown])


def regions(rng: Random, nodes: list[Node]) -> Node:
    boxes = Node("reshape", TensorType((6, 4)), [recent(rng, nodes)])
    images = Node("reshape", TensorType((6, 1)), [recent(rng, nodes)])
    column = Node("cast", TensorType((6, 1)), [images])
    joined = Node("concatenate", TensorType((6, 5)), [column, boxes], {"axis": 1})
    return Node("roi_align", TensorType((6, 4, 2, 2)), [image(rng, nodes), joined])


FORMS = (
    *(attention, dense_of_rows, stacked_product, slices, take, padded_pool, group_norm),
    *(instance_norm, blocks, softmax_of_rows, stack, lrn, regions, top_one, ranked),
)


def random_network(rng: Random) -> Network:
    """A network of up to a dozen steps, each on results of earlier ones."""
    inputs = [Node(INPUT, TensorType(rng.choice(SHAPES)), source=f"x{i}") for i in range(2)]
    nodes = list(inputs)
    for position in range(rng.randint(1, 12)):
        step = rng.choice([rng.choice(STEPS), rng.choice(FORMS), formula])
        node = step(rng, nodes)
        node.source = f"n{position}"
        nodes.append(node)
    outputs = [rng.choice(nodes[2:]), nodes[-1]][: rng.randint(1, 2)]
    return Network(inputs, outputs)
