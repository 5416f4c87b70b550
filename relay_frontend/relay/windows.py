"""Relay's sliding windows: convolutions and pooling, in the layouts that the vocabulary has."""

from __future__ import annotations

from relay_frontend.nodes import Node
from relay_frontend.relay.node import Converter, RelayNode

_LAYOUTS = {1: "NCW", 2: "NCHW", 3: "NCDHW"}
_SPATIAL = frozenset("DHW")


def _kernel_size(operator: RelayNode) -> tuple[int, ...]:
    """The spatial dimensions of the weights, whichever layout they have."""
    layout = str(operator.attrs.kernel_layout)
    shape = operator.inputs[1].type.shape
    return tuple(extent for extent, name in zip(shape, layout, strict=True) if name in _SPATIAL)


def _convolution(rank: int, transposed: bool = False) -> Converter:
    op = f"conv{rank}d_transpose" if transposed else f"conv{rank}d"

    def convert_one(operator: RelayNode) -> Node:
        attrs = operator.attrs
        name = _by_layout(op, str(attrs.data_layout), rank, nhwc=op == "conv2d")
        packed = len(str(attrs.kernel_layout)) != rank + 2
        if name is None or packed:
            return operator.unknown()
        return operator.node(
            name,
            operator.inputs[:2],
            kernel_size=_kernel_size(operator),
            strides=operator.ints("strides"),
            padding=_padding(operator.ints("padding"), rank),
            dilation=operator.ints("dilation"),
            groups=int(attrs.groups),
        )

    return convert_one


def _by_layout(op: str, layout: str, rank: int, nhwc: bool) -> str | None:
    """The operator's name for its layout, or None where the vocabulary has none."""
    if layout == _LAYOUTS[rank]:
        return op
    return f"{op}_nhwc" if nhwc and layout == "NHWC" else None


def _padding(values: tuple[int, ...], rank: int) -> tuple[int, ...]:
    """Relay's one value, one or two per dimension as all leading, then all trailing ones."""
    if len(values) == 1:
        return values * (2 * rank)
    return values * 2 if len(values) == rank else values


def _pool(kind: str, rank: int) -> Converter:
    op = f"{kind}_pool{rank}d"

    def convert_one(operator: RelayNode) -> Node:
        name = _by_layout(op, str(operator.attrs.layout), rank, nhwc=rank == 2)
        if name is None or any(extent != 1 for extent in operator.ints("dilation")):
            return operator.unknown()
        node = operator.node(
            name,
            kernel_size=operator.ints("pool_size"),
            strides=operator.ints("strides"),
            padding=_padding(operator.ints("padding"), rank),
        )
        if kind == "avg":
            node.attrs["count_include_pad"] = bool(operator.attrs.count_include_pad)
        return node

    return convert_one


def _global_pool(kind: str) -> Converter:
    def convert_one(operator: RelayNode) -> Node:
        if str(operator.attrs.layout) == "NCHW":
            return operator.node(f"global_{kind}_pool2d")
        return _spatial_reduction(operator, kind, 2)

    return convert_one


def _spatial_reduction(operator: RelayNode, kind: str, rank: int) -> Node:
    first = str(operator.attrs.layout).find(_LAYOUTS[rank][2])
    axes = tuple(range(first, first + rank))
    return operator.node("mean" if kind == "avg" else "max", axes=axes, keepdims=True)


def _adaptive_pool(kind: str, rank: int) -> Converter:
    """A pool to a given size: to 1 a global one, to a divisor one with equal windows."""

    def convert_one(operator: RelayNode) -> Node:
        layout = str(operator.attrs.layout)
        first = layout.find(_LAYOUTS[rank][2])
        spatial = slice(first, first + rank)
        inputs, outputs = operator.inputs[0].type.shape[spatial], operator.type.shape[spatial]
        if outputs == (1,) * rank:
            if layout == "NCHW":
                return operator.node(f"global_{kind}_pool2d")
            return _spatial_reduction(operator, kind, rank)
        name = _by_layout(f"{kind}_pool{rank}d", layout, rank, nhwc=rank == 2)
        if name is None or any(i % o for i, o in zip(inputs, outputs, strict=True)):
            return operator.unknown()
        window = tuple(i // o for i, o in zip(inputs, outputs, strict=True))
        node = operator.node(name, kernel_size=window, strides=window, padding=(0,) * (2 * rank))
        if kind == "avg":
            node.attrs["count_include_pad"] = False
        return node

    return convert_one


CONVERTERS: dict[str, Converter] = {
    **{f"nn.conv{rank}d": _convolution(rank) for rank in (1, 2, 3)},
    **{f"nn.conv{rank}d_transpose": _convolution(rank, transposed=True) for rank in (1, 2, 3)},
    "qnn.conv2d": _convolution(2),
    "qnn.conv2d_transpose": _convolution(2, transposed=True),
    **{
        f"nn.{kind}_pool{rank}d": _pool(kind, rank) for kind in ("max", "avg") for rank in (1, 2, 3)
    },
    **{
        f"nn.adaptive_{kind}_pool{rank}d": _adaptive_pool(kind, rank)
        for kind in ("max", "avg")
        for rank in (1, 2, 3)
    },
    **{f"nn.global_{kind}_pool2d": _global_pool(kind) for kind in ("max", "avg")},
}
"""Converters by Relay operator."""
