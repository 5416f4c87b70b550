"""ONNX -> :class:`OpGraph`, with numpy and onnx alone."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import numpy_helper, shape_inference

from relay_frontend.canonical import canonicalize
from relay_frontend.errors import DynamicShapeError, NetworkError
from relay_frontend.graph import OpGraph, TensorType
from relay_frontend.nodes import INPUT, Network, Node, constant, outside_vocabulary
from relay_frontend.vocabulary import plain_operators

Shapes = Mapping[str, Sequence[int]]

_SMALL = 64  # elements; only constants up to this size are read (bounds, pads, axes, shapes)


def load_model(source: onnx.ModelProto | bytes | str | os.PathLike[str]) -> onnx.ModelProto:
    """The ONNX model in ``source``: a model, its bytes, or the path of a file.

    Raises:
        NetworkError: the file is missing, or what it holds is no ONNX model.
    """
    if isinstance(source, onnx.ModelProto):
        return source
    name = "the given bytes" if isinstance(source, bytes) else str(source)
    try:
        data = source if isinstance(source, bytes) else Path(source).read_bytes()
        model = onnx.load_from_string(data)
    except OSError as error:
        raise NetworkError(f"{name}: cannot be read ({error.strerror or error})") from None
    except DecodeError:
        raise NetworkError(f"{name}: not an ONNX model (its protobuf does not parse)") from None
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
    bound.CopyFrom(model)
    inputs = {value.name: value for value in data_inputs(bound)}
    for name, shape in (shapes or {}).items():
        if name not in inputs:
            raise NetworkError(f"no input named {name!r}; the inputs are {', '.join(inputs)}")
        dims = inputs[name].type.tensor_type.shape
        del dims.dim[:]
        for extent in shape:
            dims.dim.add().dim_value = int(extent)
    for value in inputs.values():
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
    return bound


def data_inputs(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    """The graph inputs that are no parameters (old models list initializers as inputs too)."""
    parameters = {tensor.name for tensor in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in parameters]


def read_onnx(
    source: onnx.ModelProto | bytes | str | os.PathLike[str], shapes: Shapes | None = None
) -> OpGraph:
    """The operator graph of an ONNX model, with or without weights.

    Args:
        source: a model, its bytes, or the path of a file.
        shapes: static shapes for inputs that have symbolic dimensions.

    Raises:
        NetworkError: no ONNX model, or a malformed one; the message names the node.
        DynamicShapeError: a dimension is symbolic and not bound.
    """
    return canonicalize(_Reader(bind_shapes(load_model(source), shapes)).read())


class _Reader:
    """Reads one model; holds the nodes by value name."""

    def __init__(self, model: onnx.ModelProto) -> None:
        _check_structure(model)
        try:
            inferred = shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
        except (shape_inference.InferenceError, RuntimeError, ValueError) as error:
            reason = str(error).strip().splitlines()[-1]
            raise NetworkError(f"ONNX shape inference failed: {reason}") from None
        self.model = inferred
        self.opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 1)
        self.types: dict[str, TensorType] = {}
        for value in (*inferred.graph.value_info, *inferred.graph.output, *inferred.graph.input):
            if (type_ := _tensor_type(value.type)) is not None:
                self.types[value.name] = type_
        self.nodes: dict[str, Node] = {}

    def read(self) -> Network:
        graph = self.model.graph
        for tensor in graph.initializer:
            self.nodes[tensor.name] = _constant(tensor)
        inputs = []
        for value in data_inputs(self.model):
            node = Node(INPUT, self.types[value.name], source=value.name)
            self.nodes[value.name] = node
            inputs.append(node)
        for proto in graph.node:
            self._read_node(proto)
        return Network(inputs, [self.nodes[output.name] for output in graph.output])

    def _read_node(self, proto: onnx.NodeProto) -> None:
        source = _source(proto)
        attrs = {a.name: onnx.helper.get_attribute_value(a) for a in proto.attribute}
        operands = [self.nodes[name] for name in proto.input if name]
        outputs = [name for name in proto.output if name]
        for position, name in enumerate(outputs):
            if position and proto.op_type not in _MULTIPLE_OUTPUTS:
                continue  # masks, running statistics: training only
            operator = _OnnxOperator(proto.op_type, source, attrs, operands, self.opset, position)
            operator.type = self._type(name, proto, operator)
            # Weightless models hold their weights as ConstantOfShape of a constant shape.
            folds = operands and all(operand.is_constant for operand in operands)
            self.nodes[name] = constant(operator.type) if folds else _convert(operator)

    def _type(self, name: str, proto: onnx.NodeProto, operator: _OnnxOperator) -> TensorType:
        if name in self.types:
            return self.types[name]
        raise NetworkError(
            f"{proto.op_type} {operator.source!r}: the type of its output {name!r} cannot be "
            "inferred; is the operator of a custom domain, or a shape computed at run time?"
        )


def _source(proto: onnx.NodeProto) -> str:
    return str(proto.name or (proto.output[0] if proto.output else proto.op_type))


def _check_structure(model: onnx.ModelProto) -> None:
    """No control flow; every value that is read is an input, a constant, or made before.

    Shape inference would say less of what is wrong, and where.
    """
    graph = model.graph
    known = {tensor.name for tensor in graph.initializer} | {value.name for value in graph.input}
    for proto in graph.node:
        if any(a.type in (a.GRAPH, a.GRAPHS) for a in proto.attribute):
            raise NetworkError(
                f"{proto.op_type} {_source(proto)!r} has a subgraph; control flow is not read"
            )
        for name in proto.input:
            if name and name not in known:
                raise NetworkError(
                    f"{proto.op_type} {_source(proto)!r} reads {name!r}, which no node before it "
                    "produces"
                )
        known.update(proto.output)
    for output in graph.output:
        if output.name not in known:
            raise NetworkError(f"the network returns {output.name!r}, which no node produces")


class _OnnxOperator:
    """One ONNX node as the converters see it."""

    __slots__ = ("attrs", "inputs", "name", "opset", "position", "source", "type")
    type: TensorType

    def __init__(
        self,
        name: str,
        source: str,
        attrs: dict[str, Any],
        inputs: list[Node],
        opset: int,
        position: int,
    ) -> None:
        self.name = name
        self.source = source
        self.attrs = attrs
        self.inputs = inputs
        self.opset = opset
        self.position = position

    def node(self, op: str, inputs: Sequence[Node] | None = None, **attrs: Any) -> Node:
        operands = self.inputs if inputs is None else inputs
        return Node(op, self.type, operands, attrs, source=self.source)

    def unknown(self) -> Node:
        return outside_vocabulary(self.name, self.type, self.inputs, self.source)

    def ints(self, name: str, default: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(int(v) for v in self.attrs.get(name, default))

    def operand_value(self, position: int, attr: str) -> np.ndarray | None:
        """A value that old opsets keep in an attribute and newer ones in a constant operand."""
        if attr in self.attrs:
            return np.asarray(self.attrs[attr])
        return self.inputs[position].value if len(self.inputs) > position else None


def _tensor_type(proto: onnx.TypeProto) -> TensorType | None:
    tensor = proto.tensor_type
    if not tensor.elem_type or not tensor.HasField("shape"):
        return None
    if not all(dim.HasField("dim_value") for dim in tensor.shape.dim):
        return None
    return TensorType(tuple(d.dim_value for d in tensor.shape.dim), _dtype(tensor.elem_type))


def _dtype(elem_type: int) -> str:
    return str(np.dtype(onnx.helper.tensor_dtype_to_np_dtype(elem_type)).name)


def _constant(tensor: onnx.TensorProto) -> Node:
    type_ = TensorType(tuple(tensor.dims), _dtype(tensor.data_type))
    has_data = tensor.data_location != onnx.TensorProto.EXTERNAL and (
        tensor.raw_data
        or tensor.float_data
        or tensor.int64_data
        or tensor.int32_data
        or tensor.double_data
    )
    small = type_.num_elements <= _SMALL and has_data
    return constant(type_, numpy_helper.to_array(tensor) if small else None)


def _convert(operator: _OnnxOperator) -> Node:
    converter = _CONVERTERS.get(operator.name)
    if converter is not None:
        return converter(operator)
    plain = _PLAIN.get(operator.name)
    return operator.node(plain) if plain else operator.unknown()


Converter = Callable[[_OnnxOperator], Node]


def _simple(op: str) -> Converter:
    return lambda operator: operator.node(op)


def _first_operand(op: str, **attrs: Any) -> Converter:
    return lambda operator: operator.node(op, operator.inputs[:1], **attrs)


def _conv(operator: _OnnxOperator) -> Node:
    if len(operator.type.shape) != 4:
        return operator.unknown()
    data, weight = (operand.type.shape for operand in operator.inputs[:2])
    groups = int(operator.attrs.get("group", 1))
    if data[1] != weight[1] * groups:
        raise NetworkError(
            f"Conv {operator.source!r}: {data[1]} channels, but {groups} group(s) of weights for "
            f"{weight[1]} channels each"
        )
    return operator.node("conv2d", **_window(operator, weight[2:]), groups=groups)


def _conv_transpose(operator: _OnnxOperator) -> Node:
    explicit = not {"output_shape", "auto_pad"} & operator.attrs.keys()
    if len(operator.type.shape) != 4 or not explicit:
        return operator.unknown()
    window = _window(operator, operator.inputs[1].type.shape[2:])
    return operator.node("conv2d_transpose", **window, groups=int(operator.attrs.get("group", 1)))


def _window(operator: _OnnxOperator, kernel: tuple[int, ...]) -> dict[str, Any]:
    """The canonical attributes of a sliding window, explicit padding among them."""
    strides = operator.ints("strides", (1, 1))
    dilation = operator.ints("dilations", (1, 1))
    padding = operator.ints("pads", (0, 0, 0, 0))
    auto_pad = operator.attrs.get("auto_pad", b"NOTSET").decode()
    if auto_pad.startswith("SAME"):
        padding = _same_padding(operator, kernel, strides, dilation, auto_pad == "SAME_LOWER")
    return {
        "kernel_size": kernel,
        "strides": strides,
        "padding": padding,
        "dilation": dilation,
    }


def _same_padding(
    operator: _OnnxOperator,
    kernel: tuple[int, ...],
    strides: tuple[int, ...],
    dilation: tuple[int, ...],
    lower: bool,
) -> tuple[int, ...]:
    before, after = [], []
    for axis, extent in enumerate(operator.inputs[0].type.shape[2:]):
        outputs = -(-extent // strides[axis])
        reach = dilation[axis] * (kernel[axis] - 1) + 1
        total = max(0, (outputs - 1) * strides[axis] + reach - extent)
        small, large = total // 2, total - total // 2
        before.append(large if lower else small)
        after.append(small if lower else large)
    return (*before, *after)


def _pool(op: str) -> Converter:
    def convert(operator: _OnnxOperator) -> Node:
        if len(operator.type.shape) != 4 or operator.ints("dilations", (1, 1)) != (1, 1):
            return operator.unknown()
        window = _window(operator, operator.ints("kernel_shape", ()))
        del window["dilation"]
        node = operator.node(op, **window)
        if op == "avg_pool2d":
            node.attrs["count_include_pad"] = bool(operator.attrs.get("count_include_pad", 0))
        return node

    return convert


def _global_pool(op: str) -> Converter:
    return lambda o: o.node(op) if len(o.type.shape) == 4 else o.unknown()


def _gemm(operator: _OnnxOperator) -> Node:
    data, weight = operator.inputs[:2]
    if operator.attrs.get("transA", 0) or not weight.is_constant:
        return operator.unknown()
    return operator.node("dense", [data, weight, *operator.inputs[2:]])


def _clip(operator: _OnnxOperator) -> Node:
    bounds = []
    for position, (name, default) in enumerate((("min", -np.inf), ("max", np.inf)), start=1):
        value = operator.operand_value(position, name)
        bounds.append(float(default if value is None else value))
    return operator.node("clip", operator.inputs[:1], min=bounds[0], max=bounds[1])


def _sum(operator: _OnnxOperator) -> Node:
    """A sum of several operands is a chain of additions."""
    total = operator.inputs[0]
    for operand in operator.inputs[1:]:
        total = Node("add", operator.type, [total, operand], source=operator.source)
    return total


def _concat(operator: _OnnxOperator) -> Node:
    return operator.node("concatenate", axis=operator.attrs["axis"] % len(operator.type.shape))


def _transpose(operator: _OnnxOperator) -> Node:
    reverse = tuple(reversed(range(len(operator.type.shape))))
    return operator.node("transpose", axes=operator.ints("perm", reverse))


def _softmax(operator: _OnnxOperator) -> Node:
    shape = operator.type.shape
    axis = operator.attrs.get("axis", -1 if operator.opset >= 13 else 1) % len(shape)
    if operator.opset >= 13:
        return operator.node("softmax", axis=axis)
    # Until opset 13 the trailing dimensions were taken as one.
    extended = [i for i in range(axis, len(shape)) if shape[i] != 1]
    if len(extended) <= 1:
        return operator.node("softmax", axis=extended[0] if extended else axis)
    return operator.unknown()


def _pad(operator: _OnnxOperator) -> Node:
    widths = operator.operand_value(1, "pads")
    mode = operator.attrs.get("mode", b"constant").decode()
    if widths is None or mode != "constant" or len(operator.inputs) > 3:
        return operator.unknown()
    value = operator.operand_value(2, "value")
    return operator.node(
        "pad",
        operator.inputs[:1],
        pad_width=tuple(int(w) for w in widths),
        value=0.0 if value is None else float(value),
    )


def _mean(operator: _OnnxOperator) -> Node:
    rank = len(operator.inputs[0].type.shape)
    axes = operator.operand_value(1, "axes")
    chosen = range(rank) if axes is None else sorted(int(a) % rank for a in axes)
    keepdims = bool(operator.attrs.get("keepdims", 1))
    return operator.node("mean", operator.inputs[:1], axes=tuple(chosen), keepdims=keepdims)


def _split(operator: _OnnxOperator) -> Node:
    axis = operator.attrs.get("axis", 0) % len(operator.type.shape)
    return operator.node("split", operator.inputs[:1], axis=axis, index=operator.position)


def _batch_norm(operator: _OnnxOperator) -> Node:
    if operator.attrs.get("training_mode", 0):
        return operator.unknown()
    return operator.node("batch_norm")


def _lrn(operator: _OnnxOperator) -> Node:
    return operator.node("lrn", size=int(operator.attrs["size"]))


def _leaky_relu(operator: _OnnxOperator) -> Node:
    return operator.node("leaky_relu", alpha=float(operator.attrs.get("alpha", 0.01)))


def _make_constant(operator: _OnnxOperator) -> Node:
    for name in ("value", "value_float", "value_int", "value_floats", "value_ints"):
        if name in operator.attrs:
            value = operator.attrs[name]
            if isinstance(value, onnx.TensorProto):
                return _constant(value)
            return constant(operator.type, np.asarray(value))
    return constant(operator.type)


_MULTIPLE_OUTPUTS = frozenset({"Split"})

_PLAIN = plain_operators("onnx")

_CONVERTERS: dict[str, Converter] = {
    "Add": _simple("add"),
    "AveragePool": _pool("avg_pool2d"),
    "BatchNormalization": _batch_norm,
    "Clip": _clip,
    "Concat": _concat,
    "Constant": _make_constant,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Div": _simple("divide"),
    "Dropout": _first_operand("identity"),
    "Exp": _simple("exp"),
    "Flatten": _first_operand("reshape"),
    "Gemm": _gemm,
    "GlobalAveragePool": _global_pool("global_avg_pool2d"),
    "GlobalMaxPool": _global_pool("global_max_pool2d"),
    "Identity": _simple("identity"),
    "LRN": _lrn,
    "LeakyRelu": _leaky_relu,
    "MatMul": _simple("matmul"),
    "MaxPool": _pool("max_pool2d"),
    "Mul": _simple("multiply"),
    "Pad": _pad,
    "ReduceMean": _mean,
    "Relu": _simple("relu"),
    "Reshape": _first_operand("reshape"),
    "Shape": lambda operator: constant(operator.type),
    "Sigmoid": _simple("sigmoid"),
    "Softmax": _softmax,
    "Split": _split,
    "Squeeze": _first_operand("reshape"),
    "Sub": _simple("subtract"),
    "Sum": _sum,
    "Tanh": _simple("tanh"),
    "Transpose": _transpose,
    "Unsqueeze": _first_operand("reshape"),
}
