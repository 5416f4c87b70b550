"""The fused kernels are those of TVM's pipeline with bound weights, and compute the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

pytest.importorskip("tvm.relax.backend.cpu_generic", reason="TVM 0.16 has an early Relax")

import tvm
import tvm_ffi
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from tvm import relax
from tvm.relax.backend.cpu_generic import pipeline
from tvm.relax.frontend.onnx import from_onnx

from relay_frontend.errors import DynamicShapeError, NetworkError
from relay_frontend.graph import TensorType
from relay_frontend.relax.importer import import_onnx
from relay_frontend.relax.kernels import (
    WEIGHTS_FUNCTION,
    FusedModule,
    fuse,
    fused_kernels,
    kernel_kind,
    kernels,
    run_pass,
)

pytestmark = pytest.mark.relax

_TARGET = tvm.target.Target({"kind": "llvm"})
_LOWERING = tvm.transform.Sequential(
    [*pipeline.dataflow_lower_passes(_TARGET), *pipeline.finalize_passes(_TARGET)]
)


def _tensor(name: str, *shape: int) -> TensorProto:
    values = np.random.default_rng(sum(map(ord, name))).uniform(0.1, 1.0, shape)
    return numpy_helper.from_array(values.astype(np.float32), name)


def _conv_bn(x: str, out: str, channels: int, **attrs: Any) -> tuple[list[NodeProto], list[Any]]:
    """A convolution over 4 channels with batch norm."""
    group = attrs.get("group", 1)
    size = attrs.get("kernel_shape", [3, 3])[0]
    nodes = [
        helper.make_node("Conv", [x, f"{out}_w"], [f"{out}_c"], **attrs),
        helper.make_node(
            "BatchNormalization", [f"{out}_c", *(f"{out}_{p}" for p in "gbmv")], [out]
        ),
    ]
    weights = [_tensor(f"{out}_w", channels, 4 // group, size, size)]
    return nodes, weights + [_tensor(f"{out}_{p}", channels) for p in "gbmv"]


def _residual_network() -> ModelProto:
    """A residual block, a depthwise one with ReLU6, a batch norm alone, and a classifier."""
    same = {"pads": [1, 1, 1, 1], "kernel_shape": [3, 3]}
    first, first_weights = _conv_bn("x", "first", 4, **same)
    depthwise, depthwise_weights = _conv_bn("added", "depthwise", 4, group=4, **same)
    nodes = [
        *first,
        helper.make_node("Relu", ["first"], ["active"]),
        helper.make_node("Add", ["active", "x"], ["added"]),
        *depthwise,
        helper.make_node("Clip", ["depthwise", "zero", "six"], ["clipped"]),
        helper.make_node("MaxPool", ["clipped"], ["pooled"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("BatchNormalization", ["pooled", *"gbmv"], ["normal"]),
        helper.make_node("GlobalAveragePool", ["normal"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("Gemm", ["flat", "dense", "bias"], ["y"], transB=1),
    ]
    scalars = [
        numpy_helper.from_array(np.array(value, np.float32), name)
        for name, value in (("zero", 0), ("six", 6))
    ]
    weights = [*first_weights, *depthwise_weights, *(_tensor(name, 4) for name in "gbmv")]
    return _model(nodes, [*weights, _tensor("dense", 5, 4), _tensor("bias", 5), *scalars])


def _model(
    nodes: list[NodeProto], initializers: list[TensorProto], size: int | str = 8
) -> ModelProto:
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4, size, size])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        initializers,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)


def _fuse_with_bound_weights(network: ModelProto) -> tvm.IRModule:
    """The default pipeline up to fusion, with TVM's own passes and constant weights."""
    with _TARGET:
        return tvm.transform.Sequential(
            [
                relax.transform.FoldBatchnormToConv2D(),
                relax.transform.DecomposeOpsForInference(),
                relax.transform.CanonicalizeBindings(),
                *pipeline.library_dispatch_passes(_TARGET),
                *pipeline.legalize_passes(_TARGET),
                relax.transform.RewriteDataflowReshape(),
            ]
        )(from_onnx(network))


def _called_primfuncs(mod: tvm.IRModule) -> list[tvm.tirx.PrimFunc]:
    """The PrimFuncs in the order of their calls, without their names."""
    return [
        mod[binding.value.args[0]].without_attr("global_symbol")
        for block in mod["main"].body.blocks
        for binding in block.bindings
        if getattr(binding.value, "op", None) == tvm.ir.Op.get("relax.call_tir")
    ]


def _run(mod: tvm.IRModule, function: str, *arguments: Any) -> Any:
    executable = tvm.compile(mod, _TARGET, relax_pipeline=_LOWERING)
    return relax.VirtualMachine(executable, tvm.cpu())[function](*arguments)


def _parameters(network: ModelProto, mod: tvm.IRModule) -> list[Any]:
    """Values of the parameters of ``main`` that follow its inputs."""
    values = {t.name: numpy_helper.to_array(t) for t in network.graph.initializer}
    params = mod["main"].params[int(mod["main"].attrs["num_input"]) :]
    return [tvm.runtime.tensor(values[param.name]) for param in params]


@pytest.fixture(scope="module")
def network() -> ModelProto:
    return _residual_network()


@pytest.fixture(scope="module")
def bound(network: ModelProto) -> tvm.IRModule:
    return _fuse_with_bound_weights(network)


@pytest.fixture(scope="module")
def fused(network: ModelProto) -> FusedModule:
    return fuse(import_onnx(network), _TARGET)


def test_kernels_equal_those_with_bound_weights(fused: FusedModule, bound: tvm.IRModule) -> None:
    ours, theirs = _called_primfuncs(fused.mod), _called_primfuncs(bound)
    assert len(ours) == len(theirs)
    assert all(tvm_ffi.structural_equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_outputs_equal_those_with_bound_weights(
    network: ModelProto, fused: FusedModule, bound: tvm.IRModule
) -> None:
    data = np.random.default_rng(0).standard_normal((1, 4, 8, 8), dtype=np.float32)
    x = tvm.runtime.tensor(data)
    parameters = _parameters(network, import_onnx(network))
    weights = _run(fused.weights_mod, WEIGHTS_FUNCTION, [*parameters, *fused.constants])
    ours: npt.NDArray[Any] = _run(fused.mod, "main", x, *weights).numpy()
    theirs: npt.NDArray[Any] = _run(bound, "main", x).numpy()
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_kernels_are_the_calls_in_order(fused: FusedModule) -> None:
    found = fused_kernels(fused)
    assert [kernel.kind for kernel in found] == [
        "conv2d_add_relu_add",
        "conv2d_add_maximum_minimum",
        "max_pool2d_subtract_divide_multiply_add",
        "mean",
        "matmul_add",
    ]
    assert all(kernel.name in {str(v.name_hint) for v in fused.mod.functions} for kernel in found)


def test_kernels_carry_the_types_of_their_tensors(fused: FusedModule) -> None:
    image = TensorType((1, 4, 8, 8))
    first = fused_kernels(fused)[0]
    shift = TensorType((1, 4, 1, 1))
    assert first.arguments == (image, TensorType((4, 4, 3, 3)), shift)
    assert first.results == (image,)


def test_inputs_and_weights_are_the_parameters_of_main(fused: FusedModule) -> None:
    assert fused.inputs == (TensorType((1, 4, 8, 8)),)
    assert len(fused.mod["main"].params) == 1 + len(fused.weights)


def test_flops_count_a_multiply_add_as_two() -> None:
    node = helper.make_node("Conv", ["x", "w"], ["y"])
    (conv,) = kernels(import_onnx(_model([node], [_tensor("w", 6, 4, 1, 1)])), _TARGET)
    assert conv.flops == 2 * (6 * 4 * 8 * 8)


def test_constant_weights_give_the_kernels_of_parameters(
    network: ModelProto, fused: FusedModule
) -> None:
    constant = fuse(from_onnx(network), _TARGET)
    num_parameters = len(_parameters(network, import_onnx(network)))
    assert fused_kernels(constant) == fused_kernels(fused)
    assert (len(constant.constants), len(fused.constants)) == (num_parameters, 0)


def test_a_network_without_weights_has_kernels() -> None:
    mod = import_onnx(_model([helper.make_node("Relu", ["x"], ["y"])], []))
    fused = fuse(mod, _TARGET)
    assert fused.weights == ()
    assert [kernel.kind for kernel in fused_kernels(fused)] == ["relu"]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("fused_conv2d7_add3_relu1_2", "conv2d_add_relu"),
        ("max_pool2d", "max_pool2d"),
        ("conv2d12", "conv2d"),
        ("fused_log23_atan21_add", "log2_atan2_add"),
    ],
)
def test_kind_is_the_name_without_numbers(name: str, kind: str) -> None:
    assert kernel_kind(name) == kind


def test_a_module_without_main_is_refused() -> None:
    with pytest.raises(NetworkError, match="'main'"):
        fuse(tvm.IRModule({}), _TARGET)


def test_a_symbolic_dimension_is_refused() -> None:
    mod = from_onnx(_model([helper.make_node("Relu", ["x"], ["y"])], [], "side"))
    with pytest.raises(DynamicShapeError, match="side"):
        fuse(mod, _TARGET)


def test_a_pass_that_rejects_a_network_is_named(network: ModelProto) -> None:
    @tvm.transform.module_pass(opt_level=0, name="Strict")  # type: ignore[untyped-decorator]
    def strict(_mod: tvm.IRModule, _context: tvm.transform.PassContext) -> tvm.IRModule:
        raise ValueError("no kernel for this")

    with pytest.raises(NetworkError, match="pass Strict rejects the network: no kernel for this"):
        run_pass(strict, import_onnx(network))
