"""Types of the values of an ONNX model, as far as they are known before it runs."""

from __future__ import annotations

from collections.abc import Sequence

import onnx
from google.protobuf.message import DecodeError
from onnx import numpy_helper, shape_inference

from relay_frontend.errors import NetworkError
from relay_frontend.graph import TensorType
from relay_frontend.nodes import Node
from relay_frontend.onnx.constants import dtype_name, elem_type
from relay_frontend.onnx.node import is_default_domain, source_name

_FAILURES = (
    DecodeError,
    MemoryError,
    RuntimeError,
    ValueError,
    onnx.checker.ValidationError,
    onnx.defs.SchemaError,
    shape_inference.InferenceError,
)

# What ONNX has no inference for, and whose result has the type of the first operand; the long list
# is that of opsets before broadcasting.
_LIKE_OPERAND = frozenset({"GroupNormalization", "MeanVarianceNormalization"})
_OLD_LIKE_OPERAND = frozenset(
    (
        *("Abs", "Add", "BatchNormalization", "Ceil", "Clip", "Div", "Dropout", "Elu", "Exp"),
        *("Floor", "HardSigmoid", "InstanceNormalization", "LeakyRelu", "Log", "Max", "Mean"),
        *("Min", "Mul", "Neg", "PRelu", "Reciprocal", "Relu", "Selu", "Sigmoid", "Sqrt", "Sub"),
        *("Sum", "Tanh"),
    )
)
_BROADCASTING_OPSET = 7


def infer_types(model: onnx.ModelProto, opset: int) -> dict[str, TensorType]:
    """Types of all values of which ONNX's inference finds a static shape.

    ONNX's propagation of data is left out: it makes a list as long as any vector in the model, and
    :func:`infer_result_types` does the same node by node.

    Raises:
        NetworkError: an operator's operands and attributes contradict each other, or ONNX does not
            know it and the model does not say what type its results have.
    """
    _check_operators(model, opset)
    try:
        inferred = shape_inference.infer_shapes(_inferable(model, opset), strict_mode=True)
    except _FAILURES as error:
        lines = [line for line in str(error).splitlines() if line.strip()]
        reason = lines[-1].strip() if lines else type(error).__name__
        raise NetworkError(f"ONNX shape inference failed: {reason}") from None
    types: dict[str, TensorType] = {}
    for value in (*inferred.graph.value_info, *inferred.graph.output, *inferred.graph.input):
        type_ = _static_type(value.type)
        if type_ is not None:
            types[value.name] = type_
    return types


def _check_operators(model: onnx.ModelProto, opset: int) -> None:
    declared = {
        value.name
        for value in (*model.graph.value_info, *model.graph.output)
        if _static_type(value.type) is not None
    }
    known: dict[tuple[str, str], bool] = {}
    for proto in model.graph.node:
        key = proto.op_type, "" if is_default_domain(proto.domain) else proto.domain
        if key not in known:
            known[key] = _schema(*key, opset) is not None
        _check_parts(proto)
        if not known[key]:
            for name in proto.output:
                if name and name not in declared:
                    raise NetworkError(untyped(proto, name))


def _check_parts(proto: onnx.NodeProto) -> None:
    """ONNX's inference makes a list of as many parts as a ``Split`` says that it has."""
    said = [a.i for a in proto.attribute if a.name == "num_outputs" and proto.op_type == "Split"]
    if said and said[0] != len(proto.output):
        raise NetworkError(
            f"Split {source_name(proto)!r} says that it has {said[0]} parts, but returns "
            f"{len(proto.output)}"
        )


def _schema(name: str, domain: str, opset: int) -> onnx.defs.OpSchema | None:
    """What ONNX knows of an operator; its newest version where the domain is another one."""
    try:
        return onnx.defs.get_schema(name, *([] if domain else [opset]), domain)
    except onnx.defs.SchemaError:
        return None


def untyped(proto: onnx.NodeProto, name: str) -> str:
    """What is wrong with a result whose type is not known."""
    return (
        f"{proto.op_type} {source_name(proto)!r}: the type of its output {name!r} cannot be "
        "inferred; is the operator of a custom domain, or a shape computed at run time?"
    )


def _inferable(model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    """The model with ``Identity`` in the place of operators without inference.

    The bounds of a ``Slice`` are hidden: ONNX aborts the process where it slices a negative extent,
    which a window or padding that does not fit gives. The parts of shapes stay, for ``Resize``.
    """
    replaced = _LIKE_OPERAND | (_OLD_LIKE_OPERAND if opset < _BROADCASTING_OPSET else frozenset())
    if not any(p.op_type in replaced or p.op_type == "Slice" for p in model.graph.node):
        return model
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    shapes: set[str] = set()
    for proto in copy.graph.node:
        if not is_default_domain(proto.domain):
            continue
        from_shape = proto.op_type in ("Cast", "Identity") and shapes & set(proto.input)
        if proto.op_type == "Shape" or from_shape:
            shapes.update(proto.output)
        if proto.op_type in replaced:
            proto.op_type = "Identity"
            del proto.attribute[:], proto.input[1:], proto.output[1:]
        elif proto.op_type == "Slice" and len(proto.input) > 1 and proto.input[0] not in shapes:
            proto.input[1] = ""
    return copy


def infer_result_types(
    proto: onnx.NodeProto, operands: Sequence[Node | None], model: onnx.ModelProto, opset: int
) -> dict[str, TensorType]:
    """Types of a node's results that the inference of the whole model has not found.

    Now more is known: the values of shapes that are computed from other shapes, and the types of
    what comes before.
    """
    domain = "" if is_default_domain(proto.domain) else proto.domain
    given = {
        name: operand
        for name, operand in zip(proto.input, operands, strict=True)
        if operand is not None
    }
    schema = _schema(proto.op_type, domain, opset)
    if schema is None:
        return {}
    try:
        inferred = shape_inference.infer_node_outputs(
            schema,
            proto,
            {name: _type_proto(operand.type) for name, operand in given.items()},
            {
                name: numpy_helper.from_array(operand.value.astype(operand.type.dtype), name)
                for name, operand in given.items()
                if operand.value is not None and operand.value.shape == operand.type.shape
            },
            opset_imports=list(model.opset_import),
            ir_version=model.ir_version,
        )
    except (*_FAILURES, KeyError, TypeError):
        return {}
    types = {name: _static_type(type_) for name, type_ in inferred.items()}
    return {name: type_ for name, type_ in types.items() if type_ is not None}


def _type_proto(type_: TensorType) -> onnx.TypeProto:
    return onnx.helper.make_tensor_type_proto(elem_type(type_.dtype), type_.shape)


def _static_type(proto: onnx.TypeProto) -> TensorType | None:
    tensor = proto.tensor_type
    if not tensor.elem_type or not tensor.HasField("shape"):
        return None
    if not all(dim.HasField("dim_value") and dim.dim_value >= 0 for dim in tensor.shape.dim):
        return None
    return TensorType(tuple(d.dim_value for d in tensor.shape.dim), dtype_name(tensor.elem_type))
