"""Networks without their weights, and back: weights decide neither time nor the operator graph.

A network is stored weightless, because its file is then a few kilobytes, and is filled with random
values before it is built, because a compiler merges parameters that are equal constants (common
subexpression elimination) and would time another network.

Weightless ONNX comes in two forms: ``ConstantOfShape`` nodes whose shape is an initializer (valid
ONNX; onnx's own "light" models and the zoo), and initializers with dimensions but no data (NNLQP).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, MutableSequence, Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from relay_frontend.errors import InputError, NetworkError

_T = TypeVar("_T")

_PLACEHOLDER = 0.02
"""What a weightless parameter is filled with; the value of onnx's own light models."""

_FLOAT_TYPES: dict[int, type[np.floating]] = {
    TensorProto.FLOAT16: np.float16,
    TensorProto.FLOAT: np.float32,
    TensorProto.DOUBLE: np.float64,
}
_DATA_FIELDS = (
    "raw_data",
    "float_data",
    "double_data",
    "int32_data",
    "int64_data",
    "uint64_data",
    "string_data",
)
_CONSTANT_OF_SHAPE_OPSET = 9
_FREE_INITIALIZER_IR = 4
"""From this IR version on an initializer need not be a graph input too."""

_SCALES_INPUTS = {"Resize": (1, 2), "Upsample": (1,)}
"""Float operands that decide a shape: they are no parameters, whatever they hold."""


def fill_weights(model: ModelProto, seed: int) -> ModelProto:
    """A copy of ``model`` whose parameters are ordinary initializers with random values.

    Filled are float parameters in either weightless form, and float initializers of two or more
    elements that are all equal. Matrices and kernels get N(0, 1/fan_in), so that activations keep
    their scale; vectors get U(0.5, 1.5), so that a variance is positive. Other initializers keep
    their data. Initializers are removed from the graph inputs (IR version 3 lists them there).

    Args:
        model: a network with or without weights; it is not changed.
        seed: the same model and seed give the same values.

    Raises:
        NetworkError: an initializer that is no float parameter has no data.
    """
    filled = ModelProto()
    filled.CopyFrom(model)
    graph = filled.graph
    values = _RandomValues(graph, seed)
    _fill_initializers(graph, values)
    _replace_constant_nodes(graph, values)
    _release_initializers(filled)
    return filled


def strip_weights(model: ModelProto) -> ModelProto:
    """A copy of ``model`` whose float parameters are ``ConstantOfShape`` nodes: small, valid ONNX.

    The nodes keep the names and types of the parameters. Scalars, integers and the scales of
    ``Resize`` stay: they decide what the network computes.

    Args:
        model: a network with or without weights; it is not changed.

    Raises:
        InputError: the model's opset is older than ``ConstantOfShape`` (9).
    """
    opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 0)
    if opset < _CONSTANT_OF_SHAPE_OPSET:
        raise InputError(
            f"network {model.graph.name!r} has opset {opset}, but weights can be stripped from "
            f"opset {_CONSTANT_OF_SHAPE_OPSET} on: convert it with onnx.version_converter first"
        )
    stripped = ModelProto()
    stripped.CopyFrom(model)
    graph = stripped.graph
    scales = _scales(graph)
    initializers: list[TensorProto] = []
    nodes: list[NodeProto] = []
    for tensor in graph.initializer:
        if _is_parameter(tensor.data_type, tensor.dims, tensor.name, scales):
            node, shape = constant_parameter(tensor.name, tensor.dims, tensor.data_type)
            nodes.append(node)
            initializers.append(shape)
        else:
            initializers.append(tensor)
    _release_initializers(stripped)
    _replace(graph.initializer, initializers)
    _replace(graph.node, [*nodes, *graph.node])
    return stripped


def constant_parameter(
    name: str, shape: Iterable[int], data_type: int = TensorProto.FLOAT
) -> tuple[NodeProto, TensorProto]:
    """A weightless parameter: its ``ConstantOfShape`` node and the initializer with its shape."""
    shape_tensor = numpy_helper.from_array(np.array(tuple(shape), np.int64), f"{name}.shape")
    value = numpy_helper.from_array(np.array([_PLACEHOLDER], _FLOAT_TYPES[data_type]), "value")
    node = helper.make_node("ConstantOfShape", [shape_tensor.name], [name], name=name, value=value)
    return node, shape_tensor


def shape_of_filled(
    node: NodeProto, initializers: Mapping[str, TensorProto]
) -> tuple[int, ...] | None:
    """The known shape of what a ``ConstantOfShape`` node gives; None for any other node."""
    if node.op_type != "ConstantOfShape" or node.input[0] not in initializers:
        return None
    return tuple(int(dim) for dim in numpy_helper.to_array(initializers[node.input[0]]))


class _RandomValues:
    """Seeded values for the parameters of one graph, drawn in the order of the calls."""

    def __init__(self, graph: GraphProto, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._input_major = _input_major_weights(graph)

    def tensor(self, name: str, shape: Sequence[int], data_type: int) -> TensorProto:
        """A tensor of random values; its spread follows from its shape and use."""
        values: npt.NDArray[np.floating]
        if len(shape) < 2:
            values = self._rng.uniform(0.5, 1.5, tuple(shape))
        else:
            fan_in = shape[-2] if name in self._input_major else math.prod(shape[1:])
            values = self._rng.standard_normal(tuple(shape), dtype=np.float32)
            values *= 1.0 / math.sqrt(max(fan_in, 1))
        return numpy_helper.from_array(np.asarray(values, _FLOAT_TYPES[data_type]), name)


def _fill_initializers(graph: GraphProto, values: _RandomValues) -> None:
    scales = _scales(graph)
    for tensor in graph.initializer:
        if _wants_values(tensor, scales):
            tensor.CopyFrom(values.tensor(tensor.name, tensor.dims, tensor.data_type))


def _wants_values(tensor: TensorProto, scales: set[str]) -> bool:
    if _has_data(tensor):
        is_parameter = _is_parameter(tensor.data_type, tensor.dims, tensor.name, scales)
        return is_parameter and _is_constant(numpy_helper.to_array(tensor))
    if tensor.data_type not in _FLOAT_TYPES or tensor.name in scales:
        data_type = TensorProto.DataType.Name(tensor.data_type).lower()
        raise NetworkError(
            f"initializer {tensor.name!r} ({data_type} {list(tensor.dims)}) has no data, and only "
            "float parameters can be filled: save the network with its shapes, axes and scales"
        )
    return True


def _replace_constant_nodes(graph: GraphProto, values: _RandomValues) -> None:
    """Turn float ``ConstantOfShape`` nodes of known shape into initializers."""
    scales = _scales(graph)
    initializers = {tensor.name: tensor for tensor in graph.initializer}
    nodes: list[NodeProto] = []
    parameters: list[TensorProto] = []
    shape_names: set[str] = set()
    for node in graph.node:
        shape = shape_of_filled(node, initializers)
        if shape is not None:
            data_type = node.attribute[0].t.data_type if node.attribute else TensorProto.FLOAT
            if _is_parameter(data_type, shape, node.output[0], scales):
                parameters.append(values.tensor(node.output[0], shape, data_type))
                shape_names.add(node.input[0])
                continue
        nodes.append(node)
    unused = shape_names - {name for node in nodes for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name not in unused]
    inputs = [value for value in graph.input if value.name not in unused]
    _replace(graph.input, inputs)
    _replace(graph.node, nodes)
    _replace(graph.initializer, [*kept, *parameters])


def _release_initializers(model: ModelProto) -> None:
    """Remove the initializers from the graph inputs, where a caller could override them."""
    names = {tensor.name for tensor in model.graph.initializer}
    _replace(model.graph.input, [value for value in model.graph.input if value.name not in names])
    model.ir_version = max(model.ir_version, _FREE_INITIALIZER_IR)


def _is_parameter(data_type: int, shape: Sequence[int], name: str, scales: set[str]) -> bool:
    return data_type in _FLOAT_TYPES and math.prod(shape) >= 2 and name not in scales


def _has_data(tensor: TensorProto) -> bool:
    return math.prod(tensor.dims) == 0 or any(len(getattr(tensor, f)) > 0 for f in _DATA_FIELDS)


def _is_constant(values: npt.NDArray[np.generic]) -> bool:
    return bool((values == values.flat[0]).all())


def _scales(graph: GraphProto) -> set[str]:
    """Names of the float tensors that decide a shape."""
    return {
        node.input[i]
        for node in graph.node
        for i in _SCALES_INPUTS.get(node.op_type, ())
        if i < len(node.input)
    }


def _input_major_weights(graph: GraphProto) -> set[str]:
    """Names of the weights with dimensions ``[..., inputs, outputs]``; others lead with outputs."""
    return {
        node.input[1]
        for node in graph.node
        if node.op_type == "MatMul"
        or (node.op_type == "Gemm" and not any(a.name == "transB" and a.i for a in node.attribute))
    }


def _replace(field: MutableSequence[_T], messages: Iterable[_T]) -> None:
    """Set a repeated protobuf field; the messages may be members of it."""
    kept = list(messages)
    del field[:]
    field.extend(kept)
