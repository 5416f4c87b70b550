"""The native reader of Relax against its Python twin: the same graphs, or Python's own errors."""

from __future__ import annotations

import ctypes
import os
import re
import subprocess
import sys

import numpy as np
import pytest

from measure.weights import fill_weights
from relay_frontend import load, native
from relay_frontend.canonical.canonicalize import canonicalize
from relay_frontend.errors import CostModelError, DynamicShapeError, NetworkError
from tests.networks import FAMILIES, conv_bn_relu, light, zoo_network
from tests.relay_frontend import relax_cases
from tests.relay_frontend.operator_cases import CASES

pytestmark = [
    pytest.mark.relax,
    pytest.mark.skipif(
        native.module is None or not hasattr(native.module, "read_relax"),
        reason="the native core was not built, or is turned off",
    ),
]

TORCH = (
    *("vit", "bert", "convnext", "lstm_text", "unet", "swin", "mobilenet_v3", "efficientnet"),
    "gpt",
)
LIGHT = ("shufflenet", "inception_v1")
INTEGERS = ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32")
DTYPES = (*INTEGERS, "float16", "bfloat16", "float32", "float64")


def import_onnx(model):
    from relay_frontend.relax.importer import import_onnx  # noqa: PLC0415 (imports TVM)

    return import_onnx(model)


def imported(model):
    """The module, if TVM's importer knows all operators of the model."""
    try:
        return import_onnx(model)
    except NetworkError as error:
        pytest.skip(str(error))


def python(module, params=None):
    from relay_frontend.relax import read_network  # noqa: PLC0415 (imports TVM)

    return canonicalize(read_network(module, params))


def assert_same(module, params=None):
    """Both readers make the same graph, and the native one was really used."""
    graph = load(module, params=params)
    assert isinstance(graph, native.NativeOpGraph)
    expected = python(module, params)
    assert graph.to_dict() == expected.to_dict()
    return graph


def assert_left_to_python(module, error: type[CostModelError] | None = None, match: str = ""):
    """The native reader gives no graph; Python does, or says what is wrong."""
    if error is None:
        assert not isinstance(load(module), native.NativeOpGraph)
        return
    with pytest.raises(error, match=match):
        load(module)


# --- Networks ---------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_networks_of_the_zoo_are_the_same(family):
    assert_same(import_onnx(zoo_network(family)))


@pytest.mark.parametrize("name", LIGHT)
def test_real_networks_are_the_same(name):
    assert_same(import_onnx(light(name)))


@pytest.mark.parametrize("name", TORCH)
def test_networks_of_torch_are_the_same(name, monkeypatch):
    from relay_frontend.torch import reader as torch_reader  # noqa: PLC0415 (imports TVM)
    from tests.relay_frontend import torch_networks  # noqa: PLC0415 (needs torch)

    modules = []
    monkeypatch.setattr(torch_reader, "read_relax", modules.append)
    network, inputs = torch_networks.build(name)
    load(network, example_inputs=inputs)
    assert_same(*modules)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_each_operator_is_the_same(case):
    module = imported(case.model)
    try:
        python(module)
    except CostModelError as error:
        assert_left_to_python(module, type(error), re.escape(str(error)))
    else:
        assert_same(module)


def test_weights_as_constants_are_the_same():
    from tvm.relax.frontend.onnx import from_onnx  # noqa: PLC0415

    network = zoo_network("mobilenet_v2")
    graph = assert_same(from_onnx(fill_weights(network, 0)))
    assert graph.digest == load(network).digest


# --- Modules that no importer writes so ---------------------------------------------------------


def function_of(build, *shapes, dtype="float32"):
    """A module whose ``main`` returns ``build(block builder, variables)``."""
    from tvm import relax  # noqa: PLC0415

    builder = relax.BlockBuilder()
    inputs = [relax.Var(f"x{i}", relax.TensorType(shape, dtype)) for i, shape in enumerate(shapes)]
    with builder.function("main", inputs):
        builder.emit_func_output(build(builder, inputs))
    return builder.get()


@pytest.mark.parametrize("name", relax_cases.CALLS)
def test_each_call_is_the_same(name):
    build = relax_cases.CALLS[name]
    module = function_of(lambda builder, xs: builder.emit(build(xs[0])), (2, 4, 6, 8))
    assert len(assert_same(module).inputs) == 1


@pytest.mark.parametrize("name", relax_cases.CONSTANTS)
def test_each_constant_has_the_same_value(name):
    """Its elements become bounds of clips, where they can be seen."""
    from tvm import relax  # noqa: PLC0415

    op = relax.op
    value = relax_cases.CONSTANTS[name]()

    def build(builder, inputs):
        constant = builder.emit(value)
        flat = builder.emit(op.astype(op.reshape(constant, (-1,)), "float32"))
        x = inputs[0]
        bounded = []
        for i in range(int(flat.ty.shape[0])):
            low = op.reshape(op.take(flat, relax.const([i], "int64")), ())
            high = relax.const(1e6, "float32")
            bounded.append(builder.emit(op.minimum(op.maximum(x, low), high)))
        return builder.emit(relax.Tuple(bounded))

    graph = assert_same(function_of(build, (2, 3)))
    assert {operator.op for operator in graph} <= {"clip", "relu"}


def test_parameters_are_weights_by_name_or_by_number():
    module = import_onnx(conv_bn_relu())
    names = [var.name for var in module["main"].params]
    everything = assert_same(module, params=[])
    assert len(everything.inputs) == len(names)
    assert len(assert_same(module).inputs) == 1
    assert len(assert_same(module, params=dict.fromkeys(names[1:])).inputs) == 1


def test_nested_calls_and_tuples_are_the_same():
    from tvm import relax  # noqa: PLC0415

    def build(builder, inputs):
        x, y = inputs
        pair = builder.emit(relax.Tuple([relax.Tuple([x, relax.op.exp(y)]), y]))
        inner = builder.emit(relax.TupleGetItem(pair, 0))
        nested = relax.op.nn.relu(relax.op.add(relax.op.tanh(x), y))
        return builder.emit(relax.Tuple([builder.emit(nested), inner]))

    graph = assert_same(function_of(build, (2, 3), (2, 3)))
    assert "relu" in [operator.op for operator in graph]


@pytest.mark.parametrize("dtype", DTYPES)
def test_small_constants_of_every_type_are_the_same(dtype):
    from tvm import relax  # noqa: PLC0415

    def build(builder, inputs):
        ones = relax.const(np.ones((1, 3)), dtype)
        halves = relax.const(np.array([0, 1, 0]), dtype)
        x = inputs[0]
        if dtype == "bool":
            return builder.emit(relax.op.logical_and(relax.op.logical_or(x, ones), halves))
        return builder.emit(relax.op.add(relax.op.multiply(x, ones), halves))

    assert_same(function_of(build, (2, 3), dtype=dtype))


def test_functions_of_the_module_are_inlined_the_same():
    from tvm import relax  # noqa: PLC0415

    type_ = relax.TensorType((2, 3), "float32")
    builder = relax.BlockBuilder()
    y = relax.Var("y", type_)
    with builder.function("helper", [y]):
        builder.emit_func_output(builder.emit(relax.op.exp(y)))
    helper = builder.get().get_global_var("helper")
    x = relax.Var("x", type_)
    with builder.function("main", [x]):
        once = builder.emit(relax.Call(helper, [x]))
        builder.emit_func_output(builder.emit(relax.Call(helper, [once])))
    assert [operator.op for operator in assert_same(builder.get())] == ["exp", "exp"]


def test_references_to_objects_are_given_back():
    def count(node):
        return ctypes.c_uint32.from_address(node.__chandle__()).value

    module = import_onnx(conv_bn_relu())
    function = module["main"]
    block = function.body.blocks[0]
    binding = block.bindings[0]
    watched = [function, function.body, block, binding, binding.var, binding.value, binding.var.ty]
    watched += [binding.value.op, binding.value.attrs, binding.var.ty.shape.values[0]]
    before = [count(node) for node in watched]
    for _ in range(10):
        assert native.module.read_relax(module.__chandle__(), None, _library())
    assert [count(node) for node in watched] == before


def _library():
    from tvm_ffi.libinfo import find_libtvm_ffi  # noqa: PLC0415

    return find_libtvm_ffi()


# --- What is left to Python ----------------------------------------------------------------------


def test_symbolic_shapes_get_the_message_of_python():
    from tvm import relax, tirx  # noqa: PLC0415

    n = tirx.Var("n", "int64")
    module = function_of(lambda builder, xs: builder.emit(relax.op.exp(xs[0])), (n, 3))
    assert_left_to_python(module, DynamicShapeError, "dimension 0 is symbolic")


def test_unknown_shapes_get_the_message_of_python():
    from tvm import relax  # noqa: PLC0415

    x = relax.Var("x", relax.TensorType(None, "float32", ndim=2))
    builder = relax.BlockBuilder()
    with builder.function("main", [x]):
        builder.emit_func_output(builder.emit(relax.op.exp(x)))
    assert_left_to_python(builder.get(), DynamicShapeError, "no static shape")


def test_branches_get_the_message_of_python():
    from tvm import relax  # noqa: PLC0415

    x = relax.Var("x", relax.TensorType((2, 3), "float32"))
    condition = relax.Var("condition", relax.TensorType((), "bool"))

    def branch(op):
        y = relax.Var("y", x.ty)
        return relax.SeqExpr([relax.BindingBlock([relax.VarBinding(y, op(x))])], y)

    builder = relax.BlockBuilder()
    with builder.function("main", [x, condition]):
        chosen = relax.If(condition, branch(relax.op.exp), branch(relax.op.tanh))
        builder.emit_func_output(builder.emit(chosen))
    assert_left_to_python(builder.get(), NetworkError, "If")


def test_legalized_modules_get_the_message_of_python():
    from tvm import relax, target  # noqa: PLC0415

    with target.Target("llvm"):
        module = relax.transform.LegalizeOps()(import_onnx(conv_bn_relu()))
    assert_left_to_python(module, NetworkError, "the module is legalized")


def test_a_module_without_main_gets_the_message_of_python():
    from tvm import ir  # noqa: PLC0415

    assert_left_to_python(ir.IRModule(), NetworkError, "no function 'main'")


def test_a_main_that_is_no_relax_function_gets_the_message_of_python():
    from tvm import ir, tirx  # noqa: PLC0415

    module = ir.IRModule({"main": tirx.PrimFunc([], tirx.Evaluate(0))})
    assert_left_to_python(module, NetworkError, "no function 'main'")


def test_objects_that_are_no_modules_do_not_crash():
    function = import_onnx(conv_bn_relu())["main"]
    assert native.attempt("read_relax", function.__chandle__(), None, _library()) is None


def test_a_process_without_the_library_of_tvm_ffi_reads_nothing():
    script = (
        "from relay_frontend import native\n"
        "assert native.module is not None\n"
        "assert native.attempt('read_relax', 0, None, '/no/libtvm_ffi.so') is None\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    subprocess.run([sys.executable, "-c", script], check=True, env=environment)


def test_deeply_nested_expressions_are_left_to_python():
    from tvm import relax  # noqa: PLC0415

    def build(builder, inputs):
        nested = inputs[0]
        for _ in range(150):
            nested = relax.Tuple([nested])
        return builder.emit(nested)

    assert_left_to_python(function_of(build, (2, 3)))
