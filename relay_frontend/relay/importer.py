"""ONNX to Relay: TVM's importer, made linear in the number of operators."""

from __future__ import annotations

import functools
import sys
import threading
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import onnx
import tvm
from tvm import relay
from tvm.relay.frontend import common as _common
from tvm.relay.frontend import onnx as _importer

from relay_frontend.errors import CostModelError, DynamicShapeError, NetworkError
from relay_frontend.relay.importer_operators import complete

Params = dict[str, Any]
"""Weights by name, as ``tvm.nd.NDArray``."""

_IMPORT_LOCK = threading.Lock()
_TYPED_LOCALLY = (relay.Call, relay.Var, relay.Constant, relay.Tuple, relay.TupleGetItem)


def import_onnx(
    model: onnx.ModelProto, shapes: Mapping[str, Sequence[int]] | None = None
) -> tuple[tvm.IRModule, Params]:
    """Import ``model`` as ``tvm.relay.frontend.from_onnx(freeze_params=False)`` does, but fast.

    TVM's importer infers the types of the whole graph again for every operator. Here only the new
    operators are typed (TVM's ``InferTypeLocal``); the module is structurally equal. Where the
    importer leaves dynamic operators behind since parameters decide a shape, these parameters
    become constants and ``DynamicToStatic`` runs.

    Args:
        model: its parameters are ordinary initializers with their data. Left as it was.
        shapes: shapes of graph inputs by name; they win over the shapes in the model.

    Raises:
        DynamicShapeError: an input has a symbolic dimension that ``shapes`` does not bind, or a
            shape inside of the network depends on data.
        NetworkError: the importer does not know an operator, or cannot read the network.
    """
    bound = {name: tuple(int(n) for n in shape) for name, shape in (shapes or {}).items()}
    _check_inputs(model, bound)
    unnamed = [node for node in model.graph.node if not node.name]
    try:
        with _IMPORT_LOCK, _local_inference():
            module, params = relay.frontend.from_onnx(model, shape=bound, freeze_params=False)
        module, params = _without_dynamic_operators(module, params)
        used = {var.name_hint for var in module["main"].params}
        return module, {name: array for name, array in params.items() if name in used}
    except CostModelError:
        raise
    except tvm.error.OpNotImplemented as error:
        raise NetworkError(
            f"network {model.graph.name!r}: TVM's Relay importer lacks an operator ({error}); "
            "export the network without it or use another toolchain"
        ) from error
    except Exception as error:
        raise NetworkError(
            f"network {model.graph.name!r}: TVM's Relay importer failed: {_last_line(error)}; "
            "check the model with onnx.checker.check_model(model, full_check=True)"
        ) from error
    finally:
        for node in unnamed:  # the importer names them
            node.ClearField("name")


def _check_inputs(model: onnx.ModelProto, bound: Mapping[str, tuple[int, ...]]) -> None:
    parameters = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in parameters]
    unknown = sorted(set(bound) - {value.name for value in inputs})
    if unknown:
        raise NetworkError(
            f"shapes name {unknown}, but the inputs of network {model.graph.name!r} are "
            f"{[value.name for value in inputs]}"
        )
    for value in inputs:
        if value.name in bound:
            continue
        for axis, dim in enumerate(value.type.tensor_type.shape.dim):
            if dim.dim_value <= 0:
                raise DynamicShapeError(
                    f"input {value.name!r} of network {model.graph.name!r}: dimension {axis} "
                    f"({dim.dim_param or '?'}) is symbolic; bind it with "
                    f"shapes={{{value.name!r}: (...)}}"
                )


def _without_dynamic_operators(module: tvm.IRModule, params: Params) -> tuple[tvm.IRModule, Params]:
    calls = _dynamic_calls(module)
    if not calls:
        return module, params
    # Their first operand is data, unless there is no other.
    operands = [operand for call in calls for operand in (call.args[1:] or call.args)]
    names = {v.name_hint for operand in operands for v in relay.analysis.free_vars(operand)}
    deciding = {name: array for name, array in params.items() if name in names}
    function = relay.build_module.bind_params_by_name(module["main"], deciding)
    module = relay.transform.InferType()(tvm.IRModule.from_expr(function))
    module = relay.transform.DynamicToStatic()(module)
    remaining = sorted({call.op.name for call in _dynamic_calls(module)})
    if remaining:
        raise DynamicShapeError(
            f"shapes inside of the network depend on its data ({', '.join(remaining)}); "
            "export it with static shapes"
        )
    return module, {name: array for name, array in params.items() if name not in deciding}


def _dynamic_calls(module: tvm.IRModule) -> list[relay.Call]:
    if not any(op.startswith("dyn.") for op in relay.analysis.list_op_freqs(module)):
        return []
    calls: list[relay.Call] = []

    def visit(expr: relay.Expr) -> None:
        if isinstance(expr, relay.Call) and getattr(expr.op, "name", "").startswith("dyn."):
            calls.append(expr)

    relay.analysis.post_order_visit(module["main"], visit)
    return calls


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


@contextmanager
def _local_inference() -> Iterator[None]:
    """Replace what makes TVM's importer slow or fail, then put it back."""
    infer_type = _typed(_common.infer_type)
    infer_value = _valued(_common.infer_value)
    tables = _importer._get_convert_map
    convert_map = functools.cache(lambda opset: complete(tables(opset), opset))
    with ExitStack() as stack:
        for module in (_common, _importer):
            stack.enter_context(_replaced(module, "infer_type", infer_type))
            stack.enter_context(_replaced(module, "infer_value", infer_value))
        stack.enter_context(_replaced(_importer, "_get_convert_map", convert_map))
        matmul = _matrix_product(_importer.matmul_out_dtype)
        stack.enter_context(_replaced(_importer, "matmul_out_dtype", matmul))
        # The importer only warns about what the checker says, after serializing all weights.
        stack.enter_context(_replaced(onnx.checker, "check_model", lambda _: None))
        stack.enter_context(_onnx_mapping())
        yield


@contextmanager
def _replaced(owner: types.ModuleType, name: str, value: object) -> Iterator[None]:
    original = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, original)


def _typed(infer_type: Callable[..., Any]) -> Callable[..., Any]:
    def infer_type_locally(node: Any, mod: Any = None) -> Any:
        if mod is not None or not isinstance(node, _TYPED_LOCALLY):
            return infer_type(node, mod)
        relay.transform.InferTypeLocal(node)
        return node

    return infer_type_locally


def _valued(infer_value: Callable[..., Any]) -> Callable[..., Any]:
    """A parameter's value is looked up, where TVM compiles and runs the identity of it."""

    def infer_value_of_used(value: Any, params: Params, mod: Any = None) -> Any:
        if isinstance(value, relay.Var) and value.name_hint in params:
            return params[value.name_hint]
        return infer_value(value, params, mod)

    return infer_value_of_used


def _matrix_product(matmul_out_dtype: Callable[..., Any]) -> Callable[..., Any]:
    """``MatMul`` of stacked matrices of known shapes, as TVM imports it, in a few milliseconds.

    HHB's importer has the product with a parameter, a dense layer, only for parameters that are
    constants; for that of two activations it compiles and runs what computes their shapes.
    """

    def product(inputs: Sequence[Any], out_dtype: str) -> Any:
        a, b = inputs
        a_shape, b_shape = (_common.infer_shape(operand) for operand in inputs)
        static = all(isinstance(n, int) for n in (*a_shape, *b_shape))
        if static and len(a_shape) > 2 and len(b_shape) == 2 and isinstance(b, relay.Var):
            rows = relay.reshape(a, [-1, a_shape[-1]])
            flat = relay.nn.dense(rows, relay.transpose(b), out_dtype=out_dtype)
        elif static and len(a_shape) > 2 and a_shape[:-2] == b_shape[:-2]:
            if len(a_shape) > 3:
                a, b = relay.reshape(a, [-1, *a_shape[-2:]]), relay.reshape(b, [-1, *b_shape[-2:]])
            flat = relay.nn.batch_matmul(a, b, out_dtype=out_dtype, transpose_b=False)
        else:
            return matmul_out_dtype(inputs, out_dtype)
        return relay.reshape(flat, [*a_shape[:-1], b_shape[-1]])

    return product


@contextmanager
def _onnx_mapping() -> Iterator[None]:
    """``onnx.mapping``, which the importer reads and which onnx 1.18 dropped."""
    if hasattr(onnx, "mapping"):
        yield
        return
    mapping = types.ModuleType("onnx.mapping")
    mapping.TENSOR_TYPE_TO_NP_TYPE = {  # type: ignore[attr-defined]
        number: onnx.helper.tensor_dtype_to_np_dtype(number)
        for number in onnx.TensorProto.DataType.values()
        if number != onnx.TensorProto.UNDEFINED
    }
    sys.modules["onnx.mapping"] = mapping
    try:
        yield
    finally:
        del sys.modules["onnx.mapping"]
