"""ONNX networks as Relax modules whose parameters are function parameters without values.

The importer never sees a weight: a network of hundreds of megabytes imports as quickly as one
without weights, and weightless networks need not be filled first.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence

import tvm
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper
from tvm.relax.frontend.onnx import from_onnx

from relay_frontend.errors import DynamicShapeError, NetworkError

_FLOAT_TYPES = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE)
_FREE_INITIALIZER_IR = 4
"""From this IR version on an initializer need not be a graph input too."""

_SHAPE_OPERANDS = {"OneHot": (2,), "Resize": (1, 2), "Upsample": (1,)}
"""Float operands that are no parameters: the importer needs their values."""


def import_onnx(
    model: ModelProto, shapes: Mapping[str, Sequence[int]] | None = None
) -> tvm.IRModule:
    """The function ``main(*inputs, *parameters)`` of a network, with static shapes.

    Parameters are the float initializers of two or more elements and the float
    ``ConstantOfShape`` nodes that stand for them in weightless networks; ``main`` carries the
    number of inputs before them as its attribute ``num_input``. All other initializers become
    constants.

    Args:
        model: a network with or without weights, of IR version 3 and opset 1 or newer.
        shapes: static shapes of graph inputs by name, for those with symbolic dimensions.

    Raises:
        DynamicShapeError: a dimension of an input is symbolic and not in ``shapes``.
        NetworkError: the importer rejects the network.
    """
    lifted, num_input = _parameters_as_inputs(model)
    shape_dict = {name: list(shape) for name, shape in (shapes or {}).items()}
    for value in lifted.graph.input[:num_input]:
        if value.name not in shape_dict:
            _check_static(value, model.graph.name)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Renaming name")
            mod = from_onnx(lifted, shape_dict)
    except Exception as error:
        raise NetworkError(
            f"TVM's ONNX importer rejects network {model.graph.name!r}: "
            f"{type(error).__name__}: {error}"
        ) from error
    mod["main"] = mod["main"].with_attr("num_input", num_input)
    return mod


def _parameters_as_inputs(model: ModelProto) -> tuple[ModelProto, int]:
    """A copy without the parameters' values, and the number of inputs that are data."""
    graph = model.graph
    initializers = {tensor.name: tensor for tensor in graph.initializer}
    shape_operands = {
        node.input[i]
        for node in graph.node
        for i in _SHAPE_OPERANDS.get(node.op_type, ())
        if i < len(node.input)
    }
    parameters: list[ValueInfoProto] = []
    constants: list[TensorProto] = []
    for tensor in graph.initializer:
        if tensor.name not in shape_operands and _is_parameter(tensor.data_type, tensor.dims):
            parameters.append(_value_info(tensor.name, tensor.data_type, tensor.dims))
        else:
            constants.append(tensor)
    nodes: list[NodeProto] = []
    for node in graph.node:
        parameter = None
        if node.op_type == "ConstantOfShape" and node.output[0] not in shape_operands:
            parameter = _weightless_parameter(node, initializers)
        if parameter is None:
            nodes.extend(_simplified(node))
        else:
            parameters.append(parameter)
    inputs = [value for value in graph.input if value.name not in initializers]
    lifted = helper.make_model(
        helper.make_graph(nodes, graph.name, [*inputs, *parameters], graph.output, constants),
        opset_imports=model.opset_import,
        ir_version=max(model.ir_version, _FREE_INITIALIZER_IR) if model.ir_version >= 3 else 0,
    )
    return lifted, len(inputs)


def _weightless_parameter(
    node: NodeProto, initializers: Mapping[str, TensorProto]
) -> ValueInfoProto | None:
    """The parameter that a float ``ConstantOfShape`` of known shape stands for."""
    if node.input[0] not in initializers:
        return None
    data_type = node.attribute[0].t.data_type if node.attribute else TensorProto.FLOAT
    dims = [int(dim) for dim in numpy_helper.to_array(initializers[node.input[0]])]
    return _value_info(node.output[0], data_type, dims) if _is_parameter(data_type, dims) else None


def _simplified(node: NodeProto) -> list[NodeProto]:
    """The node as others that the importer turns into better code.

    It stacks the operands of ``Sum`` in memory before it adds them, and keeps ``Dropout`` as an
    operator.
    """
    if node.op_type == "Dropout" and len(node.output) == 1:
        return [helper.make_node("Identity", node.input[:1], node.output, name=node.name)]
    if node.op_type != "Sum" or len(node.input) < 2:
        return [node]
    total, *terms = node.input
    sums = [*(f"{node.output[0]}/{index}" for index in range(len(terms) - 1)), node.output[0]]
    return [
        helper.make_node("Add", [partial, term], [result], name=node.name)
        for partial, term, result in zip([total, *sums[:-1]], terms, sums, strict=True)
    ]


def _is_parameter(data_type: int, dims: Sequence[int]) -> bool:
    return data_type in _FLOAT_TYPES and math.prod(dims) >= 2


def _value_info(name: str, data_type: int, dims: Sequence[int]) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, data_type, list(dims))


def _check_static(value: ValueInfoProto, network: str) -> None:
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        raise DynamicShapeError(
            f"input {value.name!r} of network {network!r} has no shape: give it as "
            f"shapes={{{value.name!r}: (...)}}"
        )
    for axis, dim in enumerate(tensor.shape.dim):
        if not dim.HasField("dim_value") or dim.dim_value < 1:
            raise DynamicShapeError(
                f"dimension {axis} ({dim.dim_param or '?'}) of input {value.name!r} of network "
                f"{network!r} is symbolic: give the shape as shapes={{{value.name!r}: (...)}}"
            )
