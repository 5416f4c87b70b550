"""Formulas are recognized for what they compute, and nothing else is."""

from __future__ import annotations

import math

import numpy as np
import pytest

from relay_frontend.canonical import patterns
from relay_frontend.canonical.patterns import COMMUTATIVE, PATTERNS, Term, parse, recompose
from relay_frontend.graph import TensorType
from relay_frontend.nodes import INPUT, Node, constant
from relay_frontend.operators import OPERATORS

SHAPE = (2, 6, 5)
AXES = (2,)
CONSTANTS = {
    "A": np.array(0.2, np.float32),
    "B": np.array(0.6, np.float32),
    "LOW": np.array(-0.5, np.float32),
    "HIGH": np.array(0.5, np.float32),
    "EPS": np.array(1e-12, np.float32),
    "M": np.array(-np.inf, np.float32),
    "ZERO": np.array(0.0, np.float32),
}


def _sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def _normal(x, axes):
    deviation = np.sqrt(x.var(axes, keepdims=True))
    return (x - x.mean(axes, keepdims=True)) / deviation


def _affine(normal, parameters):
    scale = parameters[0] if parameters else 1.0
    shift = parameters[1] if len(parameters) > 1 else 0.0
    return normal * scale + shift


_ERF = np.vectorize(math.erf)


def _gelu(x, approximate):
    if approximate:
        return x * 0.5 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
    return x * 0.5 * (1 + _ERF(x / np.sqrt(2)))


def _elu(x, alpha):
    return np.where(x > 0, x, alpha * (np.exp(x) - 1))


def _clip(x, **bounds):
    return np.clip(x, bounds.get("min", -np.inf), bounds.get("max", np.inf))


def _softmax(x, axis):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def _reduction(function):
    return lambda x, axes, keepdims: function(x, axis=axes, keepdims=bool(keepdims))


def _grouped(x, *parameters, num_groups):
    groups = x.reshape(x.shape[0], num_groups, -1)
    return _affine(_normal(groups, (2,)).reshape(x.shape), parameters)


FUNCTIONS = {
    "abs": np.abs,
    "add": np.add,
    "broadcast_to": lambda x: np.broadcast_to(x, SHAPE),
    "cast": lambda x: x.astype(np.float32),
    "ceil": np.ceil,
    "celu": lambda x, alpha: np.where(x > 0, x, alpha * (np.exp(x / alpha) - 1)),
    "clip": _clip,
    "divide": np.divide,
    "elu": _elu,
    "equal": np.equal,
    "erf": _ERF,
    "exp": np.exp,
    "floor": np.floor,
    "gelu": _gelu,
    "greater": np.greater,
    "group_norm": _grouped,
    "hard_sigmoid": lambda x, alpha, beta: np.clip(alpha * x + beta, 0, 1),
    "hard_swish": lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
    "instance_norm": lambda x, *p: _affine(_normal(x, (2,)), p),
    "is_nan": np.isnan,
    "l2_normalize": lambda x, axes: x / np.sqrt((x * x).sum(axes, keepdims=True)),
    "layer_norm": lambda x, *p, axes: _affine(_normal(x, axes), p),
    "log": np.log,
    "log_softmax": lambda x, axis: np.log(_softmax(x, axis)),
    "logical_not": np.logical_not,
    "logsumexp": lambda x, axes, keepdims: np.log(np.exp(x).sum(axes, keepdims=bool(keepdims))),
    "max": lambda x, axes=(-1,), keepdims=True: x.max(axes, keepdims=bool(keepdims)),
    "maximum": np.maximum,
    "mean": _reduction(np.mean),
    "minimum": np.minimum,
    "mish": lambda x: x * np.tanh(np.log1p(np.exp(x))),
    "mod": np.mod,
    "multiply": np.multiply,
    "negative": np.negative,
    "power": np.power,
    "reciprocal": lambda x: 1 / x,
    "reduce_l1": _reduction(lambda x, **k: np.abs(x).sum(**k)),
    "reduce_l2": _reduction(lambda x, **k: np.sqrt((x * x).sum(**k))),
    "relu": lambda x: np.maximum(x, 0),
    "rms_norm": lambda x, *p, axes: _affine(x / np.sqrt((x * x).mean(axes, keepdims=True)), p),
    "round": np.round,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "selu": lambda x: 1.0507009873554805 * _elu(x, 1.6732632423543772),
    "sigmoid": _sigmoid,
    "silu": lambda x: x * _sigmoid(x),
    "softmax": _softmax,
    "softplus": lambda x: np.log1p(np.exp(x)),
    "softsign": lambda x: x / (1 + np.abs(x)),
    "sqrt": np.sqrt,
    "square": np.square,
    "subtract": np.subtract,
    "sum": _reduction(np.sum),
    "tanh": np.tanh,
    "thresholded_relu": lambda x, alpha: np.where(x > alpha, x, 0),
    "variance": _reduction(np.var),
    "where": np.where,
}


def _bindings(formula):
    """Values of all names in a formula; normalizations over channels scale each of them."""
    rng = np.random.default_rng(1)
    positive = any(word in formula for word in ("sqrt(x)", "power(x, 0.5)", "power(x, -"))
    x = rng.standard_normal(SHAPE).astype(np.float64)
    x = np.abs(x) + 0.1 if positive else x
    per_channel = "group_norm" in formula or "instance_norm" in formula
    shape = (SHAPE[1], 1) if per_channel else (SHAPE[2],)
    weights = {name: rng.uniform(0.5, 2.0, shape) for name in ("GAMMA", "BETA", "C")}
    if per_channel:  # what is scaled twice must have been scaled by 1 and shifted by 0 before
        weights |= {"A": np.ones(shape), "B": np.zeros(shape)}
        if "C)" in formula:
            weights["BETA" if formula.startswith("multiply") else "GAMMA"] = (
                np.zeros(shape) if formula.startswith("multiply") else np.ones(shape)
            )
    y = _softmax(x, -1)
    return {**CONSTANTS, **weights, "x": x, "y": y}


ATTRS = {"a": AXES, "g": 3, "k": 1}


def _value(term, bindings):
    if term.kind == "number":
        return term.value
    if term.kind in ("operand", "constant"):
        return bindings[term.name]
    operands = [_value(operand, bindings) for operand in term.operands]
    return FUNCTIONS[term.name](*operands, **_attrs(term, bindings))


def _attrs(term, bindings):
    attrs = {}
    for name, wanted in term.attrs:
        value = wanted
        if isinstance(wanted, str) and wanted in ATTRS:
            value = ATTRS[wanted]
        elif isinstance(wanted, str):
            value = float(bindings[wanted.lstrip("-")]) * (-1 if wanted[0] == "-" else 1)
        attrs[name] = value[0] if name == "axis" and isinstance(value, tuple) else value
    return attrs


def _node(term, bindings, operands):
    """The graph that a formula describes, with the types that its values have."""
    if term.kind == "operand":
        return operands.setdefault(
            term.name, Node(INPUT, TensorType(np.shape(bindings[term.name]), "float32"))
        )
    if term.kind in ("constant", "number"):
        value = np.asarray(term.value if term.kind == "number" else bindings[term.name], np.float32)
        return constant(TensorType(value.shape), value)
    inputs = [_node(operand, bindings, operands) for operand in term.operands]
    value = np.asarray(_value(term, bindings))
    attrs = dict.fromkeys(OPERATORS[term.name].attrs)
    attrs |= _attrs(term, bindings)
    return Node(term.name, TensorType(value.shape), inputs, attrs)


@pytest.mark.parametrize(("result", "formula"), PATTERNS, ids=[f for _, f in PATTERNS])
def test_a_formula_computes_its_operator(result, formula):
    bindings = _bindings(formula)
    with np.errstate(all="ignore"):
        expected = _value(parse(result), bindings)
        np.testing.assert_allclose(_value(parse(formula), bindings), expected, rtol=2e-3, atol=2e-5)


@pytest.mark.parametrize(("result", "formula"), PATTERNS, ids=[f for _, f in PATTERNS])
def test_a_formula_is_recognized(result, formula):
    bindings, operands = _bindings(formula), {}
    term = parse(result)
    node = recompose(_node(parse(formula), bindings, operands))
    assert node is not None
    if term.kind == "operand":
        assert node is operands[term.name]
        return
    assert node.op == term.name
    assert node.inputs[0] is operands["x"]
    assert len(node.inputs) == len(term.operands)
    for name, expected in _attrs(term, bindings).items():
        assert np.allclose(np.asarray(node.attrs[name], float), np.asarray(expected, float))


def _swapped(node):
    """The same graph with the operands of all commutative operators in the other order."""
    if not node.inputs:
        return node
    inputs = [_swapped(operand) for operand in node.inputs]
    if node.op in COMMUTATIVE:
        inputs.reverse()
    return Node(node.op, node.type, inputs, node.attrs)


@pytest.mark.parametrize(("result", "formula"), PATTERNS, ids=[f for _, f in PATTERNS])
def test_the_order_of_commutative_operands_does_not_matter(result, formula):
    node = recompose(_swapped(_node(parse(formula), _bindings(formula), {})))
    assert node is not None
    assert node.op == (parse(result).name if parse(result).kind == "call" else INPUT)


def _x(shape=SHAPE):
    return Node(INPUT, TensorType(shape))


def _scalar(value):
    return constant(TensorType(()), np.array(value))


def _call(op, *inputs, shape=SHAPE, **attrs):
    return Node(op, TensorType(shape), list(inputs), attrs)


def test_an_operand_must_be_the_same_wherever_it_stands():
    assert recompose(_call("multiply", _x(), _call("sigmoid", _x()))) is None


def test_a_number_must_be_close():
    x = _x()
    assert recompose(_call("power", x, _scalar(2.1))) is None
    assert recompose(_call("power", x, _scalar(2.0001))).op == "square"
    unknown = constant(TensorType(()))
    assert recompose(_call("power", x, unknown)) is None


def test_attributes_must_agree():
    x = _x()
    mean = _call("mean", x, shape=(2, 6, 1), axes=(2,), keepdims=True)
    squares = _call("square", _call("subtract", x, mean))
    assert recompose(_call("mean", squares, shape=(2, 6, 1), axes=(2,), keepdims=True)).op == (
        "variance"
    )
    assert recompose(_call("mean", squares, shape=(2, 1, 5), axes=(1,), keepdims=True)) is None


def test_a_constant_of_another_extent_is_no_part_of_a_normalization():
    normal = _call("layer_norm", _x(), axes=(2,))
    fitting, positions = constant(TensorType((5,))), constant(TensorType((6, 5)))
    assert recompose(_call("multiply", normal, fitting)).op == "layer_norm"
    assert recompose(_call("multiply", normal, positions)) is None


def test_a_result_is_not_broadcast():
    x = _x((5,))
    wide = constant(TensorType((2, 1)), np.full((2, 1), 2.0))
    assert recompose(_call("power", x, wide, shape=(2, 5))) is None


def test_the_mean_over_an_image_may_have_become_a_global_pool():
    x = _x((1, 4, 8, 8))
    pool = Node("global_avg_pool2d", TensorType((1, 4, 1, 1)), [x])
    variance = _call("variance", x, shape=(1, 4, 1, 1), axes=(2, 3), keepdims=True)
    shifted = _call("add", variance, _scalar(1e-5), shape=(1, 4, 1, 1))
    root = _call("sqrt", shifted, shape=(1, 4, 1, 1))
    centered = _call("subtract", x, pool, shape=(1, 4, 8, 8))
    normal = recompose(_call("divide", centered, root, shape=(1, 4, 8, 8)))
    assert (normal.op, normal.attrs) == ("layer_norm", {"axes": (2, 3)})


@pytest.mark.parametrize("text", ["multiply(x", "multiply(x,, y)", "x y", "multiply(x; y)", ""])
def test_what_is_no_pattern_is_rejected(text):
    with pytest.raises((ValueError, IndexError)):
        parse(text)


def test_a_pattern_is_read_as_written():
    assert parse("clip(x, min=LOW, max=inf)") == Term(
        "call", "clip", operands=(Term("operand", "x"),), attrs=(("min", "LOW"), ("max", math.inf))
    )


def test_all_operators_of_patterns_are_in_the_vocabulary():
    def names(term):
        own = {term.name} if term.kind == "call" else set()
        return own.union(*(names(operand) for operand in term.operands))

    used = set().union(*(names(parse(text)) for pair in patterns.PATTERNS for text in pair))
    assert used <= OPERATORS.keys()
