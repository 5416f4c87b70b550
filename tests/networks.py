"""Small ONNX networks for tests, and the real ones that the onnx package ships."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from measure.zoo import sample

LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
DATA = Path(__file__).parent / "data"
TORCH_FILES = DATA / "torch"
"""Weightless ONNX files of networks written in PyTorch, see ``tools/export_torch_networks.py``."""

FAMILIES: dict[str, int] = {
    "alexnet": 53,
    "vgg": 34,
    "resnet": 24,
    "googlenet": 35,
    "squeezenet": 32,
    "mobilenet_v2": 57,
    "mobilenet_v3": 57,
    "mnasnet": 31,
    "efficientnet": 27,
    "nasbench201": 16,
    "densenet": 24,
    "shufflenet_v2": 47,
    "convnext": 9,
    "vit": 59,
    "bert": 7,
}
"""Families of the zoo, and for each the seed of a network of few operators."""

# All that the onnx package ships; DenseNet and Inception v2 take longest to import.
LIGHT_NETWORKS = (
    "bvlc_alexnet",
    "densenet121",
    "inception_v1",
    "inception_v2",
    "resnet50",
    "shufflenet",
    "squeezenet",
    "vgg19",
    "zfnet512",
)

TORCH_NETWORKS = (
    "vit",
    "bert",
    "convnext",
    "lstm_text",
    "unet",
    "swin",
    "mobilenet_v3",
    "efficientnet",
    "gpt",
)

DIFFERENCES: dict[tuple[str, str], str] = {
    ("lstm_text", "relay"): "TVM's ONNX importer for Relay writes an LSTM step by step",
    ("lstm_text", "relax"): "TVM's ONNX importer for Relax has no LSTM",
    ("lstm_text", "core"): "torch's core operators have a recurrence step by step",
    ("swin", "core"): "torch's core operators have torch.roll as a gather by positions",
}
"""Network of torch and source whose graph is not that of its ONNX file, and why.

Sources are ``relay`` and ``relax`` (TVM's ONNX importers), ``torch`` (the module itself) and
``core`` (a Relax module that TVM imported from a program decomposed into torch's core operators).
"""


PLAIN_FAMILIES = (
    "vgg",
    "resnet",
    "googlenet",
    "squeezenet",
    "mobilenet_v2",
    "nasbench201",
    "densenet",
    "shufflenet_v2",
)
"""Families of convolutions, poolings and activations that TVM does not take apart."""


def _expected_to_differ(name: str, source: str) -> pytest.MarkDecorator:
    takes_long = (name, source) == ("lstm_text", "core")  # hundreds of steps
    return pytest.mark.xfail(reason=DIFFERENCES[name, source], strict=True, run=not takes_long)


def torch_networks(source: str) -> list[Any]:
    """The torch-written networks as parameters; those that differ are expected to fail."""
    return [
        pytest.param(
            name,
            marks=[_expected_to_differ(name, source)] if (name, source) in DIFFERENCES else [],
        )
        for name in TORCH_NETWORKS
    ]


def zoo_network(family: str) -> onnx.ModelProto:
    """A small network of a family of :data:`FAMILIES`."""
    return sample(family, FAMILIES[family], "small").model


def light(name: str) -> onnx.ModelProto:
    return onnx.load(LIGHT / f"light_{name}.onnx")


def model(
    nodes: Sequence[onnx.NodeProto],
    input_shape: Sequence[int | str] = (1, 8, 16, 16),
    weights: dict[str, Sequence[int] | np.ndarray] | None = None,
    outputs: Sequence[str] = ("y",),
    opset: int = 17,
) -> onnx.ModelProto:
    """A model of ``nodes`` from input ``x``; weights are given by shape (normal) or by value."""
    rng = np.random.default_rng(0)
    initializers = [
        numpy_helper.from_array(
            value
            if isinstance(value, np.ndarray)
            else rng.standard_normal(tuple(value)).astype(np.float32),
            name,
        )
        for name, value in (weights or {}).items()
    ]
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(input_shape))],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        initializers,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def conv_bn_relu() -> onnx.ModelProto:
    """Padding, convolution, batch norm, relu, residual addition, pooling, classifier."""
    node = helper.make_node
    return model(
        [
            node("Conv", ["x", "w"], ["c"], name="conv", pads=[1, 1, 1, 1]),
            node("BatchNormalization", ["c", "s", "b", "m", "v"], ["n"], name="bn"),
            node("Relu", ["n"], ["r"], name="relu"),
            node("Add", ["r", "x"], ["a"], name="add"),
            node("GlobalAveragePool", ["a"], ["g"], name="pool"),
            node("Flatten", ["g"], ["f"], name="flatten"),
            node("Gemm", ["f", "fw", "fb"], ["y"], name="fc", transB=1),
        ],
        weights={
            "w": (8, 8, 3, 3),
            "s": (8,),
            "b": (8,),
            "m": (8,),
            "v": np.ones(8, np.float32),
            "fw": (10, 8),
            "fb": (10,),
        },
    )
