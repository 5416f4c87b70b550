"""The native reader of Relay against its Python twin: the same graphs, or Python's own errors."""

from __future__ import annotations

import ctypes

import numpy as np
import onnx
import pytest

pytest.importorskip("tvm.relay", reason="needs a TVM with Relay")

import tvm
from tvm import relay
from tvm._ffi.base import _LIB

from measure.weights import fill_weights
from relay_frontend import load, native
from relay_frontend.canonical.canonicalize import canonicalize
from relay_frontend.errors import CostModelError, DynamicShapeError, NetworkError
from relay_frontend.relay import read_network, read_relay
from relay_frontend.relay.importer import import_onnx
from tests.networks import FAMILIES, TORCH_FILES, light, zoo_network
from tests.relay_frontend.operator_cases import CASES

pytestmark = [
    pytest.mark.relay,
    pytest.mark.skipif(
        native.module is None or not hasattr(native.module, "read_relay"),
        reason="the native core was not built, or is turned off",
    ),
]

TORCH = sorted(TORCH_FILES.glob("*.onnx"))
LIGHT = ("shufflenet", "inception_v1")
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32")
REALS = ("float16", "bfloat16", "float32", "float64")

# Folding powers in C could differ from numpy in the last digit.
CASES_LEFT_TO_PYTHON: set[str] = set()


def python(module, params=None):
    return canonicalize(read_network(module, params))


def assert_same(module, params=None):
    """Both readers make the same graph, and the native one was really used."""
    graph = load(module, params=params)
    assert isinstance(graph, native.NativeOpGraph)
    assert graph.to_dict() == python(module, params).to_dict()
    return graph


def assert_same_typed_and_untyped(model):
    module, params = import_onnx(fill_weights(model, 0))
    graph = assert_same(module, params)
    assert_same(module)
    typed = assert_same(relay.transform.InferType()(module), params)
    assert typed.digest == graph.digest


def module_of(body, *inputs):
    return tvm.IRModule.from_expr(relay.Function(list(inputs), body))


# --- Networks ---------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_networks_of_the_zoo_are_the_same(family):
    assert_same_typed_and_untyped(zoo_network(family))


@pytest.mark.parametrize("name", LIGHT)
def test_real_networks_are_the_same(name):
    assert_same_typed_and_untyped(light(name))


@pytest.mark.parametrize("path", TORCH, ids=lambda path: path.stem)
def test_networks_written_in_torch_are_the_same(path):
    assert_same_typed_and_untyped(onnx.load(path))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_each_operator_is_the_same(case):
    module, params = import_onnx(fill_weights(case.model, 0))
    expected = python(module, params).to_dict()
    graph = load(module, params=params)
    assert graph.to_dict() == expected
    assert isinstance(graph, native.NativeOpGraph) == (case.name not in CASES_LEFT_TO_PYTHON)


# --- Forms of modules -------------------------------------------------------------------------


def block(x, w, b):
    y = relay.nn.relu(relay.nn.bias_add(relay.nn.conv2d(x, w, kernel_size=(3, 3)), b))
    left, right = relay.split(y, 2, axis=1)
    return relay.nn.batch_flatten(relay.concatenate([right, left], axis=1))


def block_variables():
    return [
        relay.var(name, shape=shape)
        for name, shape in (("x", (1, 3, 16, 16)), ("w", (8, 3, 3, 3)), ("b", (8,)))
    ]


def plain_module():
    variables = block_variables()
    return module_of(block(*variables), *variables)


def typed(module):
    return relay.transform.InferType()(module)


def global_function():
    inner, outer = block_variables(), block_variables()
    module = tvm.IRModule()
    name = relay.GlobalVar("network")
    module[name] = relay.Function(inner, block(*inner), relay.TensorType((1, 8 * 14 * 14)))
    module["main"] = relay.Function(outer, relay.Call(name, outer))
    return module


def local_closure():
    x, w, b = block_variables()
    image, function = relay.var("image", shape=(1, 3, 16, 16)), relay.var("f")
    body = relay.Let(function, relay.Function([image], block(image, w, b)), function(x))
    return module_of(body, x, w, b)


def nested_tuples():
    x, w, b = block_variables()
    pack = relay.Tuple([relay.Tuple([x, w]), b])
    inner = relay.TupleGetItem(pack, 0)
    items = [
        relay.TupleGetItem(inner, 0),
        relay.TupleGetItem(inner, 1),
        relay.TupleGetItem(pack, 1),
    ]
    return module_of(relay.Tuple([block(*items), relay.Tuple([x])]), x, w, b)


def tuple_parameter():
    image, w, b = block_variables()
    pair = relay.var("pair", relay.TupleType([v.type_annotation for v in (image, w)]))
    return module_of(block(relay.TupleGetItem(pair, 0), relay.TupleGetItem(pair, 1), b), pair, b)


FORMS = {
    "plain": plain_module,
    "a_normal": lambda: relay.transform.ToANormalForm()(typed(plain_module())),
    "fused": lambda: relay.transform.FuseOps(2)(typed(plain_module())),
    "global_function": global_function,
    "local_closure": local_closure,
    "nested_tuples": nested_tuples,
    "tuple_parameter": tuple_parameter,
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_module_is_the_same(form):
    module = FORMS[form]()
    assert_same(module)
    assert_same(module, ["w", "b"])
    assert_same(typed(module), {"w": None, "b": np.ones(8, np.float32)})


def test_operators_of_integers_are_the_same():
    x, weight = relay.var("x", shape=(1, 4), dtype="int8"), relay.const(np.ones((3, 4), np.int8))
    zero, scale = relay.const(0, "int32"), relay.const(0.5, "float32")
    scales = relay.const(np.full(3, 0.5, np.float32))
    y = relay.qnn.op.dense(x, weight, zero, zero, scale, scales, units=3, out_dtype="int32")
    y = relay.qnn.op.requantize(y, scales, zero, scale, zero, axis=1, out_dtype="int8")
    y = relay.qnn.op.add(y, y, scale, zero, scale, zero, scale, zero)
    y = relay.qnn.op.dequantize(relay.qnn.op.sigmoid(y, scale, zero, scale, zero), scale, zero)
    assert_same(module_of(y, x))


def test_layout_nhwc_is_the_same():
    x = relay.var("x", shape=(1, 16, 16, 3))
    kernel, vector = relay.const(np.ones((3, 3, 3, 8), "float32")), np.ones(8, "float32")
    layout = {"data_layout": "NHWC", "kernel_layout": "HWIO", "kernel_size": (3, 3)}
    y = relay.nn.conv2d(x, kernel, padding=(0, 0, 1, 1), channels=8, **layout)
    y = relay.nn.bias_add(y, relay.const(vector), axis=3)
    y = relay.nn.batch_norm(y, *[relay.const(vector)] * 4, axis=-1)[0]
    y = relay.nn.avg_pool2d(y, pool_size=(2, 2), strides=(2, 2), layout="NHWC")
    assert_same(module_of(relay.nn.global_max_pool2d(y, layout="NHWC"), x))


def test_depth_does_not_matter():
    x = relay.var("x", shape=(1, 8))
    body = x
    for _ in range(20_000):
        body = relay.tanh(body)
    assert len(load(module_of(body, x))) == 20_000


# --- Types that this side finds out -------------------------------------------------------------


def untyped_operators():
    x = relay.var("x", shape=(2, 6, 9, 9))
    w, g = relay.var("w", shape=(8, 3, 3, 3)), relay.var("g", shape=(8,))
    d = relay.var("d", shape=(5, 8))
    strided = relay.nn.conv2d(x, w, strides=(2, 1), padding=(1, 0, 2, 1), groups=2, dilation=(1, 2))
    normal = relay.nn.batch_norm(strided, g, g, g, g)[0]
    summed = relay.add(normal, relay.expand_dims(g, 1, 2))
    return {
        "conv2d": (strided, x, w),
        "batch_norm": (normal, x, w, g),
        "broadcast": (relay.multiply(g, relay.var("c", shape=(3, 1))), g),
        "bias": (relay.nn.bias_add(strided, g), x, w, g),
        "dense": (relay.nn.dense(relay.var("v", shape=(4, 3, 8)), d), d),
        "together": (relay.nn.relu(summed), x, w, g),
    }


@pytest.mark.parametrize("name", untyped_operators())
def test_types_of_untyped_modules_are_those_of_type_inference(name):
    body, *_ = untyped_operators()[name]
    module = module_of(body, *relay.analysis.free_vars(body))
    assert_same(module, ["w", "g", "d"])


@pytest.mark.parametrize("model", [lambda: zoo_network("resnet"), lambda: onnx.load(TORCH[0])])
def test_common_networks_need_no_type_inference(model):
    module, params = import_onnx(fill_weights(model(), 0))
    untyped = []
    relay.analysis.post_order_visit(
        module["main"].body,
        lambda e: untyped.append(e) if isinstance(e, relay.Call) and not e._checked_type_ else None,
    )
    assert untyped

    def never(*_):
        raise AssertionError("a pass of TVM was asked for")

    assert native.module.read_relay(_LIB._name, module, params, never, never)


def ill_typed():
    x, w = relay.var("x", shape=(1, 3, 8, 8)), relay.var("w", shape=(4, 3, 3, 3))
    v, d = relay.var("v", shape=(2, 7)), relay.var("d", shape=(5, 8))
    half = relay.var("half", shape=(1, 3, 8, 8), dtype="float16")
    vector = relay.var("vector", shape=(4,))
    return {
        "broadcast": relay.add(x, v),
        "dtype": relay.add(x, half),
        "kernel": relay.nn.conv2d(x, w, kernel_size=(5, 5), channels=4),
        "channels": relay.nn.conv2d(x, w, kernel_size=(3, 3), channels=8),
        "units": relay.nn.dense(v, d, units=5),
        "bias": relay.nn.bias_add(x, vector),
        "batch norm": relay.nn.batch_norm(x, *[vector] * 4)[0],
    }


@pytest.mark.parametrize("name", ill_typed())
def test_what_type_inference_refuses_is_refused(name):
    body = ill_typed()[name]
    with pytest.raises(NetworkError, match="does not type-check"):
        load(module_of(body, *relay.analysis.free_vars(body)))


# --- Constants ----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["bool", *INTEGERS, *REALS])
def test_small_constants_of_every_type_are_the_same(dtype):
    x = relay.var("x", shape=(2, 3), dtype=dtype)
    ones, mixed = (relay.const(np.array(values), dtype) for values in ([1, 1, 1], [0, 1, 0]))
    if dtype == "bool":
        body = relay.logical_and(relay.logical_or(x, ones), mixed)
    else:
        body = relay.add(relay.multiply(x, ones), mixed)
    assert_same(module_of(body, x))


def folded_expressions():
    def const(values, dtype="float32"):
        return relay.const(np.array(values, dtype))

    a, b = const([[1.1, -2.7, 3.3], [0.1, 5.0, -6.9]]), const([0.3, -7.0, 1e-3])
    halves = const([0.5, -1.5, 2.5], "bfloat16")
    i, j = const([7, -7, 120], "int32"), const([2, 2, -3], "int32")
    return {
        "arithmetic": relay.subtract(relay.multiply(relay.add(a, b), a), relay.divide(b, a)),
        "bfloat16": relay.cast(relay.divide(halves, relay.cast(b, "bfloat16")), "float32"),
        "broadcast": relay.broadcast_to(relay.negative(b), (4, 3)),
        "cast": relay.cast(a, "int32"),
        "comparison": relay.where(relay.greater(a, b), a, relay.maximum(b, relay.zeros_like(a))),
        "concatenate": relay.concatenate([a, relay.reshape(b, (1, 3))], axis=0),
        "fill": relay.add(relay.full(relay.const(2.5), (2, 3)), relay.ones((3,), "float32")),
        "floor": relay.cast(relay.divide(i, j), "float32"),
        "half": relay.multiply(relay.cast(a, "float16"), relay.cast(b, "float16")),
        "integers": relay.add(relay.multiply(i, j), i),
        "not a number": relay.isnan(relay.sqrt(a)),
        "roots": relay.rsqrt(relay.sqrt(relay.maximum(a, relay.const(0.7)))),
        "shape": relay.shape_of(relay.var("x", shape=(2, 3))),
        "slice": relay.strided_slice(a, begin=[0, -1], end=[2, -4], strides=[1, -2]),
        "take": relay.take(a, relay.const(np.array([2, 0], "int64")), axis=1),
        "transpose": relay.transpose(a),
        "wrap": relay.multiply(const([100, 50], "int8"), const([3, 9], "int8")),
    }


def scaled_where_equal(value, expected):
    """A module that scales its input by one for each element that is as expected, else by zero."""
    x = y = relay.var("data", shape=(2, 3, 4))
    equal = relay.cast(relay.equal(value, relay.const(expected)), "float32")
    for i in range(expected.size):
        factor = relay.take(equal, relay.const(np.array(i, "int64")))
        y = relay.multiply(y, factor)
    return module_of(y, x, *relay.analysis.free_vars(value))


@pytest.mark.parametrize("name", folded_expressions())
def test_constant_expressions_have_the_values_of_python(name):
    value = folded_expressions()[name]
    module = typed(module_of(value, *relay.analysis.free_vars(value)))
    (node,) = read_network(module).outputs
    expected = np.broadcast_to(node.value, node.type.shape).astype(node.type.dtype)
    assert len(assert_same(scaled_where_equal(value, expected))) == 0
    assert len(assert_same(scaled_where_equal(value, (expected == 0).astype(expected.dtype)))) > 0


def test_parameters_are_read_from_arrays_of_numpy_and_of_tvm():
    x, low = relay.var("x", shape=(2, 3)), relay.var("low", shape=())
    module = module_of(relay.nn.pad(x, [(0, 0), (1, 1)], low), x, low)
    value = np.array(-2.5, np.float32)
    assert [o.op for o in assert_same(module, {"low": value})] == ["pad"]
    assert [o.op for o in assert_same(module, {"low": tvm.nd.array(value)})] == ["pad"]
    assert assert_same(module, ["low"]).unknown_ops == ("nn.pad",)


# --- Memory -------------------------------------------------------------------------------------


def test_references_to_objects_are_given_back():
    def count(node):
        """The reference counter, which follows the type index in TVM's objects."""
        return ctypes.c_int32.from_address(node.handle.value + 4).value

    module = typed(plain_module())
    body = module["main"].body
    watched = [module, module["main"], body, body.args[0], body.op, body.attrs, body.span]
    watched += [body.checked_type, body.checked_type.shape[0], body.args[0].args[0]]
    watched = [node for node in watched if node is not None]
    before = [count(node) for node in watched]
    for _ in range(10):
        assert isinstance(load(module), native.NativeOpGraph)
    assert [count(node) for node in watched] == before


# --- What is left to Python ---------------------------------------------------------------------


def refused():
    x, flag = relay.var("x", shape=(2,)), relay.var("flag", shape=(), dtype="bool")
    dynamic = relay.var("x", shape=(relay.Any(), 3))
    loop, y = tvm.IRModule(), relay.var("y", shape=(2,))
    name = relay.GlobalVar("loop")
    loop[name] = relay.Function([y], name(relay.nn.relu(y)), relay.TensorType((2,)))
    loop["main"] = relay.Function([x], name(x), relay.TensorType((2,)))
    return {
        "no function 'main'": tvm.IRModule(),
        "If expressions are not read": module_of(relay.If(flag, relay.nn.relu(x), x), x, flag),
        "'loop' is recursive": loop,
        "dimension 0 is symbolic": module_of(relay.nn.relu(dynamic), dynamic),
    }


@pytest.mark.parametrize("message", refused())
def test_what_is_refused_has_the_message_of_python(message):
    error: type[CostModelError] = DynamicShapeError if "symbolic" in message else NetworkError
    with pytest.raises(error, match=message):
        read_relay(refused()[message])


def test_an_operator_without_its_attributes_is_left_to_python():
    x = relay.var("x", shape=(2, 3))
    broken = relay.Call(tvm.ir.Op.get("nn.softmax"), [x], None)
    with pytest.raises(NetworkError):
        load(module_of(broken, x))


def test_another_library_is_not_searched():
    module = plain_module()
    arguments = (module, None, typed, lambda module, params: module)
    assert native.attempt("read_relay", "/nowhere/libtvm.so", *arguments) is None
    assert read_network(module)
