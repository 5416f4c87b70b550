"""The operators that tokens can name, and where their attributes go.

The vocabulary is closed and versioned. An operator outside of it becomes its *category*, after
TVM's ``TOpPattern`` (``include/tvm/relay/op_attr_types.h``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from relay_frontend.graph import AttrValue, OpGraph
from relay_frontend.operators import CATEGORIES, OPERATORS, OperatorSpec

__all__ = [
    "CATEGORIES",
    "OPERATORS",
    "OperatorSpec",
    "attribute_slots",
    "category",
    "index",
    "plain_operators",
    "unknown_operators",
]

VERSION = 2
SIZES: dict[int, int] = {1: 32, 2: len(OPERATORS)}
"""Number of operators of each version: a version is a prefix of the next one."""

NUM_ATTRIBUTE_SLOTS = 8

_INDEX: dict[str, int] = {name: i for i, name in enumerate(OPERATORS)}

# Operators of the front ends that are outside of the vocabulary, under the name that is left when
# prefixes ("nn.", "relax.") and case are dropped. What is in no list is opaque.
_CATEGORY_MEMBERS: dict[str, str] = {
    "elementwise": "bernoulli bitshift fast_exp hardmax isfinite log2 log10 rint shrink dropout",
    "broadcast": "atan2 left_shift right_shift log_add_exp trunc_divide trunc_mod ewise_fma",
    "injective": "center_crop_pad col2im compress layout_transform reverse_sequence reversesequence"
    " strided_set slice_scatter index_tensor adv_index index_put meshgrid affine_grid affinegrid"
    " batch_to_space_nd space_to_batch_nd slice_like reinterpret stack upsampling3d take gather pad"
    " transpose reshape split",
    "reduction": "all any reducesumsquare reducelogsum std median cumprod",
}
CATEGORY_OF: dict[str, str] = {
    **{
        name.rsplit(".", 1)[-1].lower(): spec.category
        for op, spec in OPERATORS.items()
        if op != "item"  # a further result of other operators, whose category is their own
        for names in (spec.onnx, spec.relay, spec.relax)
        for name in names
    },
    **{member: name for name, members in _CATEGORY_MEMBERS.items() for member in members.split()},
}
"""Category by the short name of a source operator."""


def category(operator: str) -> str:
    """The category that stands for a front end's ``operator`` that the vocabulary lacks."""
    return CATEGORY_OF.get(operator.rsplit(".", 1)[-1].lower(), "opaque")


def index(op: str, version: int = VERSION) -> int:
    """Position of ``op`` in the one-hot type of a token.

    In a vocabulary that is too old to have it, that of its category.
    """
    position = _INDEX[op]
    return position if position < SIZES[version] else _INDEX[OPERATORS[op].category]


def unknown_operators(graph: OpGraph, version: int = VERSION) -> tuple[str, ...]:
    """Operators of ``graph`` that a version of the vocabulary lacks, sorted."""
    newer = {op for op in graph.ops if _INDEX[op] >= SIZES[version]}
    return tuple(sorted({*graph.unknown_ops, *newer}))


def plain_operators(source: str) -> dict[str, str]:
    """Source operators (of ``onnx``, ``relay`` or ``relax``) of which only the operands count."""
    return {
        name: op
        for op, spec in OPERATORS.items()
        if not spec.attrs
        for name in getattr(spec, source)
    }


def attribute_slots(op: str, attrs: Mapping[str, AttrValue], version: int = VERSION) -> list[float]:
    """The eight attribute values of a token, in the order of the vocabulary; 0 where none is."""
    slots = OPERATORS[op].slots if _INDEX[op] < SIZES[version] else ()
    values = [_slot_value(attrs, slot) for slot in slots]
    return values + [0.0] * (NUM_ATTRIBUTE_SLOTS - len(values))


def _slot_value(attrs: Mapping[str, AttrValue], slot: str) -> float:
    name, _, position = slot.rstrip("]").partition("[")
    value = attrs.get(name, 0)
    if isinstance(value, tuple):
        at = int(position or 0)
        value = value[at] if at < len(value) else 0
    if isinstance(value, str) or not math.isfinite(value):
        return 0.0  # texts have no slots; the open side of a clip is as good as absent
    return float(value)
