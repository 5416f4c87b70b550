"""Second sweep of the canonicalization: operators absorb what belongs to them.

That is their bias, batch norm or padding; for it one must know how many consumers a value has. Each
rewrite is one small function that returns a new node or ``None``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from relay_frontend.canonical.provenance import Trace
from relay_frontend.graph import TensorType
from relay_frontend.nodes import Node, Rewrite, constant, replace, topological
from relay_frontend.vocabulary import OPERATORS

_CONVOLUTIONS = tuple(name for name, spec in OPERATORS.items() if "convolution" in spec.cost)
LINEAR = (*_CONVOLUTIONS, "dense")
"""Operators that may have a bias."""


def absorb(outputs: Sequence[Node], trace: Trace | None) -> list[Node]:
    """The graph with each operator in place of what it has absorbed."""
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
                replacement = rewrite(rebuilt)
                if replacement is None:
                    continue
                if trace is not None:
                    trace.rewritten(rebuilt, replacement, absorbed=True)
                rebuilt = replacement
        if trace is not None:
            trace.settle(rebuilt)
        new[id(node)] = rebuilt
        consumers[id(rebuilt)] = counts[id(node)]
    return [new[id(node)] for node in outputs]


def _fold_batch_norm(node: Node) -> Node | None:
    """Inference-time batch norm becomes part of the weights and the bias before it."""
    producer = node.inputs[0]
    if node.op == "batch_norm" and producer.op in _CONVOLUTIONS:
        return _biased(producer, node)
    return None


def _fold_scale(node: Node) -> Node | None:
    """A constant factor per channel becomes part of the weights (and bias) before it."""
    producer = node.inputs[0]
    if node.op == "multiply" and producer.op in (*LINEAR, "batch_norm") and _per_channel(node):
        return producer
    return None


def _join_bias(node: Node) -> Node | None:
    """A constant added per channel is the bias of a linear operator, the shift of a batch norm."""
    producer = node.inputs[0]
    if node.op != "add" or not _per_channel(node):
        return None
    if producer.op == "batch_norm":
        return producer
    return _biased(producer, node) if producer.op in LINEAR else None


def _scale_shift_to_batch_norm(node: Node) -> Node | None:
    """X * a + b per channel, which no linear operator takes in, is a batch norm."""
    producer = node.inputs[0]
    if node.op != "add" or producer.op != "multiply":
        return None
    if not (_per_channel(node) and _per_channel(producer)):
        return None
    return Node("batch_norm", node.type, producer.inputs[:1], source=node.source)


def _fold_pad(node: Node) -> Node | None:
    """Zero padding of the spatial dimensions becomes the convolution's own."""
    pad = node.inputs[0]
    if node.op not in _CONVOLUTIONS or pad.op != "pad" or pad.attrs.get("value", 0.0) != 0.0:
        return None
    if node.op.endswith("transpose"):
        return None
    widths, padding = pad.attrs["pad_width"], node.attrs["padding"]
    assert isinstance(widths, tuple)
    assert isinstance(padding, tuple)
    rank = len(widths) // 2
    first = 1 if node.op.endswith("nhwc") else 2
    spatial = range(first, first + rank - 2)
    if min(widths) < 0 or any(widths[i] for i in range(2 * rank) if i % rank not in spatial):
        return None
    extra = [widths[i] for i in range(2 * rank) if i % rank in spatial]
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
    channel_axis = _channel_axis(node.inputs[0])
    constant_shape = node.inputs[1].type.shape
    aligned = (1,) * (len(shape) - len(constant_shape)) + constant_shape
    return all(
        extent == 1 or (axis == channel_axis and extent == shape[axis])
        for axis, extent in enumerate(aligned)
    )


def _channel_axis(node: Node) -> int:
    """The dimension of the channels in what ``node`` gives."""
    rank = len(node.type.shape)
    if node.op in _CONVOLUTIONS:
        return rank - 1 if node.op.endswith("nhwc") else 1
    return 1 if rank == 4 and node.op != "dense" else rank - 1


def _biased(producer: Node, bias: Node) -> Node:
    """``producer`` with a bias; it takes the place of ``bias``, which it has absorbed."""
    if len(producer.inputs) > 2:
        return producer
    channels = producer.type.shape[_channel_axis(producer)]
    vector = constant(TensorType((channels,), producer.type.dtype))
    return replace(producer, inputs=[*producer.inputs, vector], type=bias.type)


_ABSORB: tuple[Rewrite, ...] = (
    _fold_pad,
    _fold_batch_norm,
    _fold_scale,
    _join_bias,
    _scale_shift_to_batch_norm,
)
