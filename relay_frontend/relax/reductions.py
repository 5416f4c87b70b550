"""Relax reductions and what else goes along an axis: positions of extremes, running sums."""

from __future__ import annotations

from relay_frontend.graph import AttrValue, TensorType
from relay_frontend.nodes import Node
from relay_frontend.relax.call import Converter, RelaxCall
from relay_frontend.relax.forms import flat


def _reduction(op: str) -> Converter:
    def convert_reduction(call: RelaxCall) -> Node:
        axis = call.attrs.axis
        axes = range(call.rank) if axis is None else sorted(int(a) % call.rank for a in axis)
        return call.node(op, axes=tuple(axes), keepdims=bool(call.attrs.keepdims))

    return convert_reduction


def _arg(op: str) -> Converter:
    def convert_arg(call: RelaxCall) -> Node:
        axis, keepdims = call.attrs.axis, bool(call.attrs.keepdims)
        if axis is not None:
            return call.node(op, axis=int(axis) % call.rank, keepdims=keepdims)
        return call.unknown() if keepdims else call.node(op, [flat(call)], axis=0, keepdims=False)

    return convert_arg


def _cumsum(call: RelaxCall) -> Node:
    if bool(call.attrs.exclusive):
        return call.unknown()
    if call.attrs.axis is None:
        return call.node("cumsum", [flat(call)], axis=0)
    return call.node("cumsum", axis=int(call.attrs.axis) % call.rank)


def _top_k(call: RelaxCall) -> Node:
    """The values first, also where the call gives the positions alone."""
    axis = int(call.attrs.axis) % call.rank
    values = TensorType(call.type.shape, call.inputs[0].type.dtype)
    largest = bool(call.attrs.largest)
    attrs: dict[str, AttrValue] = {
        "axis": axis,
        "k": call.type.shape[axis],
        "largest": largest,  # not canonical, but a rewrite needs to know
    }
    node = Node("top_k", values, call.inputs, attrs, source=call.source)
    if str(call.attrs.ret_type) != "indices":
        return node
    return call.node("item", [node], index=1)


REDUCTIONS: dict[str, Converter] = {
    "argmax": _arg("argmax"),
    "argmin": _arg("argmin"),
    "cumsum": _cumsum,
    "max": _reduction("max"),
    "mean": _reduction("mean"),
    "min": _reduction("min"),
    "prod": _reduction("prod"),
    "sum": _reduction("sum"),
    "topk": _top_k,
    "variance": _reduction("variance"),
}
"""Converters by Relax operator."""
