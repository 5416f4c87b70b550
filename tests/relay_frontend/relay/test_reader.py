"""Reading Relay: whatever form a module has, its network has one operator graph."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

pytest.importorskip("tvm.relay", reason="needs a TVM with Relay")

import tvm
from tvm import relay

from measure.weights import fill_weights
from relay_frontend import load
from relay_frontend.errors import DynamicShapeError, NetworkError
from relay_frontend.onnx import read_onnx
from relay_frontend.relay import read_relay
from relay_frontend.relay.importer import import_onnx
from tests.networks import TORCH_FILES, torch_networks

pytestmark = pytest.mark.relay

PARAMS = {
    "w": np.ones((8, 3, 3, 3), np.float32),
    "b": np.ones(8, np.float32),
    "d": np.ones((10, 8), np.float32),
}


def _variables():
    x = relay.var("x", shape=(1, 3, 16, 16))
    return x, *(relay.var(name, shape=value.shape) for name, value in PARAMS.items())


def _body(x, w, b, d):
    y = relay.nn.relu(relay.nn.bias_add(relay.nn.conv2d(x, w, kernel_size=(3, 3)), b))
    left, right = relay.split(y, 2, axis=1)
    y = relay.concatenate([right, left], axis=1)
    y = relay.nn.batch_flatten(relay.nn.global_avg_pool2d(y))
    return relay.nn.dense(y, d)


def _module(body, params):
    return tvm.IRModule.from_expr(relay.Function(params, body))


def _plain():
    variables = _variables()
    return _module(_body(*variables), variables)


def _bound():
    function = relay.build_module.bind_params_by_name(_plain()["main"], PARAMS)
    return tvm.IRModule.from_expr(function)


def _typed(module):
    return relay.transform.InferType()(module)


def _a_normal():
    return relay.transform.ToANormalForm()(_typed(_plain()))


def _fused():
    return relay.transform.FuseOps(2)(_typed(_plain()))


def _global_function():
    inner, outer = _variables(), _variables()
    module = tvm.IRModule()
    name = relay.GlobalVar("network")
    module[name] = relay.Function(inner, _body(*inner), relay.TensorType((1, 10)))
    module["main"] = relay.Function(outer, relay.Call(name, outer))
    return module


def _local_closure():
    x, w, b, d = _variables()
    image = relay.var("image", shape=(1, 3, 16, 16))
    function = relay.var("f")
    body = relay.Let(function, relay.Function([image], _body(image, w, b, d)), function(x))
    return _module(body, [x, w, b, d])


def _nested_tuples():
    x, w, b, d = _variables()
    pack = relay.Tuple([relay.Tuple([x, w]), relay.Tuple([b, d])])
    items = [
        relay.TupleGetItem(relay.TupleGetItem(pack, i), j) for i, j in ((0, 0), (0, 1), (1, 0))
    ]
    return _module(_body(*items, d), [x, w, b, d])


FORMS = {
    form.__name__: form
    for form in (_plain, _bound, _a_normal, _fused, _global_function, _local_closure)
} | {"_nested_tuples": _nested_tuples, "typed": lambda: _typed(_plain())}


@pytest.mark.parametrize("form", FORMS.values(), ids=[name.strip("_") for name in FORMS])
def test_every_form_of_a_network_has_one_digest(form):
    graph = read_relay(form(), PARAMS)
    assert [operator.op for operator in graph] == [
        "conv2d",
        "relu",
        "split",
        "split",
        "concatenate",
        "global_avg_pool2d",
        "reshape",
        "dense",
    ]
    assert graph.operators[0].attrs["has_bias"]
    assert graph.operators[4].inputs == (2, 3)
    assert [operator.attrs["index"] for operator in graph.operators[2:4]] == [1, 0]
    assert graph.digest == read_relay(_plain(), PARAMS).digest


@pytest.mark.parametrize("form", [_plain, _a_normal, _fused, _global_function, _local_closure])
def test_parameters_are_found_by_their_use_in_every_form(form):
    assert read_relay(form()).digest == read_relay(_plain(), PARAMS).digest


def test_a_module_is_left_as_it_was():
    module = _plain()
    read_relay(module, PARAMS)
    assert module["main"].body._checked_type_ is None


def test_load_takes_relay_modules():
    assert load(_plain(), params=PARAMS).digest == read_relay(_plain(), PARAMS).digest


# --- Networks written in torch ----------------------------------------------------------------


@pytest.mark.parametrize("name", torch_networks("relay"))
def test_a_network_of_torch_has_the_digest_of_its_onnx(name):
    model = onnx.load(TORCH_FILES / f"{name}.onnx")
    module, params = import_onnx(fill_weights(model, 0))
    graph, expected = read_relay(module, params), read_onnx(model)
    assert graph.unknown_ops == ()
    assert [o.op for o in graph] == [o.op for o in expected]
    assert graph.digest == expected.digest


# --- Other importers --------------------------------------------------------------------------


def _nhwc_network():
    """As the importer of TFLite writes it."""
    x = relay.var("x", shape=(1, 16, 16, 3))
    kernel = relay.const(np.ones((3, 3, 3, 8), np.float32))
    y = relay.nn.conv2d(
        x,
        kernel,
        strides=(2, 2),
        padding=(0, 0, 1, 1),
        channels=8,
        kernel_size=(3, 3),
        data_layout="NHWC",
        kernel_layout="HWIO",
    )
    y = relay.clip(relay.nn.bias_add(y, relay.const(np.ones(8, np.float32)), axis=3), 0.0, 6.0)
    depthwise = relay.const(np.ones((3, 3, 8, 1), np.float32))
    y = relay.nn.conv2d(
        y,
        depthwise,
        padding=(1, 1, 1, 1),
        groups=8,
        channels=8,
        kernel_size=(3, 3),
        data_layout="NHWC",
        kernel_layout="HWOI",
    )
    y = relay.nn.avg_pool2d(y, pool_size=(2, 2), strides=(2, 2), layout="NHWC")
    y = relay.nn.max_pool2d(y, pool_size=(2, 2), strides=(2, 2), layout="NHWC")
    y = relay.nn.batch_flatten(y)
    weight = relay.const(np.ones((10, 32), np.float32))
    y = relay.nn.bias_add(relay.nn.dense(y, weight, units=10), relay.const(np.ones(10, "float32")))
    return _module(relay.nn.softmax(y), [x])


def test_a_network_of_layout_nhwc_keeps_its_layout():
    graph = read_relay(_nhwc_network())
    assert graph.unknown_ops == ()
    assert [operator.op for operator in graph] == [
        "conv2d_nhwc",
        "clip",
        "conv2d_nhwc",
        "avg_pool2d_nhwc",
        "max_pool2d_nhwc",
        "reshape",
        "dense",
        "softmax",
    ]
    first, _, depthwise = graph.operators[:3]
    assert first.attrs == {
        "kernel_size": (3, 3),
        "strides": (2, 2),
        "padding": (0, 0, 1, 1),
        "dilation": (1, 1),
        "groups": 1,
        "has_bias": True,
    }
    assert first.flops == 8 * 8 * 8 * (2 * 27 + 1)
    assert depthwise.attrs["groups"] == 8
    assert depthwise.flops == 8 * 8 * 8 * 2 * 9
    assert graph.operators[6].attrs["has_bias"]


def test_a_batch_norm_over_the_last_dimension_joins_its_convolution():
    x = relay.var("x", shape=(1, 8, 8, 3))
    kernel = relay.const(np.ones((1, 1, 3, 4), np.float32))
    y = relay.nn.conv2d(x, kernel, data_layout="NHWC", kernel_layout="HWIO", kernel_size=(1, 1))
    vectors = [relay.const(np.ones(4, np.float32)) for _ in range(4)]
    y = relay.nn.batch_norm(y, *vectors, axis=3)[0]
    graph = read_relay(_module(y, [x]))
    assert [operator.op for operator in graph] == ["conv2d_nhwc"]
    assert graph.operators[0].attrs["has_bias"]


# --- Types ------------------------------------------------------------------------------------


def test_an_unknown_dimension_is_named():
    x = relay.var("x", shape=(relay.Any(), 3))
    with pytest.raises(DynamicShapeError, match=r"parameter 'x': dimension 0 is symbolic"):
        read_relay(_module(relay.nn.relu(x), [x]))


def test_a_dynamic_operator_of_constant_operands_is_static():
    x = relay.var("x", shape=(2, 12))
    shape = relay.var("shape", shape=(2,), dtype="int64")
    module = _module(relay.reshape(relay.nn.relu(x), shape), [x, shape])
    graph = read_relay(module, {"shape": np.array([4, 6])})
    assert [(operator.op, operator.shape) for operator in graph] == [
        ("relu", (2, 12)),
        ("reshape", (4, 6)),
    ]


def test_a_dynamic_operator_of_data_is_refused():
    x = relay.var("x", shape=(2, 12))
    shape = relay.var("shape", shape=(2,), dtype="int64")
    module = _module(relay.reshape(relay.nn.relu(x), shape), [x, shape])
    with pytest.raises(DynamicShapeError, match=r"dyn\.reshape"):
        read_relay(module)


def test_a_module_that_does_not_type_check_is_refused():
    x, y = relay.var("x", shape=(2, 3)), relay.var("y", shape=(4, 5))
    with pytest.raises(NetworkError, match="does not type-check"):
        read_relay(_module(relay.add(x, y), [x, y]))


# --- What is not dataflow ---------------------------------------------------------------------


def test_a_module_without_main_is_refused():
    with pytest.raises(NetworkError, match="no function 'main'"):
        read_relay(tvm.IRModule())
    x = relay.var("x", shape=(relay.Any(), 3))
    module = tvm.IRModule({relay.GlobalVar("other"): relay.Function([x], relay.nn.relu(x))})
    with pytest.raises(NetworkError, match="no function 'main'"):
        load(module, shapes={"x": (2, 3)})


def test_control_flow_is_refused():
    x, flag = relay.var("x", shape=(2,)), relay.var("flag", shape=(), dtype="bool")
    with pytest.raises(NetworkError, match="If expressions are not read"):
        read_relay(_module(relay.If(flag, relay.nn.relu(x), x), [x, flag]))


def test_recursion_is_refused():
    module = tvm.IRModule()
    name = relay.GlobalVar("loop")
    x, y = relay.var("x", shape=(2,)), relay.var("y", shape=(2,))
    module[name] = relay.Function([y], name(relay.nn.relu(y)), relay.TensorType((2,)))
    module["main"] = relay.Function([x], name(x), relay.TensorType((2,)))
    with pytest.raises(NetworkError, match="'loop' is recursive"):
        read_relay(module)


def test_an_operator_outside_of_the_vocabulary_is_listed():
    x = relay.var("x", shape=(2, 6))
    graph = read_relay(_module(relay.nn.relu(relay.sort(x)), [x]))
    assert graph.unknown_ops == ("sort",)
    assert [operator.op for operator in graph] == ["opaque", "relu"]


def test_what_a_converter_cannot_read_is_named(monkeypatch):
    from relay_frontend import native  # noqa: PLC0415
    from relay_frontend.relay import operators as relay_operators  # noqa: PLC0415

    monkeypatch.setattr(native, "module", None)
    monkeypatch.setitem(relay_operators._CONVERTERS, "sort", lambda operator: operator.attrs.lost)
    x = relay.var("x", shape=(2, 6))
    with pytest.raises(NetworkError, match=r"sort 'sort' cannot be read .*float32\[2, 6\]"):
        read_relay(_module(relay.sort(x), [x]))


# --- Depth ------------------------------------------------------------------------------------


@pytest.mark.parametrize("a_normal", [False, True], ids=["nested", "let"])
def test_depth_does_not_matter(a_normal):
    depth = 5_000
    x = relay.var("x", shape=(1, 8))
    if a_normal:
        names = [relay.var("v") for _ in range(depth)]
        body = names[-1]
        for position in reversed(range(depth)):
            operand = names[position - 1] if position else x
            body = relay.Let(names[position], relay.tanh(operand), body)
    else:
        body = x
        for _ in range(depth):
            body = relay.tanh(body)
    assert len(read_relay(_module(body, [x]))) == depth


def test_functions_that_double_the_network_at_every_level_are_refused(monkeypatch):
    from relay_frontend.relay import calls  # noqa: PLC0415

    monkeypatch.setattr(calls, "MAX_INLINED", 1_000)  # the native reader's is larger
    module = tvm.IRModule()
    type_ = relay.TensorType((2,))
    y = relay.var("y", shape=(2,))
    callee = relay.GlobalVar("f0")
    module[callee] = relay.Function([y], relay.nn.relu(y), type_)
    for level in range(1, 40):
        y = relay.var("y", shape=(2,))
        caller = relay.GlobalVar(f"f{level}")
        module[caller] = relay.Function([y], callee(callee(y)), type_)
        callee = caller
    x = relay.var("x", shape=(2,))
    module["main"] = relay.Function([x], callee(x), type_)
    with pytest.raises(NetworkError, match="over 1000 calls of functions"):
        read_relay(module)


# --- Operators that no ONNX network gives -----------------------------------------------------


def _ops(body, *inputs):
    graph = read_relay(_module(body, list(inputs)))
    assert graph.unknown_ops == ()
    return [(operator.op, dict(operator.attrs), operator.shape) for operator in graph]


def test_pools_to_a_given_size():
    x = relay.var("x", shape=(1, 4, 12, 12))
    window = {
        "kernel_size": (4, 4),
        "strides": (4, 4),
        "padding": (0, 0, 0, 0),
        "count_include_pad": False,
    }
    assert _ops(relay.nn.adaptive_avg_pool2d(x, (3, 3)), x) == [
        ("avg_pool2d", window, (1, 4, 3, 3))
    ]
    assert _ops(relay.nn.adaptive_max_pool2d(x, (1, 1)), x) == [
        ("global_max_pool2d", {}, (1, 4, 1, 1))
    ]


def test_products_of_transposed_operands_have_their_transposes_as_operators():
    a, b = relay.var("a", shape=(2, 4, 8)), relay.var("b", shape=(2, 5, 8))
    product = relay.nn.batch_matmul(a, b, transpose_b=True)
    assert _ops(product, a, b) == [
        ("transpose", {"axes": (0, 2, 1)}, (2, 8, 5)),
        ("matmul", {}, (2, 4, 5)),
    ]


def test_the_further_results_of_an_operator_are_items():
    x = relay.var("x", shape=(2, 10))
    values, positions = relay.topk(x, k=3)
    ops = _ops(relay.Tuple([values, relay.nn.relu(relay.cast(positions, "float32"))]), x)
    assert [op for op, _, _ in ops] == ["top_k", "item", "cast", "relu"]
    assert ops[0][1] == {"axis": 1, "k": 3}
    assert _ops(relay.topk(x, k=3, ret_type="indices"), x)[1] == ("item", {"index": 1}, (2, 3))


def test_constants_of_bfloat16_are_numbers():
    x = relay.var("x", shape=(2, 3), dtype="bfloat16")
    half, three = (relay.const(np.array(value), "bfloat16") for value in (0.5, 3.0))
    bounded = {"max": float("inf")}
    assert _ops(relay.maximum(x, half), x) == [("clip", {"min": 0.5, **bounded}, (2, 3))]
    quotient = relay.divide(three, relay.const(np.array(2.0), "bfloat16"))
    assert _ops(relay.maximum(x, quotient), x) == [("clip", {"min": 1.5, **bounded}, (2, 3))]
    low = relay.var("low", shape=(), dtype="bfloat16")
    graph = read_relay(_module(relay.maximum(x, low), [x, low]), {"low": half.data})
    assert [operator.attrs["min"] for operator in graph] == [0.5]


def test_slices_say_where_they_begin_in_every_dimension():
    x = relay.var("x", shape=(4, 10, 6))
    sliced = relay.strided_slice(x, begin=[-4], end=[10], strides=[2], axes=[1])
    assert _ops(sliced, x) == [("slice", {"begin": (0, 6, 0), "strides": (1, 2, 1)}, (4, 2, 6))]
    sized = relay.strided_slice(x, begin=[1, 2, 0], end=[2, -1, 6], slice_mode="size")
    assert _ops(sized, x) == [("slice", {"begin": (1, 2, 0), "strides": (1, 1, 1)}, (2, 8, 6))]


def test_operators_on_integers_are_those_on_floats_with_another_type():
    x = relay.var("x", shape=(1, 4, 8, 8), dtype="int8")
    zero, scale = relay.const(0, "int32"), relay.const(0.5, "float32")
    kernel = relay.const(np.ones((4, 4, 1, 1), np.int8))
    matrix = relay.const(np.ones((3, 256), np.int8))
    pairs = (zero, zero, scale, scale)
    y = relay.qnn.op.conv2d(x, kernel, *pairs, kernel_size=(1, 1), channels=4)
    y = relay.qnn.op.requantize(y, scale, zero, scale, zero, out_dtype="int8")
    y = relay.qnn.op.add(y, x, scale, zero, scale, zero, scale, zero)
    y = relay.qnn.op.dense(relay.nn.batch_flatten(y), matrix, *pairs, units=3)
    y = relay.qnn.op.dequantize(y, scale, zero)
    graph = read_relay(_module(y, [x]))
    assert graph.unknown_ops == ()
    assert [(operator.op, operator.dtype) for operator in graph] == [
        ("conv2d", "int32"),
        ("quantize", "int8"),
        ("add", "int8"),
        ("reshape", "int8"),
        ("dense", "int32"),
        ("dequantize", "float32"),
    ]
    assert graph.operators[0].flops == 2 * 4 * 4 * 64


def test_a_tensor_filled_with_what_is_computed_is_no_constant():
    x = relay.var("x", shape=())
    filled = relay.full(relay.tanh(x), (2, 3), "float32")
    assert [op for op, _, _ in _ops(filled, x)] == ["tanh", "broadcast_to"]


def test_what_adds_while_it_scatters_is_outside_of_the_vocabulary():
    x, u = relay.var("x", shape=(2, 6)), relay.var("u", shape=(2, 3))
    i = relay.var("i", shape=(2, 3), dtype="int64")
    for reduction, unknown in (("update", ()), ("add", ("other.scatter_elements",))):
        body = relay.scatter_elements(x, i, u, 1, reduction)
        assert read_relay(_module(body, [x, i, u])).unknown_ops == unknown


# --- Shapes -----------------------------------------------------------------------------------


def _dynamic():
    x = relay.var("x", shape=(relay.Any(), 8))
    return _module(relay.nn.relu(x), [x])


def test_dynamic_dimensions_are_bound():
    graph = load(_dynamic(), shapes={"x": (2, 8)})
    assert [t.shape for t in graph.inputs] == [(2, 8)]
    assert graph.operators[0].shape == (2, 8)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"z": (2, 8)}, "no input named 'z'; the inputs are x"),
        ({"x": (2, 8, 1)}, "'x' has the type"),
        ({"x": (2, 9)}, r"'x' has the type .* which is not \[2, 9\]"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(shapes, message):
    with pytest.raises(NetworkError, match=message):
        load(_dynamic(), shapes=shapes)
