"""Relax -> :class:`OpGraph`; needs a TVM that has Relax (``apache-tvm`` 0.25 or newer).

The reader evaluates ``main`` symbolically: each variable stands for a node, or a list of them for a
tuple; calls of the module's functions are evaluated in place. What an operator becomes stands in
:mod:`relay_frontend.relax.operators`.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any, Union

import numpy as np
import tvm
from tvm import relax
from tvm_ffi import libinfo

from relay_frontend import native
from relay_frontend.canonical.canonicalize import canonicalize
from relay_frontend.errors import CostModelError, DynamicShapeError, NetworkError
from relay_frontend.graph import OpGraph, TensorType
from relay_frontend.nodes import INPUT, MAX_INLINED, SMALL, Network, Node, constant
from relay_frontend.relax.call import RelaxCall
from relay_frontend.relax.operators import convert
from relay_frontend.relax.tir import TIR

_Value = Union[Node, "list[_Value]"]

_LIBRARY = libinfo.find_libtvm_ffi()  # the native reader looks the functions of tvm-ffi up in it
_PACKED = frozenset({"call_dps_packed", "call_inplace_packed", "call_pure_packed"})
_SHAPES = frozenset({"shape_to_tensor", "tensor_to_shape"})


def read_relax(module: tvm.IRModule, params: Collection[str] | None = None) -> OpGraph:
    """The operator graph of the function ``main`` of a Relax module.

    Args:
        module: a module before legalization, with constants or function parameters as weights;
            calls of its functions are inlined.
        params: names of the function's parameters that are weights. By default those behind the
            first ``num_input`` ones, an attribute that TVM's importers set; without it, none.

    Raises:
        NetworkError: the module has no ``main``, is legalized, or has control flow or recursion.
        DynamicShapeError: a shape of the module is symbolic.
    """
    names = None if params is None else list(params)
    graph = native.attempt("read_relax", module.__chandle__(), names, _LIBRARY)
    return canonicalize(read_network(module, params)) if graph is None else graph


def read_network(module: tvm.IRModule, params: Collection[str] | None = None) -> Network:
    """The nodes of ``main`` before canonicalization; arguments and errors as of `read_relax`."""
    return _Reader(module, params).read()


def main_function(module: tvm.IRModule) -> relax.Function:
    """The function ``main`` of a module.

    Raises:
        NetworkError: there is none of Relax.
    """
    main = next((f for var, f in module.functions_items() if var.name_hint == "main"), None)
    if not isinstance(main, relax.Function):
        raise NetworkError("the Relax module has no function 'main'")
    return main


class _Reader:
    """Reads one module; holds the values by variable."""

    def __init__(self, module: tvm.IRModule, params: Collection[str] | None) -> None:
        self.main = main_function(module)
        self.functions = {var.name_hint: function for var, function in module.functions_items()}
        self.params = params
        self.values: dict[Any, _Value] = {}
        self.inputs: list[Node] = []
        self.active: list[str] = []
        self.inlined = 0

    def read(self) -> Network:
        main = self.main
        num_input = len(main.params)
        if main.attrs is not None and "num_input" in main.attrs:
            num_input = int(main.attrs["num_input"])
        for position, var in enumerate(main.params):
            name = str(var.name)
            is_weight = position >= num_input if self.params is None else name in self.params
            self.values[var] = self._parameter(var.ty, name, is_weight)
        return Network(self.inputs, _flat(self._evaluate("main", main)))

    def _parameter(self, type_: Any, name: str, is_weight: bool) -> _Value:
        if isinstance(type_, relax.TupleType):
            return [self._parameter(field, name, is_weight) for field in type_.fields]
        tensor = _tensor_type(type_, f"parameter {name!r}")
        if is_weight:
            return constant(tensor)
        node = Node(INPUT, tensor, source=name)
        self.inputs.append(node)
        return node

    def _evaluate(self, name: str, function: relax.Function) -> _Value:
        if name in self.active:
            raise NetworkError(f"the Relax function {name!r} calls itself; recursion is not read")
        self.active.append(name)
        result = self._value(function.body, f"the result of {name!r}")
        self.active.pop()
        return result

    def _value(self, expr: Any, source: str) -> _Value:
        if isinstance(expr, relax.Var):
            return self._variable(expr)
        if isinstance(expr, relax.Call):
            return self._call(expr, source)
        if isinstance(expr, tvm.ir.GenericConst):
            return _constant(expr, source)
        if isinstance(expr, relax.Tuple):
            fields = (field for field in expr.fields if not _is_attribute(field))
            return [self._value(field, source) for field in fields]
        if isinstance(expr, relax.TupleGetItem):
            fields_of = self._value(expr.tuple_value, source)
            assert isinstance(fields_of, list)
            return fields_of[int(expr.index)]
        if isinstance(expr, relax.SeqExpr):
            for block in expr.blocks:
                for binding in block.bindings:
                    self.values[binding.var] = self._value(binding.value, str(binding.var.name))
            return self._value(expr.body, source)
        if isinstance(expr, relax.ShapeExpr):
            return _shape(expr.values, source)
        if isinstance(expr, relax.If):
            raise NetworkError(
                f"{source!r} is an If; control flow is not read: give the branch that is measured "
                "as a module of its own"
            )
        kind = type(expr).__name__
        raise NetworkError(f"Relax {kind} expressions are not read (bound to {source!r})")

    def _variable(self, var: Any) -> _Value:
        if var not in self.values:
            raise NetworkError(f"the Relax variable {var.name!r} is used before it is bound")
        return self.values[var]

    def _call(self, call: relax.Call, source: str) -> _Value:
        arguments = list(call.args)
        if isinstance(call.op, relax.GlobalVar):
            return self._inline(str(call.op.name_hint), arguments, source)
        name, arguments, attrs = self._operator(call, arguments, source)
        operands = [
            node
            for argument in arguments
            if not _is_attribute(argument) and (name in _SHAPES or not _is_shape(argument))
            for node in _flat(self._value(argument, source))
        ]
        types = _result_types(call.ty, f"{name} {source!r}")
        nodes = _converted(RelaxCall(name, source, arguments, attrs, operands, types))
        return list(nodes) if isinstance(call.ty, relax.TupleType) else nodes[0]

    def _operator(
        self, call: relax.Call, arguments: list[Any], source: str
    ) -> tuple[str, list[Any], Any]:
        """Name, arguments and attributes of an operator, or of a function of another language."""
        if isinstance(call.op, relax.ExternFunc):
            return str(call.op.global_symbol), arguments, call.attrs
        if not isinstance(call.op, tvm.ir.Op):
            raise NetworkError(
                f"{source!r} calls a function that is a value ({type(call.op).__name__}); only "
                "operators and functions of the module are read"
            )
        name = str(call.op.name).removeprefix("relax.")
        if name in _PACKED:
            return str(arguments[0].global_symbol), arguments[1:], call.attrs
        if not name.startswith("call_tir"):
            return name, arguments, call.attrs
        function = str(arguments[0].name_hint)
        name = "tir." + re.sub(r"\d+$", "", function)  # the importer numbers its functions
        if name not in TIR:
            raise NetworkError(
                f"{source!r} calls the TIR function {function!r}: the module is legalized, its "
                "operators are gone; give it before LegalizeOps"
            )
        return name, list(arguments[1].fields), self.functions[function]

    def _inline(self, name: str, arguments: list[Any], source: str) -> _Value:
        function = self.functions.get(name)
        if not isinstance(function, relax.Function):
            raise NetworkError(
                f"{source!r} calls {name!r}, which is no function of Relax; give the module before "
                "it is lowered to TIR"
            )
        self.inlined += 1
        if self.inlined > MAX_INLINED:
            raise NetworkError(f"the Relax module makes over {MAX_INLINED} calls of functions")
        values = [self._value(argument, source) for argument in arguments]
        for var, value in zip(function.params, values, strict=True):
            self.values[var] = value
        return self._evaluate(name, function)


def _flat(value: _Value) -> list[Node]:
    """The nodes of a value, those of tuples one after the other."""
    if isinstance(value, Node):
        return [value]
    return [node for field in value for node in _flat(field)]


def _is_attribute(expr: Any) -> bool:
    """Whether an argument is a number, a string or a dtype."""
    return not isinstance(getattr(expr, "ty", None), _VALUE_TYPES)


def _is_shape(expr: Any) -> bool:
    return isinstance(expr.ty, relax.ShapeType)


_VALUE_TYPES = (relax.TensorType, relax.TupleType, relax.ShapeType)


def _converted(call: RelaxCall) -> list[Node]:
    try:
        return convert(call)
    except CostModelError:
        raise
    except Exception as error:  # an operand or attribute that no version of Relax should give
        operands = ", ".join(str(operand.type) for operand in call.inputs)
        raise NetworkError(
            f"Relax operator {call.name} {call.source!r} cannot be read "
            f"({type(error).__name__}: {error}); its operands are {operands or 'none'}"
        ) from error


def _result_types(type_: Any, where: str) -> list[TensorType]:
    if isinstance(type_, relax.TupleType):
        return [_tensor_type(field, where) for field in type_.fields]
    if isinstance(type_, relax.ShapeType):
        if type_.ndim < 0:
            raise DynamicShapeError(f"{where} is a shape of unknown rank; bind it before")
        return [TensorType((int(type_.ndim),), "int64")]
    return [_tensor_type(type_, where)]


def _tensor_type(type_: Any, where: str) -> TensorType:
    if not isinstance(type_, relax.TensorType):
        raise NetworkError(f"{where} is no tensor but {type_}")
    if not isinstance(type_.shape, relax.ShapeExpr):
        raise DynamicShapeError(f"{where} has no static shape; import the network with one")
    return TensorType(_extents(type_.shape.values, where), str(type_.dtype))


def _extents(values: Any, where: str) -> tuple[int, ...]:
    extents = []
    for axis, extent in enumerate(values):
        if not isinstance(extent, tvm.tirx.IntImm):
            raise DynamicShapeError(
                f"{where}: dimension {axis} is symbolic ({extent}); bind it: load(module, "
                "shapes={...}), or relax.transform.BindSymbolicVars("
                f"{{{str(extent)!r}: 1}})"
            )
        extents.append(int(extent.value))
    return tuple(extents)


def _shape(values: Any, source: str) -> Node:
    extents = _extents(values, f"a shape of {source!r}")
    return constant(TensorType((len(extents),), "int64"), np.array(extents, np.int64))


def _constant(expr: Any, source: str) -> Node:
    type_ = _tensor_type(expr.ty, f"a constant of {source!r}")
    return constant(type_, expr.value.numpy() if type_.num_elements <= SMALL else None)
