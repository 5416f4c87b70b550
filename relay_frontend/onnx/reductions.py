"""ONNX reductions and what else goes along an axis: positions of extremes, running sums."""

from __future__ import annotations

from relay_frontend.nodes import Node
from relay_frontend.onnx.node import Converter, OnnxNode


def _reduction(op: str, before: str = "", after: str = "") -> Converter:
    """A reduction, of ``before(x)`` where that is named, and ``after`` it where that is."""

    def convert_reduction(operator: OnnxNode) -> Node:
        axes = operator.int_values(1, "axes")
        if axes is None and operator.is_given(1):
            return operator.unknown()
        if not axes and operator.integer("noop_with_empty_axes", 0):
            chosen = []
        else:
            chosen = sorted(a % operator.rank for a in axes or range(operator.rank))
        data = operator.data
        if before:
            data = operator.step(before, data.type.shape, [data])
        keepdims = bool(operator.integer("keepdims", 1))
        node = operator.node(op, [data], axes=tuple(chosen), keepdims=keepdims)
        if not chosen and op in _IDENTITY_OVER_NOTHING:
            node = data
        return operator.node(after, [node]) if after else node

    return convert_reduction


_IDENTITY_OVER_NOTHING = ("mean", "sum", "max", "min", "prod")


def _arg(op: str) -> Converter:
    return lambda o: o.node(op, axis=o.axis(0), keepdims=bool(o.integer("keepdims", 1)))


def _cumsum(operator: OnnxNode) -> Node:
    axis = operator.int_values(1)
    if axis is None or operator.integer("exclusive", 0) or operator.integer("reverse", 0):
        return operator.unknown()
    return operator.node("cumsum", [operator.data], axis=axis[0] % operator.rank)


def _top_k(operator: OnnxNode) -> Node:
    k = operator.int_values(1, "k")
    if k is None:
        return operator.unknown()
    axis = operator.axis(-1)
    return operator.step("top_k", operator.type.shape, [operator.data], axis=axis, k=k[0])


CONVERTERS: dict[str, Converter] = {
    "ArgMax": _arg("argmax"),
    "ArgMin": _arg("argmin"),
    "CumSum": _cumsum,
    "ReduceL1": _reduction("reduce_l1"),
    "ReduceL2": _reduction("reduce_l2"),
    "ReduceLogSum": _reduction("sum", after="log"),
    "ReduceLogSumExp": _reduction("logsumexp"),
    "ReduceMax": _reduction("max"),
    "ReduceMean": _reduction("mean"),
    "ReduceMin": _reduction("min"),
    "ReduceProd": _reduction("prod"),
    "ReduceSum": _reduction("sum"),
    "ReduceSumSquare": _reduction("sum", before="square"),
    "TopK": _top_k,
}
"""Converters by ONNX operator."""
