"""Kernels of a Relay module: the primitive functions into which ``relay.build`` fuses it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tvm
from tvm import relay

from relay_frontend.errors import DynamicShapeError, InputError, NetworkError
from relay_frontend.graph import TensorType
from relay_frontend.kernels import Kernel

OPT_LEVEL = 3
FUNCTION_PREFIX = "tvmgen_default_fused_"
NO_KERNEL = "__nop"
"""Function name of a call that only reinterprets a tensor's shape: no code runs."""

_MAX_NAME_LENGTH = 80
_SOFTMAX_FLOPS = 5  # subtract the maximum (2 passes), exponentiate, sum, divide
_LRN_FLOPS_PER_ELEMENT = 4  # scale, add bias, power, divide; squaring and summing the window apart

Array = npt.NDArray[Any]


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


def fuse(
    mod: tvm.IRModule, target: str | tvm.target.Target, params: Mapping[str, Any]
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

    Raises:
        InputError: TVM does not know the target.
        NetworkError: a pass of TVM rejects the module.
    """
    tvm_target = _target(target)
    function = relay.build_module.bind_params_by_name(mod["main"], dict(params))
    module = tvm.IRModule.from_expr(function)
    try:
        with tvm_target, tvm.transform.PassContext(opt_level=OPT_LEVEL):
            for pass_ in _prefix():
                module = pass_(module)
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


def _target(target: str | tvm.target.Target) -> tvm.target.Target:
    try:
        return tvm.target.Target(target)
    except (tvm.TVMError, ValueError) as error:
        raise InputError(f"TVM {tvm.__version__} does not know the target {target!r}") from error


# --- Passes -----------------------------------------------------------------------------------

Pass = Callable[[tvm.IRModule], tvm.IRModule]


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


def fold_constants(module: tvm.IRModule) -> tvm.IRModule:
    """What ``FoldConstant`` does, for arithmetic and layouts of constants, evaluated by numpy."""
    function = module["main"]
    folder = _Folder()
    # In post-order, so that the recursion of the mutator is never deep.
    relay.analysis.post_order_visit(function.body, folder.visit)
    body = folder.visit(function.body)
    folded = relay.Function(function.params, body, None, function.type_params, function.attrs)
    module = tvm.IRModule(module.functions, module.type_definitions)
    module["main"] = folded
    return relay.transform.InferType()(module)


class _Folder(relay.ExprMutator):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.values: dict[relay.Constant, Array] = {}

    def visit_function(self, function: relay.Function) -> relay.Function:
        return function

    def visit_call(self, call: relay.Call) -> relay.Expr:
        new = super().visit_call(call)
        if not new.args or not all(isinstance(arg, relay.Constant) for arg in new.args):
            return new
        evaluate = _EVALUATORS.get(getattr(new.op, "name", ""))
        if evaluate is None:
            return new
        value = evaluate(new.attrs, *map(self._value, new.args))
        if value is None:
            return new
        constant = relay.Constant(tvm.nd.array(np.ascontiguousarray(value)))
        self.values[constant] = value
        return constant

    def _value(self, constant: relay.Constant) -> Array:
        return self.values[constant] if constant in self.values else constant.data.numpy()


def _expand_dims(attrs: Any, array: Array) -> Array:
    axis = int(attrs.axis) % (array.ndim + 1)
    return array.reshape(*array.shape[:axis], *[1] * int(attrs.num_newaxis), *array.shape[axis:])


def _squeeze(attrs: Any, array: Array) -> Array:
    return np.squeeze(array, None if attrs.axis is None else tuple(map(int, attrs.axis)))


def _transpose(attrs: Any, array: Array) -> Array:
    return np.transpose(array, None if attrs.axes is None else tuple(map(int, attrs.axes)))


def _reshape(attrs: Any, array: Array) -> Array | None:
    shape = tuple(map(int, attrs.newshape))
    return array.reshape(shape) if min(shape, default=1) > 0 else None


def _layout_transform(attrs: Any, array: Array) -> Array | None:
    """Split axes of ``src_layout`` and reorder them, ``OIHW`` to ``OIHW4i16o``."""
    source, result = attrs.src_layout, re.findall(r"(\d*)([A-Za-z])", attrs.dst_layout)
    factors = {axis.upper(): int(factor) for factor, axis in result if factor}
    sizes = dict(zip(source, array.shape, strict=True)) if source.isupper() else {}
    if not sizes or any(sizes[axis] % factor for axis, factor in factors.items()):
        return None
    shape: list[int] = []
    position: dict[str, int] = {}
    for axis, size in sizes.items():
        factor = factors.get(axis)
        position[axis] = len(shape)
        shape.append(size // (factor or 1))
        if factor:
            position[axis.lower()] = len(shape)
            shape.append(factor)
    return array.reshape(shape).transpose([position[axis] for _, axis in result])


_EVALUATORS: dict[str, Callable[..., Array | None]] = {
    "add": lambda _, a, b: a + b,
    "subtract": lambda _, a, b: a - b,
    "multiply": lambda _, a, b: a * b,
    "divide": lambda _, a, b: a / b if a.dtype.kind == "f" else None,  # integers: rounding differs
    "negative": lambda _, a: -a,
    "sqrt": lambda _, a: np.sqrt(a),
    "expand_dims": _expand_dims,
    "squeeze": _squeeze,
    "transpose": _transpose,
    "reshape": _reshape,
    "layout_transform": _layout_transform,
}


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


def _kernel(call: relay.Call, names: _Names) -> Kernel:
    function = call.op
    operators: list[relay.Call] = []

    def visit(expr: relay.Expr) -> None:
        if isinstance(expr, relay.Call):
            operators.append(expr)

    relay.analysis.post_order_visit(function.body, visit)
    kind = "_".join(operator.op.name.replace(".", "_") for operator in operators)
    # Not a dict: it lacks __contains__.
    reinterprets = "relay.reshape_only" in list(function.attrs.keys())
    return Kernel(
        name=NO_KERNEL if reinterprets else names.name(function, kind),
        kind=kind,
        arguments=tuple(t for param in function.params for t in _types(param.checked_type)),
        results=_types(function.body.checked_type),
        flops=sum(map(_flops, operators)),
    )


def _types(type_: Any) -> tuple[TensorType, ...]:
    if isinstance(type_, relay.TupleType):
        return tuple(t for field in type_.fields for t in _types(field))
    if not all(isinstance(n, tvm.tir.IntImm) for n in type_.shape):
        raise DynamicShapeError(f"a kernel has a tensor of dynamic shape {type_}; bind all shapes")
    return (TensorType(tuple(map(int, type_.shape)), str(type_.dtype)),)


# --- FLOPs ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Operator:
    attrs: Any
    arguments: Sequence[TensorType]
    output: int
    """Number of elements of all results."""


def _flops(call: relay.Call) -> int:
    """Floating-point operations of one operator; a multiply-add counts as two."""
    operator = _Operator(
        call.attrs,
        [t for argument in call.args for t in _types(argument.checked_type)],
        sum(t.num_elements for t in _types(call.checked_type)),
    )
    if call.op.name in _OPERATOR_FLOPS:
        return _OPERATOR_FLOPS[call.op.name](operator)
    pattern = call.op.get_attr("TOpPattern")
    if pattern == relay.op.OpPattern.INJECTIVE:
        return 0
    return _per_input(operator) if pattern == relay.op.OpPattern.COMM_REDUCE else operator.output


def _convolution(operator: _Operator) -> int:
    # In all layouts, packed ones too, a weight meets output / channels elements.
    weight, channels = operator.arguments[1], operator.attrs.channels
    channels = weight.shape[0] if channels is None else int(channels)
    return 2 * operator.output * weight.num_elements // channels


def _transposed_convolution(operator: _Operator) -> int:
    data, weight = operator.arguments[:2]
    return 2 * data.num_elements * weight.num_elements // weight.shape[0]


def _product(operator: _Operator) -> int:
    transposed = bool(getattr(operator.attrs, "transpose_a", False))
    return 2 * operator.output * operator.arguments[0].shape[-2 if transposed else -1]


def _window(operator: _Operator) -> int:
    return operator.output * math.prod(map(int, operator.attrs.pool_size))


def _lrn(operator: _Operator) -> int:
    return operator.output * (2 * int(operator.attrs.size) + _LRN_FLOPS_PER_ELEMENT)


def _softmax(operator: _Operator) -> int:
    return operator.output * _SOFTMAX_FLOPS


def _per_input(operator: _Operator) -> int:
    return operator.arguments[0].num_elements


def _none(_: _Operator) -> int:
    return 0


_KINDS = ("max", "avg")
_CONVOLUTIONS = ("conv1d", "conv2d", "conv3d", "contrib_conv2d_NCHWc")
_PACKED_DEPTHWISE = "contrib_depthwise_conv2d_NCHWc"
_TRANSPOSED = ("conv1d_transpose", "conv2d_transpose", "conv3d_transpose")
_PRODUCTS = ("dense", "matmul", "batch_matmul", "contrib_dense_pack")
_POOLS = tuple(f"{kind}_pool{n}d" for kind in _KINDS for n in (1, 2, 3))
_WHOLE_POOLS = tuple(f"{scope}_{pool}" for scope in ("global", "adaptive") for pool in _POOLS)
_SOFTMAXES = ("softmax", "log_softmax", "fast_softmax")
# TVM classes these with arithmetic.
_MOVES = ("copy", "cast", "expand_dims", "broadcast_to", "nn.pad", "nn.batch_flatten")

_OPERATOR_FLOPS: dict[str, Callable[[_Operator], int]] = {
    **{f"nn.{op}": _convolution for op in (*_CONVOLUTIONS, _PACKED_DEPTHWISE)},
    **{f"nn.{op}": _transposed_convolution for op in _TRANSPOSED},
    **{f"nn.{op}": _product for op in _PRODUCTS},
    **{f"nn.{op}": _window for op in _POOLS},
    **{f"nn.{op}": _per_input for op in _WHOLE_POOLS},
    **{f"nn.{op}": _softmax for op in _SOFTMAXES},
    "nn.lrn": _lrn,
    **dict.fromkeys(_MOVES, _none),
}
