"""Kinds and configurations of kernels, measured ones and guessed ones."""

from __future__ import annotations

import numpy as np
import pytest

from relay_frontend.graph import TensorType
from relay_frontend.kernel import NO_KERNEL, Kernel
from relay_frontend.onnx import read_onnx
from tests.networks import conv_bn_relu, zoo_network
from tests.tvm_costmodel.predictors.networks import PLATFORM
from tvm_costmodel.predictors.base import Network
from tvm_costmodel.predictors.configurations import (
    guess_kernels,
    kernel_configurations,
    kernel_kind,
    network_kernels,
)


def kernel(kind: str, *shapes: tuple[int, ...], name: str = "fused") -> Kernel:
    types = tuple(TensorType(shape) for shape in shapes)
    return Kernel(name=name, kind=kind, arguments=types[:-1], results=types[-1:], flops=1000)


BLOCKED = kernel(
    "nn_contrib_conv2d_NCHWc_add_nn_relu",
    (1, 4, 14, 14, 8), (2, 4, 3, 3, 8, 16), (1, 2, 1, 1, 16), (1, 2, 7, 7, 16),
)  # fmt: skip
PLAIN = kernel("conv2d_add_relu", (1, 32, 14, 14), (32, 32, 3, 3), (1, 32, 1, 1), (1, 32, 7, 7))


def test_compilers_and_layouts_make_no_difference():
    assert kernel_kind(BLOCKED) == kernel_kind(PLAIN) == "conv2d_add_relu"
    np.testing.assert_array_equal(*kernel_configurations([BLOCKED, PLAIN]))


def test_a_configuration_tells_channels_window_and_strides():
    row = kernel_configurations([PLAIN])[0]
    assert row[:12].tolist() == [1, 32, 14, 14, 32, 32, 3, 3, 1, 32, 7, 7]
    assert row[12:15].tolist() == [2, 2, 3]
    moved = 4 * (32 * 196 + 32 * 32 * 9 + 32 + 32 * 49)
    assert row[15:].sum() == pytest.approx(1000 + moved + 1000 / moved)


def test_depthwise_is_told_by_its_weights():
    named = kernel(
        "nn_contrib_depthwise_conv2d_NCHWc",
        (1, 4, 14, 14, 8), (4, 1, 3, 3, 1, 8), (1, 4, 14, 14, 8),
    )  # fmt: skip
    unnamed = kernel("conv2d", (1, 32, 14, 14), (32, 1, 3, 3), (1, 32, 14, 14))
    assert kernel_kind(named) == kernel_kind(unnamed) == "depthwise_conv2d"
    assert kernel_kind(kernel("conv2d", (1, 1, 9, 9), (8, 1, 3, 3), (1, 8, 9, 9))) == "conv2d"


def test_guessed_kernels_look_like_compiled_ones():
    kernels = guess_kernels(read_onnx(conv_bn_relu()))
    conv = kernels[0]
    assert kernel_kind(conv) == "conv2d_add_relu_add"
    assert [t.shape for t in conv.arguments] == [(1, 8, 16, 16), (8, 8, 3, 3), (8,)]
    dense = next(k for k in kernels if "dense" in k.kind)
    assert (10, 8) in [t.shape for t in dense.arguments]
    assert kernel_kind(dense).startswith("dense_add")


@pytest.mark.parametrize("family", ["mobilenet_v2", "shufflenet_v2", "bert", "densenet"])
def test_guesses_keep_work_and_bytes(family):
    graph = read_onnx(zoo_network(family))
    kernels = guess_kernels(graph)
    assert sum(k.flops for k in kernels) == graph.flops
    assert sorted(i for k in kernels for i in k.operators) == list(range(len(graph)))
    assert sum(k.read_bytes for k in kernels) >= graph.param_bytes
    assert np.isfinite(kernel_configurations(kernels)).all()


def test_kernels_that_run_no_code_are_left_out():
    known = (PLAIN, kernel("reshape", (1, 8), (8,), name=NO_KERNEL))
    network = Network(
        name="n", family="f", platform=PLATFORM, graph=read_onnx(conv_bn_relu()), kernels=known
    )
    assert network_kernels(network) == [PLAIN]
