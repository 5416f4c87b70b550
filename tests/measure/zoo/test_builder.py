"""Layers that are written to ONNX."""

from __future__ import annotations

import itertools
import math

import numpy as np
import onnx
import pytest
from onnx import ModelProto
from onnx.reference import ReferenceEvaluator

from measure.zoo.builder import ACTIVATIONS, NetworkBuilder
from measure.zoo.inverted_residual import InvertedResiduals, append_stages


def inferred_shapes(model: ModelProto) -> dict[str, tuple[int, ...]]:
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
    return {
        value.name: tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)
        for value in itertools.chain(graph.value_info, graph.output, graph.input)
    }


def test_builder_tracks_strides_padding_and_groups() -> None:
    net = NetworkBuilder.for_images(batch=2, input_size=33)
    x = net.conv(net.input, 8, 5, stride=2)
    assert x.shape == (2, 8, 17, 17)
    x = net.conv(x, 8, 3, groups=8)
    assert net.flops == 2 * 2 * 17 * 17 * 8 * (3 * 25 + 9)
    assert net.num_parameters == 8 * (3 * 25 + 9)
    x = net.average_pool(net.max_pool(x, 3, 2, padding=1), 2, 2)
    assert x.shape == (2, 8, 4, 4)
    x = net.concat([x, x])
    assert net.flatten(x).shape == (2, 16 * 16)
    logits = net.classifier(x, 7)
    assert inferred_shapes(net.model("network", logits))["logits"] == (2, 7)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("relu", lambda x: max(x, 0.0)),
        ("relu6", lambda x: min(max(x, 0.0), 6.0)),
        ("swish", lambda x: x / (1 + math.exp(-x))),
        ("sigmoid", lambda x: 1 / (1 + math.exp(-x))),
        ("hard_swish", lambda x: x * min(max(x + 3, 0.0), 6.0) / 6),
        ("hard_sigmoid", lambda x: min(max(x + 3, 0.0), 6.0) / 6),
    ],
)
def test_activation_computes_its_formula(name, expected) -> None:
    net = NetworkBuilder((1, 9))
    model = net.model(name, net.activation(net.input, name))
    onnx.checker.check_model(model, full_check=True)
    x = np.linspace(-8, 8, 9, dtype=np.float32).reshape(1, 9)
    (y,) = ReferenceEvaluator(model).run(None, {"input": x})
    np.testing.assert_allclose(y[0], [expected(value) for value in x[0]], atol=1e-5)


def test_every_activation_is_tested() -> None:
    (mark,) = test_activation_computes_its_formula.pytestmark
    assert {name for name, _ in mark.args[1]} == set(ACTIVATIONS)


def test_inverted_residual_has_its_parts() -> None:
    net = NetworkBuilder((1, 8, 16, 16))
    stage = InvertedResiduals(expansion=3, width=8, depth=2, stride=2, squeeze=0.5, kernel=5)
    y = append_stages(net, net.input, [stage])
    model = net.model("block", y)
    assert inferred_shapes(model)["logits"] == y.shape == (1, 8, 8, 8)
    nodes = model.graph.node
    kinds = [node.op_type for node in nodes if node.op_type != "ConstantOfShape"]
    block = ["Conv", "BatchNormalization", "Clip", "Conv", "BatchNormalization", "Clip"]
    block += [
        "GlobalAveragePool",
        "Conv",
        "Relu",
        "Conv",
        "Sigmoid",
        "Mul",
        "Conv",
        "BatchNormalization",
    ]
    assert kinds == [*block, *block, "Add"]
    groups = [a.i for node in nodes for a in node.attribute if a.name == "group"]
    assert groups == [1, 24, 1, 1, 1] * 2


def test_block_without_expansion_is_a_separable_convolution() -> None:
    net = NetworkBuilder((1, 8, 16, 16))
    stage = InvertedResiduals(expansion=1, width=16, depth=1, stride=1)
    y = append_stages(net, net.input, [stage])
    assert net.flops == 2 * 16 * 16 * (8 * 9 + 8 * 16)
    assert y.shape == (1, 16, 16, 16)
