"""Relax -> :class:`OpGraph`; needs a TVM that has Relax (``apache-tvm`` 0.25 or newer)."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np
import tvm
from tvm import relax

from relay_frontend.canonical import canonicalize
from relay_frontend.errors import DynamicShapeError, NetworkError
from relay_frontend.graph import OpGraph, TensorType
from relay_frontend.nodes import INPUT, Network, Node, constant, outside_vocabulary
from relay_frontend.vocabulary import plain_operators

_SMALL = 64  # elements; only constants up to this size are read (bounds, pads, scales)


def read_relax(module: tvm.IRModule, params: Collection[str] | None = None) -> OpGraph:
    """The operator graph of the function ``main`` of a Relax module.

    Args:
        module: a module before legalization, with constants or function parameters as weights.
        params: names of the function's parameters that are weights. By default those behind the
            first ``num_input`` ones, an attribute that TVM's importers set; without it, none.

    Raises:
        NetworkError: the module has no ``main``, or calls other functions.
        DynamicShapeError: a shape of the module is symbolic.
    """
    if "main" not in [var.name_hint for var in module.get_global_vars()]:
        raise NetworkError("the Relax module has no function 'main'")
    return canonicalize(_Reader(module["main"], params).read())


class _Reader:
    """Reads one function; holds the nodes by variable, several for a tuple."""

    def __init__(self, function: relax.Function, params: Collection[str] | None) -> None:
        self.function = function
        self.nodes: dict[Any, list[Node]] = {}
        self.inputs: list[Node] = []
        num_input = len(function.params)
        if function.attrs is not None and "num_input" in function.attrs:
            num_input = int(function.attrs["num_input"])
        for position, var in enumerate(function.params):
            type_ = _tensor_type(var.ty, f"parameter {var.name!r}")
            is_weight = position >= num_input if params is None else var.name in params
            node = constant(type_) if is_weight else Node(INPUT, type_, source=var.name)
            self.nodes[var] = [node]
            if not is_weight:
                self.inputs.append(node)

    def read(self) -> Network:
        for block in self.function.body.blocks:
            for binding in block.bindings:
                if not isinstance(binding, relax.VarBinding):
                    raise NetworkError(f"Relax {type(binding).__name__} bindings are not read")
                self.nodes[binding.var] = self._value(binding.value, binding.var.name)
        return Network(self.inputs, self._value(self.function.body.body, "the result"))

    def _value(self, expr: Any, source: str) -> list[Node]:
        if isinstance(expr, relax.Var):
            return self.nodes[expr]
        if isinstance(expr, tvm.ir.GenericConst):
            return [_constant(expr, source)]
        if isinstance(expr, relax.Tuple):
            return [node for element in expr.fields for node in self._value(element, source)]
        if isinstance(expr, relax.TupleGetItem):
            return [self._value(expr.tuple_value, source)[expr.index]]
        if isinstance(expr, relax.Call):
            return self._call(expr, source)
        kind = type(expr).__name__
        raise NetworkError(f"Relax {kind} expressions are not read (bound to {source!r})")

    def _call(self, call: relax.Call, source: str) -> list[Node]:
        if not isinstance(call.op, tvm.ir.Op):
            raise NetworkError(f"{source!r} calls a function; inline the module's functions first")
        name = call.op.name.removeprefix("relax.")
        arguments = list(call.args)
        if name == "call_tir":
            name = arguments[0].name_hint
            name = re.sub(r"\d+$", "", name)  # the importer numbers its functions
            arguments = list(arguments[1].fields)
        operands = [
            node
            for argument in arguments
            if not isinstance(argument, relax.ShapeExpr)
            for node in self._value(argument, source)
        ]
        result = call.ty
        fields = result.fields if isinstance(result, relax.TupleType) else [result]
        types = [_tensor_type(field, f"{name} {source!r}") for field in fields]
        return [
            _convert(_RelaxOperator(name, source, call.attrs, operands, type_, position))
            for position, type_ in enumerate(types)
        ]


class _RelaxOperator:
    """One output of one Relax call as the converters see it."""

    __slots__ = ("attrs", "inputs", "name", "position", "source", "type")

    def __init__(
        self,
        name: str,
        source: str,
        attrs: Any,
        inputs: list[Node],
        type_: TensorType,
        position: int,
    ) -> None:
        self.name = name
        self.source = source
        self.attrs = attrs
        self.inputs = inputs
        self.type = type_
        self.position = position

    def node(self, op: str, inputs: Sequence[Node] | None = None, **attrs: Any) -> Node:
        operands = self.inputs if inputs is None else inputs
        return Node(op, self.type, operands, attrs, source=self.source)

    def unknown(self) -> Node:
        return outside_vocabulary(self.name, self.type, self.inputs, self.source)

    def ints(self, name: str) -> tuple[int, ...]:
        return tuple(int(v) for v in getattr(self.attrs, name))


def _tensor_type(type_: Any, where: str) -> TensorType:
    if not isinstance(type_, relax.TensorType):
        raise NetworkError(f"{where} is no tensor but {type_}")
    if not isinstance(type_.shape, relax.ShapeExpr):
        raise DynamicShapeError(f"{where} has no static shape; import the network with one")
    dims = []
    for axis, dim in enumerate(type_.shape.values):
        if not isinstance(dim, tvm.tirx.IntImm):
            raise DynamicShapeError(
                f"{where}: dimension {axis} is symbolic ({dim}); bind it, for example with "
                f"relax.transform.BindSymbolicVars('main', {{{str(dim)!r}: 1}})"
            )
        dims.append(int(dim.value))
    return TensorType(tuple(dims), str(type_.dtype))


def _constant(expr: Any, source: str) -> Node:
    type_ = _tensor_type(expr.ty, f"a constant of {source!r}")
    small = type_.num_elements <= _SMALL
    return constant(type_, expr.value.numpy() if small else None)


Converter = Callable[[_RelaxOperator], Node]


def _convert(operator: _RelaxOperator) -> Node:
    if operator.inputs and all(operand.is_constant for operand in operator.inputs):
        return _fold(operator)
    converter = _CONVERTERS.get(operator.name)
    if converter is not None:
        return converter(operator)
    plain = _PLAIN.get(operator.name)
    return operator.node(plain) if plain else operator.unknown()


def _fold(operator: _RelaxOperator) -> Node:
    """Constants, with the content of those few that the ONNX importer makes bounds of."""
    values = [operand.value for operand in operator.inputs]
    known = [value for value in values if value is not None]
    result = None
    if len(known) == len(values) and operator.name in _FOLDS:
        result = np.asarray(_FOLDS[operator.name](*known))
    return constant(operator.type, result)


_FOLDS: dict[str, Callable[..., Any]] = {"isnan": np.isnan, "where": np.where}


def _simple(op: str) -> Converter:
    return lambda operator: operator.node(op)


def _first_operand(op: str) -> Converter:
    return lambda operator: operator.node(op, operator.inputs[:1])


def _conv2d(operator: _RelaxOperator) -> Node:
    attrs = operator.attrs
    if (str(attrs.data_layout), str(attrs.kernel_layout)) != ("NCHW", "OIHW"):
        return operator.unknown()
    return operator.node("conv2d", **_window(operator))


def _conv2d_transpose(operator: _RelaxOperator) -> Node:
    attrs = operator.attrs
    layouts = (str(attrs.data_layout), str(attrs.kernel_layout))
    if layouts != ("NCHW", "IOHW") or any(operator.ints("output_padding")):
        return operator.unknown()
    return operator.node("conv2d_transpose", **_window(operator))


def _window(operator: _RelaxOperator) -> dict[str, Any]:
    return {
        "kernel_size": operator.inputs[1].type.shape[2:],
        "strides": operator.ints("strides"),
        "padding": operator.ints("padding"),
        "dilation": operator.ints("dilation"),
        "groups": int(operator.attrs.groups),
    }


def _pool(op: str, layout: str = "NCHW") -> Converter:
    def convert(operator: _RelaxOperator) -> Node:
        attrs = operator.attrs
        if str(attrs.layout) != layout or any(d != 1 for d in operator.ints("dilation")):
            return operator.unknown()
        node = operator.node(
            op,
            kernel_size=operator.ints("pool_size"),
            strides=operator.ints("strides"),
            padding=operator.ints("padding"),
        )
        if op == "avg_pool2d":
            node.attrs["count_include_pad"] = bool(attrs.count_include_pad)
        return node

    return convert


def _axis(op: str) -> Converter:
    return lambda o: o.node(op, axis=int(o.attrs.axis) % len(o.type.shape))


def _stack(operator: _RelaxOperator) -> Node:
    return operator.node("stack", axis=int(operator.attrs.axis) % len(operator.type.shape))


def _reduction(op: str) -> Converter:
    def convert(operator: _RelaxOperator) -> Node:
        rank = len(operator.inputs[0].type.shape)
        axis = operator.attrs.axis
        axes = range(rank) if axis is None else sorted(int(a) % rank for a in axis)
        return operator.node(op, axes=tuple(axes), keepdims=bool(operator.attrs.keepdims))

    return convert


def _transpose(operator: _RelaxOperator) -> Node:
    rank = len(operator.type.shape)
    axes = operator.attrs.axes
    chosen = reversed(range(rank)) if axes is None else (int(a) % rank for a in axes)
    return operator.node("transpose", axes=tuple(chosen))


def _pad(operator: _RelaxOperator) -> Node:
    flat = operator.ints("pad_width")  # (before, after) of each dimension
    attrs = operator.attrs
    if str(attrs.pad_mode) != "constant":
        return operator.unknown()
    value = float(attrs.pad_value)
    return operator.node("pad", pad_width=(*flat[0::2], *flat[1::2]), value=value)


def _split(operator: _RelaxOperator) -> Node:
    axis = int(operator.attrs.axis) % len(operator.type.shape)
    return operator.node("split", axis=axis, index=operator.position)


def _batch_norm(operator: _RelaxOperator) -> Node:
    if operator.position or int(operator.attrs.axis) != 1:
        return operator.unknown()
    return operator.node("batch_norm")


_PLAIN = plain_operators("relax")

_CONVERTERS: dict[str, Converter] = {
    "add": _simple("add"),
    "concat": _axis("concatenate"),
    "divide": _simple("divide"),
    "exp": _simple("exp"),
    "expand_dims": _first_operand("reshape"),
    "flatten": _first_operand("reshape"),
    "matmul": _simple("matmul"),
    "mean": _reduction("mean"),
    "multiply": _simple("multiply"),
    "nn.avg_pool2d": _pool("avg_pool2d"),
    "nn.avg_pool3d": _pool("avg_pool3d", "NCDHW"),
    "nn.batch_norm": _batch_norm,
    "nn.conv2d": _conv2d,
    "nn.conv2d_transpose": _conv2d_transpose,
    "nn.dropout": _first_operand("identity"),
    "nn.leakyrelu": lambda o: o.node("leaky_relu", alpha=float(o.attrs.alpha)),
    "nn.max_pool2d": _pool("max_pool2d"),
    "nn.pad": _pad,
    "nn.relu": _simple("relu"),
    "nn.softmax": _axis("softmax"),
    "permute_dims": _transpose,
    "reshape": _first_operand("reshape"),
    "sigmoid": _simple("sigmoid"),
    "split": _split,
    "squeeze": _first_operand("reshape"),
    "stack": _stack,
    "subtract": _simple("subtract"),
    "sum": _reduction("sum"),
    "tanh": _simple("tanh"),
}
