"""Which rows of a table the integer inputs of a network may look up, such as the ids of tokens.

An input of zeros looks up one row again and again: all positions of a sequence are then alike, and
what a processor learns of the first (the branches of an error function, say) holds for the rest.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

from onnx import GraphProto, ModelProto, NodeProto, TensorProto

from measure.weights import shape_of_filled

_INTEGERS = (TensorProto.INT32, TensorProto.INT64)
_MOVES = frozenset(("Cast", "Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"))
"""Operators whose first operand holds the values of their result."""

_Shape = tuple[int, ...]


def index_bounds(model: ModelProto) -> dict[str, int]:
    """What the values of each data input must stay below, by name, in the order of the inputs.

    Of an integer input that is nothing but an index into constant tables: the rows of the smallest.
    Of any other 1: it may be a length, a mask, or an index into what is computed.

    Args:
        model: ONNX, with or without weights (:mod:`measure.weights`).
    """
    constants, readers = _shapes(model.graph), _readers(model.graph)
    results = {value.name for value in model.graph.output}
    bounds: dict[str, int] = {}
    for value in model.graph.input:
        if value.name in constants:
            continue
        is_index = value.type.tensor_type.elem_type in _INTEGERS and value.name not in results
        rows = list(_rows(value.name, constants, readers)) if is_index else []
        bounds[value.name] = max(1, min(rows, default=1))
    return bounds


def _rows(
    name: str, tables: Mapping[str, _Shape], readers: Mapping[str, list[tuple[NodeProto, int]]]
) -> Iterator[int]:
    """Rows of each table that ``name`` is an index into; 0 for each other use."""
    for node, operand in readers.get(name, ()):
        if node.op_type in _MOVES and operand == 0:
            yield from _rows(node.output[0], tables, readers)
        elif node.op_type == "Gather" and operand == 1 and node.input[0] in tables:
            axis = next((a.i for a in node.attribute if a.name == "axis"), 0)
            yield tables[node.input[0]][axis]
        else:
            yield 0


def _readers(graph: GraphProto) -> dict[str, list[tuple[NodeProto, int]]]:
    """The nodes that read each tensor, and as which operand."""
    readers: dict[str, list[tuple[NodeProto, int]]] = defaultdict(list)
    for node in graph.node:
        for operand, name in enumerate(node.input):
            readers[name].append((node, operand))
    return readers


def _shapes(graph: GraphProto) -> dict[str, _Shape]:
    """Shapes of the constants of a graph, those without values included."""
    constants = {tensor.name: tensor for tensor in graph.initializer}
    shapes = {name: tuple(tensor.dims) for name, tensor in constants.items()}
    for node in graph.node:
        if (shape := shape_of_filled(node, constants)) is not None:
            shapes[node.output[0]] = shape
        elif node.op_type == "Constant":
            found = (tuple(a.t.dims) for a in node.attribute if a.name == "value")
            shapes.update((node.output[0], dims) for dims in found)
    return shapes
