"""Kernels of a Relax module: the PrimFuncs into which TVM's default pipeline fuses it.

Weights never enter the compiler as constants: folding large constants is by far the slowest step
of that pipeline. They become parameters of ``main``, and what is computed from weights alone is
moved out of ``main`` by ``LiftTransformParams``, at the place where ``FoldConstant`` would fold it.
One inference then runs the same PrimFuncs as with weights that were bound and folded.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tvm
from tvm import relax
from tvm.s_tir.analysis import estimate_tir_flops

from relay_frontend.errors import CostModelError, DynamicShapeError, InputError, NetworkError
from relay_frontend.graph import TensorType
from relay_frontend.kernel import Kernel

WEIGHTS_FUNCTION = "main_transform_params"
KINDS = ("llvm", "cuda")
"""Kinds of targets that kernels are known for."""

_LAST_FUSING = "FuseTIR"

_FOLDED: dict[str, Callable[..., Any]] = {"relax.isnan": np.isnan, "relax.where": np.where}
_OPS_ENDING_IN_DIGIT = ("atan2", "expm1", "log10", "log2")


@dataclass(frozen=True, slots=True, kw_only=True)
class FusedModule:
    """A Relax module after fusion, before memory planning and code generation.

    Args:
        mod: ``main(*inputs, *weights)`` and the PrimFuncs that it calls, scheduled for the target.
        unscheduled: the PrimFuncs as they were fused, from which FLOPs are counted: the loops of a
            schedule may guard or repeat what is computed once.
        inputs: types of the data inputs of ``main``.
        weights: types of the weights of ``main``, which follow the inputs.
        weights_mod: function ``main_transform_params``, from the tuple of the network's own
            parameters to the tuple of weights; to be run once for a set of parameters.
        constants: values of the large constants of the network; in ``weights_mod`` they follow the
            parameters.
    """

    mod: tvm.IRModule = field(repr=False)
    unscheduled: tvm.IRModule = field(repr=False)
    inputs: tuple[TensorType, ...]
    weights: tuple[TensorType, ...]
    weights_mod: tvm.IRModule = field(repr=False)
    constants: tuple[tvm.runtime.Tensor, ...] = field(repr=False)


RunPass = Callable[[tvm.transform.Pass, tvm.IRModule], tvm.IRModule]


def run_pass(step: tvm.transform.Pass, mod: tvm.IRModule) -> tvm.IRModule:
    """``mod`` after one pass.

    Raises:
        NetworkError: TVM cannot apply it; the message names the pass.
    """
    try:
        return tvm.transform.Sequential([step])(mod)
    except CostModelError:
        raise
    except Exception as error:  # TVM's passes raise what they like
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = lines[-1] if lines else type(error).__name__
        raise NetworkError(f"TVM's pass {step.info.name} rejects the network: {reason}") from error


def fuse(
    mod: tvm.IRModule,
    target: tvm.target.Target,
    run: RunPass = run_pass,
    schedule: Sequence[tvm.transform.Pass] = (),
) -> FusedModule:
    """Run the graph-level passes of TVM's default pipeline for ``target``.

    The passes are those of ``relax.get_default_pipeline(target)`` up to fusion, after the usual
    simplifications of inference: batch norm folded into its convolution, else decomposed. For a
    GPU the pipeline then schedules the kernels.

    Args:
        mod: function ``main``, whose first ``num_input`` parameters (an attribute; without it,
            all) are data and whose other parameters are weights; weights may be constants too.
        target: what the kernels are for; it decides the passes.
        run: runs a pass; who wants to see what each of them does gives their own.
        schedule: passes that schedule the fused PrimFuncs, ahead of those of the pipeline.

    Raises:
        NetworkError: there is no function ``main``, it takes something else than tensors, or a
            pass rejects it.
        DynamicShapeError: a parameter of ``main`` has a symbolic dimension.
    """
    mod, constants = _lift_constants(mod)
    with target:
        for step in _fusing_passes(target):
            mod = run(step, mod)
        # A copy: dlight changes the module that it is given.
        unscheduled = tvm.IRModule(mod.functions, attrs=mod.attrs)
        for step in (*schedule, *_scheduling_passes(target)):
            mod = run(step, mod)
    main = _without(mod, WEIGHTS_FUNCTION, keep="main")
    num_input = int(main["main"].attrs["num_input"])
    types = tuple(type_ for param in main["main"].params for type_ in _tensor_types(param.ty))
    return FusedModule(
        mod=main,
        unscheduled=unscheduled,
        inputs=types[:num_input],
        weights=types[num_input:],
        weights_mod=_without(mod, "main", keep=WEIGHTS_FUNCTION),
        constants=constants,
    )


def _fusing_passes(target: tvm.target.Target) -> list[tvm.transform.Pass]:
    passes: list[tvm.transform.Pass] = [
        _fold_batch_norm,
        relax.transform.DecomposeOpsForInference(),
        relax.transform.CanonicalizeBindings(),
        *relax.pipeline.library_dispatch_passes(target),
    ]
    for step in relax.pipeline.legalize_passes(target):
        if step.info.name == "FuseOps":
            passes.append(relax.transform.LiftTransformParams())
        passes.append(step)
        if step.info.name == _LAST_FUSING:
            break
    return passes


def _scheduling_passes(target: tvm.target.Target) -> list[tvm.transform.Pass]:
    """What the pipeline does with fused PrimFuncs; reshapes then stop to be any."""
    steps = list(relax.pipeline.legalize_passes(target))
    names = [step.info.name for step in steps]
    rest = steps[names.index(_LAST_FUSING) + 1 :]
    return [*rest, relax.transform.RewriteDataflowReshape()]


def kernels(mod: tvm.IRModule, target: str | tvm.target.Target) -> tuple[Kernel, ...]:
    """The calls of fused PrimFuncs that one inference of ``mod`` makes, in order.

    Calls of the virtual machine's own functions, such as a reshape of a whole tensor, are none.

    Raises:
        NetworkError, DynamicShapeError: as :func:`fuse`.
        InputError: as :func:`parse_target`.
    """
    return fused_kernels(fuse(mod, parse_target(target)))


def fused_kernels(fused: FusedModule) -> tuple[Kernel, ...]:
    """The kernels of an already fused module; see :func:`kernels`."""
    flops: dict[str, int] = {}
    found: list[Kernel] = []
    for call in _primfunc_calls(fused.mod["main"]):
        var = call.args[0]
        name = str(var.name_hint)
        if name not in flops:
            function = fused.unscheduled[name]
            flops[name] = int(estimate_tir_flops(tvm.IRModule({name: function})))
        found.append(
            Kernel(
                name=name,
                kind=kernel_kind(name),
                arguments=_tensor_types(call.args[1].ty),
                results=_tensor_types(call.ty),
                flops=flops[name],
            )
        )
    return tuple(found)


def parse_target(target: str | tvm.target.Target) -> tvm.target.Target:
    """TVM's object for a target string; a GPU without a host gets TVM's default CPU as its host.

    Raises:
        InputError: TVM does not know it, or it is neither a CPU nor a GPU with CUDA.
    """
    try:
        parsed = tvm.target.Target(target)
    except Exception as error:
        raise InputError(
            f"TVM rejects target {target!r}: {error}; give a JSON object such as "
            '{"kind": "llvm", "mcpu": "znver3"}'
        ) from error
    if parsed.kind.name not in KINDS:
        raise InputError(
            f"target {target!r} is of kind {parsed.kind.name!r}: this toolchain builds for "
            + " and ".join(KINDS)
        )
    if parsed.kind.name == "cuda" and parsed.host is None:
        return tvm.target.Target(parsed, host=tvm.target.Target("llvm"))
    return parsed


def kernel_kind(name: str) -> str:
    """Name of a PrimFunc without ``fused_`` and the numbers that keep equal names apart.

    Both ``LegalizeOps`` and ``FuseOps`` number the names: ``fused_conv2d7_add3_relu1_2`` is
    ``conv2d_add_relu``.
    """
    parts = [_without_number(part) for part in name.removeprefix("fused_").split("_")]
    return "_".join(part for part in parts if part)


def _without_number(part: str) -> str:
    named = next((op for op in _OPS_ENDING_IN_DIGIT if part.startswith(op)), None)
    return named or part.rstrip("0123456789")


def _num_input(main: relax.Function) -> int:
    attrs = main.attrs
    return int(attrs["num_input"]) if attrs and "num_input" in attrs else len(main.params)


def _lift_constants(mod: tvm.IRModule) -> tuple[tvm.IRModule, tuple[tvm.runtime.Tensor, ...]]:
    """Turn the large constants of ``main`` into its last parameters."""
    if "main" not in {str(var.name_hint) for var in mod.get_global_vars()}:
        raise NetworkError("expected a Relax module with a function 'main'")
    main = mod["main"]
    num_input = _num_input(main)
    lifter = _ConstantLifter(mod)
    body = lifter.visit_expr(main.body)
    params = [*main.params, *lifter.lifted.values()]
    lifted = relax.Function(params, body, main.ret_ty, main.is_pure, main.attrs)
    updated = tvm.IRModule(mod.functions, attrs=mod.attrs)
    updated["main"] = lifted.with_attr("num_input", num_input)
    return updated, tuple(constant.value for constant in lifter.lifted)


@relax.expr_functor.mutator
class _ConstantLifter(relax.PyExprMutator):  # type: ignore[misc]
    """Replaces float constants of two or more elements by variables, kept in ``lifted``.

    Folds what the ONNX importer makes of the bounds of ``Clip``: ``FoldConstant`` would compile a
    function for each of these operators.
    """

    def __init__(self, mod: tvm.IRModule) -> None:
        super().__init__(mod)
        self.lifted: dict[tvm.ir.GenericConst, relax.Var] = {}

    def visit_generic_const_(self, op: tvm.ir.GenericConst) -> relax.Expr:
        if math.prod(op.value.shape) < 2 or not str(op.value.dtype).startswith(("float", "bfloat")):
            return op
        if op not in self.lifted:
            self.lifted[op] = relax.Var(f"constant_{len(self.lifted)}", op.ty)
        return self.lifted[op]

    def visit_call_(self, op: tvm.ir.Call) -> relax.Expr:
        call = self.visit_expr_post_order(op)
        fold = _FOLDED.get(str(getattr(call.op, "name", "")))
        args = [self.lookup_binding(a) if isinstance(a, relax.Var) else a for a in call.args]
        if fold is None or not all(isinstance(arg, tvm.ir.GenericConst) for arg in args):
            return call
        return relax.const(fold(*(arg.value.numpy() for arg in args)), call.ty.dtype)


@tvm.transform.module_pass(opt_level=0, name="FoldBatchNorm")  # type: ignore[untyped-decorator]
def _fold_batch_norm(mod: tvm.IRModule, _context: tvm.transform.PassContext) -> tvm.IRModule:
    """``FoldBatchnormToConv2D`` for weights that are parameters; TVM's wants constants."""
    main = mod["main"]
    updated = tvm.IRModule(mod.functions, attrs=mod.attrs)
    updated["main"] = _BatchNormFolder(mod, main.params[_num_input(main) :]).visit_expr(main)
    return updated


@relax.expr_functor.mutator
class _BatchNormFolder(relax.PyExprMutator):  # type: ignore[misc]
    """Replaces ``batch_norm(conv2d(x, w), ...)[0]`` by ``conv2d(x, w * scale) + shift``."""

    def __init__(self, mod: tvm.IRModule, weights: Sequence[relax.Var]) -> None:
        super().__init__(mod)
        self._weights = set(weights)

    def visit_tuple_getitem_(self, op: relax.TupleGetItem) -> relax.Expr:
        item = self.visit_expr_post_order(op)
        norm = self._producer(item.tuple_value, "relax.nn.batch_norm")
        if norm is None or norm.attrs.training or item.index != 0:
            return item
        conv = self._producer(norm.args[0], "relax.nn.conv2d")
        if conv is None or conv.attrs.kernel_layout != "OIHW":
            return item
        data, weight = conv.args
        gamma, beta, mean, variance = norm.args[1:]
        if not self._weights.issuperset((weight, gamma, beta, mean, variance)):
            return item
        epsilon = relax.const(norm.attrs.epsilon, variance.ty.dtype)
        scale = relax.op.divide(gamma, relax.op.sqrt(relax.op.add(variance, epsilon)))
        shift = relax.op.subtract(beta, relax.op.multiply(mean, scale))
        channels = gamma.ty.shape[0]
        folded = relax.op.multiply(weight, relax.op.reshape(scale, (channels, 1, 1, 1)))
        output = tvm.ir.Call(conv.op, [data, folded], conv.attrs)
        return relax.op.add(output, relax.op.reshape(shift, (1, channels, 1, 1)))

    def _producer(self, expr: relax.Expr, op_name: str) -> tvm.ir.Call | None:
        call = self.lookup_binding(expr) if isinstance(expr, relax.Var) else expr
        matches = isinstance(call, tvm.ir.Call) and call.op == tvm.ir.Op.get(op_name)
        return call if matches else None


def _primfunc_calls(main: relax.Function) -> Iterator[tvm.ir.Call]:
    for block in main.body.blocks:
        for binding in block.bindings:
            value = binding.value
            if isinstance(value, relax.If):
                raise NetworkError("the network has a branch: its kernels depend on the data")
            if isinstance(value, tvm.ir.Call) and value.op == tvm.ir.Op.get("relax.call_tir"):
                yield value


def _tensor_types(type_: tvm.ir.Type) -> tuple[TensorType, ...]:
    """Types of a tensor, or of the tensors of a tuple."""
    if isinstance(type_, relax.TupleType):
        return tuple(t for field in type_.fields for t in _tensor_types(field))
    shape = getattr(type_, "shape", None)
    if not isinstance(type_, relax.TensorType) or not isinstance(shape, relax.ShapeExpr):
        raise NetworkError(f"expected tensors of known shape, found {type_}")
    for dim in shape.values:
        if not isinstance(dim, tvm.tirx.IntImm):
            raise DynamicShapeError(f"dimension {dim} of {type_} is symbolic: bind it first")
    return (TensorType(tuple(int(dim) for dim in shape.values), str(type_.dtype)),)


def _without(mod: tvm.IRModule, dropped: str, keep: str) -> tvm.IRModule:
    """The function ``keep`` of ``mod`` and the PrimFuncs that it calls."""
    functions = {v: f for v, f in mod.functions_items() if v.name_hint != dropped}
    return relax.transform.DeadCodeElimination([keep])(tvm.IRModule(functions, attrs=mod.attrs))
