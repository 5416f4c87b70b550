"""Kernels with their operators: the same of both compilers, each in its own interpreter."""

from __future__ import annotations

import importlib.util
import json
import re
from collections import Counter
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tvm", reason="kernels are a compiler's")

import tvm
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper, shape_inference

from measure.weights import fill_weights
from relay_frontend import Kernel, OpGraph, kernels, load
from relay_frontend.errors import InputError, NetworkError
from relay_frontend.fusion import kernels_of
from relay_frontend.graph import TensorType
from tests.networks import PLAIN_FAMILIES, zoo_network

_RELAY = importlib.util.find_spec("tvm.relay") is not None
pytestmark = pytest.mark.relay if _RELAY else pytest.mark.relax

_TARGET = "llvm -mtriple=x86_64-linux-gnu -mcpu=x86-64-v3" if _RELAY else {"kind": "llvm"}

# How the names of kernels call an operator.
_WORDS = {
    "conv2d": "conv2d",
    "dense": "dense" if _RELAY else "matmul",
    "matmul": "batch_matmul" if _RELAY else "matmul",
    "relu": "relu",
    "clip": "clip" if _RELAY else "minimum",
    "max_pool2d": "max_pool2d",
    "concatenate": "concatenate",
    "softmax": "softmax",
}


def _import(model: ModelProto) -> tuple[Any, Any]:
    """The module of this interpreter's TVM, and its parameters."""
    if _RELAY:
        from relay_frontend.relay.importer import import_onnx  # noqa: PLC0415

        module, params = import_onnx(model)
        return module, params
    from relay_frontend.relax.importer import import_onnx as import_relax  # noqa: PLC0415

    return import_relax(model), None


def _found(model: ModelProto) -> tuple[OpGraph, list[Kernel]]:
    module, params = _import(model)
    return load(module, params=params), kernels(module, _TARGET, params)


@cache
def _family(name: str) -> tuple[ModelProto, OpGraph, list[Kernel]]:
    model = fill_weights(zoo_network(name), seed=0)
    return model, *_found(model)


def _built_names(model: ModelProto) -> list[str]:
    """Names of the functions that the built network calls."""
    module, params = _import(model)
    if _RELAY:
        from relay_frontend.relay.kernels import fuse  # noqa: PLC0415

        nodes = json.loads(fuse(module, _TARGET, params).build().get_graph_json())["nodes"]
        return [node["attrs"]["func_name"] for node in nodes if node["op"] == "tvm_op"]
    from tvm.relax.backend.cpu_generic import pipeline  # noqa: PLC0415

    from relay_frontend.relax import kernels as relax_kernels  # noqa: PLC0415

    target = relax_kernels.parse_target(_TARGET)
    lower = [*pipeline.dataflow_lower_passes(target), *pipeline.finalize_passes(target)]
    fused = relax_kernels.fuse(module, target)
    built = tvm.compile(fused.mod, target, relax_pipeline=tvm.transform.Sequential(lower))
    called: list[str] = re.findall(r"^  call +(\S+)", built.as_text(), re.MULTILINE)
    return [name for name in called if not name.startswith("vm.builtin.")]


def _named(kernel: Kernel, op: str) -> int:
    """How often the name of a kernel tells of an operator."""
    return kernel.kind.count(_WORDS[op])


@pytest.mark.parametrize("name", PLAIN_FAMILIES)
def test_kernels_are_those_that_the_built_network_calls(name: str) -> None:
    model, _, found = _family(name)
    assert [kernel.name for kernel in found] == _built_names(model)


@pytest.mark.parametrize("name", PLAIN_FAMILIES)
def test_the_name_of_a_kernel_tells_its_members(name: str) -> None:
    _, graph, found = _family(name)
    words = [op for op in _WORDS if op != "matmul"]
    for kernel in found:
        members = Counter(graph.operators[position].op for position in kernel.operators)
        assert {op: members[op] for op in words} == {op: _named(kernel, op) for op in words}


@pytest.mark.parametrize("name", PLAIN_FAMILIES)
def test_every_operator_is_in_exactly_one_kernel_of_a_plain_network(name: str) -> None:
    _, graph, found = _family(name)
    owners = Counter(position for kernel in found for position in kernel.operators)
    for position, operator in enumerate(graph):
        assert owners[position] == 1 or operator.op == "reshape"


@pytest.mark.parametrize("name", PLAIN_FAMILIES)
def test_a_kernel_writes_what_its_last_operator_does(name: str) -> None:
    _, graph, found = _family(name)
    for kernel in found:
        if kernel.operators:
            last = graph.operators[kernel.operators[-1]]
            assert kernel.results[0].num_bytes == last.write_bytes


@pytest.mark.parametrize("name", PLAIN_FAMILIES)
def test_kernels_guessed_without_the_compiler_are_its_own(name: str) -> None:
    """Relax lets the other one of two convolutions take their sum, as NAS-Bench-201 has them."""
    _, graph, found = _family(name)
    true = {kernel.operators for kernel in found if kernel.operators}
    guessed = {kernel.operators for kernel in kernels_of(graph)}
    alike = sum(len(operators) for operators in true & guessed)
    least = 0.6 if name == "nasbench201" and not _RELAY else 0.95
    assert alike >= least * sum(len(operators) for operators in true)
    assert abs(len(guessed) - len(true)) <= 1


# --- Small networks ---------------------------------------------------------------------------


def _weight(name: str, *shape: int) -> TensorProto:
    values = np.random.default_rng(len(name)).uniform(0.1, 1.0, shape).astype(np.float32)
    return numpy_helper.from_array(values, name)


def _scalar(name: str, value: float) -> TensorProto:
    return numpy_helper.from_array(np.asarray(value, np.float32), name)


def _model(
    nodes: list[NodeProto], inputs: Mapping[str, tuple[int, ...]], weights: list[TensorProto]
) -> ModelProto:
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in inputs.items()
    ]
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "net", values, [result], weights)
    opset = helper.make_opsetid("", 13)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=7)
    return shape_inference.infer_shapes(model)


def _owners(graph: OpGraph, found: list[Kernel], op: str) -> list[str]:
    """Kinds of the kernels that the only operator ``op`` is in."""
    (position,) = (i for i, operator in enumerate(graph) if operator.op == op)
    return [kernel.kind for kernel in found if position in kernel.operators]


def test_attention_is_in_all_kernels_that_it_was_taken_apart_to() -> None:
    node = helper.make_node
    nodes = [
        node("Transpose", ["k"], ["kt"], perm=[0, 2, 1]),
        node("MatMul", ["q", "kt"], ["raw"]),
        node("Mul", ["raw", "scale"], ["scores"]),
        node("Softmax", ["scores"], ["p"], axis=-1),
        node("MatMul", ["p", "v"], ["mixed"]),
        node("Relu", ["mixed"], ["y"]),
    ]
    shapes = dict.fromkeys("qkv", (2, 6, 8))
    graph, found = _found(_model(nodes, shapes, [_scalar("scale", 0.35)]))
    assert [operator.op for operator in graph] == ["attention", "relu"]
    kinds = "_".join(_owners(graph, found, "attention"))
    assert kinds.count(_WORDS["matmul"]) == 2
    assert kinds.count("softmax") == 1
    assert all(kernel.operators for kernel in found)
    assert len(_owners(graph, found, "relu")) == 1


def test_a_norm_is_in_all_kernels_that_it_was_taken_apart_to() -> None:
    node = helper.make_node
    nodes = [
        node("ReduceMean", ["x"], ["mean"], axes=[-1], keepdims=1),
        node("Sub", ["x", "mean"], ["centered"]),
        node("Pow", ["centered", "two"], ["squared"]),
        node("ReduceMean", ["squared"], ["variance"], axes=[-1], keepdims=1),
        node("Add", ["variance", "epsilon"], ["shifted"]),
        node("Sqrt", ["shifted"], ["deviation"]),
        node("Div", ["centered", "deviation"], ["normal"]),
        node("Mul", ["normal", "gain"], ["scaled"]),
        node("Add", ["scaled", "bias"], ["norm"]),
        node("Tanh", ["norm"], ["y"]),
    ]
    weights = [_scalar("two", 2), _scalar("epsilon", 1e-5), _weight("gain", 8), _weight("bias", 8)]
    graph, found = _found(_model(nodes, {"x": (2, 6, 8)}, weights))
    assert [operator.op for operator in graph] == ["layer_norm", "tanh"]
    kinds = _owners(graph, found, "layer_norm")
    assert len(kinds) == len(found)
    assert sum("mean" in kind for kind in kinds) == 2
    (with_tanh,) = _owners(graph, found, "tanh")
    assert with_tanh == found[-1].kind


def test_equal_operators_share_kernels_where_the_compiler_computes_them_once() -> None:
    node = helper.make_node
    nodes = [
        node("Softmax", ["x"], ["a"], axis=1),
        node("Softmax", ["x"], ["b"], axis=1),
        node("MatMul", ["a", "b"], ["y"]),
    ]
    graph, found = _found(_model(nodes, {"x": (4, 4)}, []))
    owned = [k.operators for k in found if "softmax" in k.kind]
    assert [operator.op for operator in graph] == ["softmax", "softmax", "matmul"]
    assert owned == ([(0, 1)] if _RELAY else [(0,), (1,)])


def test_norms_that_follow_each_other_are_told_apart() -> None:
    nodes = [
        helper.make_node("MaxPool", ["x"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("BatchNormalization", ["p", *"gbmv"], ["first"]),
        helper.make_node("Sigmoid", ["first"], ["s"]),
        helper.make_node("Conv", ["s", "w"], ["c"], kernel_shape=[1, 1]),
        helper.make_node("BatchNormalization", ["c", *"gbmv"], ["second"]),
        helper.make_node("Relu", ["second"], ["y"]),
    ]
    weights = [*(_weight(name, 4) for name in "gbmv"), _weight("w", 4, 4, 1, 1)]
    graph, found = _found(_model(nodes, {"x": (1, 4, 8, 8)}, weights))
    ops = ["max_pool2d", "batch_norm", "sigmoid", "conv2d", "relu"]
    assert [operator.op for operator in graph] == ops
    members = [kernel.operators for kernel in found if "conv2d" in kernel.kind]
    assert members == [(3, 4)]
    assert len(_owners(graph, found, "batch_norm")) == 1
    assert _owners(graph, found, "batch_norm") == _owners(graph, found, "sigmoid")


@pytest.mark.skipif(not _RELAY, reason="Relax folds no scale into weights")
def test_a_scale_that_became_part_of_weights_belongs_to_their_kernel() -> None:
    nodes = [
        helper.make_node("Mul", ["x", "scale"], ["scaled"]),
        helper.make_node("Conv", ["scaled", "w"], ["y"], kernel_shape=[1, 1]),
    ]
    weights = [_weight("scale", 4, 1, 1), _weight("w", 8, 4, 1, 1)]
    graph, found = _found(_model(nodes, {"x": (1, 4, 8, 8)}, weights))
    assert [operator.op for operator in graph] == ["multiply", "conv2d"]
    assert [k.operators for k in found if "conv2d" in k.kind] == [(0, 1)]
    assert not any("multiply" in kernel.kind for kernel in found)


# --- The entry --------------------------------------------------------------------------------


def _dense() -> ModelProto:
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    return _model([node], {"x": (2, 8)}, [_weight("w", 8, 4)])


def test_operators_are_not_stored_with_a_kernel() -> None:
    _, found = _found(_dense())
    kernel = next(kernel for kernel in found if kernel.operators)
    assert "operators" not in kernel.to_dict()
    assert Kernel.from_dict(kernel.to_dict()).operators == ()


def test_kernels_of_what_is_no_module_are_refused() -> None:
    with pytest.raises(NetworkError, match="not for ModelProto"):
        kernels(_dense(), _TARGET)


def test_a_module_without_main_is_refused() -> None:
    module, _ = _import(_dense())
    other = tvm.IRModule({tvm.ir.GlobalVar("other"): module["main"]})
    with pytest.raises(NetworkError, match="'main'"):
        kernels(other, _TARGET)


def test_an_unknown_target_is_named() -> None:
    module, params = _import(_dense())
    with pytest.raises(InputError, match="no-such-kind"):
        kernels(module, "no-such-kind", params)


@pytest.mark.skipif(not _RELAY, reason="Relax needs no weights")
def test_relay_needs_the_values_of_parameters() -> None:
    module, params = _import(_dense())
    with pytest.raises(InputError, match="mapping to arrays"):
        kernels(module, _TARGET, list(params))


@pytest.mark.skipif(not _RELAY, reason="Relay's forms")
def test_kernels_of_a_module_in_a_normal_form() -> None:
    module, params = _import(_dense())
    chained = tvm.relay.transform.ToANormalForm()(tvm.relay.transform.InferType()(module))
    members = [kernel.operators for kernel in kernels(chained, _TARGET, params)]
    assert (0,) in members


@pytest.mark.skipif(_RELAY, reason="Relax's way to tell weights")
def test_weights_of_a_relax_module_are_told_by_name_too() -> None:
    module, _ = _import(_dense())
    main = module["main"]
    weight, data = main.params[1], main.params[0]
    plain = tvm.relax.Function([weight, data], main.body, main.ret_ty, main.is_pure)
    module["main"] = plain.with_attr("global_symbol", "main")
    (kernel,) = kernels(module, _TARGET, [weight.name])
    assert (kernel.kind, kernel.operators) == ("matmul", (0,))
    assert kernel.arguments == (TensorType((2, 8)), TensorType((8, 4)))
