"""Relay -> :class:`OpGraph`; needs a TVM that still has Relay (0.19 or older).

Three steps: :mod:`relay_frontend.relay.calls` evaluates ``main`` to a flat list of operator calls;
the variables that are parameters are found among its inputs; each call becomes a canonical node by
the converters of :mod:`relay_frontend.relay.operators`.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import tvm
from tvm import relay
from tvm._ffi.base import _LIB

from relay_frontend import native
from relay_frontend.canonical.canonicalize import canonicalize
from relay_frontend.errors import CostModelError, NetworkError
from relay_frontend.graph import OpGraph
from relay_frontend.nodes import CONSTANT, SMALL, Network, Node
from relay_frontend.relay.calls import (
    Call,
    DynamicOperatorError,
    Program,
    Untyped,
    content,
    evaluate,
)
from relay_frontend.relay.node import RelayNode
from relay_frontend.relay.operators import convert


def read_relay(module: tvm.IRModule, params: Collection[str] | None = None) -> OpGraph:
    """The operator graph of the function ``main`` of a Relay module.

    Args:
        module: in graph or A-normal form, typed or not, with or without bound parameters; calls of
            functions are inlined, control flow is not read.
        params: names of the variables that are parameters. The mapping that an importer returns
            beside the module is best, since small ones (axes, bounds) are read from it. By
            default those that are used as weights only.

    Raises:
        NetworkError: the module has no ``main``, does not type-check, has control flow or
            recursion, or an operator that cannot be read.
        DynamicShapeError: a type of the module is dynamic.
    """
    graph = native.attempt("read_relay", _LIB._name, module, params, _typed, _static)
    return canonicalize(read_network(module, params)) if graph is None else graph


def read_network(module: tvm.IRModule, params: Collection[str] | None = None) -> Network:
    """The nodes of ``main`` before canonicalization; arguments and errors as of `read_relay`."""
    program = _evaluated(module, params)
    if params is None:
        params = weight_variables(program)
    return _network(program, params)


def _evaluated(module: tvm.IRModule, params: Collection[str] | None) -> Program:
    """The calls of ``main``, after the passes that these need."""
    try:
        return evaluate(module)
    except Untyped:
        module = _typed(module)
    except DynamicOperatorError:
        return evaluate(_static(module, params))
    try:
        return evaluate(module)
    except DynamicOperatorError:
        return evaluate(_static(module, params))


def _static(module: tvm.IRModule, params: Collection[str] | None) -> tvm.IRModule:
    """``module`` with static operators where constants and small parameters decide."""
    names = {str(var.name_hint) for var in module["main"].params}
    values = {name: _small(params or (), name) for name in names}
    known = {name: tvm.nd.array(value) for name, value in values.items() if value is not None}
    module = tvm.IRModule(module.functions, module.type_definitions)
    module["main"] = relay.build_module.bind_params_by_name(module["main"], known)
    return _typed(relay.transform.DynamicToStatic()(_typed(module)))


def _typed(module: tvm.IRModule) -> tvm.IRModule:
    try:
        return relay.transform.InferType()(module)
    except tvm.error.TVMError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = lines[-1] if lines else type(error).__name__
        raise NetworkError(f"the Relay module does not type-check: {reason}") from None


def _network(program: Program, params: Collection[str]) -> Network:
    """The nodes of the calls, one after the other."""
    nodes: list[Node | None] = list(program.leaves)
    inputs = []
    for name, slot in program.variables:
        node = nodes[slot]
        assert node is not None
        if name in params:
            value = _small(params, name)
            node.op, node.value = CONSTANT, None if value is None else content(value)
        else:
            inputs.append(node)
    for call in program.calls:
        first: Node | None = None
        for position, slot in enumerate(call.results):
            nodes[slot] = _convert(call, nodes, position, first)
            first = first or nodes[slot]
    return Network(inputs, [_read(nodes, slot) for slot in program.outputs])


def _small(params: Collection[str], name: str) -> Any:
    """The array that is the value of a parameter; None where it is large or not known."""
    value: Any = params.get(name) if isinstance(params, Mapping) else None
    return value if hasattr(value, "shape") and math.prod(value.shape) <= SMALL else None


def _read(nodes: Sequence[Node | None], slot: int) -> Node:
    node = nodes[slot]
    assert node is not None
    return node


def _convert(call: Call, nodes: Sequence[Node | None], position: int, first: Node | None) -> Node:
    operands = [_read(nodes, slot) for slot in call.operands]
    operator = RelayNode(
        call.name, call.source, call.expr, operands, call.types[position], position, first
    )
    try:
        return convert(operator)
    except CostModelError:
        raise
    except Exception as error:  # an operand or attribute that no version of Relay should give
        raise NetworkError(
            f"Relay operator {call.name} {call.source!r} cannot be read "
            f"({type(error).__name__}: {error}); its operands are "
            f"{', '.join(str(operand.type) for operand in operands)}"
        ) from error


# --- Parameters that nobody named -------------------------------------------------------------

# Positions of the operands that hold weights.
_WEIGHT_OPERANDS: dict[str, tuple[int, ...]] = {
    **{f"nn.conv{rank}d{kind}": (1,) for rank in (1, 2, 3) for kind in ("", "_transpose")},
    "nn.dense": (1,),
    "nn.bias_add": (1,),
    "nn.prelu": (1,),
    "nn.batch_norm": (1, 2, 3, 4),
    "nn.layer_norm": (1, 2),
    "nn.group_norm": (1, 2),
    "nn.instance_norm": (1, 2),
    "qnn.conv2d": (1, 2, 3, 4, 5),
    "qnn.dense": (1, 2, 3, 4, 5),
    "qnn.quantize": (1, 2),
    "qnn.dequantize": (1, 2),
    "qnn.requantize": (1, 2, 3, 4),
}
# A vector that meets computed data here is a bias or a scale: data has a batch dimension.
_VECTOR_OPERANDS = frozenset({"add", "multiply", "subtract", "divide"})
_WEIGHT_RESHAPES = frozenset({"expand_dims", "reshape", "squeeze", "transpose"})


def weight_variables(program: Program) -> set[str]:
    """Names of the variables that are operands of weights wherever they are used."""
    behind = {slot: slot for _, slot in program.variables}  # variable behind a reshaped variable
    vectors = {slot for _, slot in program.variables if len(program.type_of(slot).shape) <= 1}
    as_weight: set[int] = set()
    as_data: set[int] = {behind[slot] for slot in program.outputs if slot in behind}
    for call in program.calls:
        variables = [behind.get(slot) for slot in call.operands]
        if call.name in _WEIGHT_RESHAPES and variables and variables[0] is not None:
            behind[call.results[0]] = variables[0]
            continue
        for position, variable in enumerate(variables):
            if variable is None:
                continue
            is_vector = call.name in _VECTOR_OPERANDS and variable in vectors
            is_weight = is_vector or position in _WEIGHT_OPERANDS.get(call.name, ())
            (as_weight if is_weight else as_data).add(variable)
    weights = as_weight - as_data
    return {name for name, slot in program.variables if slot in weights}
