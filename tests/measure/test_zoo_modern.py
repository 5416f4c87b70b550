"""The families that came after the paper's: ViT, BERT, ConvNeXt, ShuffleNetV2, DenseNet."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from measure.weights import fill_weights
from measure.zoo import bert, convnext, densenet, shufflenet_v2, transformer, vit
from measure.zoo.builder import NetworkBuilder, Value
from relay_frontend.onnx import read_onnx

SMALL: list[tuple[ModuleType, Any]] = [
    (vit, vit.ViTConfig(patch=8, width=24, depth=2, heads=3, input_size=32, batch=2)),
    (vit, vit.ViTConfig(patch=4, width=16, depth=1, heads=2, input_size=16, joined=False)),
    (bert, bert.BERTConfig(vocabulary=50, width=24, depth=2, heads=3, input_size=7, batch=2)),
    (bert, bert.BERTConfig(vocabulary=9, width=8, depth=1, heads=1, input_size=5, pooler=False)),
    (
        convnext,
        convnext.ConvNeXtConfig(
            depths=(1, 2), widths=(8, 12), kernels=(7, 3), input_size=32, batch=2
        ),
    ),
    (
        shufflenet_v2,
        shufflenet_v2.ShuffleNetV2Config(
            depths=(2, 1), widths=(8, 16), kernels=(3, 5), groups=4, input_size=32, batch=2
        ),
    ),
    (
        densenet,
        densenet.DenseNetConfig(
            stem_width=8, depths=(2, 1), kernels=(3, 5), growth=4, input_size=32, batch=2
        ),
    ),
]

small = pytest.mark.parametrize(("family", "config"), SMALL)


def run(model: onnx.ModelProto, data: npt.NDArray[Any]) -> npt.NDArray[Any]:
    (logits,) = ReferenceEvaluator(fill_weights(model, 0)).run(None, {"input": data})
    return np.asarray(logits)


def draw(value: Value) -> npt.NDArray[Any]:
    rng = np.random.default_rng(0)
    if value.dtype == "int64":
        return rng.integers(0, 9, value.shape)
    return rng.standard_normal(value.shape, dtype=np.float32)


def operators(family: ModuleType, config: Any) -> Counter[str]:
    graph = read_onnx(family.build(config))
    assert graph.unknown_ops == ()
    return Counter(node.op for node in graph.operators)


def num_trained(model: onnx.ModelProto) -> int:
    """Elements of all weights but the means and variances of batch normalization."""
    shapes = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    statistics = {
        name
        for node in model.graph.node
        if node.op_type == "BatchNormalization"
        for name in node.input[3:]
    }
    return sum(
        int(np.prod(shapes[node.input[0]]))
        for node in model.graph.node
        if node.op_type == "ConstantOfShape" and node.output[0] not in statistics
    )


@pytest.mark.parametrize(
    ("family", "config", "parameters", "giga_multiply_adds"),
    [
        (vit, vit.ViTConfig(), 86_567_656, 17.56),
        # Without the two vectors of segments, with a classifier of two classes.
        (bert, bert.BERTConfig(), 109_482_240 - 2 * 768 + 2 * 769, 48.3),
        (convnext, convnext.ConvNeXtConfig(), 28_589_128, 4.46),
        (shufflenet_v2, shufflenet_v2.ShuffleNetV2Config(), 2_278_604, 0.145),
        (densenet, densenet.DenseNetConfig(), 7_978_856, 2.83),
    ],
)
def test_defaults_are_the_published_network(
    family: ModuleType,
    config: Any,
    parameters: int,
    giga_multiply_adds: float,
) -> None:
    net, logits = family.layers(config)
    assert num_trained(family.build(config)) == parameters
    assert net.flops / 2e9 == pytest.approx(giga_multiply_adds, rel=0.01)
    assert logits.shape == (1, config.num_classes)


@small
def test_layers_declare_the_shapes_that_onnx_infers(family: ModuleType, config: Any) -> None:
    model = family.build(config, name="network")
    onnx.checker.check_model(model, full_check=True)
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
    net, logits = family.layers(config)
    inferred = {
        value.name: tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)
        for value in itertools.chain(graph.value_info, graph.output, graph.input)
    }
    assert inferred["input"] == net.input.shape
    assert inferred["logits"] == logits.shape == (config.batch, config.num_classes)


@small
def test_flops_are_those_of_the_operator_graph(family: ModuleType, config: Any) -> None:
    net, _ = family.layers(config)
    graph = read_onnx(family.build(config))
    products = ("conv2d", "dense", "attention")
    # Bias, scale and softmax are in the operators' cost, but not in the builder's.
    assert net.flops <= sum(n.flops for n in graph.operators if n.op in products) <= 1.5 * net.flops


@small
def test_logits_are_finite_and_follow_the_input(family: ModuleType, config: Any) -> None:
    net, logits = family.layers(config)
    model = net.model("network", logits)
    data = draw(net.input)
    first, second = run(model, data), run(model, np.flip(data, axis=-1))
    assert np.isfinite(first).all()
    assert first.shape == logits.shape
    assert not np.allclose(first, second)


@small
def test_a_batch_computes_what_its_members_do_alone(family: ModuleType, config: Any) -> None:
    net, logits = family.layers(replace(config, batch=2))
    data = draw(net.input)
    together = run(net.model("network", logits), data)
    alone = [run(family.build(replace(config, batch=1)), data[i : i + 1]) for i in range(2)]
    np.testing.assert_allclose(together, np.concatenate(alone), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("joined", [True, False])
def test_transformers_read_as_whole_operators(joined: bool) -> None:
    found = operators(vit, vit.ViTConfig(depth=3, width=24, heads=2, joined=joined))
    assert (found["attention"], found["gelu"], found["layer_norm"]) == (3, 3, 7)
    found = operators(bert, bert.BERTConfig(depth=3, width=24, heads=2, input_size=8))
    assert (found["attention"], found["gelu"], found["layer_norm"]) == (3, 3, 7)
    assert found["take"] == 1


def test_convnext_blocks_read_as_whole_operators() -> None:
    config = convnext.ConvNeXtConfig(depths=(1, 2), widths=(8, 16), kernels=(7, 7), input_size=32)
    found = operators(convnext, config)
    assert (found["gelu"], found["layer_norm"], found["softmax"]) == (3, 3 + 2 + 1, 0)


@pytest.mark.parametrize("joined", [True, False])
def test_attention_is_softmax_of_scaled_products(joined: bool) -> None:
    net = NetworkBuilder((2, 5, 12))
    output = transformer.attention(net, net.input, 3, joined=joined)
    model = fill_weights(net.model("network", output), 0)
    weights = [onnx.numpy_helper.to_array(t) for t in model.graph.initializer if "weight" in t.name]
    x = draw(net.input)
    if joined:
        product, bias = weights[:2]
        projected = np.split(x @ product + bias, 3, axis=-1)
    else:
        projected = [x @ weights[i] + weights[i + 1] for i in (0, 2, 4)]
    query, key, value = (p.reshape(2, 5, 3, 4).transpose(0, 2, 1, 3) for p in projected)
    scores = np.exp(query @ key.transpose(0, 1, 3, 2) / np.sqrt(4))
    mixed = (scores / scores.sum(axis=-1, keepdims=True)) @ value
    expected = mixed.transpose(0, 2, 1, 3).reshape(2, 5, 12) @ weights[-2] + weights[-1]
    (found,) = ReferenceEvaluator(model).run(None, {"input": x})
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
