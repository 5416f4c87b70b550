"""Kernels of a Relay module: the primitive functions into which ``relay.build`` fuses it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import tvm
from tvm import relay

from relay_frontend.errors import InputError, NetworkError
from relay_frontend.kernel import NO_KERNEL, Kernel
from relay_frontend.relay.flops import operator_flops, tensor_types
from relay_frontend.relay.folding import fold_constants

OPT_LEVEL = 3
FUNCTION_PREFIX = "tvmgen_default_fused_"

_MAX_NAME_LENGTH = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class FusedModule:
    """A Relay module after ``FuseOps``, as ``relay.build`` would have it before code generation.

    Args:
        module: its ``main`` calls primitive functions alone; weights are constants.
        target: what it is fused for.
    """

    module: tvm.IRModule
    target: tvm.target.Target

    def calls(self) -> list[relay.Call]:
        """The calls of primitive functions in the order in which the graph executor makes them."""
        found: list[relay.Call] = []

        def visit(expr: relay.Expr) -> None:
            if isinstance(expr, relay.Call) and isinstance(expr.op, relay.Function):
                found.append(expr)

        relay.analysis.post_order_visit(self.module["main"].body, visit)
        return found

    def build(self) -> Any:
        """Generate code; the executor factory that ``relay.build`` gives for the plain module."""
        done = [*_prefix_names(), "PlanDevices", "FuseOps"]
        with tvm.transform.PassContext(opt_level=OPT_LEVEL, disabled_pass=done):
            return relay.build(self.module, self.target)


Pass = Callable[[tvm.IRModule], tvm.IRModule]
RunPass = Callable[[Pass, tvm.IRModule], tvm.IRModule]


def _run(step: Pass, module: tvm.IRModule) -> tvm.IRModule:
    return step(module)


def fuse(
    mod: tvm.IRModule,
    target: str | tvm.target.Target,
    params: Mapping[str, Any],
    run: RunPass = _run,
) -> FusedModule:
    """Run the passes of ``relay.build(mod, target, params=params)`` up to ``FuseOps``.

    The result is that of TVM, several times sooner: ``FoldConstant`` compiles and runs a function
    for every constant expression of a network, two or more for each of its convolutions; here
    numpy evaluates them, and TVM only those that :func:`fold_constants` does not know. The weights
    must be there, since TVM looks at their values: ``FoldScaleAxis`` moves a scale through a relu
    only if it is positive.

    Args:
        mod: function ``main`` with static types.
        target: one TVM target.
        params: the parameters of ``main`` that are weights, by name; others are data.
        run: runs a pass; who wants to see what each of them does gives their own.

    Raises:
        InputError: TVM does not know the target.
        NetworkError: a pass of TVM rejects the module.
    """
    tvm_target = parse_target(target)
    function = relay.build_module.bind_params_by_name(mod["main"], dict(params))
    module = tvm.IRModule.from_expr(function)
    try:
        with tvm_target, tvm.transform.PassContext(opt_level=OPT_LEVEL):
            for pass_ in _prefix():
                module = run(pass_, module)
        with tvm.transform.PassContext(opt_level=OPT_LEVEL, disabled_pass=_prefix_names()):
            module, _ = relay.optimize(module, tvm_target)
    except tvm.TVMError as error:
        reason = str(error).strip().splitlines()[-1]
        raise NetworkError(f"TVM cannot optimize the Relay module: {reason}") from error
    return FusedModule(module=module, target=tvm_target)


def kernels(
    mod: tvm.IRModule, target: str | tvm.target.Target, params: Mapping[str, Any]
) -> tuple[Kernel, ...]:
    """The kernels that ``relay.build(mod, target, params=params)`` emits, in execution order.

    Raises:
        InputError, NetworkError: see :func:`fuse`.
    """
    return fused_kernels(fuse(mod, target, params))


def fused_kernels(fused: FusedModule) -> tuple[Kernel, ...]:
    """The kernels of a fused module, named as code generation will name them."""
    names = _Names()
    return tuple(_kernel(call, names) for call in fused.calls())


def parse_target(target: str | tvm.target.Target) -> tvm.target.Target:
    """TVM's object for a target string.

    Raises:
        InputError: TVM does not know it, or LLVM not its processor.
    """
    try:
        parsed = tvm.target.Target(target)
        if parsed.attrs.get("mtriple") and parsed.attrs.get("mcpu"):
            _check_processor(parsed)
    except (tvm.TVMError, ValueError) as error:
        raise InputError(f"TVM {tvm.__version__} does not know the target {target!r}") from error
    return parsed


def _check_processor(target: tvm.target.Target) -> None:
    """Fails for a processor of which this LLVM does not know, or which has another architecture."""
    list_processors = tvm.get_global_func("target.llvm_get_cpu_archlist", allow_missing=True)
    if list_processors is not None:
        list_processors(target)


# --- Passes -----------------------------------------------------------------------------------


def _prefix_sequence() -> list[Any]:
    get_prefix = tvm.get_global_func("relay.backend.GetPassPrefixSeq")
    return list(get_prefix(True, False).passes)  # one target, not for the virtual machine


def _prefix_names() -> list[str]:
    """Names of the passes that ``relay.build`` runs before planning devices and fusing."""
    return sorted({pass_.info.name for pass_ in _prefix_sequence()} - {"InferType"})


def _prefix() -> list[Pass]:
    """The passes of ``relay.build`` before fusion, each ``FoldConstant`` behind a quick one."""
    transform = relay.transform
    fold: list[Pass] = [fold_constants, _as_in_build(transform.FoldConstant())]
    passes: list[Pass] = []
    for pass_ in _prefix_sequence():
        if pass_.info.name == "FoldConstant":
            passes += fold
        elif pass_.info.name == "FoldScaleAxis":  # these two and FoldConstant
            scale = (transform.BackwardFoldScaleAxis(), transform.ForwardFoldScaleAxis())
            passes += [_as_in_build(*scale), *fold]
        else:
            passes.append(_as_in_build(pass_))
    return passes


def _as_in_build(*passes: Any) -> Pass:
    """A sequence: it leaves out what the opt level disables, and runs what a pass requires."""
    sequence: Pass = tvm.transform.Sequential(passes)
    return sequence


# --- Kernels ----------------------------------------------------------------------------------


class _Names:
    """Names of the functions of one module, given as TVM's ``TECompiler`` gives them.

    Structurally equal functions share a name; a taken name gets a number, names of over 80
    characters are cut and get a hash.
    """

    def __init__(self) -> None:
        self._by_function: dict[int, list[tuple[relay.Function, str]]] = {}
        self._taken: dict[str, int] = {}

    def name(self, function: relay.Function, kind: str) -> str:
        same_hash = self._by_function.setdefault(tvm.ir.structural_hash(function), [])
        for other, name in same_hash:
            if tvm.ir.structural_equal(function, other):
                return name
        name = self._fresh(_shortened(kind))
        same_hash.append((function, name))
        return name

    def _fresh(self, base: str) -> str:
        count = self._taken.get(base, 0)
        self._taken[base] = count + 1
        return FUNCTION_PREFIX + (f"{base}_{count}" if count else base)


def _shortened(kind: str) -> str:
    name = f"fused_{kind}"
    if len(name) > _MAX_NAME_LENGTH:
        name = f"{name[:_MAX_NAME_LENGTH]}_{_libstdcxx_hash(name.encode()):x}_"
    return name.removeprefix("fused_")


def _libstdcxx_hash(data: bytes) -> int:
    """``std::hash<std::string>`` of libstdc++: MurmurHash64A with its fixed seed."""
    mask, factor = (1 << 64) - 1, 0xC6A4A7935BD1E995
    state = (0xC70F6907 ^ (len(data) * factor)) & mask
    whole = len(data) & ~7
    for start in range(0, whole, 8):
        word = int.from_bytes(data[start : start + 8], "little") * factor & mask
        word = (word ^ (word >> 47)) * factor & mask
        state = (state ^ word) * factor & mask
    if len(data) != whole:
        state = (state ^ int.from_bytes(data[whole:], "little")) * factor & mask
    state = (state ^ (state >> 47)) * factor & mask
    return state ^ (state >> 47)


def operator_calls(function: relay.Function) -> list[relay.Call]:
    """The calls of operators in a function, operands first."""
    operators: list[relay.Call] = []

    def visit(expr: relay.Expr) -> None:
        if isinstance(expr, relay.Call):
            operators.append(expr)

    relay.analysis.post_order_visit(function.body, visit)
    return operators


def _kernel(call: relay.Call, names: _Names) -> Kernel:
    function = call.op
    operators = operator_calls(function)
    kind = "_".join(operator.op.name.replace(".", "_") for operator in operators)
    # Not a dict: it lacks __contains__.
    reinterprets = "relay.reshape_only" in list(function.attrs.keys())
    return Kernel(
        name=NO_KERNEL if reinterprets else names.name(function, kind),
        kind=kind,
        arguments=tuple(t for param in function.params for t in tensor_types(param.checked_type)),
        results=tensor_types(function.body.checked_type),
        flops=sum(map(operator_flops, operators)),
    )
