"""Last step of the canonicalization: one form for the parts of a tensor and what joins them."""

from __future__ import annotations

from collections.abc import Sequence

from relay_frontend.graph import TensorType
from relay_frontend.nodes import Node, constant, replace, topological


def split_from_slices(outputs: Sequence[Node]) -> None:
    """Slices that cut a tensor into equal parts along an axis are a split, all of them."""
    parts: dict[tuple[int, int, int], dict[int, list[Node]]] = {}
    for node in topological(outputs):
        cut = _cut(node) if node.op == "slice" else None
        if cut is not None:
            axis, extent, begin = cut
            same = parts.setdefault((id(node.inputs[0]), axis, extent), {})
            same.setdefault(begin // extent, []).append(node)
    for (_, axis, extent), slices in parts.items():
        whole = next(iter(slices.values()))[0].inputs[0].type.shape[axis]
        if len(slices) * extent != whole:
            continue
        for index, nodes in slices.items():
            for node in nodes:
                node.op, node.attrs = "split", {"axis": axis, "index": index}


def _cut(node: Node) -> tuple[int, int, int] | None:
    """Axis, extent and begin of one of the equal parts of a tensor; None for other slices."""
    whole, part = node.inputs[0].type.shape, node.type.shape
    begin, strides = node.attrs["begin"], node.attrs["strides"]
    assert isinstance(begin, tuple)
    assert isinstance(strides, tuple)
    cut = [axis for axis in range(len(whole)) if whole[axis] != part[axis]]
    if len(cut) != 1 or any(step != 1 for step in strides):
        return None
    axis = cut[0]
    extent = part[axis]
    if not extent or whole[axis] % extent or begin[axis] % extent:
        return None
    return axis, extent, begin[axis]


def concatenate_from_stacks(outputs: Sequence[Node]) -> None:
    """A stack is a concatenation of operands that have been given the new dimension."""
    for node in topological(outputs):
        if node.op != "stack":
            continue
        axis, shape = node.attrs["axis"], node.type.shape
        assert isinstance(axis, int)
        type_ = TensorType((*shape[:axis], 1, *shape[axis + 1 :]), node.type.dtype)
        node.op = "concatenate"
        node.inputs = [_part_of_stack(operand, type_, node) for operand in node.inputs]


def _part_of_stack(operand: Node, type_: TensorType, stack: Node) -> Node:
    if operand.is_constant:
        return constant(type_)
    if operand.op == "reshape":
        return replace(operand, type=type_)
    return Node("reshape", type_, [operand], source=stack.source, origins=stack.origins)
