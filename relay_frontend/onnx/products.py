"""ONNX products: matrices, attention, recurrent layers."""

from __future__ import annotations

from relay_frontend.nodes import Node
from relay_frontend.onnx.forms import scalar
from relay_frontend.onnx.node import Converter, OnnxNode


def _gemm(operator: OnnxNode) -> Node:
    """``alpha A' B' + beta C``; scales of constants are constants."""
    data, weight = operator.required(0), operator.required(1)
    bias = operator.operand(2)
    alpha, beta = operator.real("alpha", 1.0), operator.real("beta", 1.0)
    if operator.integer("transA", 0):
        data = _transposed(operator, data)
    if weight.is_constant:
        if bias is None or beta == 0.0:
            return operator.node("dense", [data, weight])
        if bias.is_constant and bias.type.num_elements in (1, operator.type.shape[-1]):
            return operator.node("dense", [data, weight, bias])
        product = operator.node("dense", [data, weight])
    else:
        if alpha != 1.0:
            data = _scaled(operator, data, alpha)
        if operator.integer("transB", 0):
            weight = _transposed(operator, weight)
        product = operator.node("matmul", [data, weight])
    if bias is None or beta == 0.0:
        return product
    if beta != 1.0 and not bias.is_constant:
        bias = _scaled(operator, bias, beta)
    return operator.node("add", [product, bias])


def _transposed(operator: OnnxNode, matrix: Node) -> Node:
    return operator.step("transpose", matrix.type.shape[::-1], [matrix], axes=(1, 0))


def _scaled(operator: OnnxNode, node: Node, factor: float) -> Node:
    return operator.step("multiply", node.type.shape, [node, scalar(factor, node.type.dtype)])


def _einsum(operator: OnnxNode) -> Node:
    return operator.node("einsum", equation=operator.text("equation", ""))


def _attention(operator: OnnxNode) -> Node:
    """Heads as a dimension, nothing kept from before, no cap on the scores: else unknown."""
    shapes = [operand.type.shape for operand in operator.inputs[:3]]
    plain = (
        all(len(shape) == 4 and shape[:2] == shapes[0][:2] for shape in shapes)
        and not any(operator.is_given(position) for position in (4, 5, 6))
        and operator.real("softcap", 0.0) == 0.0
    )
    if not plain:
        return operator.unknown()
    return operator.node(
        "attention",
        has_mask=operator.is_given(3),
        is_causal=bool(operator.integer("is_causal", 0)),
    )


def _recurrent(op: str) -> Converter:
    def convert_recurrent(operator: OnnxNode) -> Node:
        if operator.integer("layout", 0):
            return operator.unknown()
        length, batch, _ = operator.data.type.shape
        directions = 2 if operator.text("direction", "forward") == "bidirectional" else 1
        hidden = operator.integer("hidden_size", operator.required(2).type.shape[-1])
        # The first result may be left out, but is what the node stands for.
        return operator.step(
            op,
            (length, directions, batch, hidden),
            operator.inputs,
            hidden_size=hidden,
            num_directions=directions,
        )

    return convert_recurrent


CONVERTERS: dict[str, Converter] = {
    "Attention": _attention,
    "Einsum": _einsum,
    "GRU": _recurrent("gru"),
    "Gemm": _gemm,
    "LSTM": _recurrent("lstm"),
    "MatMul": lambda operator: operator.node("matmul"),
    "RNN": _recurrent("rnn"),
}
"""Converters by ONNX operator."""
