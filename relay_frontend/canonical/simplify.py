"""First sweep of the canonicalization: each operator by itself gets its canonical form.

Constants and no-ops vanish, special cases get their own name. Each rewrite is one small function
that returns a new node or ``None``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from relay_frontend.canonical.decompositions import RECOMPOSE, transposed
from relay_frontend.canonical.provenance import Trace
from relay_frontend.graph import TensorType
from relay_frontend.nodes import CONSTANT, INPUT, Node, Rewrite, constant, replace, topological

_COMMUTATIVE = ("add", "multiply")


def simplify(outputs: Sequence[Node], trace: Trace | None) -> list[Node]:
    """Rebuild the graph bottom-up: each node is rewritten when its operands have been."""
    new: dict[int, Node] = {}
    for node in topological(outputs):
        operands = [new[id(operand)] for operand in node.inputs]
        rebuilt = replace(node, inputs=operands) if node.inputs else node
        new[id(node)] = _simplified(rebuilt, trace)
    return [new[id(node)] for node in outputs]


def _simplified(node: Node, trace: Trace | None) -> Node:
    """What is left of ``node`` when none of the rewrites applies any more."""
    while True:
        for rewrite in _SIMPLIFY:
            replacement = rewrite(node)
            if replacement is not None:
                break
        else:
            if trace is not None:
                trace.settle(node)
            return node
        if trace is not None:
            trace.rewritten(node, replacement)
        if replacement.op in (CONSTANT, INPUT) or replacement in node.inputs:
            return replacement  # an operand: it has been rewritten already
        node = replacement


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
        or (node.op in ("cast", "reshape") and node.type == operand.type)
        or (node.op == "transpose" and axes == tuple(range(len(node.type.shape))))
        or (node.op == "pad" and node.type == operand.type)
    )
    return operand if is_no_op else None


def _merge_reshapes(node: Node) -> Node | None:
    """Only the last of several changes of shape counts."""
    if node.op == "reshape" and node.inputs[0].op == "reshape":
        return replace(node, inputs=node.inputs[0].inputs)
    return None


def _merge_transposes(node: Node) -> Node | None:
    """Two transposes are one, or none."""
    if node.op != "transpose" or node.inputs[0].op != "transpose":
        return None
    axes = node.attrs["axes"]
    assert isinstance(axes, tuple)
    return transposed(node.inputs[0], axes, node.source)


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
    """X + 0, x * 1 and x / 1 are x for a known scalar; longer constants are weights."""
    neutral = {"add": 0.0, "subtract": 0.0, "multiply": 1.0, "divide": 1.0}.get(node.op)
    if neutral is None or len(node.inputs) != 2 or node.inputs[1].value is None:
        return None
    operand, value = node.inputs[0], node.inputs[1].value
    if operand.type == node.type and value.size == 1 and float(value.reshape(())) == neutral:
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


def _reduction_to_global_pool(node: Node) -> Node | None:
    """A mean over height and width is global pooling, and a reshape where it drops them."""
    op = {"mean": "global_avg_pool2d", "max": "global_max_pool2d"}.get(node.op)
    if op is None or node.attrs["axes"] != (2, 3) or len(node.inputs[0].type.shape) != 4:
        return None
    return _global_pool(node, op)


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
    _merge_transposes,
    _transpose_to_reshape,
    _constant_to_right,
    _neutral_constant,
    _matmul_to_dense,
    _clip_to_relu,
    _reduction_to_global_pool,
    _pool_to_global_pool,
)
