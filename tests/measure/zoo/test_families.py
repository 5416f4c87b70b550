"""The ten families of convolutional networks against what is published of them."""

from __future__ import annotations

import itertools

import onnx
import pytest
from onnx import ModelProto

from measure.zoo import (
    alexnet,
    efficientnet,
    googlenet,
    mnasnet,
    mobilenet_v2,
    mobilenet_v3,
    nasbench201,
    resnet,
    sample,
    squeezenet,
    vgg,
)
from relay_frontend import load


def multiply_adds(model: ModelProto) -> float:
    """Of convolutions and dense layers, in G."""
    return sum(o.flops for o in load(model) if o.op in ("conv2d", "dense")) / 2e9


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        # As published in the papers and in torchvision's table of models. AlexNet's is without
        # padding of the first convolution, ResNet-50's has its strides in the 3x3 convolutions,
        # NAS-Bench-201's has 3x3 convolutions on all edges.
        (alexnet.build(alexnet.AlexNetConfig()), 0.724),
        (vgg.build(vgg.VGGConfig()), 15.47),
        (resnet.build(resnet.ResNetConfig()), 1.814),
        (resnet.build(resnet.ResNetConfig(bottleneck=True, depths=(3, 4, 6, 3))), 4.089),
        (googlenet.build(googlenet.GoogLeNetConfig()), 1.6),
        (squeezenet.build(squeezenet.SqueezeNetConfig()), 0.349),
        (mobilenet_v2.build(mobilenet_v2.MobileNetV2Config()), 0.3008),
        (mobilenet_v3.build(mobilenet_v3.MobileNetV3Config()), 0.219),
        (mnasnet.build(mnasnet.MnasNetConfig()), 0.312),
        (efficientnet.build(efficientnet.EfficientNetConfig()), 0.386),
        (nasbench201.build(nasbench201.NASBench201Config(cell=("nor_conv_3x3",) * 6)), 0.2201),
    ],
    ids=lambda value: value.graph.name if isinstance(value, ModelProto) else str(value),
)
def test_default_configurations_cost_what_is_published(model: ModelProto, expected: float) -> None:
    onnx.checker.check_model(model, full_check=True)
    assert multiply_adds(model) == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        # Parameters in millions, from the papers and torchvision.
        (alexnet.build(alexnet.AlexNetConfig()), 60.97),
        (vgg.build(vgg.VGGConfig()), 138.36),
        (resnet.build(resnet.ResNetConfig()), 11.69),
        (squeezenet.build(squeezenet.SqueezeNetConfig()), 1.235),
        (mobilenet_v2.build(mobilenet_v2.MobileNetV2Config()), 3.505),
        (mobilenet_v3.build(mobilenet_v3.MobileNetV3Config()), 5.483),
        (mnasnet.build(mnasnet.MnasNetConfig()), 3.887),
        (efficientnet.build(efficientnet.EfficientNetConfig()), 5.289),
    ],
    ids=lambda value: value.graph.name if isinstance(value, ModelProto) else str(value),
)
def test_default_configurations_have_the_published_parameters(
    model: ModelProto, expected: float
) -> None:
    # Batch normalization is folded into convolutions, so that half of its parameters are gone.
    assert load(model).param_bytes / 4e6 == pytest.approx(expected, rel=0.02)


def test_grouped_convolutions_divide_the_cost() -> None:
    config = resnet.ResNetConfig(bottleneck=True, depths=(3, 4, 6, 3), widths=(128, 256, 512, 1024))
    whole = multiply_adds(resnet.build(config))
    halved = resnet.ResNetConfig(
        bottleneck=True, depths=config.depths, widths=config.widths, groups=2
    )
    graph = load(resnet.build(halved))
    grouped = [o for o in graph if o.op == "conv2d" and o.attrs["groups"] == 2]
    assert len(grouped) == sum(config.depths)
    assert whole - multiply_adds(resnet.build(halved)) == pytest.approx(
        sum(o.flops for o in grouped) / 2e9, rel=1e-3
    )


def test_local_response_normalization_stands_where_the_papers_have_it() -> None:
    for model in (
        alexnet.build(alexnet.AlexNetConfig()),
        googlenet.build(googlenet.GoogLeNetConfig()),
    ):
        assert [node.op_type for node in model.graph.node].count("LRN") == 2
    for config in (alexnet.AlexNetConfig(lrn=False), googlenet.GoogLeNetConfig(batch_norm=True)):
        build = alexnet.build if isinstance(config, alexnet.AlexNetConfig) else googlenet.build
        assert "LRN" not in {node.op_type for node in build(config).graph.node}


@pytest.mark.parametrize(
    ("cell", "live"),
    [
        ("skip none none none none skip", []),
        ("none none conv none none conv", []),
        ("none none none skip none none", [(0, 3)]),
        ("conv none conv none none conv", [(0, 1), (1, 2), (2, 3)]),
        ("conv none none skip none none", [(0, 3)]),
        ("none none none skip conv none", [(0, 3)]),
        ("none skip skip none skip conv", [(0, 2), (2, 3)]),
        ("conv conv conv conv conv conv", list(nasbench201.EDGES)),
    ],
)
def test_cell_keeps_the_edges_between_its_input_and_its_output(
    cell: str, live: list[tuple[int, int]]
) -> None:
    names = {"none": "none", "skip": "skip_connect", "conv": "nor_conv_3x3"}
    edges = nasbench201.live_edges(tuple(names[operation] for operation in cell.split()))
    assert [edge[:2] for edge in edges] == live


def test_live_edges_match_a_search_for_paths_in_all_cells() -> None:
    paths = [((0, 3),), ((0, 1), (1, 3)), ((0, 2), (2, 3)), ((0, 1), (1, 2), (2, 3))]
    for present in itertools.product((False, True), repeat=6):
        cell = tuple("skip_connect" if p else "none" for p in present)
        edges = {edge for edge, p in zip(nasbench201.EDGES, present, strict=True) if p}
        on_path = {edge for path in paths if edges.issuperset(path) for edge in path}
        assert {edge[:2] for edge in nasbench201.live_edges(cell)} == on_path


def test_relu6_is_a_clip_between_zero_and_six() -> None:
    model = sample("mobilenet_v2", 0).model
    scalars = {
        tensor.name: float(onnx.numpy_helper.to_array(tensor))
        for tensor in model.graph.initializer
        if not tensor.dims
    }
    clips = [node for node in model.graph.node if node.op_type == "Clip"]
    assert clips
    assert all([scalars[name] for name in node.input[1:]] == [0.0, 6.0] for node in clips)
