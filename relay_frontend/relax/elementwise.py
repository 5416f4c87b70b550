"""Relax operators on one element at a time: activations, types, what marks a value."""

from __future__ import annotations

from relay_frontend.nodes import Node
from relay_frontend.relax.call import Converter, RelaxCall


def _identity(call: RelaxCall) -> Node:
    return call.inputs[0]


def _clip(call: RelaxCall) -> Node:
    low, high = (float(bound.value) for bound in call.args[1:3])
    return call.node("clip", call.inputs[:1], min=low, max=high)


def _gelu(call: RelaxCall) -> Node:
    return call.node("gelu", approximate=call.name == "nn.gelu_tanh")


def _softplus(call: RelaxCall) -> Node:
    return call.node("softplus") if float(call.attrs.beta) == 1.0 else call.unknown()


def _quantization(op: str) -> Converter:
    """Axis -1 where one scale serves the whole tensor."""

    def convert_quantization(call: RelaxCall) -> Node:
        per_axis = call.inputs[1].type.num_elements > 1
        return call.node(op, axis=int(call.attrs.axis) % call.rank if per_axis else -1)

    return convert_quantization


ELEMENTWISE: dict[str, Converter] = {
    "clip": _clip,
    "dequantize": _quantization("dequantize"),
    "hint_on_device": _identity,
    "nn.dropout": _identity,
    "nn.gelu": _gelu,
    "nn.gelu_tanh": _gelu,
    "nn.leakyrelu": lambda call: call.node("leaky_relu", alpha=float(call.attrs.alpha)),
    "nn.softplus": _softplus,
    "quantize": _quantization("quantize"),
    "to_vdevice": _identity,
    "wrap_param": _identity,
}
"""Converters by Relax operator."""
