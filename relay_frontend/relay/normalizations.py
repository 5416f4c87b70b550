"""Relay normalizations, softmax among them."""

from __future__ import annotations

from relay_frontend.nodes import Node
from relay_frontend.relay.forms import along_axis
from relay_frontend.relay.node import Converter, RelayNode


def _batch_norm(operator: RelayNode) -> Node:
    axis = operator.axis()
    return operator.node("batch_norm") if axis in (1, operator.rank - 1) else operator.unknown()


def _layer_norm(operator: RelayNode) -> Node:
    return operator.node("layer_norm", axes=(operator.axis(),))


def _group_norm(operator: RelayNode) -> Node:
    if operator.axis() != 1:
        return operator.unknown()
    return operator.node("group_norm", num_groups=int(operator.attrs.num_groups))


def _instance_norm(operator: RelayNode) -> Node:
    return operator.node("instance_norm") if operator.axis() == 1 else operator.unknown()


def _l2_normalize(operator: RelayNode) -> Node:
    axes = sorted(axis % operator.rank for axis in operator.ints("axis"))
    return operator.node("l2_normalize", axes=tuple(axes))


CONVERTERS: dict[str, Converter] = {
    "nn.batch_norm": _batch_norm,
    "nn.group_norm": _group_norm,
    "nn.instance_norm": _instance_norm,
    "nn.l2_normalize": _l2_normalize,
    "nn.layer_norm": _layer_norm,
    "nn.log_softmax": along_axis("log_softmax"),
    "nn.lrn": lambda o: o.node("lrn", size=int(o.attrs.size)),
    **dict.fromkeys(("nn.softmax", "nn.fast_softmax"), along_axis("softmax")),
}
"""Converters by Relay operator."""
