"""Relax's sliding windows: convolutions and pooling."""

from __future__ import annotations

from typing import Any

from relay_frontend.nodes import Node
from relay_frontend.relax.call import Converter, RelaxCall

_DATA = {1: "NCW", 2: "NCHW", 3: "NCDHW"}
_KERNEL = {1: "OIW", 2: "OIHW", 3: "OIDHW"}
_TRANSPOSED_KERNEL = {1: "IOW", 2: "IOHW", 3: "IODHW"}


def _conv(rank: int, transposed: bool = False) -> Converter:
    op = f"conv{rank}d_transpose" if transposed else f"conv{rank}d"
    kernel = _TRANSPOSED_KERNEL[rank] if transposed else _KERNEL[rank]

    def convert(call: RelaxCall) -> Node:
        attrs = call.attrs
        if (str(attrs.data_layout), str(attrs.kernel_layout)) != (_DATA[rank], kernel):
            return call.unknown()
        window = _window(call, call.inputs[1].type.shape[2:])
        return call.node(op, **window, dilation=call.ints("dilation"), groups=int(attrs.groups))

    return convert


def _pool(kind: str, rank: int) -> Converter:
    def convert(call: RelaxCall) -> Node:
        attrs = call.attrs
        if str(attrs.layout) != _DATA[rank] or any(d != 1 for d in call.ints("dilation")):
            return call.unknown()
        node = call.node(f"{kind}_pool{rank}d", **_window(call, call.ints("pool_size")))
        if kind == "avg":
            node.attrs["count_include_pad"] = bool(attrs.count_include_pad)
        return node

    return convert


def _window(call: RelaxCall, kernel_size: tuple[int, ...]) -> dict[str, Any]:
    return {
        "kernel_size": kernel_size,
        "strides": call.ints("strides"),
        "padding": call.ints("padding"),
    }


def _adaptive_avg_pool(rank: int) -> Converter:
    """A mean where one position is left, a pooling where the windows are all alike."""

    def convert(call: RelaxCall) -> Node:
        if str(call.attrs.layout) != _DATA[rank]:
            return call.unknown()
        extents, outputs = call.inputs[0].type.shape[2:], call.type.shape[2:]
        if all(extent == 1 for extent in outputs):
            return call.node("mean", axes=tuple(range(2, 2 + rank)), keepdims=True)
        if any(extent % output for extent, output in zip(extents, outputs, strict=True)):
            return call.unknown()
        window = tuple(extent // out for extent, out in zip(extents, outputs, strict=True))
        return call.node(
            f"avg_pool{rank}d",
            kernel_size=window,
            strides=window,
            padding=(0,) * (2 * rank),
            count_include_pad=False,
        )

    return convert


WINDOWS: dict[str, Converter] = {
    **{f"nn.conv{rank}d": _conv(rank) for rank in _DATA},
    **{f"nn.conv{rank}d_transpose": _conv(rank, transposed=True) for rank in _DATA},
    **{f"nn.{kind}_pool{rank}d": _pool(kind, rank) for kind in ("avg", "max") for rank in _DATA},
    **{f"nn.adaptive_avg_pool{rank}d": _adaptive_avg_pool(rank) for rank in _DATA},
}
