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

from relay_frontend.errors import DynamicShapeError, NetworkError

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
    importer leaves dynamic operators behind because a shape is an integer parameter, these
    parameters become constants and ``DynamicToStatic`` runs.

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
    node_names = [node.name for node in model.graph.node]
    try:
        with _IMPORT_LOCK, _local_inference():
            module, params = relay.frontend.from_onnx(model, shape=bound, freeze_params=False)
        return _without_dynamic_operators(module, params)
    except tvm.error.OpNotImplemented as error:
        raise NetworkError(
            f"network {model.graph.name!r}: TVM's Relay importer lacks an operator ({error}); "
            "export the network without it or use another toolchain"
        ) from error
    except (tvm.TVMError, AssertionError, KeyError, TypeError, ValueError) as error:
        raise NetworkError(
            f"network {model.graph.name!r}: TVM's Relay importer failed: {_last_line(error)}; "
            "check the model with onnx.checker.check_model(model, full_check=True)"
        ) from error
    finally:
        # The importer writes names into nodes that have none.
        for node, name in zip(model.graph.node, node_names):
            node.name = name


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


def _without_dynamic_operators(
    module: tvm.IRModule, params: Params
) -> tuple[tvm.IRModule, Params]:
    if not _dynamic_operators(module):
        return module, params
    integers = {name: data for name, data in params.items() if not _is_float(data)}
    function = relay.build_module.bind_params_by_name(module["main"], integers)
    module = relay.transform.InferType()(tvm.IRModule.from_expr(function))
    module = relay.transform.DynamicToStatic()(module)
    remaining = _dynamic_operators(module)
    if remaining:
        raise DynamicShapeError(
            f"shapes inside of the network depend on its data ({', '.join(remaining)}); "
            "export it with static shapes"
        )
    return module, {name: data for name, data in params.items() if name not in integers}


def _dynamic_operators(module: tvm.IRModule) -> list[str]:
    return sorted(op for op in relay.analysis.list_op_freqs(module) if op.startswith("dyn."))


def _is_float(array: Any) -> bool:
    return "float" in str(array.dtype)


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


@contextmanager
def _local_inference() -> Iterator[None]:
    """Replace what makes TVM's importer slow, and what a current onnx lacks, then put it back."""
    infer_type = _typed(_common.infer_type)
    infer_value = _valued(_common.infer_value)
    convert_map = functools.cache(_importer._get_convert_map)
    with ExitStack() as stack:
        for module in (_common, _importer):
            stack.enter_context(_replaced(module, "infer_type", infer_type))
            stack.enter_context(_replaced(module, "infer_value", infer_value))
        stack.enter_context(_replaced(_importer, "_get_convert_map", convert_map))
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
