"""ONNX -> :class:`OpGraph`, with numpy and onnx alone.

The model is data: nothing in it is executed, and no other file is opened for it. Weights are not
read, so that it does not matter whether they are there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

import onnx
from google.protobuf.message import DecodeError

from relay_frontend import native
from relay_frontend.canonical.canonicalize import canonicalize
from relay_frontend.errors import CostModelError, DynamicShapeError, NetworkError
from relay_frontend.graph import OpGraph, TensorType
from relay_frontend.nodes import INPUT, Network, Node, constant
from relay_frontend.onnx.constants import dtype_name, read_constant
from relay_frontend.onnx.native import MAX_EXTENT, read_native
from relay_frontend.onnx.node import OnnxNode, is_default_domain, source_name
from relay_frontend.onnx.operators import PARTS, convert, further_result
from relay_frontend.onnx.structure import check_structure, inline_functions
from relay_frontend.onnx.types import infer_result_types, infer_types, untyped
from relay_frontend.onnx.weights import without_weights

Shapes = Mapping[str, Sequence[int]]
Source: TypeAlias = "onnx.ModelProto | bytes | str | os.PathLike[str]"

NEWEST_OPSET = 28
"""A newer one may give operators another meaning."""

_MALFORMED = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    IndexError,
    KeyError,
    TypeError,
    ValueError,
)
"""What a converter raises where a node is not as ONNX specifies it."""


def load_model(source: Source) -> onnx.ModelProto:
    """The ONNX model in ``source``: a model, its bytes, or the path of a file.

    Raises:
        NetworkError: the file is missing, or what it holds is no ONNX model.
    """
    if isinstance(source, onnx.ModelProto):
        return _with_operators(source, "the given model")
    return _parse(_read(source), source)


def _read(source: bytes | str | os.PathLike[str]) -> bytes:
    if isinstance(source, bytes):
        return source
    try:
        return Path(source).read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise NetworkError(f"{source}: cannot be read ({reason})") from None


def _parse(data: bytes, source: bytes | str | os.PathLike[str]) -> onnx.ModelProto:
    name = "the given bytes" if isinstance(source, bytes) else str(source)
    try:
        model = onnx.load_from_string(data)
    except DecodeError:
        raise NetworkError(f"{name}: not an ONNX model (its protobuf does not parse)") from None
    return _with_operators(model, name)


def _with_operators(model: onnx.ModelProto, name: str) -> onnx.ModelProto:
    if not model.graph.node:
        raise NetworkError(f"{name}: not an ONNX model (it has no operators)")
    return model


def bind_shapes(model: onnx.ModelProto, shapes: Shapes | None = None) -> onnx.ModelProto:
    """A copy of ``model`` whose data inputs have the given static shapes.

    Raises:
        DynamicShapeError: a dimension stays symbolic; the message names it.
        NetworkError: ``shapes`` names an input that the network does not have.
    """
    bound = onnx.ModelProto()
    with _readable_texts():
        bound.CopyFrom(model)
        _bind(bound, shapes or {})
    return bound


def _bind(model: onnx.ModelProto, shapes: Shapes) -> None:
    inputs = {value.name: value for value in data_inputs(model)}
    for name, shape in shapes.items():
        if name not in inputs:
            raise NetworkError(f"no input named {name!r}; the inputs are {', '.join(inputs)}")
        if not all(0 < int(extent) <= MAX_EXTENT for extent in shape):
            raise NetworkError(f"shape {tuple(shape)} of input {name!r}: extents are positive")
        dims = inputs[name].type.tensor_type.shape
        del dims.dim[:]
        for extent in shape:
            dims.dim.add().dim_value = int(extent)
    for value in inputs.values():
        _check_static(value)


def _check_static(value: onnx.ValueInfoProto) -> None:
    if not value.type.HasField("tensor_type"):
        kind = value.type.WhichOneof("value") or "of no type"
        raise NetworkError(f"input {value.name!r} is {kind}; only tensors can be inputs")
    if not value.type.tensor_type.HasField("shape"):
        raise DynamicShapeError(
            f"input {value.name!r} has no shape; give one: shapes={{{value.name!r}: (...)}}"
        )
    for axis, dim in enumerate(value.type.tensor_type.shape.dim):
        if not dim.HasField("dim_value") or dim.dim_value <= 0:
            symbol = f"symbolic ({dim.dim_param!r})" if dim.dim_param else "unknown"
            raise DynamicShapeError(
                f"input {value.name!r}: dimension {axis} is {symbol}; bind it: "
                f"shapes={{{value.name!r}: (...)}}, or --shape {value.name}=1,3,224,224"
            )


def data_inputs(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    """The graph inputs that are no parameters (old models list initializers as inputs too)."""
    parameters = {tensor.name for tensor in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in parameters]


def read_onnx(source: Source, shapes: Shapes | None = None) -> OpGraph:
    """The operator graph of an ONNX model, with or without weights.

    Args:
        source: a model, its bytes, or the path of a file.
        shapes: static shapes for inputs that have symbolic dimensions.

    Raises:
        NetworkError: no ONNX model, or a malformed one; the message names the node.
        DynamicShapeError: a dimension is symbolic and not bound.
    """
    if isinstance(source, onnx.ModelProto):
        with _readable_texts():
            model = without_weights(source)
        graph = None if native.module is None else read_native(_encode(model), shapes or {})
        return canonicalize(read_network(model, shapes)) if graph is None else graph
    data = _read(source)
    graph = read_native(data, shapes or {})
    return canonicalize(read_network(_parse(data, source), shapes)) if graph is None else graph


def _encode(model: onnx.ModelProto) -> bytes:
    try:
        return bytes(model.SerializeToString())
    except (DecodeError, ValueError) as error:
        raise NetworkError(f"the ONNX model cannot be encoded: {error}") from None


def read_network(source: Source, shapes: Shapes | None = None) -> Network:
    """The nodes of a model before canonicalization; arguments and errors as of `read_onnx`."""
    with _readable_texts():
        model = without_weights(load_model(source))
        _bind(model, shapes or {})
        model = inline_functions(model)
        check_structure(model)
        for proto in model.graph.node:
            proto.name = source_name(proto)  # for the messages of shape inference
        return _Reader(model).read()


@contextmanager
def _readable_texts() -> Iterator[None]:
    """Protobuf decodes texts when they are looked at."""
    try:
        yield
    except UnicodeDecodeError as error:
        raise NetworkError(f"the ONNX model has a name that is not UTF-8: {error}") from None


class _Reader:
    """Reads one model; holds the nodes by value name."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.opset = _opset(model)
        self.types = infer_types(model, self.opset)
        self.nodes: dict[str, Node] = {}
        self.untyped: dict[str, str] = {}

    def read(self) -> Network:
        graph = self.model.graph
        for tensor in graph.initializer:
            self.nodes[tensor.name] = read_constant(tensor)
        for sparse in graph.sparse_initializer:
            type_ = TensorType(tuple(sparse.dims), dtype_name(sparse.values.data_type))
            self.nodes[sparse.values.name] = constant(type_)
        inputs = []
        for value in data_inputs(self.model):
            if value.name not in self.types:
                raise NetworkError(f"input {value.name!r} has no element type")
            node = Node(INPUT, self.types[value.name], source=value.name)
            self.nodes[value.name] = node
            inputs.append(node)
        for proto in graph.node:
            self._read_node(proto)
        return Network(inputs, [self._node(output.name) for output in graph.output])

    def _read_node(self, proto: onnx.NodeProto) -> None:
        operands = [self._node(name) if name else None for name in proto.input]
        try:
            self._convert(proto, operands)
        except CostModelError:
            raise
        except _MALFORMED as error:
            raise NetworkError(
                f"{proto.op_type} {source_name(proto)!r} is malformed: "
                f"{type(error).__name__}: {error}"
            ) from error

    def _convert(self, proto: onnx.NodeProto, operands: Sequence[Node | None]) -> None:
        if any(name and name not in self.types for name in proto.output):
            self.types.update(infer_result_types(proto, operands, self.model, self.opset))
        first: OnnxNode | None = None
        for position, name in enumerate(proto.output):
            type_ = self.types.get(name)
            if not name:
                continue
            if type_ is None:
                self.untyped[name] = untyped(proto, name)
                continue
            if first is None or proto.op_type in PARTS:
                first = OnnxNode(proto, operands, self.opset, type_, position)
                node = convert(first)
            # The first result may be left out, but it is what the node stands for.
            is_further = position > 0 and proto.op_type not in PARTS
            self.nodes[name] = further_result(first, node, type_, position) if is_further else node

    def _node(self, name: str) -> Node:
        node = self.nodes.get(name)
        if node is None:
            raise NetworkError(self.untyped.get(name) or f"{name!r} is not produced by any node")
        return node


def _opset(model: onnx.ModelProto) -> int:
    versions = [o.version for o in model.opset_import if is_default_domain(o.domain)]
    opset = int(versions[0]) if versions else 1
    if not 1 <= opset <= NEWEST_OPSET:
        raise NetworkError(
            f"the network has opset {opset}, but ONNX is known up to opset {NEWEST_OPSET}: export "
            "it with an older one, or convert it with onnx.version_converter"
        )
    return opset
