"""Kernels of a Relay module and the operators that each of them computes.

The spans of the calls of ``main`` carry their numbers; nearly all passes of TVM keep the span of a
call when they put another one in its place. What they make anew is marked after each pass, by
:func:`relay_frontend.canonical.provenance.inherit`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import tvm
from tvm import relay

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
from relay_frontend.relay import kernels as relay_kernels
from relay_frontend.relay.calls import main_function
from relay_frontend.relay.reader import read_network

_LAYOUT_CHANGES = ("layout_transform",)
"""Operators that the compiler adds and that compute nothing of the network."""
_NORMAL_FORM = "ToBasicBlockNormalForm"  # the pass that forgets spans, and leaves the rest alone


def kernels_with_members(
    mod: tvm.IRModule, target: str | tvm.target.Target, params: Mapping[str, Any] | None = None
) -> list[Kernel]:
    """The kernels of ``relay.build`` in execution order, with the operators that they compute.

    Args:
        mod: function ``main`` with static types; calls of other functions are not followed.
        target: one TVM target.
        params: values of the parameters that are weights, as for
            :func:`relay_frontend.relay.kernels.fuse`; TVM's choice of kernels depends on them.

    Raises:
        InputError, NetworkError, DynamicShapeError: see :func:`relay_frontend.relay.read_relay`,
            :func:`relay_frontend.relay.kernels.fuse` and
            :func:`relay_frontend.canonical.provenance.members`.
    """
    names: Collection[str] | None = params
    numbers = _numbers(mod)
    trace = Trace()
    graph = canonicalize(read_network(_marked(mod, numbers), names), trace)
    fused = relay_kernels.fuse(mod, target, params or {}, _Follower(numbers))
    origins = [
        NONE.union(*map(_origins, relay_kernels.operator_calls(call.op))) for call in fused.calls()
    ]
    return [
        replace(kernel, operators=operators)
        for kernel, operators in zip(
            relay_kernels.fused_kernels(fused),
            members(graph, trace.operators, origins),
            strict=True,
        )
    ]


# --- Spans ------------------------------------------------------------------------------------


def _numbers(mod: tvm.IRModule) -> list[Origins]:
    """A number for each call of ``main``; equal calls share one, since TVM makes them one."""
    found: list[Origins] = []
    known: dict[Any, int] = {}
    numbers: dict[relay.Expr, int] = {}

    def key(expr: relay.Expr) -> Any:
        if isinstance(expr, relay.Tuple):
            return tuple(key(item) for item in expr.fields)
        return numbers.get(expr, expr) if isinstance(expr, relay.Call) else expr

    for call in _calls(mod):
        attrs = tvm.ir.structural_hash(call.attrs) if call.attrs is not None else 0
        number = known.setdefault((call.op, attrs, *map(key, call.args)), len(found))
        numbers[call] = number
        found.append(frozenset({number}))
    return found


def _calls(mod: tvm.IRModule) -> list[relay.Call]:
    return relay_kernels.operator_calls(main_function(mod))


def _origins(call: relay.Call) -> Origins:
    name = getattr(call.span, "source_name", None)
    return marked(str(name.name)) if name is not None else NONE


def _marked(mod: tvm.IRModule, origins: Sequence[Origins]) -> tvm.IRModule:
    """``mod`` with these origins in the spans of the calls of ``main``."""
    function = mod["main"]
    calls = _calls(mod)
    if len(calls) != len(origins):
        raise NetworkError(
            f"the Relay module has {len(origins)} calls of operators as given and {len(calls)} in "
            "the compiler: inline its functions first"
        )
    marker = _Marker(dict(zip(calls, origins, strict=True)))
    for call in calls:  # operands first, so that the recursion of the mutator is never deep
        marker.visit(call)
    body = marker.visit(function.body)
    result = tvm.IRModule(mod.functions, mod.type_definitions)
    result["main"] = relay.Function(
        function.params, body, None, function.type_params, function.attrs
    )
    return result


class _Marker(relay.ExprMutator):  # type: ignore[misc]
    def __init__(self, origins: dict[relay.Call, Origins]) -> None:
        super().__init__()
        self._origins = origins

    def visit_call(self, call: relay.Call) -> relay.Call:
        args = [self.visit(argument) for argument in call.args]
        origins = self._origins[call]
        span = relay.Span(relay.SourceName(mark(origins)), 0, 0, 0, 0) if origins else None
        return relay.Call(call.op, args, call.attrs, call.type_args, span)


# --- Passes -----------------------------------------------------------------------------------


class _Follower:
    """Runs passes, and marks the calls that they make anew."""

    def __init__(self, numbers: list[Origins]) -> None:
        self._numbers = numbers
        self._before: list[Call] | None = None

    def __call__(self, step: relay_kernels.Pass, module: tvm.IRModule) -> tvm.IRModule:
        result = step(module)
        if self._before is None:
            if [pass_.info.name for pass_ in getattr(step, "passes", ())] == [_NORMAL_FORM]:
                result = relay.transform.InferType()(_marked(result, self._numbers))
                self._before = _flat(result)
            return result
        after = _flat(result)
        if any(not call.origins and call.name not in _LAYOUT_CHANGES for call in after):
            inherit(self._before, after, _LAYOUT_CHANGES)
            result = _marked(result, [call.origins for call in after[:-1]])
            result = relay.transform.InferType()(result)
        self._before = after
        return result


def _flat(mod: tvm.IRModule) -> list[Call]:
    """The calls of ``main`` with their operands, and the return of its results."""
    found: list[Call] = []
    producers: dict[relay.Expr, list[int]] = {}

    def visit(expr: relay.Expr) -> None:
        if isinstance(expr, relay.Call):
            operands = [at for argument in expr.args for at in producers.get(argument, [-1])]
            found.append(Call(str(expr.op.name), operands, _origins(expr)))
            producers[expr] = [len(found) - 1]
        elif isinstance(expr, relay.Tuple):
            producers[expr] = [at for item in expr.fields for at in producers.get(item, [-1])]
        elif isinstance(expr, relay.TupleGetItem):
            of = producers.get(expr.tuple_value, [-1])
            producers[expr] = [of[expr.index]] if len(of) > expr.index else of[:1]
        elif isinstance(expr, relay.Let):
            producers[expr] = producers.get(expr.body, [-1])

    relay.analysis.post_order_visit(mod["main"].body, visit)
    return [*found, returned(producers.get(mod["main"].body, [-1]))]
