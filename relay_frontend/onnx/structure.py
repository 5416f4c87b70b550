"""What must hold of an ONNX graph before its types can be inferred.

ONNX's own shape inference would say less of what is wrong, and where.
"""

from __future__ import annotations

from collections.abc import Iterable

import onnx
from onnx import inliner

from relay_frontend.errors import NetworkError
from relay_frontend.onnx.node import source_name

_MAX_NODES = 2_000_000  # after inlining: functions of functions may grow without bound
_MAX_NESTING = 100

_Key = tuple[str, str]


def check_structure(model: onnx.ModelProto) -> None:
    """No control flow; every value has one name, and is made before it is read.

    Raises:
        NetworkError: it is not so; the message names the node.
    """
    graph = model.graph
    known = _names("constant", (tensor.name for tensor in graph.initializer))
    known |= _names("constant", (sparse.values.name for sparse in graph.sparse_initializer))
    known |= _names("input", (value.name for value in graph.input))
    for index, proto in enumerate(graph.node):
        _check_texts(proto, index)
        if any(a.type in (a.GRAPH, a.GRAPHS) for a in proto.attribute):
            raise NetworkError(
                f"{proto.op_type} {source_name(proto)!r} has a subgraph; control flow is not read"
            )
        for name in proto.input:
            if name and name not in known:
                raise NetworkError(
                    f"{proto.op_type} {source_name(proto)!r} reads {name!r}, which no node before "
                    "it produces"
                )
        for name in proto.output:
            if name in known:
                raise NetworkError(
                    f"{proto.op_type} {source_name(proto)!r} produces {name!r}, which is there "
                    "already"
                )
            if name:
                known.add(name)
    for output in graph.output:
        if output.name not in known:
            raise NetworkError(f"the network returns {output.name!r}, which no node produces")


def _check_texts(proto: onnx.NodeProto, index: int) -> None:
    """Protobuf gives bytes where a text is not UTF-8."""
    texts = (proto.op_type, proto.domain, proto.name, *proto.input, *proto.output)
    if not all(isinstance(text, str) for text in texts):
        raise NetworkError(f"node {index} of the ONNX model has a name that is not UTF-8")
    if not all(isinstance(attribute.name, str) for attribute in proto.attribute):
        raise NetworkError(f"{proto.op_type} {source_name(proto)!r} has an attribute without name")


def _names(kind: str, names: Iterable[str]) -> set[str]:
    seen: set[str] = set()
    for name in names:
        if not isinstance(name, str):
            raise NetworkError(f"the name {name!r} of a {kind} is not UTF-8")
        if name in seen or not name:
            raise NetworkError(f"two {kind}s are named {name!r}" if name else f"an unnamed {kind}")
        seen.add(name)
    return seen


def inline_functions(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with its own functions in the place of their calls.

    Raises:
        NetworkError: functions call each other in a circle, or are too many.
    """
    if not model.functions:
        return model
    _check_functions(model)
    try:
        return inliner.inline_local_functions(model)
    except (RuntimeError, TypeError, ValueError) as error:
        raise NetworkError(f"the functions of the ONNX model cannot be inlined: {error}") from None


def _check_functions(model: onnx.ModelProto) -> None:
    waiting = {(f.domain, f.name): f for f in model.functions}
    sizes: dict[_Key, int] = {}  # nodes that a call becomes
    for _ in range(_MAX_NESTING):
        ready = [
            key
            for key, function in waiting.items()
            if not any((n.domain, n.op_type) in waiting for n in function.node)
        ]
        if not ready:
            break
        for key in ready:
            sizes[key] = _size(waiting.pop(key).node, sizes)
    if waiting:
        domain, name = next(iter(waiting))
        raise NetworkError(
            f"function {domain}.{name} of the ONNX model calls itself, or functions nest more than "
            f"{_MAX_NESTING} deep"
        )
    if _size(model.graph.node, sizes) > _MAX_NODES:
        raise NetworkError(
            f"the functions of the ONNX model make more than {_MAX_NODES} operators of it"
        )


def _size(nodes: Iterable[onnx.NodeProto], sizes: dict[_Key, int]) -> int:
    return sum(sizes.get((node.domain, node.op_type), 1) for node in nodes)
