"""Evaluates a Relay module to a flat list of operator calls.

Whatever form the module has - nested expressions, ``let`` chains, tuples, calls of global, local or
primitive functions - what is left are operators, their operands and their types. The evaluator
keeps its own stack, so that the depth of a network does not matter.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tvm
from tvm import relay

from relay_frontend.errors import DynamicShapeError, NetworkError
from relay_frontend.graph import TensorType
from relay_frontend.nodes import INPUT, MAX_INLINED, SMALL, Node, constant

# What marks an expression for a compiler and computes nothing.
_TRANSPARENT = frozenset(
    {
        "annotation.cast_hint",
        "annotation.checkpoint",
        "annotation.compiler_begin",
        "annotation.compiler_end",
        "annotation.stop_fusion",
        "copy",
        "device_copy",
        "on_device",
    }
)


class Untyped(Exception):  # noqa: N818 (no error: the module must be typed first)
    """An expression has no type yet."""


class DynamicOperatorError(DynamicShapeError):
    """The shape that an operator gives depends on a value; ``DynamicToStatic`` may know it."""


@dataclass(slots=True, eq=False)
class Call:
    """One call of an operator.

    Args:
        name: of the operator in Relay.
        expr: the call, for its attributes.
        operands: slots of the arguments, tuples taken apart.
        results: slot of each result.
        types: type of each result.
        source: name of the expression's span, or that of the operator.
    """

    name: str
    expr: Any
    operands: list[int]
    results: range
    types: list[TensorType]
    source: str


@dataclass(slots=True, eq=False)
class Program:
    """All calls in an order in which they can be executed.

    Args:
        module: keeps the expressions alive.
        calls: the operators.
        leaves: one entry per slot: a constant or an input; None where a call fills it.
        variables: name and slot of each tensor of the parameters of ``main``.
        outputs: slots of the results, tuples taken apart.
    """

    module: tvm.IRModule
    calls: list[Call] = field(default_factory=list)
    leaves: list[Node | None] = field(default_factory=list)
    variables: list[tuple[str, int]] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)

    def add(self, node: Node | None) -> int:
        """A new slot."""
        self.leaves.append(node)
        return len(self.leaves) - 1

    def type_of(self, slot: int) -> TensorType:
        """Type of a leaf."""
        node = self.leaves[slot]
        assert node is not None
        return node.type


def evaluate(module: tvm.IRModule) -> Program:
    """The calls of ``main``, those of the functions that it calls in place of their calls.

    Raises:
        Untyped: an operator has no type; run ``InferType`` and come back.
        NetworkError: there is no ``main``, or control flow, recursion or anything else that is no
            dataflow.
        DynamicOperatorError: an operator is of Relay's dynamic ones; run ``DynamicToStatic``.
        DynamicShapeError: a type is dynamic.
    """
    return _Evaluator(module).run()


class _Scope:
    """Values of the expressions in one activation of a function, by their handles."""

    __slots__ = ("parent", "values")

    def __init__(self, parent: _Scope | None) -> None:
        self.parent = parent
        self.values: dict[int, Any] = {}

    def find(self, expr: Any) -> Any:
        """A slot, a (nested) tuple of slots, a closure, or None where not evaluated yet."""
        key = hash(expr)
        scope: _Scope | None = self
        while scope is not None:
            value = scope.values.get(key)
            if value is not None:
                return value
            scope = scope.parent
        return None

    def set(self, expr: Any, value: Any) -> None:
        self.values[hash(expr)] = value


@dataclass(frozen=True, slots=True, eq=False)
class _Closure:
    function: relay.Function
    scope: _Scope | None


@dataclass(slots=True, eq=False)
class _Step:
    """An expression to evaluate, and what is known of it after its parts have been."""

    expr: Any
    scope: _Scope
    parts: Any = None


class _Evaluator:
    def __init__(self, module: tvm.IRModule) -> None:
        self.module = module
        self.program = Program(module)
        self.stack: list[_Step] = []
        self.active: list[int] = []  # handles of the functions that are being evaluated
        self.inlined = 0
        self.operator_names: dict[int, str] = {}
        self.types: dict[str, list[TensorType]] = {}
        self.handlers: dict[type, Callable[[_Step], None]] = {
            relay.Call: self._call,
            relay.Constant: self._constant,
            relay.Function: self._function,
            relay.GlobalVar: self._global,
            relay.Let: self._let,
            relay.Tuple: self._tuple,
            relay.TupleGetItem: self._item,
            relay.Var: self._unbound,
        }

    def run(self) -> Program:
        function = main_function(self.module)
        scope = _Scope(None)
        self.active.append(hash(function))
        for var in function.params:
            type_ = _declared_type(var)
            scope.set(var, self._variable(type_, str(var.name_hint)))
        self.stack.append(_Step(function.body, scope))
        while self.stack:
            step = self.stack.pop()
            if step.parts is None and step.scope.find(step.expr) is not None:
                continue
            handler = self.handlers.get(type(step.expr))
            if handler is None:
                raise NetworkError(
                    f"Relay {type(step.expr).__name__} expressions are not read (only dataflow "
                    "is): resolve control flow and data structures first, for example with "
                    "relay.transform.FoldConstant() or PartialEvaluate()"
                )
            handler(step)
        self.program.outputs = self._tensors(scope.find(function.body), "the result of 'main'")
        return self.program

    # --- Leaves ---

    def _variable(self, type_: Any, name: str) -> Any:
        """The value of a parameter of ``main``: a slot, or a tuple where its type is one."""
        if isinstance(type_, relay.TupleType):
            return tuple(self._variable(item, name) for item in type_.fields)
        slot = self.program.add(Node(INPUT, tensor_type(type_, f"parameter {name!r}"), source=name))
        self.program.variables.append((name, slot))
        return slot

    def _constant(self, step: _Step) -> None:
        array = step.expr.data
        type_ = TensorType(tuple(int(d) for d in array.shape), str(array.dtype))
        value = content(array) if type_.num_elements <= SMALL else None
        step.scope.set(step.expr, self.program.add(constant(type_, value)))

    def _function(self, step: _Step) -> None:
        step.scope.set(step.expr, _Closure(step.expr, step.scope))

    def _global(self, step: _Step) -> None:
        name = step.expr.name_hint
        function = self.module.functions.get(step.expr)
        if not isinstance(function, relay.Function):
            raise NetworkError(
                f"the Relay module calls {name!r}, which is no Relay function of it; give the "
                "module as it was before lowering"
            )
        step.scope.set(step.expr, _Closure(function, None))

    def _unbound(self, step: _Step) -> None:
        raise NetworkError(f"variable {step.expr.name_hint!r} is neither a parameter nor bound")

    # --- Expressions with parts ---

    def _let(self, step: _Step) -> None:
        let = step.expr
        if step.parts is None:
            self._after(step, "value", let.value)
        elif step.parts == "value":
            step.scope.set(let.var, step.scope.find(let.value))
            self._after(step, "body", let.body)
        else:
            step.scope.set(let, step.scope.find(let.body))

    def _after(self, step: _Step, parts: Any, expr: Any) -> None:
        """Come back with ``parts`` when ``expr`` is evaluated."""
        self.stack.append(_Step(step.expr, step.scope, parts))
        self.stack.append(_Step(expr, step.scope))

    def _tuple(self, step: _Step) -> None:
        fields = step.parts or list(step.expr.fields)
        if not self._wait_for(step, fields, fields):
            step.scope.set(step.expr, tuple(step.scope.find(item) for item in fields))

    def _item(self, step: _Step) -> None:
        operand = step.expr.tuple_value if step.parts is None else step.parts
        if self._wait_for(step, operand, [operand]):
            return
        items = step.scope.find(operand)
        index = int(step.expr.index)
        if not isinstance(items, tuple) or index >= len(items):
            raise NetworkError(f"item {index} of what is no tuple of more than {index} tensors")
        step.scope.set(step.expr, items[index])

    def _wait_for(self, step: _Step, parts: Any, exprs: list[Any]) -> bool:
        """Whether some of ``exprs`` must be evaluated first; then they are on the stack."""
        missing = [expr for expr in exprs if step.scope.find(expr) is None]
        if missing:
            self.stack.append(_Step(step.expr, step.scope, parts))
            self.stack.extend(_Step(expr, step.scope) for expr in reversed(missing))
        return bool(missing)

    def _call(self, step: _Step) -> None:
        call, scope = step.expr, step.scope
        if isinstance(step.parts, _Inlined):
            self.active.pop()
            scope.set(call, step.parts.scope.find(step.parts.body))
            return
        callee, args = step.parts or (call.op, list(call.args))
        is_operator = type(callee) is tvm.ir.Op
        if self._wait_for(step, (callee, args), args if is_operator else [callee, *args]):
            return
        values = [scope.find(arg) for arg in args]
        if is_operator:
            scope.set(call, self._operator(call, callee, values))
        else:
            self._inline(step, scope.find(callee), values)

    def _inline(self, step: _Step, closure: Any, values: list[Any]) -> None:
        if not isinstance(closure, _Closure):
            raise NetworkError(
                f"a call of a Relay {type(step.expr.op).__name__} that is no function is not read"
            )
        function = closure.function
        self.inlined += 1
        if hash(function) in self.active:
            raise NetworkError(f"the Relay function {_name(step.expr.op)} is recursive")
        if self.inlined > MAX_INLINED:
            raise NetworkError(f"the Relay module makes over {MAX_INLINED} calls of functions")
        scope = _Scope(closure.scope)
        for param, value in zip(function.params, values, strict=True):
            scope.set(param, value)
        body = function.body
        self.active.append(hash(function))
        self.stack.append(_Step(step.expr, step.scope, _Inlined(body, scope)))
        self.stack.append(_Step(body, scope))

    def _operator(self, call: Any, op: Any, values: list[Any]) -> Any:
        """A new call in the program; the value that it gives."""
        name = self.operator_names.get(hash(op))
        if name is None:
            name = self.operator_names[hash(op)] = str(op.name)
        if name in _TRANSPARENT:
            return values[0]
        span = call.span
        span = getattr(span, "source_name", None)
        source = str(span.name) if span is not None else name
        result = call._checked_type_
        if result is None:
            raise Untyped
        if name.startswith("dyn."):
            raise DynamicOperatorError(
                f"{name} {source!r}: its shape depends on data; import the network with static "
                "shapes, and give the parameters that decide it"
            )
        types = self._types(result, f"{name} {source!r}")
        slots = range(len(self.program.leaves), len(self.program.leaves) + len(types))
        self.program.leaves.extend([None] * len(types))
        operands = [slot for value in values for slot in self._tensors(value, source)]
        self.program.calls.append(Call(name, call, operands, slots, types, source))
        return tuple(slots) if isinstance(result, relay.TupleType) else slots[0]

    def _types(self, type_: Any, where: str) -> list[TensorType]:
        """Types of the tensors of ``type_``.

        Reading one field by field takes three times as long as printing it, and most repeat.
        """
        text = str(type_)
        known = self.types.get(text)
        if known is None:
            fields = type_.fields if isinstance(type_, relay.TupleType) else [type_]
            known = self.types[text] = [tensor_type(item, where) for item in fields]
        return known

    def _tensors(self, value: Any, where: str) -> list[int]:
        """The slots in ``value``, nested tuples taken apart."""
        if isinstance(value, int):
            return [value]
        if isinstance(value, tuple):
            return [slot for item in value for slot in self._tensors(item, where)]
        raise NetworkError(f"{where}: a function where a tensor was expected")


@dataclass(frozen=True, slots=True, eq=False)
class _Inlined:
    """The body of a function whose call waits for it."""

    body: Any
    scope: _Scope


def main_function(module: tvm.IRModule) -> relay.Function:
    """The function ``main`` of a module.

    Raises:
        NetworkError: there is none.
    """
    if "main" not in [name.name_hint for name in module.get_global_vars()]:
        raise NetworkError("the Relay module has no function 'main'")
    return module["main"]


def _name(callee: Any) -> str:
    return repr(str(callee.name_hint)) if hasattr(callee, "name_hint") else "(unnamed)"


def _declared_type(var: relay.Var) -> Any:
    type_ = var._checked_type_ or var.type_annotation
    if type_ is None:
        raise Untyped
    return type_


def content(array: Any) -> np.ndarray:
    """The elements of an array of TVM or numpy; those of bfloat16 as float32.

    NumPy lacks bfloat16, so that TVM gives its bits.
    """
    values = np.asarray(array.numpy() if hasattr(array, "numpy") else array)
    if str(array.dtype) != "bfloat16":
        return values
    bits = values.view(np.uint16).astype(np.uint32)
    return np.asarray(bits << np.uint32(16)).view(np.float32)


def tensor_type(type_: Any, where: str) -> TensorType:
    """The static type of a tensor.

    Raises:
        NetworkError: ``type_`` is no tensor's.
        DynamicShapeError: a dimension is symbolic or unknown.
    """
    if isinstance(type_, relay.ty.IncompleteType):
        raise Untyped
    if not isinstance(type_, relay.TensorType):
        raise NetworkError(f"{where} is no tensor but {type_}")
    dims = []
    for axis, dim in enumerate(type_.shape):
        if not isinstance(dim, tvm.tir.IntImm):
            raise DynamicShapeError(
                f"{where}: dimension {axis} is symbolic ({dim}); bind it: load(module, "
                "shapes={...}), or import the network with static shapes"
            )
        dims.append(int(dim))
    return TensorType(tuple(dims), str(type_.dtype))
