"""What a blend is of its two parts."""

from __future__ import annotations

import numpy as np
import pytest

from relay_frontend.errors import InputError
from tests.tvm_costmodel.predictors.contract import small
from tests.tvm_costmodel.predictors.networks import latencies, small_networks
from tvm_costmodel import predictors
from tvm_costmodel.evaluation.candidates import candidate
from tvm_costmodel.specs import Spec

NETWORKS = small_networks()


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A fitted blend, and both of its parts as loaded from its directory."""
    blend = small("blend", "latency")
    blend.fit(NETWORKS, latencies(NETWORKS))
    directory = tmp_path_factory.mktemp("blend") / "saved"
    blend.save(directory)
    parts = [
        predictors.predictor_class(name).load(directory) for name in ("nar-former-v2", "kernel-sum")
    ]
    return blend, *parts


def test_it_is_the_geometric_mean_of_both(saved):
    blend, *parts = saved
    both = [part.predict(NETWORKS) for part in parts]
    np.testing.assert_allclose(blend.predict(NETWORKS), np.sqrt(both[0] * both[1]))


def test_its_parts_are_what_they_are_alone(saved):
    for name, part in zip(("nar-former-v2", "kernel-sum"), saved[1:], strict=True):
        alone = type(part)(part.config, *([part.training] if name == "nar-former-v2" else []))
        alone.fit(NETWORKS, latencies(NETWORKS))
        np.testing.assert_array_equal(alone.predict(NETWORKS), part.predict(NETWORKS))


def test_one_seed_is_that_of_both():
    pytest.importorskip("torch")
    blend = predictors.create("blend", seed=7, preset="paper", kernels="guess", weight=0.25)
    assert blend.training.seed == blend.config.kernel_sum.trees.seed == 7
    paper = predictors.create("nar-former-v2", preset="paper")
    assert blend.config.network.tokens == paper.config.tokens
    assert (blend.config.kernel_sum.kernels, blend.config.weight) == ("guess", 0.25)


@pytest.mark.parametrize("weight", [-0.1, 1.5, float("nan")])
def test_a_weight_that_is_no_share_is_refused(weight):
    pytest.importorskip("torch")
    with pytest.raises(InputError, match="weight"):
        predictors.create("blend", weight=weight)


@pytest.mark.parametrize(
    ("options", "network", "kernel_sum"),
    [
        ("", "[preset=best]", ""),
        ("kernels=guess,epochs=7", "[preset=best,epochs=7]", "[kernels=guess]"),
        ("weight=0.3,width=32,preset=paper", "[width=32,preset=paper]", ""),
        ("network.tokens.costs=true", "[preset=best,tokens.costs=true]", ""),
        ("kernel_sum.trees.num_trees=10", "[preset=best]", "[trees.num_trees=10]"),
    ],
)
def test_its_parts_take_the_options_that_are_theirs(options, network, kernel_sum):
    pytest.importorskip("torch")
    blend = candidate(Spec.parse(f"blend[{options}]"), "latency")
    expected = [f"nar-former-v2{network}", f"kernel-sum{kernel_sum}"]
    assert [part.label for part in blend.parts] == expected
    config = blend.make(3).config
    for part, whole in zip(blend.parts, (config.network, config.kernel_sum), strict=True):
        alone = part.make(3)
        assert alone.config == type(alone)(whole).config
        assert part.settings == candidate(Spec.parse(part.label), "latency").settings
