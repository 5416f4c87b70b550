"""Floating-point operations of Relay's operators, those included that only its compiler makes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import tvm
from tvm import relay

from relay_frontend.costs import LRN_FLOPS_PER_ELEMENT, SOFTMAX_FLOPS
from relay_frontend.errors import DynamicShapeError
from relay_frontend.graph import TensorType


def tensor_types(type_: Any) -> tuple[TensorType, ...]:
    """Types of a tensor, or of the tensors of a tuple.

    Raises:
        DynamicShapeError: a dimension is symbolic.
    """
    if isinstance(type_, relay.TupleType):
        return tuple(t for field in type_.fields for t in tensor_types(field))
    if not all(isinstance(n, tvm.tir.IntImm) for n in type_.shape):
        raise DynamicShapeError(f"a kernel has a tensor of dynamic shape {type_}; bind all shapes")
    return (TensorType(tuple(map(int, type_.shape)), str(type_.dtype)),)


@dataclass(frozen=True, slots=True)
class _Operator:
    attrs: Any
    arguments: Sequence[TensorType]
    results: Sequence[TensorType]

    @property
    def output(self) -> int:
        """Number of elements of all results."""
        return sum(result.num_elements for result in self.results)


def operator_flops(call: relay.Call) -> int:
    """Floating-point operations of one operator; a multiply-add counts as two."""
    operator = _Operator(
        call.attrs,
        [t for argument in call.args for t in tensor_types(argument.checked_type)],
        tensor_types(call.checked_type),
    )
    if call.op.name in _OPERATOR_FLOPS:
        return _OPERATOR_FLOPS[call.op.name](operator)
    pattern = call.op.get_attr("TOpPattern")
    if pattern == relay.op.OpPattern.INJECTIVE:
        return 0
    return _per_input(operator) if pattern == relay.op.OpPattern.COMM_REDUCE else operator.output


def _convolution(operator: _Operator) -> int:
    # In all layouts, packed ones too, a weight meets output / channels elements.
    channels = operator.attrs.channels
    channels = _channels(operator) if channels is None else int(channels)
    return 2 * operator.output * operator.arguments[1].num_elements // channels


def _channels(operator: _Operator) -> int:
    """Channels of the result, as its layout tells: those of ``NCHW16c`` lie in two dimensions."""
    layout = str(operator.attrs.out_layout or operator.attrs.data_layout)
    extents = zip(filter(str.isalpha, layout), operator.results[0].shape, strict=True)
    return math.prod(extent for dimension, extent in extents if dimension in "Cc")


def _transposed_convolution(operator: _Operator) -> int:
    data, weight = operator.arguments[:2]
    return 2 * data.num_elements * weight.num_elements // weight.shape[0]


def _product(operator: _Operator) -> int:
    transposed = bool(getattr(operator.attrs, "transpose_a", False))
    return 2 * operator.output * operator.arguments[0].shape[-2 if transposed else -1]


def _window(operator: _Operator) -> int:
    return operator.output * math.prod(map(int, operator.attrs.pool_size))


def _lrn(operator: _Operator) -> int:
    return operator.output * (2 * int(operator.attrs.size) + LRN_FLOPS_PER_ELEMENT)


def _softmax(operator: _Operator) -> int:
    return operator.output * SOFTMAX_FLOPS


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
