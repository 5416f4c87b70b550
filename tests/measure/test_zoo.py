from __future__ import annotations

import hashlib
import itertools
import math
import subprocess
import sys
from pathlib import Path
from random import Random

import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto, NodeProto

from measure.zoo import (
    FAMILIES,
    MAX_NODES,
    MIN_NODES,
    SIZES,
    UnknownFamilyError,
    mobilenet_v2,
    nasbench201,
    resnet,
    sample,
    squeezenet,
    vgg,
)
from measure.zoo.builder import NetworkBuilder
from relay_frontend.errors import InputError

ROOT = Path(__file__).parents[2]

families = pytest.mark.parametrize("family", sorted(FAMILIES))


def inferred_shapes(model: ModelProto) -> dict[str, tuple[int, ...]]:
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
    return {
        value.name: tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)
        for value in itertools.chain(graph.value_info, graph.output, graph.input)
    }


def operators(model: ModelProto) -> list[NodeProto]:
    return [node for node in model.graph.node if node.op_type != "ConstantOfShape"]


def flops(model: ModelProto) -> int:
    """Two per multiply-add of the convolutions and dense layers, from ONNX's inferred shapes."""
    shapes = inferred_shapes(model)
    return sum(
        2 * math.prod(shapes[node.output[0]]) * math.prod(shapes[node.input[1]][1:])
        for node in model.graph.node
        if node.op_type in ("Conv", "Gemm")
    )


@families
@pytest.mark.parametrize("seed", [0, 1, 2, 12345])
def test_network_is_valid_onnx_with_one_image_input_and_one_output(family: str, seed: int) -> None:
    network = sample(family, seed)
    onnx.checker.check_model(network.model, full_check=True)
    graph = network.model.graph
    assert network.name == graph.name == f"{family}-{seed:05d}"
    assert [value.name for value in graph.input] == ["input"]
    assert [value.name for value in graph.output] == ["logits"]
    shapes = inferred_shapes(network.model)
    batch, channels, height, width = shapes["input"]
    assert (batch, channels) == (1, 3)
    assert height == width
    assert height in (16, 32, 48, 64, 80, 96)
    assert shapes["logits"][1] in (10, 100, 120, 1000)
    assert network.model.ByteSize() < 100_000


@families
def test_network_declares_the_shapes_that_onnx_infers(family: str) -> None:
    net, logits = FAMILIES[family].layers(FAMILIES[family].sample_config(Random(3)))
    model = net.model("network", logits)
    assert inferred_shapes(model)["logits"] == logits.shape
    assert flops(model) == net.flops
    assert len(operators(model)) == net.num_nodes


@families
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(min_value=0, max_value=99_999))
def test_every_network_is_within_the_limits_of_cost_and_size(family: str, seed: int) -> None:
    model = sample(family, seed).model
    assert SIZES["small"].min_flops <= flops(model) <= SIZES["small"].max_flops
    assert MIN_NODES <= len(operators(model)) <= MAX_NODES
    outputs = {name for node in model.graph.node for name in node.output}
    used = {name for node in model.graph.node for name in node.input} | {"logits"}
    assert outputs <= used, "a layer that nothing reads"


@families
def test_same_seed_gives_the_same_bytes(family: str) -> None:
    first, second = (sample(family, 7).model.SerializeToString() for _ in range(2))
    assert first == second


def test_another_process_with_other_hash_seed_gives_the_same_bytes() -> None:
    code = (
        "import hashlib; from measure.zoo import FAMILIES, sample; digest = hashlib.sha256()\n"
        "for family in sorted(FAMILIES): digest.update(sample(family, 3).model.SerializeToString())"
        "\nprint(digest.hexdigest())"
    )
    here = hashlib.sha256()
    for family in sorted(FAMILIES):
        here.update(sample(family, 3).model.SerializeToString())
    there = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={"PYTHONHASHSEED": "99", "PYTHONPATH": str(ROOT)},
        check=True,
        capture_output=True,
        text=True,
    )
    assert there.stdout.strip() == here.hexdigest()


@pytest.mark.parametrize(
    ("family", "cost"),
    [
        ("mobilenet_v2", 82_452_288),
        ("nasbench201", 7_824_640),
        ("resnet", 8_134_832),
        ("squeezenet", 293_240_512),
        ("vgg", 257_773_312),
    ],
)
def test_seed_keeps_its_network_from_version_to_version(family: str, cost: int) -> None:
    assert flops(sample(family, 3).model) == cost


@families
def test_seeds_give_different_networks_spread_over_the_cost_range(family: str) -> None:
    models = [sample(family, seed).model for seed in range(40)]
    for model in models:
        model.graph.name = ""
    assert len({model.SerializeToString() for model in models}) == 40
    costs = sorted(flops(model) for model in models)
    assert costs[0] < 15e6
    assert 20e6 < costs[20] < 100e6
    assert costs[-1] > 150e6


def test_unknown_family_names_the_known_ones() -> None:
    with pytest.raises(UnknownFamilyError, match=r"'alexnet'.*mobilenet_v2.*vgg") as caught:
        sample("alexnet", 0)
    assert isinstance(caught.value, InputError)


@pytest.mark.parametrize(
    ("model", "gflops"),
    [
        # Multiply-adds as published: ResNet-18 1.814 G, ResNet-50 with stride in the 3x3
        # convolution 4.089 G, VGG-16 15.47 G, MobileNetV2 0.3008 G, SqueezeNet 1.1 0.349 G
        # (torchvision's model table), NAS-Bench-201 with 3x3 convolutions on all edges 220.1 M.
        (resnet.build(resnet.ResNetConfig()), 2 * 1.814),
        (resnet.build(resnet.ResNetConfig(bottleneck=True, depths=(3, 4, 6, 3))), 2 * 4.089),
        (vgg.build(vgg.VGGConfig()), 2 * 15.47),
        (mobilenet_v2.build(mobilenet_v2.MobileNetV2Config()), 2 * 0.3008),
        (squeezenet.build(squeezenet.SqueezeNetConfig()), 2 * 0.349),
        (nasbench201.build(nasbench201.NASBench201Config(cell=("nor_conv_3x3",) * 6)), 2 * 0.2201),
    ],
    ids=["resnet18", "resnet50", "vgg16", "mobilenet_v2", "squeezenet", "nasbench201"],
)
def test_default_configurations_cost_what_is_published(model: ModelProto, gflops: float) -> None:
    assert flops(model) / 1e9 == pytest.approx(gflops, rel=0.02)


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


def test_builder_tracks_strides_padding_and_groups() -> None:
    net = NetworkBuilder(batch=2, input_size=33)
    x = net.conv(net.input, 8, 5, stride=2)
    assert x.shape == (2, 8, 17, 17)
    x = net.conv(x, 8, 3, groups=8)
    assert net.flops == 2 * 2 * 17 * 17 * 8 * (3 * 25 + 9)
    x = net.average_pool(net.max_pool(x, 3, 2, padding=1), 2, 2)
    assert x.shape == (2, 8, 4, 4)
    x = net.concat([x, x])
    assert net.flatten(x).shape == (2, 16 * 16)
    logits = net.classifier(x, 7)
    assert inferred_shapes(net.model("network", logits))["logits"] == (2, 7)
