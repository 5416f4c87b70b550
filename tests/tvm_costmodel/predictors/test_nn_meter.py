"""nn-Meter."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="nn-Meter needs scikit-learn")

from relay_frontend.errors import InputError
from tests.tvm_costmodel.predictors.networks import (
    latencies,
    small_networks,
)
from tvm_costmodel.predictors.nn_meter import NnMeter, NnMeterConfig

NETWORKS = small_networks()
LATENCIES = latencies(NETWORKS)


@pytest.fixture(scope="module")
def fitted() -> NnMeter:
    predictor = NnMeter(NnMeterConfig(num_trees=20))
    predictor.fit(NETWORKS, LATENCIES)
    return predictor


def test_each_kind_of_kernel_has_its_forest(fitted):
    kinds = fitted.describe()["kinds"]
    assert {"conv2d", "conv2d_relu_add"} <= set(kinds)
    assert fitted.describe()["trees"] == 20 * (len(kinds) + 1)


def test_a_loaded_predictor_is_saved_in_equal_bytes(fitted, tmp_path):
    fitted.save(tmp_path / "first")
    NnMeter.load(tmp_path / "first").save(tmp_path / "second")
    saved = [
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}
        for name in ("first", "second")
    ]
    assert saved[0] == saved[1]


def test_kernels_are_guessed_where_they_are_not_known(fitted):
    unknown = [replace(network, kernels=None, kernel_ms=None) for network in NETWORKS]
    np.testing.assert_array_equal(fitted.predict(unknown), fitted.predict(NETWORKS))


def test_a_kind_never_measured_is_predicted_by_the_shared_forest(fitted):
    network = NETWORKS[0]
    assert network.kernels is not None
    strange = [replace(kernel, kind="argsort") for kernel in network.kernels]
    predicted = fitted.predict([replace(network, kernels=tuple(strange))])[0]
    assert 0.2 < predicted / LATENCIES[0] < 5


def test_networks_without_times_are_passed_over():
    untimed = replace(NETWORKS[0], kernel_ms=None)
    predictor = NnMeter(NnMeterConfig(num_trees=3))
    predictor.fit([untimed, *NETWORKS[1:]], LATENCIES)
    assert predictor.describe()["fitted_on"]["networks_with_kernels"] == len(NETWORKS) - 1


def test_without_any_times_there_is_nothing_to_learn():
    untimed = [replace(network, kernel_ms=None) for network in NETWORKS]
    with pytest.raises(InputError, match="none of the 12 networks"):
        NnMeter().fit(untimed, LATENCIES)


def test_forests_are_grown_as_nn_meter_grows_them():
    config = NnMeterConfig()
    assert config.forest("conv2d_add_relu").num_trees == 320
    assert config.forest("depthwise_conv2d_add").num_trees == 240
    assert config.forest("max_pool2d").num_trees == 210
    assert config.forest("sigmoid").num_trees == 370
