r"""Formulas that exporters and importers write out for one operator, as data.

:data:`PATTERNS` is a table of ``(result, formula)``, both text::

    text     := call | operand | CONSTANT | number
    call     := operator "(" argument {"," argument} ")"
    argument := text | attribute "=" (number | attribute value)

An operator and its attributes have their canonical names. In a formula

- ``x``, ``y``: any operand that is no constant; the same name is the same node;
- ``GAMMA``, ``EPS``: any constant, its content known or not;
- ``0.5``: a constant of one element with this value, or this value of an attribute, both within
  one in a thousand; ``inf`` is a number;
- ``axes=a``: the attribute has any value, which must be the same wherever ``a`` stands;
  an attribute that is not mentioned may have any value.

Operands must be as many as in the formula; those of commutative operators match in either order.
The result is an operand of the formula (which then stands for the whole), or one call: operands are
named as in the formula, attributes are numbers, attribute values of the formula, or constants of
one element whose content is known (``-A``: its negative). An ``axis`` takes the only item of
``axes``.

``mean(x, axes=a, keepdims=1)`` is also what the mean over height and width has become.

A result has the type of its first operand, unless it is a reduction. Constants beside ``axes`` have
one element per position along these axes, those of other normalizations one per channel (or one in
all): other constants that are multiplied or added are no part of a normalization.

Operands are canonical before their consumers are looked at, so a formula is written in terms of
what its parts have already become: ``multiply(x, hard_sigmoid(x, ...))``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from relay_frontend.graph import AttrValue
from relay_frontend.nodes import Node
from relay_frontend.operators import OPERATORS

_INNER = (  # the argument of tanh in the approximation of GELU
    "multiply(add(x, multiply(power(x, 3), 0.044715)), 0.7978846)",
    "multiply(add(x, multiply(multiply(square(x), x), 0.044715)), 0.7978846)",
    "multiply(multiply(x, 0.7978846), add(multiply(square(x), 0.044715), 1))",
    "multiply(x, add(multiply(square(x), 0.0356774), 0.7978846))",
)
_SPREADS = (  # 1 + a function of x that is -1 far left and 1 far right, and what GELU it makes
    ("add(erf(divide(x, 1.4142135)), 1)", 0),
    ("add(erf(multiply(x, 0.70710678)), 1)", 0),
    *((f"add(tanh({inner}), 1)", 1) for inner in _INNER),
)
_GELUS = (
    "multiply(multiply(x, {0}), 0.5)",
    "multiply(multiply(x, 0.5), {0})",
    "multiply(x, multiply({0}, 0.5))",
)
_SD = "sqrt(add(variance(x, axes=a, keepdims=1), EPS))"
_CENTERED = "subtract(x, mean(x, axes=a, keepdims=1))"
_ROOT = "add(mean(square(x), axes=a, keepdims=1), EPS)"
_SHIFTED = "subtract(x, max(x, axes=a, keepdims=1))"
_STABLE = f"exp({_SHIFTED})"
_HALVES = "subtract(ceil(add(x, 0.5)), floor(add(x, 0.5)))"  # 0 where x ends in one half
_UP = "ceil(subtract(x, 0.5))"

PATTERNS: tuple[tuple[str, str], ...] = (
    # Powers and roots
    ("square(x)", "power(x, 2)"),
    ("square(x)", "multiply(x, x)"),
    ("sqrt(x)", "power(x, 0.5)"),
    ("rsqrt(x)", "power(x, -0.5)"),
    ("rsqrt(x)", "reciprocal(sqrt(x))"),
    ("rsqrt(x)", "divide(1, sqrt(x))"),
    ("reciprocal(x)", "power(x, -1)"),
    ("reciprocal(x)", "divide(1, x)"),
    ("round(x)", f"add(multiply(subtract(1, {_HALVES}), abs(mod({_UP}, 2))), {_UP})"),
    # Bounds
    ("clip(x, min=LOW, max=inf)", "maximum(x, LOW)"),
    ("clip(x, min=-inf, max=HIGH)", "minimum(x, HIGH)"),
    # Activations
    ("silu(x)", "multiply(x, sigmoid(x))"),
    ("silu(x)", "divide(x, add(exp(negative(x)), 1))"),
    ("hard_sigmoid(x, alpha=A, beta=B)", "clip(add(multiply(x, A), B), min=0, max=1)"),
    ("hard_sigmoid(x, alpha=0.16666667, beta=0.5)", "divide(clip(add(x, 3), min=0, max=6), 6)"),
    (
        "hard_sigmoid(x, alpha=0.16666667, beta=0.5)",
        "multiply(clip(add(x, 3), min=0, max=6), 0.16666667)",
    ),
    ("hard_swish(x)", "multiply(x, hard_sigmoid(x, alpha=0.16666667, beta=0.5))"),
    ("hard_swish(x)", "divide(multiply(x, clip(add(x, 3), min=0, max=6)), 6)"),
    ("hard_swish(x)", "multiply(multiply(x, clip(add(x, 3), min=0, max=6)), 0.16666667)"),
    ("elu(x, alpha=-A)", "add(multiply(relu(subtract(1, exp(x))), A), relu(x))"),
    ("selu(x)", "multiply(elu(x, alpha=1.6732632), 1.050701)"),
    ("celu(x, alpha=1)", "add(relu(x), clip(subtract(exp(x), 1), min=-inf, max=0))"),
    (
        "celu(x, alpha=A)",
        "add(relu(x), clip(multiply(subtract(exp(divide(x, A)), 1), A), min=-inf, max=0))",
    ),
    ("thresholded_relu(x, alpha=A)", "multiply(x, cast(greater(x, A)))"),
    ("softplus(x)", "log(add(exp(x), 1))"),
    ("softplus(x)", "where(greater(x, 20), x, softplus(x))"),
    ("softplus(x)", "add(relu(x), softplus(negative(abs(x))))"),
    ("softsign(x)", "divide(x, add(abs(x), 1))"),
    ("mish(x)", "multiply(x, tanh(softplus(x)))"),
    *(
        (f"gelu(x, approximate={approximate})", gelu.format(spread))
        for spread, approximate in _SPREADS
        for gelu in _GELUS
    ),
    (
        "gelu(x, approximate=0)",
        "multiply(x, add(multiply(erf(multiply(x, 0.70710678)), 0.5), 0.5))",
    ),
    ("gelu(x, approximate=0)", "multiply(x, add(multiply(erf(divide(x, 1.4142135)), 0.5), 0.5))"),
    # Reductions
    ("reduce_l1(x, axes=a, keepdims=k)", "sum(abs(x), axes=a, keepdims=k)"),
    ("reduce_l2(x, axes=a, keepdims=k)", "reduce_l2(abs(x), axes=a, keepdims=k)"),
    ("reduce_l2(x, axes=a, keepdims=k)", "sqrt(sum(square(x), axes=a, keepdims=k))"),
    ("logsumexp(x, axes=a, keepdims=k)", "log(sum(exp(x), axes=a, keepdims=k))"),
    (
        "logsumexp(x, axes=a, keepdims=1)",
        f"add(log(sum({_STABLE}, axes=a, keepdims=1)), max(x, axes=a, keepdims=1))",
    ),
    (
        "logsumexp(x, axes=a, keepdims=1)",
        f"add(logsumexp({_SHIFTED}, axes=a, keepdims=1), max(x, axes=a, keepdims=1))",
    ),
    (
        "variance(x, axes=a, keepdims=k)",
        f"mean(square({_CENTERED}), axes=a, keepdims=k)",
    ),
    (
        "variance(x, axes=a, keepdims=1)",
        "subtract(mean(square(x), axes=a, keepdims=1), square(mean(x, axes=a, keepdims=1)))",
    ),
    # Softmax
    ("softmax(x, axis=a)", f"divide({_STABLE}, sum({_STABLE}, axes=a, keepdims=1))"),
    ("softmax(x, axis=a)", "divide(exp(x), sum(exp(x), axes=a, keepdims=1))"),
    ("log_softmax(x, axis=a)", "log(softmax(x, axis=a))"),
    ("log_softmax(x, axis=a)", "subtract(x, logsumexp(x, axes=a, keepdims=1))"),
    # Torch's softmax that gives zeros where everything is masked
    ("softmax(x, axis=a)", "where(is_nan(softmax(x, axis=a)), ZERO, softmax(x, axis=a))"),
    ("y", "where(logical_not(cast(max(cast(logical_not(equal(x, M)))))), ZERO, y)"),
    # Normalizations
    ("layer_norm(x, axes=a)", f"divide({_CENTERED}, {_SD})"),
    ("layer_norm(x, axes=a)", f"multiply({_CENTERED}, r{_SD})"),
    ("layer_norm(x, GAMMA, axes=a)", "multiply(layer_norm(x, axes=a), GAMMA)"),
    ("layer_norm(x, GAMMA, BETA, axes=a)", "add(layer_norm(x, GAMMA, axes=a), BETA)"),
    ("rms_norm(x, axes=a)", f"divide(x, sqrt({_ROOT}))"),
    ("rms_norm(x, axes=a)", f"multiply(x, rsqrt({_ROOT}))"),
    ("rms_norm(x, GAMMA, axes=a)", "multiply(rms_norm(x, axes=a), GAMMA)"),
    ("group_norm(x, GAMMA, num_groups=g)", "multiply(group_norm(x, num_groups=g), GAMMA)"),
    ("group_norm(x, GAMMA, BETA, num_groups=g)", "add(group_norm(x, GAMMA, num_groups=g), BETA)"),
    # Scaled and shifted a second time
    ("group_norm(x, C, BETA, num_groups=g)", "multiply(group_norm(x, A, BETA, num_groups=g), C)"),
    ("group_norm(x, GAMMA, C, num_groups=g)", "add(group_norm(x, GAMMA, B, num_groups=g), C)"),
    ("instance_norm(x, GAMMA, BETA)", "add(instance_norm(x, GAMMA), BETA)"),
    ("l2_normalize(x, axes=a)", "divide(x, reduce_l2(x, axes=a, keepdims=1))"),
    ("l2_normalize(x, axes=a)", "divide(x, clip(reduce_l2(x, axes=a, keepdims=1)))"),
    ("l2_normalize(x, axes=a)", "divide(x, broadcast_to(clip(reduce_l2(x, axes=a, keepdims=1))))"),
)

COMMUTATIVE = frozenset({"add", "equal", "maximum", "minimum", "multiply"})

_TOLERANCE = 1e-3
_INFINITE = "inf"
_TOKEN = re.compile(r"\s*(-?[A-Za-z_][A-Za-z_0-9]*|-?inf|-?[0-9.]+(?:e-?[0-9]+)?|[(),=])")


@dataclass(frozen=True, slots=True)
class Term:
    """Part of a pattern: a ``call``, an ``operand``, a ``constant`` or a ``number``."""

    kind: str
    name: str = ""
    value: float = 0.0
    operands: tuple[Term, ...] = ()
    attrs: tuple[tuple[str, float | str], ...] = ()


def parse(text: str) -> Term:
    """The term that ``text`` writes down (see the module's grammar)."""
    tokens = _TOKEN.findall(text)
    term, end = _parse(tokens, 0)
    if end != len(tokens) or "".join(tokens) != text.replace(" ", ""):
        raise ValueError(f"not a pattern: {text}")
    return term


def _parse(tokens: Sequence[str], at: int) -> tuple[Term, int]:
    token = tokens[at]
    if _is_number(token):
        return Term("number", value=float(token)), at + 1
    if at + 1 == len(tokens) or tokens[at + 1] != "(":
        return Term("constant" if token.isupper() else "operand", token), at + 1
    operands: list[Term] = []
    attrs: list[tuple[str, float | str]] = []
    at += 1
    while tokens[at] != ")":  # at "(" or ","
        if tokens[at + 2] == "=":
            value = tokens[at + 3]
            attrs.append((tokens[at + 1], float(value) if _is_number(value) else value))
            at += 4
        else:
            operand, at = _parse(tokens, at + 1)
            operands.append(operand)
    return Term("call", token, operands=tuple(operands), attrs=tuple(attrs)), at + 1


def _is_number(token: str) -> bool:
    return token.lstrip("-")[0] in ".0123456789" or token.lstrip("-") == _INFINITE


@dataclass(slots=True)
class _Match:
    """What the names of a pattern stand for."""

    nodes: dict[str, Node]
    attrs: dict[str, AttrValue]


_RULES: dict[str, list[tuple[Term, Term]]] = {}
for _result, _formula in PATTERNS:
    _root = parse(_formula)
    _RULES.setdefault(_root.name, []).append((parse(_result), _root))


def recompose(node: Node) -> Node | None:
    """The operator that the formula at ``node`` writes out, by the first pattern that fits."""
    for result, formula in _RULES.get(node.op, ()):
        match = _match([(formula, node)], _Match({}, {}))
        if match is not None:
            replacement = _build(result, match, node)
            if replacement is not None:
                return replacement
    return None


def _match(pairs: list[tuple[Term, Node]], match: _Match) -> _Match | None:
    """Match all ``pairs``; both orders of commutative operands are tried."""
    while pairs:
        term, node = pairs.pop()
        if term.kind == "operand":
            if node.is_constant or match.nodes.setdefault(term.name, node) is not node:
                return None
        elif term.kind == "constant":
            if not node.is_constant:
                return None
            match.nodes[term.name] = node
        elif term.kind == "number":
            value = scalar(node)
            if value is None or not _close(value, term.value):
                return None
        else:
            if len(node.inputs) != len(term.operands) or not _match_call(term, node, match):
                return None
            straight = list(zip(term.operands, node.inputs, strict=True))
            if node.op in COMMUTATIVE:
                crossed = list(zip(term.operands, reversed(node.inputs), strict=True))
                copy = _Match(dict(match.nodes), dict(match.attrs))
                found = _match([*pairs, *crossed], copy)
                if found is not None:
                    return found
            pairs.extend(straight)
    return match


def _match_call(term: Term, node: Node, match: _Match) -> bool:
    """Whether operator and attributes are those of ``term``."""
    attrs = node.attrs
    if term.name == "mean" and node.op == "global_avg_pool2d":
        attrs = {"axes": (2, 3), "keepdims": True}
    elif node.op != term.name:
        return False
    for name, wanted in term.attrs:
        value = attrs[name]
        if isinstance(wanted, str):
            if match.attrs.setdefault(wanted, value) != value:
                return False
        elif isinstance(value, (str, tuple)) or not _close(float(value), wanted):
            return False
    return True


def scalar(node: Node) -> float | None:
    """The content of a constant of one element, if it is known."""
    if node.is_constant and node.value is not None and node.value.size == 1:
        return float(node.value.reshape(()))
    return None


def _close(value: float, wanted: float) -> bool:
    if math.isinf(wanted) or wanted == 0.0:
        return value == wanted
    return abs(value - wanted) <= _TOLERANCE * abs(wanted)


def _build(result: Term, match: _Match, node: Node) -> Node | None:
    """The result in place of ``node``, unless an attribute or a type speaks against it."""
    if result.kind == "operand":
        operand = match.nodes[result.name]
        return operand if operand.type == node.type else None
    operands = [match.nodes[operand.name] for operand in result.operands]
    attrs: dict[str, AttrValue] = {}
    for name, wanted in result.attrs:
        value = _attr(name, wanted, match)
        if value is None:
            return None
        attrs[name] = value
    data = operands[0].type
    if "keepdims" not in OPERATORS[result.name].attrs and data != node.type:
        return None
    extents = 0
    if "axes" in attrs:
        axes = attrs["axes"]
        assert isinstance(axes, tuple)
        extents = math.prod(data.shape[axis] for axis in axes)
    elif len(data.shape) > 1:
        extents = data.shape[1]
    if any(parameter.type.num_elements not in (1, extents) for parameter in operands[1:]):
        return None
    return Node(result.name, node.type, operands, attrs, source=node.source)


def _attr(name: str, wanted: float | str, match: _Match) -> AttrValue | None:
    if not isinstance(wanted, str):
        return bool(wanted) if name in ("approximate", "keepdims") else wanted
    name_of_constant = wanted.removeprefix("-")
    if name_of_constant in match.nodes:
        value_of_constant = scalar(match.nodes[name_of_constant])
        if value_of_constant is None or name_of_constant == wanted:
            return value_of_constant
        return -value_of_constant
    value = match.attrs[wanted]
    if name == "axis" and isinstance(value, tuple):
        return value[0] if len(value) == 1 else None
    return value
