"""Vocabulary v1: the operators that tokens can name, and where their attributes go.

The vocabulary is closed: the position of an operator here is its position in the one-hot type of a
token, so entries are never reordered within a version. An operator outside of it becomes its
*category*, after TVM's ``TOpPattern`` (``include/tvm/relay/op_attr_types.h``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from relay_frontend.graph import AttrValue

VERSION = 1
NUM_ATTRIBUTE_SLOTS = 8

_CONVOLUTION = (
    "kernel_size[0]",
    "kernel_size[1]",
    "strides[0]",
    "strides[1]",
    "padding[0]",
    "padding[1]",
    "dilation[0]",
    "groups",
)
_POOL = _CONVOLUTION[:6]


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorSpec:
    """What the vocabulary knows of one operator.

    Args:
        summary: one line for the documentation.
        attrs: names of its canonical attributes.
        slots: attribute (with an index for tuples) of each token slot, at most eight.
    """

    summary: str
    attrs: tuple[str, ...] = ()
    slots: tuple[str, ...] = ()


_CONV_ATTRS = ("kernel_size", "strides", "padding", "dilation", "groups", "has_bias")
_POOL_ATTRS = ("kernel_size", "strides", "padding")

CATEGORIES: tuple[str, ...] = ("elementwise", "broadcast", "injective", "reduction", "opaque")

OPERATORS: dict[str, OperatorSpec] = {
    "conv2d": OperatorSpec(
        summary="convolution over NCHW, grouped and depthwise included",
        attrs=_CONV_ATTRS,
        slots=_CONVOLUTION,
    ),
    "conv2d_transpose": OperatorSpec(
        summary="transposed convolution over NCHW", attrs=_CONV_ATTRS, slots=_CONVOLUTION
    ),
    "dense": OperatorSpec(
        summary="product with a constant matrix", attrs=("has_bias",), slots=("has_bias",)
    ),
    "matmul": OperatorSpec(summary="product of two computed tensors"),
    "batch_norm": OperatorSpec(summary="inference-time scale and shift per channel"),
    "lrn": OperatorSpec(
        summary="local response normalization across channels", attrs=("size",), slots=("size",)
    ),
    "relu": OperatorSpec(summary="max(x, 0)"),
    "clip": OperatorSpec(
        summary="min(max(x, min), max)", attrs=("min", "max"), slots=("min", "max")
    ),
    "leaky_relu": OperatorSpec(summary="x or alpha x", attrs=("alpha",), slots=("alpha",)),
    "sigmoid": OperatorSpec(summary="1 / (1 + exp(-x))"),
    "tanh": OperatorSpec(summary="hyperbolic tangent"),
    "exp": OperatorSpec(summary="exponential"),
    "max_pool2d": OperatorSpec(summary="maximum over windows", attrs=_POOL_ATTRS, slots=_POOL),
    "avg_pool2d": OperatorSpec(
        summary="mean over windows",
        attrs=(*_POOL_ATTRS, "count_include_pad"),
        slots=(*_POOL, "count_include_pad"),
    ),
    "global_avg_pool2d": OperatorSpec(summary="mean over height and width"),
    "global_max_pool2d": OperatorSpec(summary="maximum over height and width"),
    "add": OperatorSpec(summary="sum with broadcasting"),
    "subtract": OperatorSpec(summary="difference with broadcasting"),
    "multiply": OperatorSpec(summary="product with broadcasting"),
    "divide": OperatorSpec(summary="quotient with broadcasting"),
    "concatenate": OperatorSpec(summary="concatenation", attrs=("axis",), slots=("axis",)),
    "reshape": OperatorSpec(summary="any change of shape that keeps the order of elements"),
    "transpose": OperatorSpec(
        summary="permutation of dimensions",
        attrs=("axes",),
        slots=tuple(f"axes[{i}]" for i in range(NUM_ATTRIBUTE_SLOTS)),
    ),
    "softmax": OperatorSpec(summary="softmax over one axis", attrs=("axis",), slots=("axis",)),
    "pad": OperatorSpec(
        summary="constant padding (all leading widths, then all trailing ones)",
        attrs=("pad_width",),
        slots=tuple(f"pad_width[{i}]" for i in range(NUM_ATTRIBUTE_SLOTS)),
    ),
    "mean": OperatorSpec(
        summary="mean over axes",
        attrs=("axes", "keepdims"),
        slots=("axes[0]", "axes[1]", "axes[2]", "keepdims"),
    ),
    "split": OperatorSpec(
        summary="one part of a tensor that is cut along an axis",
        attrs=("axis", "index"),
        slots=("axis", "index"),
    ),
    **{name: OperatorSpec(summary=f"any other {name} operator") for name in CATEGORIES},
}

INDEX: dict[str, int] = {name: i for i, name in enumerate(OPERATORS)}
NUM_OPERATORS = len(OPERATORS)

# Operators of the front ends that are outside of the vocabulary, under the name that is left when
# prefixes ("nn.", "relax.") and case are dropped. What is in no list is opaque.
_CATEGORY_MEMBERS: dict[str, tuple[str, ...]] = {
    "elementwise": (
        *("abs", "ceil", "cos", "elu", "erf", "floor", "gelu", "hardsigmoid", "hardswish", "log"),
        *(
            "negative",
            "neg",
            "not",
            "prelu",
            "reciprocal",
            "round",
            "rsqrt",
            "selu",
            "sign",
            "silu",
        ),
        *(
            "sin",
            "softplus",
            "softsign",
            "sqrt",
            "cast",
            "astype",
            "logical_not",
            "isnan",
            "square",
        ),
    ),
    "broadcast": (
        *("power", "pow", "maximum", "max", "minimum", "min", "where", "equal", "not_equal"),
        *("greater", "greater_equal", "less", "less_equal", "and", "or", "logical_and"),
        *("logical_or", "mod", "floor_divide", "broadcast_to", "expand"),
    ),
    "injective": (
        *("slice", "strided_slice", "gather", "take", "tile", "depthtospace", "depth_to_space"),
        *("spacetodepth", "space_to_depth", "resize", "resize2d", "upsample", "upsampling"),
        *("reverse", "flip", "layout_transform", "stack", "repeat"),
    ),
    "reduction": (
        *("sum", "reducesum", "reducemax", "reducemin", "reduceprod", "reducel2", "prod"),
        *("argmax", "argmin", "variance", "all", "any"),
    ),
}
_CATEGORY_OF = {member: name for name, members in _CATEGORY_MEMBERS.items() for member in members}


def category(operator: str) -> str:
    """The category that stands for a front end's ``operator`` that the vocabulary lacks."""
    return _CATEGORY_OF.get(operator.rsplit(".", 1)[-1].lower(), "opaque")


def attribute_slots(op: str, attrs: Mapping[str, AttrValue]) -> list[float]:
    """The eight attribute values of a token, in the order of the vocabulary; 0 where none is."""
    values = [_slot_value(attrs, slot) for slot in OPERATORS[op].slots]
    return values + [0.0] * (NUM_ATTRIBUTE_SLOTS - len(values))


def _slot_value(attrs: Mapping[str, AttrValue], slot: str) -> float:
    name, _, index = slot.rstrip("]").partition("[")
    value = attrs.get(name, 0)
    if isinstance(value, tuple):
        position = int(index or 0)
        value = value[position] if position < len(value) else 0
    return 0.0 if isinstance(value, str) else float(value)
