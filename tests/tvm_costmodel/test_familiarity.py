"""Profiles of networks, and how near known networks are."""

from __future__ import annotations

import json

import numpy as np
import pytest
from onnx import helper

from measure.zoo import sample
from relay_frontend.errors import InputError
from relay_frontend.graph import OpGraph
from relay_frontend.onnx import read_onnx
from tests.networks import FAMILIES, conv_bn_relu, model, zoo_network
from tvm_costmodel.errors import CheckpointError
from tvm_costmodel.familiarity import KINDS, PROFILE_SIZE, KnownNetworks, profile

PLAIN = ("resnet", "vgg", "mobilenet_v2", "squeezenet")
SHARES = slice(0, 2 * len(KINDS))


@pytest.fixture(scope="module")
def graphs() -> dict[str, OpGraph]:
    """Six networks of each of four families, by name."""
    networks = [sample(family, seed, "small") for family in PLAIN for seed in range(6)]
    return {network.name: read_onnx(network.model) for network in networks}


@pytest.fixture(scope="module")
def known(graphs) -> KnownNetworks:
    return KnownNetworks.of(
        list(graphs.values()), list(graphs), [family for family in PLAIN for _ in range(6)]
    )


def convolution(channels: int, groups: int, kernel: int) -> OpGraph:
    weights = {"w": (channels, 8 // groups, kernel, kernel)}
    return read_onnx(
        model([helper.make_node("Conv", ["x", "w"], ["y"], group=groups)], weights=weights)
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_shares_of_flops_and_of_bytes_sum_to_one(family):
    values = profile(read_onnx(zoo_network(family)))
    assert values.shape == (PROFILE_SIZE,)
    assert values.dtype == np.float32
    assert np.isfinite(values.astype(np.float16)).all()
    np.testing.assert_allclose(values[SHARES].reshape(2, -1).sum(axis=1), 1.0, rtol=1e-5)


@pytest.mark.parametrize(
    ("channels", "groups", "kernel", "kind"),
    [
        (8, 1, 3, "convolution"),
        (8, 1, 1, "pointwise convolution"),
        (8, 8, 3, "depthwise convolution"),
        (8, 2, 3, "grouped convolution"),
        (16, 8, 1, "grouped convolution"),
    ],
)
def test_convolutions_are_told_apart(channels, groups, kernel, kind):
    values = profile(convolution(channels, groups, kernel))
    assert values[KINDS.index(kind)] == 1.0


def test_a_network_that_computes_nothing_has_a_profile():
    values = profile(read_onnx(model([helper.make_node("Transpose", ["x"], ["y"])])))
    assert np.isfinite(values).all()
    assert not values[: len(KINDS)].any()


def test_a_known_network_is_nearest_to_itself(graphs, known):
    for name, graph in graphs.items():
        nearest = known.nearest(profile(graph), 3)
        assert nearest[0].distance == 0.0
        assert name in {neighbour.name for neighbour in nearest if neighbour.distance == 0.0}
        assert [n.distance for n in nearest] == sorted(n.distance for n in nearest)


def test_the_usual_distance_is_within_which_nearly_all_known_networks_have_another(graphs, known):
    distances = [known.nearest(profile(graph), 2)[1].distance for graph in graphs.values()]
    assert sum(distance <= 1 for distance in distances) >= 0.9 * len(distances)
    assert max(distances) > 1


def test_a_new_network_of_a_known_family_is_near_and_one_of_another_kind_is_far(known):
    vgg, bert = (
        known.nearest(profile(read_onnx(network)))
        for network in (sample("vgg", 50, "small").model, zoo_network("bert"))
    )
    assert vgg[0].family == "vgg"
    assert vgg[0].distance < 1.5 < bert[0].distance


def test_known_networks_come_back_as_they_were_saved(graphs, known, tmp_path):
    known.save(tmp_path / "known")
    loaded = KnownNetworks.load(tmp_path / "known")
    assert (loaded.names, loaded.families) == (known.names, known.families)
    np.testing.assert_array_equal(loaded.profiles, known.profiles, strict=True)
    values = profile(read_onnx(conv_bn_relu()))
    assert loaded.nearest(values) == known.nearest(values)


def test_1500_networks_take_less_than_200_kilobytes(tmp_path):
    names = tuple(f"efficientnet-standard-{i:05}" for i in range(1500))
    KnownNetworks(
        names=names,
        families=tuple(f"family {i % 15}" for i in range(1500)),
        profiles=np.zeros((1500, PROFILE_SIZE), np.float16),
        usual_distance=1.0,
    ).save(tmp_path / "known")
    assert sum(path.stat().st_size for path in (tmp_path / "known").iterdir()) < 200_000


def test_networks_that_are_all_alike_have_a_usual_distance():
    known = KnownNetworks.of([convolution(8, 1, 3)] * 3, ["a", "b", "c"], ["d"] * 3)
    assert known.nearest(profile(convolution(8, 1, 3)))[0].distance == 0.0
    assert np.isfinite(known.distances(profile(convolution(8, 8, 3)))).all()


def test_a_single_network_has_no_usual_distance():
    with pytest.raises(InputError, match="at least two, got 1"):
        KnownNetworks.of([convolution(8, 1, 3)], ["a"], ["b"])


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda d: d.pop("names"), "KeyError"),
        (lambda d: d.update(names=["alone"]), "1 names, 24 families"),
        (lambda d: d.update(families=["one"]), "IndexError"),
        (lambda d: d.update(profiles_sha256="0"), "SHA-256 differs"),
        (lambda d: d.update(format_version=9), "reads up to 1: update"),
    ],
)
def test_damaged_known_networks_are_refused(known, tmp_path, edit, message):
    known.save(tmp_path / "known")
    path = tmp_path / "known" / "known-networks.json"
    description = json.loads(path.read_text())
    edit(description)
    path.write_text(json.dumps(description))
    with pytest.raises(CheckpointError, match=message):
        KnownNetworks.load(tmp_path / "known")
