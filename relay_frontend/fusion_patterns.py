"""TVM's ``TOpPattern`` of each operator: what :mod:`relay_frontend.fusion` goes by."""

from __future__ import annotations

from relay_frontend.operators import OPERATORS

ELEMENTWISE, BROADCAST, INJECTIVE, REDUCTION, ANCHOR, TUPLE, OPAQUE = range(7)
"""Up to broadcast, operators join nearly anything; an anchor takes element-wise operators behind
it; nothing joins an opaque operator."""

_ANCHOR_COSTS = ("convolution", "transposed_convolution", "window", "product", "attention")
_OF_CATEGORY = {
    "elementwise": ELEMENTWISE,
    "broadcast": BROADCAST,
    "injective": INJECTIVE,
    "reduction": REDUCTION,
    "opaque": OPAQUE,
}
# Where TVM's pattern is not that of the category. A batch norm is a product and a sum by the time
# that TVM fuses; the other norms end in a kernel that takes what follows.
_EXCEPTIONS = {
    "batch_norm": BROADCAST,
    "softmax": ANCHOR,
    "log_softmax": ANCHOR,
    "global_avg_pool2d": ANCHOR,
    "global_max_pool2d": ANCHOR,
    "layer_norm": ANCHOR,
    "group_norm": ANCHOR,
    "instance_norm": ANCHOR,
    "rms_norm": ANCHOR,
    "l2_normalize": ANCHOR,
    "roi_align": ANCHOR,
    "one_hot": ANCHOR,
    "prelu": BROADCAST,
    "broadcast_to": BROADCAST,
    "tile": BROADCAST,
    "triangle": ELEMENTWISE,
    "einsum": INJECTIVE,
    "scatter_elements": OPAQUE,
    "scatter_nd": OPAQUE,
}


def _pattern(op: str) -> int:
    spec = OPERATORS[op]
    if spec.cost.partition("*")[0] in _ANCHOR_COSTS:
        return ANCHOR
    return _EXCEPTIONS.get(op, _OF_CATEGORY[spec.category])


PATTERN_OF: dict[str, int] = {op: _pattern(op) for op in OPERATORS}
