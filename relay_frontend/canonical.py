"""Canonicalization: from a reader's nodes to the one :class:`OpGraph` of a network.

Two sweeps over the nodes in topological order. The first brings each operator into its canonical
form by itself (constants and no-ops vanish, special cases get their own name); the second lets
operators absorb what belongs to them (bias, batch norm, padding), for which it must know how many
consumers a value has. Each rewrite is one small function that returns a new node or ``None``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from relay_frontend import costs, vocabulary
from relay_frontend.decompositions import RECOMPOSE
from relay_frontend.graph import Operator, OpGraph, TensorType
from relay_frontend.nodes import (
    CONSTANT,
    INPUT,
    Network,
    Node,
    Rewrite,
    constant,
    replace,
    topological,
)
from relay_frontend.vocabulary import OPERATORS

_LINEAR = ("conv2d", "conv2d_transpose", "dense")
_COMMUTATIVE = ("add", "multiply")


def canonicalize(network: Network) -> OpGraph:
    """The canonical operator graph of what a reader has read."""
    outputs = _sweep(network.outputs, lambda node: _first(node, _SIMPLIFY))
    outputs = _absorb(outputs)
    return _freeze(network.inputs, outputs)


def _first(node: Node, rewrites: Sequence[Rewrite]) -> Node:
    """Apply ``rewrites`` to ``node`` until none of them applies."""
    while True:
        for rewrite in rewrites:
            replacement = rewrite(node)
            if replacement is not None:
                break
        else:
            return node
        if replacement.op in (CONSTANT, INPUT) or replacement in node.inputs:
            return replacement  # an operand: it has been rewritten already
        node = replacement


def _sweep(outputs: Sequence[Node], visit: Callable[[Node], Node]) -> list[Node]:
    """Rebuild the graph bottom-up: ``visit`` sees each node with its operands rewritten."""
    new: dict[int, Node] = {}
    for node in topological(outputs):
        operands = [new[id(operand)] for operand in node.inputs]
        new[id(node)] = visit(replace(node, inputs=operands) if node.inputs else node)
    return [new[id(node)] for node in outputs]


# --- First sweep: each operator by itself -----------------------------------------------------


def _fold_constant(node: Node) -> Node | None:
    """An operator whose operands are all constant is a constant."""
    if node.inputs and all(operand.is_constant for operand in node.inputs):
        return constant(node.type)
    return None


def _drop_no_op(node: Node) -> Node | None:
    """What returns its operand unchanged vanishes."""
    if len(node.inputs) != 1:
        return None
    operand = node.inputs[0]
    axes = node.attrs.get("axes", ())
    is_no_op = (
        node.op in ("identity", "concatenate")
        or (node.op == "reshape" and node.type == operand.type)
        or (node.op == "transpose" and axes == tuple(range(len(node.type.shape))))
        or (node.op == "pad" and node.type == operand.type)
    )
    return operand if is_no_op else None


def _merge_reshapes(node: Node) -> Node | None:
    """Only the last of several changes of shape counts."""
    if node.op == "reshape" and node.inputs[0].op == "reshape":
        return replace(node, inputs=node.inputs[0].inputs)
    return None


def _transpose_to_reshape(node: Node) -> Node | None:
    """A transpose that moves dimensions of extent 1 only keeps the order of elements."""
    if node.op != "transpose":
        return None
    axes, shape = node.attrs["axes"], node.inputs[0].type.shape
    assert isinstance(axes, tuple)
    moved = [axis for axis in axes if shape[axis] != 1]
    return replace(node, op="reshape", attrs={}) if moved == sorted(moved) else None


def _constant_to_right(node: Node) -> Node | None:
    """Commutative operators have their constant operand last."""
    if node.op in _COMMUTATIVE and len(node.inputs) == 2 and node.inputs[0].is_constant:
        return replace(node, inputs=[node.inputs[1], node.inputs[0]])
    return None


def _neutral_constant(node: Node) -> Node | None:
    """X + 0, x * 1 and x / 1 are x, where the constant is known."""
    neutral = {"add": 0.0, "subtract": 0.0, "multiply": 1.0, "divide": 1.0}.get(node.op)
    if neutral is None or len(node.inputs) != 2 or node.inputs[1].value is None:
        return None
    operand, value = node.inputs[0], node.inputs[1].value
    if operand.type == node.type and value.size and bool(np.all(value == neutral)):
        return operand
    return None


def _matmul_to_dense(node: Node) -> Node | None:
    """A product with a constant matrix is dense, whichever way the matrix lies."""
    if node.op == "matmul" and node.inputs[1].is_constant and len(node.inputs[1].type.shape) == 2:
        return replace(node, op="dense")
    return None


def _clip_to_relu(node: Node) -> Node | None:
    """A clip at zero without an upper bound is relu; one without bounds does nothing."""
    if node.op != "clip":
        return None
    low, high = node.attrs["min"], node.attrs["max"]
    assert isinstance(low, float)
    assert isinstance(high, float)
    unbounded = float(np.finfo(np.float32).max)
    if high < unbounded:
        return None
    if low == 0.0:
        return replace(node, op="relu", attrs={}, inputs=node.inputs[:1])
    return node.inputs[0] if low <= -unbounded else None


def _mean_to_global_pool(node: Node) -> Node | None:
    """A mean over height and width is global pooling, and a reshape where it drops them."""
    if node.op != "mean" or node.attrs["axes"] != (2, 3) or len(node.inputs[0].type.shape) != 4:
        return None
    return _global_pool(node, "global_avg_pool2d")


def _pool_to_global_pool(node: Node) -> Node | None:
    """A window that covers the whole input without padding is global pooling."""
    if node.op not in ("max_pool2d", "avg_pool2d"):
        return None
    covers = node.attrs["kernel_size"] == node.inputs[0].type.shape[2:]
    if not covers or node.attrs["padding"] != (0, 0, 0, 0) or node.type.shape[2:] != (1, 1):
        return None
    return _global_pool(node, f"global_{node.op}")


def _global_pool(node: Node, op: str) -> Node:
    pooled_type = TensorType((*node.inputs[0].type.shape[:2], 1, 1), node.type.dtype)
    pooled = Node(op, pooled_type, node.inputs, source=node.source)
    if pooled_type == node.type:
        return pooled
    return Node("reshape", node.type, [pooled], source=node.source)


_SIMPLIFY: tuple[Rewrite, ...] = (
    *RECOMPOSE,
    _fold_constant,
    _drop_no_op,
    _merge_reshapes,
    _transpose_to_reshape,
    _constant_to_right,
    _neutral_constant,
    _matmul_to_dense,
    _clip_to_relu,
    _mean_to_global_pool,
    _pool_to_global_pool,
)


# --- Second sweep: operators absorb what belongs to them --------------------------------------


def _absorb(outputs: Sequence[Node]) -> list[Node]:
    order = topological(outputs)
    # Consumers are counted on the old nodes; a new node stands for the last old one it has taken
    # in, and so has that one's consumers.
    counts = Counter(id(operand) for node in order for operand in node.inputs)
    counts.update(id(node) for node in outputs)
    new: dict[int, Node] = {}
    consumers: dict[int, int] = {}
    for node in order:
        operands = [new[id(operand)] for operand in node.inputs]
        rebuilt = replace(node, inputs=operands) if operands else node
        for rewrite in _ABSORB:
            if rebuilt.inputs and (rewrite is _fold_pad or consumers[id(rebuilt.inputs[0])] == 1):
                rebuilt = rewrite(rebuilt) or rebuilt
        new[id(node)] = rebuilt
        consumers[id(rebuilt)] = counts[id(node)]
    return [new[id(node)] for node in outputs]


def _fold_batch_norm(node: Node) -> Node | None:
    """Inference-time batch norm becomes part of the weights and the bias before it."""
    producer = node.inputs[0]
    if node.op == "batch_norm" and producer.op in ("conv2d", "conv2d_transpose"):
        return _biased(producer, node)
    return None


def _fold_scale(node: Node) -> Node | None:
    """A constant factor per channel becomes part of the weights (and bias) before it."""
    producer = node.inputs[0]
    if node.op == "multiply" and producer.op in (*_LINEAR, "batch_norm") and _per_channel(node):
        return producer
    return None


def _join_bias(node: Node) -> Node | None:
    """A constant added per channel is the bias of a linear operator, the shift of a batch norm."""
    producer = node.inputs[0]
    if node.op != "add" or not _per_channel(node):
        return None
    if producer.op == "batch_norm":
        return producer
    return _biased(producer, node) if producer.op in _LINEAR else None


def _scale_shift_to_batch_norm(node: Node) -> Node | None:
    """X * a + b per channel, which no linear operator takes in, is a batch norm."""
    producer = node.inputs[0]
    if node.op != "add" or producer.op != "multiply":
        return None
    if not (_per_channel(node) and _per_channel(producer)):
        return None
    return Node("batch_norm", node.type, producer.inputs[:1], source=node.source)


def _fold_pad(node: Node) -> Node | None:
    """Zero padding of height and width becomes the convolution's own."""
    pad = node.inputs[0]
    if node.op != "conv2d" or pad.op != "pad" or pad.attrs.get("value", 0.0) != 0.0:
        return None
    widths, padding = pad.attrs["pad_width"], node.attrs["padding"]
    assert isinstance(widths, tuple)
    assert isinstance(padding, tuple)
    if len(widths) != 8 or any(widths[:2]) or any(widths[4:6]) or min(widths) < 0:
        return None
    extra = (*widths[2:4], *widths[6:8])
    total = tuple(a + b for a, b in zip(padding, extra, strict=True))
    return replace(
        node, inputs=[pad.inputs[0], *node.inputs[1:]], attrs={**node.attrs, "padding": total}
    )


def _per_channel(node: Node) -> bool:
    """Whether the second operand is one constant per channel of the first (or one for all)."""
    if len(node.inputs) != 2 or not node.inputs[1].is_constant:
        return False
    if node.type != node.inputs[0].type:
        return False
    shape = node.type.shape
    channel_axis = 1 if len(shape) == 4 else len(shape) - 1
    constant_shape = node.inputs[1].type.shape
    aligned = (1,) * (len(shape) - len(constant_shape)) + constant_shape
    return all(
        extent == 1 or (axis == channel_axis and extent == shape[axis])
        for axis, extent in enumerate(aligned)
    )


def _biased(producer: Node, bias: Node) -> Node:
    """``producer`` with a bias; it takes the place of ``bias``, which it has absorbed."""
    if len(producer.inputs) > 2:
        return producer
    axis = 1 if len(producer.type.shape) == 4 else len(producer.type.shape) - 1
    vector = constant(TensorType((producer.type.shape[axis],), producer.type.dtype))
    return replace(producer, inputs=[*producer.inputs, vector], type=bias.type)


_ABSORB: tuple[Rewrite, ...] = (
    _fold_pad,
    _fold_batch_norm,
    _fold_scale,
    _join_bias,
    _scale_shift_to_batch_norm,
)


# --- The result -------------------------------------------------------------------------------


def _freeze(inputs: Sequence[Node], outputs: Sequence[Node]) -> OpGraph:
    """Number the operators in canonical order and attach their costs."""
    index = {id(node): -1 - k for k, node in enumerate(inputs)}
    operators: list[Operator] = []
    unknown: set[str] = set()
    for node in topological(outputs):
        if node.op in (CONSTANT, INPUT):
            continue
        if node.op in _LINEAR:
            node.attrs = {**node.attrs, "has_bias": len(node.inputs) > 2}
        if node.op not in OPERATORS:
            unknown.add(node.op)
            node.op = vocabulary.category(node.op)
        index[id(node)] = len(operators)
        known = OPERATORS[node.op].attrs
        operators.append(
            Operator(
                op=node.op,
                attrs={name: node.attrs[name] for name in known},
                inputs=tuple(index[id(operand)] for operand in node.data_inputs),
                type=node.type,
                flops=costs.flops(node),
                param_bytes=costs.param_bytes(node),
                read_bytes=costs.read_bytes(node),
                write_bytes=node.type.num_bytes,
                source=node.source,
            )
        )
    returned = tuple(index[id(node)] for node in outputs if not node.is_constant)
    return OpGraph(
        inputs=tuple(node.type for node in inputs),
        operators=tuple(operators),
        outputs=returned,
        unknown_ops=tuple(sorted(unknown)),
    )
