"""Kernels of a Relax module and the operators that each of them computes.

The variables of ``main`` carry the numbers of the calls that they are bound to; TVM's passes keep
the name of a variable when they put another value in its place. What a pass binds anew is named
after it, by :func:`relay_frontend.canonical.provenance.inherit`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from typing import Any

import tvm
from tvm import relax

from relay_frontend.canonical.canonicalize import canonicalize
from relay_frontend.canonical.provenance import (
    NONE,
    Call,
    Origins,
    Trace,
    inherit,
    mark,
    marked,
    members,
    returned,
)
from relay_frontend.errors import NetworkError
from relay_frontend.kernel import Kernel
from relay_frontend.relax import kernels as relax_kernels
from relay_frontend.relax.reader import main_function, read_network

_CALL_TIR = "relax.call_tir"


def kernels_with_members(
    mod: tvm.IRModule, target: str | tvm.target.Target, params: Collection[str] | None = None
) -> list[Kernel]:
    """The kernels of one inference in order, with the operators that they compute.

    Arguments and errors are those of :func:`fused_with_members`.
    """
    return fused_with_members(mod, target, params)[1]


def fused_with_members(
    mod: tvm.IRModule, target: str | tvm.target.Target, params: Collection[str] | None = None
) -> tuple[relax_kernels.FusedModule, list[Kernel]]:
    """The fused module and its kernels in order, with the operators that they compute.

    Args:
        mod: as for :func:`relay_frontend.relax.read_relax`; nor are weights needed as constants.
        target: what they are compiled for.
        params: as for :func:`relay_frontend.relax.read_relax`.

    Raises:
        InputError, NetworkError, DynamicShapeError: see :func:`relay_frontend.relax.read_relax`,
            :func:`relay_frontend.relax.kernels.fuse` and
            :func:`relay_frontend.canonical.provenance.members`.
    """
    parsed = relax_kernels.parse_target(target)
    numbered = _numbered(mod)
    trace = Trace()
    graph = canonicalize(read_network(numbered, params), trace)
    follower = _Follower()
    numbered = numbered if params is None else _weights_last(numbered, params)
    fused = relax_kernels.fuse(numbered, parsed, follower)
    kernels = relax_kernels.fused_kernels(fused)
    origins = follower.origins([kernel.name for kernel in kernels])
    computed = members(graph, trace.operators, origins)
    return fused, [replace(k, operators=o) for k, o in zip(kernels, computed, strict=True)]


def _weights_last(mod: tvm.IRModule, weights: Collection[str]) -> tvm.IRModule:
    main = mod["main"]
    params = sorted(main.params, key=lambda var: var.name in weights)
    num_input = sum(var.name not in weights for var in params)
    function = relax.Function(params, main.body, main.ret_ty, main.is_pure, main.attrs)
    return _with_main(mod, function.with_attr("num_input", num_input))


def _with_main(mod: tvm.IRModule, main: relax.Function) -> tvm.IRModule:
    updated = tvm.IRModule(mod.functions, attrs=mod.attrs)
    updated["main"] = main
    return updated


# --- Names ------------------------------------------------------------------------------------


def _numbered(mod: tvm.IRModule) -> tvm.IRModule:
    """Name the variables of ``main`` after the calls that they are bound to."""
    calls = _Calls(main_function(mod))
    for number, call in enumerate(calls.calls[:-1]):
        call.origins = frozenset({number})
    return calls.renamed(mod)


class _Calls:
    """The calls of ``main``, with the origins that their variables tell."""

    def __init__(self, main: relax.Function) -> None:
        self.calls: list[Call] = []
        self._producers: dict[Any, list[int]] = {}
        for binding in _bindings(main):
            self._producers[binding.var] = self._bind(binding.var, binding.value)
        self.calls.append(returned(self._operands(main.body.body)))

    def _bind(self, var: relax.Var, value: Any) -> list[int]:
        origins = marked(var.name)
        if isinstance(value, tvm.ir.Call):
            name, arguments = _callee(value)
            operands = [at for argument in arguments for at in self._operands(argument)]
            self.calls.append(Call(name, operands, origins))
            return [len(self.calls) - 1]
        producers = self._operands(value)
        for producer in producers:  # another name of the same value
            if producer >= 0 and not self.calls[producer].origins:
                self.calls[producer].origins = origins
        return producers

    def _operands(self, expr: Any) -> list[int]:
        """The calls that compute ``expr``, one for each tensor of a tuple; -1 for what is given."""
        if isinstance(expr, relax.Tuple):
            return [at for item in expr.fields for at in self._operands(item)]
        if isinstance(expr, relax.TupleGetItem):
            producers = self._operands(expr.tuple_value)
            return [producers[expr.index]] if len(producers) > expr.index else producers[:1]
        return self._producers.get(expr, [-1]) if isinstance(expr, relax.Var) else [-1]

    def renamed(self, mod: tvm.IRModule) -> tvm.IRModule:
        """``mod`` with variables that tell the origins known here."""
        names = {
            var: mark(NONE.union(*(self.calls[at].origins for at in producers if at >= 0)))
            for var, producers in self._producers.items()
            if any(at >= 0 and self.calls[at].origins for at in producers)
        }
        return _with_main(mod, _Renamer(mod, names).visit_expr(mod["main"]))


@relax.expr_functor.mutator
class _Renamer(relax.PyExprMutator):  # type: ignore[misc]
    def __init__(self, mod: tvm.IRModule, names: dict[relax.Var, str]) -> None:
        super().__init__(mod)
        self.names = names

    def visit_var_def_(self, var: relax.Var) -> relax.Var:
        return relax.Var(self.names[var], var.ty) if var in self.names else var

    def visit_dataflow_var_def_(self, var: relax.DataflowVar) -> relax.DataflowVar:
        return relax.DataflowVar(self.names[var], var.ty) if var in self.names else var


def _bindings(function: relax.Function) -> Iterator[Any]:
    for block in function.body.blocks:
        yield from block.bindings


def _callee(call: tvm.ir.Call) -> tuple[str, Sequence[Any]]:
    """What a call computes, and from what."""
    if not isinstance(call.op, (tvm.ir.Op, tvm.ir.GlobalVar)):
        return type(call.op).__name__, list(call.args)
    name = str(call.op.name if isinstance(call.op, tvm.ir.Op) else call.op.name_hint)
    if name != _CALL_TIR:
        return name, list(call.args)
    arguments = call.args[1]
    fields = list(arguments.fields) if isinstance(arguments, relax.Tuple) else [arguments]
    return str(call.args[0].name_hint), fields


# --- Passes -----------------------------------------------------------------------------------


class _Follower:
    """Runs passes, names what they bind anew, and sees what ``FuseOps`` puts together."""

    def __init__(self) -> None:
        self._fused: list[tuple[str, Origins]] | None = None

    def __call__(self, step: tvm.transform.Pass, mod: tvm.IRModule) -> tvm.IRModule:
        result = relax_kernels.run_pass(step, mod)
        if self._fused is None and step.info.name == "FuseOps":
            values = _Values()
            values.learn(mod["main"])
            self._fused = [(name, values.origins(calls)) for name, calls in values.groups(result)]
        elif self._fused is None:
            before, after = _Calls(mod["main"]), _Calls(result["main"])
            if not all(call.origins for call in after.calls):
                inherit(before.calls, after.calls)
            result = after.renamed(result)
        return result

    def origins(self, names: Sequence[str]) -> list[Origins]:
        """Origins of the kernels of these names; after fusion some reshapes stopped to be one."""
        fused = iter(self._fused or ())
        found = []
        for name in names:
            origins = next((origins for other, origins in fused if other == name), None)
            if origins is None:
                raise NetworkError(f"kernel {name} is none of those that FuseOps made")
            found.append(origins)
        return found


class _Values:
    """Numbers values by how they are computed: fusion renames all, but computes the same."""

    def __init__(self) -> None:
        self._numbers: dict[Any, int] = {}
        self._origins: dict[int, list[Origins]] = {}  # of equal calls, in order

    def learn(self, main: relax.Function) -> None:
        """The origins of the calls of ``main`` before fusion."""
        env = self._arguments(main)
        for binding in _bindings(main):
            value = env[binding.var] = self._value(binding.value, env)
            if isinstance(binding.value, tvm.ir.Call):
                self._origins.setdefault(value, []).append(marked(binding.var.name))

    def origins(self, calls: Sequence[int]) -> Origins:
        """What these calls compute; of equal calls each time the next one."""
        found = NONE
        for call in calls:
            known = self._origins[call]
            found |= known.pop(0) if len(known) > 1 else known[0]
        return found

    def groups(self, mod: tvm.IRModule) -> Iterator[tuple[str, list[int]]]:
        """The calls of ``main`` after fusion by their functions, and what these call."""
        env = self._arguments(mod["main"])
        for binding in _bindings(mod["main"]):
            call = binding.value
            if isinstance(call, tvm.ir.Call) and isinstance(call.op, tvm.ir.GlobalVar):
                function = mod[call.op]
                inner = {
                    param: self._value(argument, env)
                    for param, argument in zip(function.params, call.args, strict=True)
                }
                calls = self._calls(function, inner)
                env[binding.var] = self._value(function.body.body, inner)
                yield str(call.op.name_hint), calls
            else:
                env[binding.var] = self._value(call, env)
                if isinstance(call, tvm.ir.Call) and call.op == tvm.ir.Op.get(_CALL_TIR):
                    yield _callee(call)[0], [env[binding.var]]

    def _calls(self, function: relax.Function, env: dict[Any, Any]) -> list[int]:
        calls = []
        for binding in _bindings(function):
            env[binding.var] = self._value(binding.value, env)
            if isinstance(binding.value, tvm.ir.Call):
                calls.append(env[binding.var])
        return calls

    def _arguments(self, main: relax.Function) -> dict[Any, Any]:
        return {param: self._number(("parameter", i)) for i, param in enumerate(main.params)}

    def _value(self, expr: Any, env: dict[Any, Any]) -> Any:
        """A number, or a tuple of such."""
        if isinstance(expr, relax.Var):
            return env[expr]
        if isinstance(expr, relax.Tuple):
            return tuple(self._value(item, env) for item in expr.fields)
        if isinstance(expr, relax.TupleGetItem):
            value = self._value(expr.tuple_value, env)
            return (
                value[expr.index] if isinstance(value, tuple) else self._number((value, expr.index))
            )
        if isinstance(expr, tvm.ir.Call):
            name, arguments = _callee(expr)
            return self._number((name, *(self._value(argument, env) for argument in arguments)))
        return self._number(("given", str(expr)))

    def _number(self, key: Any) -> int:
        return self._numbers.setdefault(key, len(self._numbers))
