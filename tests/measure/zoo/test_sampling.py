"""Networks that are drawn from seeds."""

from __future__ import annotations

import hashlib
import itertools
import math
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import NodeProto

from measure.zoo import FAMILIES, MIN_NODES, SIZES, UnknownFamilyError, ZooNetwork, sample
from relay_frontend import load
from relay_frontend.errors import InputError
from relay_frontend.graph import OpGraph

ROOT = Path(__file__).parents[3]

families = pytest.mark.parametrize("family", sorted(FAMILIES))
sizes = pytest.mark.parametrize("size", sorted(SIZES))


def operators(network: ZooNetwork) -> list[NodeProto]:
    return [node for node in network.model.graph.node if node.op_type != "ConstantOfShape"]


def flops(graph: OpGraph) -> int:
    """Of the convolutions and products."""
    return sum(o.flops for o in graph if o.op in ("conv2d", "dense", "matmul", "attention"))


def sampled_bytes() -> str:
    """A digest of one network of each family and size."""
    digest = hashlib.sha256()
    for family, size in itertools.product(sorted(FAMILIES), sorted(SIZES)):
        digest.update(sample(family, 3, size).model.SerializeToString())
    return digest.hexdigest()


@families
@sizes
@pytest.mark.parametrize("seed", [0, 12345])
def test_network_is_valid_onnx_with_one_input_and_one_output(
    family: str, size: str, seed: int
) -> None:
    network = sample(family, seed, size)
    onnx.checker.check_model(network.model, full_check=True)
    graph = network.model.graph
    prefix = family if size == "small" else f"{family}-{size}"
    assert network.name == graph.name == f"{prefix}-{seed:05d}"
    assert [value.name for value in graph.input] == ["input"]
    assert [value.name for value in graph.output] == ["logits"]
    assert network.model.ByteSize() < 150_000


@families
def test_network_has_only_operators_of_the_vocabulary(family: str) -> None:
    assert load(sample(family, 5).model).unknown_ops == ()


@pytest.mark.once
@families
@sizes
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(min_value=0, max_value=99_999))
def test_every_network_is_within_the_limits_of_its_size(family: str, size: str, seed: int) -> None:
    limits = SIZES[size]
    network = sample(family, seed, size)
    graph = load(network.model)
    # Operators count biases and the softmax of attention, which the limits leave out.
    assert limits.min_flops <= flops(graph) <= 1.1 * limits.max_flops
    assert MIN_NODES <= len(operators(network)) <= limits.max_nodes
    assert graph.param_bytes <= 4.05 * limits.max_parameters
    outputs = {name for node in operators(network) for name in node.output}
    used = {name for node in operators(network) for name in node.input} | {"logits"}
    assert outputs <= used, "a layer that nothing reads"


@families
def test_same_seed_gives_the_same_bytes(family: str) -> None:
    first, second = (sample(family, 7).model.SerializeToString() for _ in range(2))
    assert first == second


def test_another_process_with_other_hash_seed_gives_the_same_bytes() -> None:
    there = subprocess.run(
        [sys.executable, "-c", f"from {__name__} import sampled_bytes; print(sampled_bytes())"],
        cwd=ROOT,
        env={"PYTHONHASHSEED": "99", "PYTHONPATH": str(ROOT)},
        check=True,
        capture_output=True,
        text=True,
    )
    assert there.stdout.strip() == sampled_bytes()


@pytest.mark.once
@families
def test_seeds_give_different_networks_over_the_ranges_of_cost_and_batch(family: str) -> None:
    networks = [sample(family, seed) for seed in range(40)]
    graphs = [load(network.model) for network in networks]
    assert len({graph.digest for graph in graphs}) == 40
    assert {graph.batch_size for graph in graphs} == {1, 2, 4}
    costs = sorted(math.log10(flops(graph)) for graph in graphs)
    low, high = (math.log10(x) for x in (SIZES["standard"].min_flops, SIZES["standard"].max_flops))
    assert costs[0] < low + 0.25 * (high - low)
    assert low + 0.25 * (high - low) < costs[20] < high - 0.25 * (high - low)
    assert costs[-1] > low + 0.6 * (high - low)


@pytest.mark.parametrize(
    ("family", "cost"),
    [
        ("alexnet", 775_820_938),
        ("vgg", 337_577_124),
        ("resnet", 623_099_236),
        ("googlenet", 149_444_232),
        ("squeezenet", 1_767_918_938),
        ("mobilenet_v2", 116_088_360),
        ("mobilenet_v3", 1_232_961_962),
        ("mnasnet", 545_232_360),
        ("efficientnet", 1_226_635_736),
        ("nasbench201", 1_220_300_554),
    ],
)
def test_seed_keeps_its_network_from_version_to_version(family: str, cost: int) -> None:
    assert load(sample(family, 3).model).flops == cost


def test_unknown_family_names_the_known_ones() -> None:
    with pytest.raises(UnknownFamilyError, match=r"'lenet'.*mobilenet_v2.*vgg") as caught:
        sample("lenet", 0)
    assert isinstance(caught.value, InputError)


def test_unknown_size_names_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"'huge'.*small.*standard"):
        sample("vgg", 0, "huge")
