"""Relax normalizations, softmax among them."""

from __future__ import annotations

from relay_frontend.nodes import Node
from relay_frontend.relax.call import Converter, RelaxCall
from relay_frontend.relax.forms import operand_axis


def _batch_norm(call: RelaxCall) -> Node:
    axis = int(call.attrs.axis) % call.rank
    return call.node("batch_norm") if axis == 1 else call.unknown()


def _trailing_norm(op: str) -> Converter:
    def convert_norm(call: RelaxCall) -> Node:
        axes = tuple(sorted(axis % call.rank for axis in call.ints("axes")))
        return call.node(op, axes=axes)

    return convert_norm


def _over_channels(call: RelaxCall) -> bool:
    """Whether a norm of images has its channels in dimension 1 and goes over all behind it."""
    axes = sorted(axis % call.rank for axis in call.ints("axes"))
    channel = int(call.attrs.channel_axis) % call.rank
    return channel == 1 and axes == list(range(2, call.rank))


def _group_norm(call: RelaxCall) -> Node:
    if not _over_channels(call):
        return call.unknown()
    return call.node("group_norm", num_groups=int(call.attrs.num_groups))


def _instance_norm(call: RelaxCall) -> Node:
    return call.node("instance_norm") if _over_channels(call) else call.unknown()


NORMALIZATIONS: dict[str, Converter] = {
    "nn.batch_norm": _batch_norm,
    "nn.group_norm": _group_norm,
    "nn.instance_norm": _instance_norm,
    "nn.layer_norm": _trailing_norm("layer_norm"),
    "nn.log_softmax": operand_axis("log_softmax"),
    "nn.rms_norm": _trailing_norm("rms_norm"),
    "nn.softmax": operand_axis("softmax"),
}
"""Converters by Relax operator."""
