"""Relay -> :class:`OpGraph`; needs a TVM that still has Relay (0.19 or older)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np
import tvm
from tvm import relay

from relay_frontend.canonical import canonicalize
from relay_frontend.errors import DynamicShapeError, NetworkError
from relay_frontend.graph import OpGraph, TensorType
from relay_frontend.nodes import INPUT, Network, Node, constant, outside_vocabulary
from relay_frontend.vocabulary import plain_operators

_SMALL = 64  # elements; only constants up to this size are read (bounds, pads, scales)


def read_relay(module: tvm.IRModule, params: Collection[str] | None = None) -> OpGraph:
    """The operator graph of the function ``main`` of a Relay module.

    Args:
        module: any module of one function, in graph form, with or without bound parameters.
        params: names of the variables that are parameters (the mapping that an importer returns
            beside the module will do). By default those that are used as weights only.

    Raises:
        NetworkError: the module has no ``main``, does not type-check or calls functions.
        DynamicShapeError: a type of the module is dynamic.
    """
    if "main" not in [name.name_hint for name in module.get_global_vars()]:
        raise NetworkError("the Relay module has no function 'main'")
    try:
        function = relay.transform.InferType()(module)["main"]
    except tvm.error.TVMError as error:
        reason = str(error).strip().splitlines()[-1]
        raise NetworkError(f"the Relay module does not type-check: {reason}") from None
    if params is None:
        params = _weight_variables(function)
    return canonicalize(_Reader(function, params).read())


# Positions of the operands that hold weights.
_WEIGHT_OPERANDS: dict[str, tuple[int, ...]] = {
    "nn.conv2d": (1,),
    "nn.conv2d_transpose": (1,),
    "nn.dense": (1,),
    "nn.bias_add": (1,),
    "nn.batch_norm": (1, 2, 3, 4),
}
# A vector that meets computed data here is a bias or a scale: data has a batch dimension.
_VECTOR_OPERANDS = frozenset({"add", "multiply"})
_WEIGHT_RESHAPES = frozenset({"expand_dims", "reshape", "squeeze", "transpose"})


def _weight_variables(function: relay.Function) -> set[str]:
    """The variables that are operands of weights wherever they are used."""
    as_weight: set[int] = set()
    as_data: set[int] = set()
    owner: dict[int, int] = {}  # variable behind a reshaped variable
    vectors = {hash(var) for var in function.params if len(var.checked_type.shape) <= 1}

    def visit(expr: relay.Expr) -> None:
        if isinstance(expr, relay.Var):
            owner[hash(expr)] = hash(expr)
        if not isinstance(expr, (relay.Call, relay.Tuple)):
            return
        operands = expr.args if isinstance(expr, relay.Call) else expr.fields
        name = getattr(getattr(expr, "op", None), "name", "")
        variables = [owner.get(hash(operand)) for operand in operands]
        if name in _WEIGHT_RESHAPES and variables[0] is not None:
            owner[hash(expr)] = variables[0]
            return
        for position, variable in enumerate(variables):
            if variable is not None:
                is_vector = name in _VECTOR_OPERANDS and variable in vectors
                is_weight = is_vector or position in _WEIGHT_OPERANDS.get(name, ())
                (as_weight if is_weight else as_data).add(variable)

    relay.analysis.post_order_visit(function.body, visit)
    weights = as_weight - as_data
    return {var.name_hint for var in function.params if hash(var) in weights}


class _Reader:
    """Reads one function; holds the nodes by expression, several for a tuple."""

    def __init__(self, function: relay.Function, params: Collection[str]) -> None:
        self.function = function
        self.nodes: dict[int, list[Node]] = {}
        self.alive: list[Any] = []  # expressions whose handles are keys above
        self.inputs: list[Node] = []
        for var in function.params:
            type_ = _tensor_type(var.checked_type, f"parameter {var.name_hint!r}")
            if var.name_hint in params:
                node = constant(type_)
            else:
                node = Node(INPUT, type_, source=var.name_hint)
                self.inputs.append(node)
            self._set(var, [node])

    def read(self) -> Network:
        relay.analysis.post_order_visit(self.function.body, self._visit)
        return Network(self.inputs, self._get(self.function.body))

    def _set(self, expr: relay.Expr, nodes: list[Node]) -> None:
        self.nodes[hash(expr)] = nodes
        self.alive.append(expr)

    def _get(self, expr: relay.Expr) -> list[Node]:
        return self.nodes[hash(expr)]

    def _visit(self, expr: relay.Expr) -> None:
        if isinstance(expr, relay.Constant):
            array = expr.data
            type_ = TensorType(tuple(int(d) for d in array.shape), str(array.dtype))
            small = type_.num_elements <= _SMALL
            self._set(expr, [constant(type_, array.numpy() if small else None)])
        elif isinstance(expr, relay.Tuple):
            self._set(expr, [node for element in expr.fields for node in self._get(element)])
        elif isinstance(expr, relay.TupleGetItem):
            self._set(expr, [self._get(expr.tuple_value)[expr.index]])
        elif isinstance(expr, relay.Call):
            self._set(expr, self._call(expr))
        elif isinstance(expr, relay.Var):
            if hash(expr) not in self.nodes:
                raise NetworkError(f"variable {expr.name_hint!r} is not a parameter of 'main'")
        elif not isinstance(expr, tvm.ir.Op):
            kind = type(expr).__name__
            raise NetworkError(f"Relay {kind} expressions are not read; inline and simplify first")

    def _call(self, call: relay.Call) -> list[Node]:
        if not isinstance(call.op, tvm.ir.Op):
            raise NetworkError("the Relay module calls functions; inline them first")
        operands = [node for argument in call.args for node in self._get(argument)]
        span = getattr(call.span, "source_name", None)
        name = call.op.name
        source = span.name if span is not None else name
        result = call.checked_type
        if isinstance(result, relay.TupleType):
            types = [_tensor_type(field, f"{name} {source!r}") for field in result.fields]
        else:
            types = [_tensor_type(result, f"{name} {source!r}")]
        if operands and all(operand.is_constant for operand in operands):
            return [constant(type_) for type_ in types]
        return [
            _convert(_RelayOperator(name, source, call.attrs, operands, type_, position))
            for position, type_ in enumerate(types)
        ]


class _RelayOperator:
    """One output of one Relay call as the converters see it."""

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
    if not isinstance(type_, relay.TensorType):
        raise NetworkError(f"{where} is no tensor but {type_}")
    dims = []
    for axis, dim in enumerate(type_.shape):
        if not isinstance(dim, tvm.tir.IntImm):
            raise DynamicShapeError(
                f"{where}: dimension {axis} is symbolic ({dim}); import the network with static "
                "shapes, for example from_onnx(model, shape={...})"
            )
        dims.append(int(dim))
    return TensorType(tuple(dims), str(type_.dtype))


Converter = Callable[[_RelayOperator], Node]


def _convert(operator: _RelayOperator) -> Node:
    converter = _CONVERTERS.get(operator.name)
    if converter is not None:
        return converter(operator)
    plain = _PLAIN.get(operator.name)
    return operator.node(plain) if plain else operator.unknown()


def _simple(op: str) -> Converter:
    return lambda operator: operator.node(op)


def _first_operand(op: str) -> Converter:
    return lambda operator: operator.node(op, operator.inputs[:1])


def _convolution(op: str, kernel_layout: str) -> Converter:
    def convert(operator: _RelayOperator) -> Node:
        attrs = operator.attrs
        if attrs.data_layout != "NCHW" or attrs.kernel_layout != kernel_layout:
            return operator.unknown()
        if op == "conv2d_transpose" and any(operator.ints("output_padding")):
            return operator.unknown()
        return operator.node(
            op,
            kernel_size=operator.inputs[1].type.shape[2:],
            strides=operator.ints("strides"),
            padding=_padding(operator.ints("padding")),
            dilation=operator.ints("dilation"),
            groups=int(attrs.groups),
        )

    return convert


def _padding(values: tuple[int, ...]) -> tuple[int, ...]:
    """Relay's one, two or four values as (top, left, bottom, right)."""
    if len(values) == 4:
        return values
    vertical, horizontal = values * 2 if len(values) == 1 else values
    return (vertical, horizontal, vertical, horizontal)


def _pool(op: str) -> Converter:
    def convert(operator: _RelayOperator) -> Node:
        if operator.attrs.layout != "NCHW" or operator.ints("dilation") != (1, 1):
            return operator.unknown()
        node = operator.node(
            op,
            kernel_size=operator.ints("pool_size"),
            strides=operator.ints("strides"),
            padding=_padding(operator.ints("padding")),
        )
        if op == "avg_pool2d":
            node.attrs["count_include_pad"] = bool(operator.attrs.count_include_pad)
        return node

    return convert


def _global_pool(op: str) -> Converter:
    return lambda o: o.node(op) if o.attrs.layout == "NCHW" else o.unknown()


def _matmul(operator: _RelayOperator) -> Node:
    transposed = [int(getattr(operator.attrs, name, 0)) for name in ("transpose_a", "transpose_b")]
    if operator.inputs[1].is_constant and not transposed[0]:
        return operator.node("matmul")
    return operator.unknown() if any(transposed) else operator.node("matmul")


def _clip(operator: _RelayOperator) -> Node:
    return operator.node("clip", min=float(operator.attrs.a_min), max=float(operator.attrs.a_max))


def _axis(op: str) -> Converter:
    return lambda o: o.node(op, axis=int(o.attrs.axis) % len(o.type.shape))


def _transpose(operator: _RelayOperator) -> Node:
    rank = len(operator.type.shape)
    axes = operator.attrs.axes
    chosen = reversed(range(rank)) if axes is None else (int(a) % rank for a in axes)
    return operator.node("transpose", axes=tuple(chosen))


def _pad(operator: _RelayOperator) -> Node:
    widths = [(int(before), int(after)) for before, after in operator.attrs.pad_width]
    value = operator.inputs[1].value if len(operator.inputs) > 1 else np.zeros(())
    if str(operator.attrs.pad_mode) != "constant" or value is None:
        return operator.unknown()
    pad_width = (*(before for before, _ in widths), *(after for _, after in widths))
    return operator.node("pad", operator.inputs[:1], pad_width=pad_width, value=float(value))


def _mean(operator: _RelayOperator) -> Node:
    rank = len(operator.inputs[0].type.shape)
    attrs = operator.attrs
    axes = range(rank) if attrs.axis is None else sorted(int(a) % rank for a in attrs.axis)
    if attrs.exclude:
        axes = [axis for axis in range(rank) if axis not in axes]
    return operator.node("mean", axes=tuple(axes), keepdims=bool(attrs.keepdims))


def _split(operator: _RelayOperator) -> Node:
    axis = int(operator.attrs.axis) % len(operator.type.shape)
    return operator.node("split", axis=axis, index=operator.position)


def _bias_add(operator: _RelayOperator) -> Node:
    """An addition whose vector is aligned by shape, not by an axis."""
    data, bias = operator.inputs
    if not bias.is_constant:
        return operator.unknown()
    trailing = len(operator.type.shape) - 1 - int(operator.attrs.axis) % len(operator.type.shape)
    aligned = TensorType(bias.type.shape + (1,) * trailing, bias.type.dtype)
    return operator.node("add", [data, constant(aligned)])


def _batch_norm(operator: _RelayOperator) -> Node:
    if int(operator.attrs.axis) != 1 or operator.position:
        return operator.unknown()
    return operator.node("batch_norm")


_PLAIN = plain_operators("relay")

_CONVERTERS: dict[str, Converter] = {
    "add": _simple("add"),
    "clip": _clip,
    "concatenate": _axis("concatenate"),
    "copy": _simple("identity"),
    "divide": _simple("divide"),
    "exp": _simple("exp"),
    "expand_dims": _first_operand("reshape"),
    "mean": _mean,
    "multiply": _simple("multiply"),
    "nn.avg_pool2d": _pool("avg_pool2d"),
    "nn.batch_flatten": _first_operand("reshape"),
    "nn.batch_matmul": _matmul,
    "nn.batch_norm": _batch_norm,
    "nn.bias_add": _bias_add,
    "nn.conv2d": _convolution("conv2d", "OIHW"),
    "nn.conv2d_transpose": _convolution("conv2d_transpose", "IOHW"),
    "nn.dense": _simple("dense"),
    "nn.dropout": _first_operand("identity"),
    "nn.global_avg_pool2d": _global_pool("global_avg_pool2d"),
    "nn.global_max_pool2d": _global_pool("global_max_pool2d"),
    "nn.leaky_relu": lambda o: o.node("leaky_relu", alpha=float(o.attrs.alpha)),
    "nn.lrn": lambda o: o.node("lrn", size=int(o.attrs.size)),
    "nn.matmul": _matmul,
    "nn.max_pool2d": _pool("max_pool2d"),
    "nn.pad": _pad,
    "nn.relu": _simple("relu"),
    "nn.softmax": _axis("softmax"),
    "reshape": _first_operand("reshape"),
    "sigmoid": _simple("sigmoid"),
    "split": _split,
    "squeeze": _first_operand("reshape"),
    "subtract": _simple("subtract"),
    "tanh": _simple("tanh"),
    "transpose": _transpose,
}
