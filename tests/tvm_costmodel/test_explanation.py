"""Estimates taken apart, and the known networks that they rest on."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from measure.zoo import sample
from relay_frontend.fusion import fuse
from relay_frontend.onnx import read_onnx
from tests.networks import FAMILIES, conv_bn_relu, zoo_network
from tests.tvm_costmodel.measured import PLATFORM, invented_kernels, invented_latency
from tvm_costmodel import CostModel, Explanation, registry
from tvm_costmodel.errors import CheckpointError
from tvm_costmodel.explanation import UNKNOWN_NETWORKS, grounds, of_kernels, of_operators
from tvm_costmodel.familiarity import DIRECTORY, KnownNetworks

DESCRIPTION = {
    "training_data": {"families": {"vgg": 4, "resnet": 4}},
    "metrics": {
        "in_domain_by_family": {"resnet": {"mape": 3.0}, "vgg": {"mape": 5.0}},
        "out_of_family": {"mape": 40.2},
    },
}


@pytest.fixture(scope="module")
def known() -> KnownNetworks:
    networks = [sample(family, i, "small") for family in ("resnet", "vgg") for i in range(8)]
    return KnownNetworks.of(
        [read_onnx(network.model) for network in networks],
        [network.name for network in networks],
        [network.family for network in networks],
    )


# --- What the latency is made of ----------------------------------------------------------------


@settings(deadline=None, max_examples=30, derandomize=True)
@given(family=st.sampled_from(sorted(FAMILIES)), seed=st.integers(0, 2**32 - 1))
def test_kernels_and_types_sum_to_what_the_operators_add(family, seed):
    graph = read_onnx(zoo_network(family))
    latency = np.random.default_rng(seed).exponential(size=len(graph)).astype(np.float32)
    contributions = of_operators(graph, fuse(graph), latency)
    for shares in (contributions.kernels, contributions.types):
        assert sum(share.latency_ms for share in shares) == pytest.approx(latency.sum(), rel=1e-5)
        assert sum(share.percent for share in shares) == pytest.approx(100)
        assert list(shares) == sorted(shares, key=lambda share: -share.latency_ms)
    assert sum(share.count for share in contributions.types) == len(contributions.kernels)
    members = [i for kernel in contributions.kernels for i in kernel.operators]
    assert sorted(members) == list(range(len(graph)))
    assert sum(kernel.flops for kernel in contributions.kernels) == graph.flops


def test_a_kernel_adds_what_its_operators_add():
    graph = read_onnx(conv_bn_relu())
    contributions = of_operators(graph, fuse(graph), np.arange(1, len(graph) + 1))
    for kernel in contributions.kernels:
        assert kernel.latency_ms == sum(i + 1 for i in kernel.operators)
        assert kernel.kind == "_".join(graph.operators[i].op for i in kernel.operators)
    by_name = {kernel.kind: kernel for kernel in contributions.kernels}
    assert by_name["conv2d_relu_add"].shape == (1, 8, 16, 16)
    assert by_name["dense"].shape == (1, 10)


def test_what_is_fused_counts_to_the_operator_of_most_work():
    graph = read_onnx(conv_bn_relu())
    contributions = of_operators(graph, fuse(graph), [1.0, 2.0, 3.0, 0.1, 0.2, 0.3])
    assert [(share.type, share.count) for share in contributions.types] == [
        ("conv2d", 1),
        ("dense", 1),
        ("reshape", 1),
        ("global_avg_pool2d", 1),
    ]
    assert contributions.types[0].latency_ms == pytest.approx(6.0)


def test_kernels_of_a_compiler_are_summed_by_kind():
    kernels = invented_kernels(read_onnx(sample("vgg", 0, "small").model))
    contributions = of_kernels(kernels, np.arange(len(kernels)))
    convolutions = [i for i, kernel in enumerate(kernels) if kernel.kind == "conv2d"]
    of_type = {share.type: share for share in contributions.types}
    assert of_type["conv2d"].count == len(convolutions)
    assert of_type["conv2d"].latency_ms == sum(convolutions)
    assert contributions.kernels[0].latency_ms == len(kernels) - 1


def test_a_model_that_has_collapsed_has_no_shares():
    graph = read_onnx(conv_bn_relu())
    contributions = of_operators(graph, fuse(graph), np.zeros(len(graph)))
    assert all(kernel.percent == 0.0 for kernel in contributions.kernels)


# --- What it rests on ---------------------------------------------------------------------------


def test_a_known_network_is_named(known):
    graph = read_onnx(sample("vgg", 3, "small").model)
    found = grounds(graph, known, DESCRIPTION)
    assert found.nearest[0].name == sample("vgg", 3, "small").name
    assert found.verdict.endswith(f"looks the same, {found.nearest[0].name}")


def test_families_count_among_the_nearest_with_their_errors(known):
    found = grounds(read_onnx(sample("vgg", 3, "small").model), known, DESCRIPTION)
    first, second = found.families
    assert (first.family, first.known, first.distance, first.error_percent) == ("vgg", 8, 0.0, 5.0)
    assert (second.family, second.error_percent) == ("resnet", 3.0)
    assert first.near + second.near == len(found.nearest) == 10
    assert second.distance > 0


def test_a_network_unlike_all_known_ones_is_called_that_with_the_error_on_unseen_families(known):
    found = grounds(read_onnx(zoo_network("bert")), known, DESCRIPTION)
    assert found.nearest[0].distance > 1.5
    assert "unlike everything that the checkpoint was trained on" in found.verdict
    assert found.verdict.endswith("families that it had not seen was 40 %")
    untold = grounds(read_onnx(zoo_network("bert")), known, {**DESCRIPTION, "metrics": {}})
    assert untold.verdict.endswith("another one")
    assert untold.families[0].error_percent is None


@pytest.mark.parametrize(
    ("factor", "words"), [(1.0, "It is like networks"), (0.3, "rather unlike what")]
)
def test_nearness_is_put_in_words(known, factor, words):
    graph = read_onnx(sample("vgg", 50, "small").model)
    nearest = grounds(graph, known, DESCRIPTION).nearest[0].distance
    usual = known.usual_distance * nearest / (0.8 if factor == 1.0 else 1.2)
    found = grounds(graph, replace(known, usual_distance=usual), DESCRIPTION)
    assert words in found.verdict


def test_families_are_listed_where_their_networks_are_not_known():
    found = grounds(read_onnx(conv_bn_relu()), None, DESCRIPTION)
    assert found.verdict == UNKNOWN_NETWORKS
    assert [(f.family, f.known, f.near) for f in found.families] == [
        ("resnet", 4, None),
        ("vgg", 4, None),
    ]
    assert found.nearest == ()


# --- The cost model's explanations --------------------------------------------------------------


def test_an_estimate_is_the_sum_of_its_kernels(fitted_contributions):
    model = CostModel.load("tvm-relax", checkpoints=fitted_contributions)
    for network in (conv_bn_relu(), zoo_network("densenet")):
        explanation = model.explain(network)
        assert explanation.estimate == model.estimate(network)
        assert explanation.missing is None
        total = sum(kernel.latency_ms for kernel in explanation.contributions.kernels)
        assert total == pytest.approx(explanation.estimate.latency_ms, rel=1e-5)


def test_training_lists_its_networks_beside_each_predictor(fitted):
    for name in registry.COMPARED:  # a blend's are those of its parts
        home = registry.platform_directory(PLATFORM.name, fitted[0]) / name
        assert len(KnownNetworks.load(home / DIRECTORY)) == 12
    model = CostModel.load("tvm-relax", checkpoints=fitted[0])
    network = sample("resnet", 0, "small")
    found = model.explain(network.model).grounds
    assert found.nearest[0].distance == 0.0
    assert network.name in {n.name for n in found.nearest if n.distance == 0.0}
    metrics = fitted[1]["nar-former-v2"]["in_domain_by_family"]
    assert {f.family: f.error_percent for f in found.families} == {
        family: result["mape"] for family, result in metrics.items()
    }


def test_another_readout_says_why_it_cannot_tell_kernels_and_what_to_do(fitted):
    explanation = CostModel.load("tvm-relax", checkpoints=fitted[0]).explain(conv_bn_relu())
    assert explanation.contributions is None
    assert "readout 'pooled'" in explanation.missing
    assert "nar-former-v2[preset=best]" in explanation.missing
    assert len(explanation.grounds.nearest) == 10


@pytest.mark.relax
def test_kernel_sum_explains_itself_by_its_kernels(fitted):
    model = CostModel.load("tvm-relax", predictor="kernel-sum", checkpoints=fitted[0])
    network = sample("squeezenet", 1, "small").model
    explanation = model.explain(network)
    assert explanation.estimate.source == "kernel-sum"
    total = sum(kernel.latency_ms for kernel in explanation.contributions.kernels)
    assert total == pytest.approx(explanation.estimate.latency_ms)
    assert explanation.grounds.families[0].family == "squeezenet"


def test_a_measured_network_has_its_measurement_beside_the_explained_estimate(
    fitted, measured_database
):
    model = CostModel.load("tvm-relax", checkpoints=fitted[0], database=measured_database)
    network = sample("resnet", 0, "small").model
    explanation = model.explain(network)
    assert explanation.measured == model.estimate(network)
    assert explanation.measured.latency_ms == pytest.approx(
        invented_latency(read_onnx(network)), rel=0.02
    )
    assert explanation.estimate == model.estimate(network, measured=False)


def test_the_shipped_checkpoints_say_what_they_know():
    for platform in ("tvm-relay", "tvm-relax"):
        explanation = CostModel.load(platform).explain(conv_bn_relu())
        assert explanation.grounds.verdict
        assert {f.family for f in explanation.grounds.families} >= {"resnet", "vgg"}


def test_without_a_checkpoint_there_is_nothing_to_explain(measured_database, tmp_path):
    model = CostModel.load("tvm-relax", checkpoints=tmp_path, database=measured_database)
    with pytest.raises(CheckpointError, match="no checkpoint"):
        model.explain(sample("resnet", 0, "small").model)


def test_an_explanation_is_plain_json(fitted_contributions):
    model = CostModel.load("tvm-relax", checkpoints=fitted_contributions)
    explanation = model.explain(conv_bn_relu())
    assert isinstance(explanation, Explanation)
    plain = json.loads(json.dumps(asdict(explanation), allow_nan=False))
    assert set(plain) == {"estimate", "measured", "contributions", "missing", "grounds"}
