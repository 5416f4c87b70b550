"""Kernels of Relay modules: those that ``relay.build`` builds, with the same numbers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tvm.relay", reason="needs a TVM with Relay")

import tvm
from tvm import relay
from tvm.contrib import graph_executor

from measure.weights import fill_weights
from measure.zoo.builder import NetworkBuilder, Value
from relay_frontend.errors import InputError
from relay_frontend.graph import TensorType
from relay_frontend.kernel import NO_KERNEL, Kernel
from relay_frontend.relay import kernels as relay_kernels
from relay_frontend.relay.flops import operator_flops
from relay_frontend.relay.folding import fold_constants
from relay_frontend.relay.importer import import_onnx

pytestmark = pytest.mark.relay

_TARGET = "llvm -mtriple=x86_64-linux-gnu -mcpu=x86-64-v3"
_Imported = tuple[tvm.IRModule, dict[str, Any]]


def _residual(net: NetworkBuilder) -> Value:
    """ResNet: batch norm folds backward, the sum joins the second convolution."""
    x = net.relu(net.conv_bn(net.input, 16, 3, stride=2))
    y = net.conv_bn(net.relu(net.conv_bn(x, 16, 3)), 16, 3)
    return net.classifier(net.relu(net.add(x, y)), 10)


def _inverted_residual(net: NetworkBuilder) -> Value:
    """MobileNetV2: depthwise convolutions and clipping."""
    x = net.conv_bn(net.input, 8, 3, stride=2)
    y = net.relu6(net.conv_bn(x, 24, 1))
    y = net.relu6(net.conv_bn(y, 24, 3, groups=24))
    return net.classifier(net.add(x, net.conv_bn(y, 8, 1)), 10)


def _grouped(net: NetworkBuilder) -> Value:
    """ShuffleNet: grouped convolutions, for which TVM has no packed layout."""
    x = net.relu(net.conv(net.input, 12, 3, stride=2, bias=True))
    return net.classifier(net.relu(net.conv_bn(x, 12, 3, groups=3)), 10)


def _pre_activation(net: NetworkBuilder) -> Value:
    """DenseNet: batch norm folds forward, through a relu, if its scale is positive."""
    x = net.conv(net.input, 16, 3, stride=2)
    y = net.conv(net.relu(net.batch_norm(x)), 16, 3)
    return net.classifier(net.relu(net.batch_norm(net.concat([x, y]))), 10)


def _fire(net: NetworkBuilder) -> Value:
    """SqueezeNet: branches that are concatenated, pools."""
    x = net.max_pool(net.relu(net.conv(net.input, 16, 3, stride=2, bias=True)), 3, 2)
    branches = [net.relu(net.conv(x, 16, kernel, bias=True)) for kernel in (1, 3)]
    return net.classifier(net.average_pool(net.concat(branches), 3, 1, padding=1), 10)


_NETWORKS: dict[str, Callable[[NetworkBuilder], Value]] = {
    "residual": _residual,
    "inverted_residual": _inverted_residual,
    "grouped": _grouped,
    "pre_activation": _pre_activation,
    "fire": _fire,
}


@cache
def _imported(name: str) -> _Imported:
    net = NetworkBuilder.for_images(batch=1, input_size=32)
    return import_onnx(fill_weights(net.model(name, _NETWORKS[name](net)), seed=0))


@cache
def _fused(name: str) -> relay_kernels.FusedModule:
    return relay_kernels.fuse(_imported(name)[0], _TARGET, _imported(name)[1])


def _plain_build(imported: _Imported) -> Any:
    with tvm.transform.PassContext(opt_level=3):
        return relay.build(imported[0], _TARGET, params=imported[1])


def _function_names(factory: Any) -> list[str]:
    nodes = json.loads(factory.get_graph_json())["nodes"]
    return [node["attrs"]["func_name"] for node in nodes if node["op"] == "tvm_op"]


def _run(factory: Any) -> np.ndarray:
    executor = graph_executor.GraphModule(factory["default"](tvm.cpu()))
    image = np.random.default_rng(1).standard_normal((1, 3, 32, 32), dtype=np.float32)
    executor.set_input("input", image)
    executor.run()
    return executor.get_output(0).numpy()


def _kernels(
    body: relay.Expr, parameters: Mapping[str, np.ndarray] | None = None
) -> tuple[Kernel, ...]:
    module = relay.transform.InferType()(tvm.IRModule.from_expr(body))
    params = {name: tvm.nd.array(value) for name, value in (parameters or {}).items()}
    return relay_kernels.kernels(module, _TARGET, params)


@pytest.mark.parametrize("name", _NETWORKS)
def test_the_fused_module_is_that_of_relay_build(name: str) -> None:
    """Kernels, their order, their weights' shapes and the outputs, with weights of both builds."""
    plain = _plain_build(_imported(name))
    quick = _fused(name).build()
    assert quick.get_graph_json() == plain.get_graph_json()
    np.testing.assert_allclose(_run(quick), _run(plain), rtol=1e-5)


@pytest.mark.parametrize("name", _NETWORKS)
def test_kernels_are_named_as_in_the_built_library(name: str) -> None:
    names = [kernel.name for kernel in relay_kernels.fused_kernels(_fused(name))]
    assert names == _function_names(_fused(name).build())


def test_the_sign_of_a_scale_decides_the_kernels_as_it_does_for_tvm() -> None:
    module, params = _imported("pre_activation")
    scales = {name: tvm.nd.array(-a.numpy()) for name, a in params.items() if "scale" in name}
    negative = {**params, **scales}
    kinds = [kernel.kind for kernel in relay_kernels.kernels(module, _TARGET, negative)]
    positive = [kernel.kind for kernel in relay_kernels.fused_kernels(_fused("pre_activation"))]
    assert kinds != positive
    fused = relay_kernels.fuse(module, _TARGET, negative)
    plain = _plain_build((module, negative))
    assert fused.build().get_graph_json() == plain.get_graph_json()


def test_nearly_all_constants_are_folded_by_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tvm.IRModule] = []

    def fold(module: tvm.IRModule) -> tvm.IRModule:
        folded = fold_constants(module)
        seen.append(folded)
        return folded

    monkeypatch.setattr(relay_kernels, "fold_constants", fold)
    relay_kernels.fuse(_imported("residual")[0], _TARGET, _imported("residual")[1])
    assert seen
    for module in seen:
        tvm.ir.assert_structural_equal(relay.transform.FoldConstant()(module), module)


def test_layouts_are_folded_as_tvm_folds_them() -> None:
    weight = np.arange(8 * 4 * 3 * 3, dtype=np.float32).reshape(8, 4, 3, 3)
    transformed = relay.layout_transform(relay.const(weight), "OIHW", "OIHW2i4o")
    packed = relay.layout_transform(relay.const(weight[:, :, 0, 0]), "NC", "NC2n")
    module = tvm.IRModule.from_expr(relay.Tuple([transformed, packed]))
    module = relay.transform.InferType()(module)
    expected = relay.transform.FoldConstant()(module)["main"].body
    for ours, theirs in zip(fold_constants(module)["main"].body, expected, strict=True):
        assert isinstance(ours, relay.Constant)
        np.testing.assert_array_equal(ours.data.numpy(), theirs.data.numpy())


def test_integer_division_is_left_to_tvm() -> None:
    quotient = relay.divide(relay.const([7], "int32"), relay.const([2], "int32"))
    module = relay.transform.InferType()(tvm.IRModule.from_expr(quotient))
    assert isinstance(fold_constants(module)["main"].body, relay.Call)


def test_constants_that_numpy_has_no_type_for_are_left_to_tvm() -> None:
    half = relay.const(np.array([0.5]), "bfloat16")
    module = relay.transform.InferType()(tvm.IRModule.from_expr(relay.add(half, half)))
    assert isinstance(fold_constants(module)["main"].body, relay.Call)


def test_types_of_a_kernel_include_its_parameters() -> None:
    x = relay.var("x", shape=(1, 32))
    weight = np.ones((64, 32), np.float32)
    dense = relay.nn.relu(relay.nn.dense(x, relay.var("w", shape=weight.shape)))
    (kernel,) = _kernels(dense, {"w": weight})
    assert kernel.kind == "nn_contrib_dense_pack_nn_relu"
    assert kernel.name == f"tvmgen_default_fused_{kernel.kind}"
    assert kernel.arguments[0] == TensorType((1, 32))
    assert kernel.arguments[1].num_elements == 64 * 32
    assert kernel.results == (TensorType((1, 64)),)
    assert kernel.flops == 2 * 32 * 64 + 64


def test_equal_functions_share_a_name_and_others_are_numbered() -> None:
    x = relay.var("x", shape=(1, 8))
    first, second = relay.nn.softmax(x, axis=0), relay.nn.softmax(x, axis=1)
    third = relay.nn.softmax(relay.nn.softmax(second, axis=0), axis=1)
    names = [kernel.name for kernel in _kernels(relay.Tuple([first, third]))]
    prefix = "tvmgen_default_fused_nn_softmax"
    assert names == [prefix, f"{prefix}_1", prefix, f"{prefix}_1"]


def test_long_names_are_cut_as_tvm_cuts_them() -> None:
    x = relay.var("x", shape=(1, 8))
    y = x
    for _ in range(5):
        y = relay.tanh(relay.exp(relay.sigmoid(relay.negative(y))))
    module = relay.transform.InferType()(tvm.IRModule.from_expr(y))
    fused = relay_kernels.fuse(module, _TARGET, {})
    (kernel,) = relay_kernels.fused_kernels(fused)
    assert [kernel.name] == _function_names(fused.build())
    assert kernel.kind == "_".join(["negative_sigmoid_exp_tanh"] * 5)


def test_a_call_that_only_reshapes_runs_no_code() -> None:
    x = relay.var("x", shape=(2, 6))
    y = relay.nn.softmax(relay.reshape(relay.nn.softmax(x), (3, 4)))
    module = relay.transform.InferType()(tvm.IRModule.from_expr(y))
    fused = relay_kernels.fuse(module, _TARGET, {})
    kernels = relay_kernels.fused_kernels(fused)
    assert [kernel.name for kernel in kernels] == _function_names(fused.build())
    assert kernels[1].name == NO_KERNEL
    assert (kernels[1].kind, kernels[1].flops) == ("reshape", 0)


def _conv(channels: int, groups: int, size: int = 8) -> relay.Expr:
    weight = relay.var("w", shape=(channels, 16 // groups, 3, 3))
    x = relay.var("x", shape=(2, 16, size, size))
    return relay.nn.conv2d(
        x, weight, padding=1, groups=groups, channels=channels, kernel_size=(3, 3)
    )


@pytest.mark.parametrize(("channels", "groups"), [(32, 1), (32, 4), (16, 16)])
def test_flops_of_a_convolution_do_not_depend_on_its_layout(channels: int, groups: int) -> None:
    weight = np.ones((channels, 16 // groups, 3, 3), np.float32)
    kernels = _kernels(_conv(channels, groups), {"w": weight})
    assert sum(k.flops for k in kernels) == 2 * (2 * channels * 8 * 8) * (16 // groups) * 9


@pytest.mark.parametrize(
    ("kernel_layout", "weight", "groups"),
    [("HWIO", (3, 5, 16, 32), 1), ("HWOI", (3, 5, 16, 1), 16)],
)
def test_flops_of_a_convolution_need_no_number_of_channels(
    kernel_layout: str, weight: tuple[int, ...], groups: int
) -> None:
    x = relay.var("x", shape=(2, 8, 8, 16))
    layouts = {"data_layout": "NHWC", "kernel_layout": kernel_layout}
    conv = relay.nn.conv2d(
        x,
        relay.var("w", shape=weight),
        padding=(1, 2),
        groups=groups,
        kernel_size=(3, 5),
        **layouts,
    )
    call = relay.transform.InferType()(tvm.IRModule.from_expr(conv))["main"].body
    assert call.attrs.channels is None
    channels = 32 if groups == 1 else 16
    assert operator_flops(call) == 2 * (2 * channels * 8 * 8) * (16 // groups) * 3 * 5


_X = relay.var("x", shape=(1, 4, 8, 8))
_ROWS = relay.var("x", shape=(2, 5, 8))


@pytest.mark.parametrize(
    ("body", "flops"),
    [
        (relay.nn.max_pool2d(_X, (3, 3), (2, 2), padding=(1, 1)), 4 * 16 * 9),
        (relay.nn.global_avg_pool2d(_X), 4 * 64),
        (relay.nn.softmax(_ROWS), 2 * 5 * 8 * 5),
        (relay.nn.lrn(_X, size=5), 4 * 64 * (2 * 5 + 4)),
        (relay.nn.relu(_ROWS), 2 * 5 * 8),
        (relay.mean(_ROWS, axis=2), 2 * 5 * 8),
        (relay.transpose(_ROWS, (0, 2, 1)), 0),
        (relay.concatenate([_ROWS, _ROWS], axis=1), 0),
        (relay.expand_dims(_ROWS, 0), 0),
        (relay.nn.batch_matmul(_ROWS, _ROWS), 2 * 2 * 5 * 5 * 8),
    ],
)
def test_flops(body: relay.Expr, flops: int) -> None:
    assert sum(kernel.flops for kernel in _kernels(body)) == flops


_ESTIMATED = {
    "add",
    "layout_transform",
    "multiply",
    "nn.batch_flatten",
    "nn.contrib_conv2d_NCHWc",
    "nn.contrib_dense_pack",
    "nn.contrib_depthwise_conv2d_NCHWc",
    "nn.conv2d",
    "nn.max_pool2d",
    "nn.relu",
}
"""Operators that TVM counts as we do: a clip is two operations of TVM's, a mean also divides."""


@pytest.mark.parametrize("name", _NETWORKS)
def test_flops_of_a_kernel_are_those_that_tvm_estimates(name: str) -> None:
    fused = _fused(name)
    compared = 0
    for call, kernel in zip(fused.calls(), relay_kernels.fused_kernels(fused), strict=True):
        operators = {call.op.name for call in relay_kernels.operator_calls(call.op)}
        if operators <= _ESTIMATED:
            with fused.target:
                lower = relay.backend.te_compiler.lower_to_primfunc
                loops = tvm.IRModule({"main": lower(call.op, fused.target)})
            assert kernel.flops == tvm.tir.analysis.estimate_tir_flops(loops)
            compared += 1
    assert compared >= 3


def test_an_unknown_target_is_named() -> None:
    module, params = _imported("grouped")
    with pytest.raises(InputError, match="no-such-kind"):
        relay_kernels.fuse(module, "no-such-kind", params)


def test_a_processor_of_another_architecture_is_no_target() -> None:
    target = "llvm -mtriple=x86_64-linux-gnu -mcpu=cortex-a72"
    with pytest.raises(InputError, match=r"does not know the target '.*-mcpu=cortex-a72'"):
        relay_kernels.parse_target(target)
    arm = relay_kernels.parse_target("llvm -mtriple=aarch64-linux-gnu -mcpu=cortex-a72")
    assert arm.attrs["mcpu"] == "cortex-a72"
