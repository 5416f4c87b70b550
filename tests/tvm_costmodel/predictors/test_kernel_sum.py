"""The kernel-sum baseline."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from measure.interpreters import running_generation
from relay_frontend.graph import TensorType
from relay_frontend.kernel import Kernel
from tvm_costmodel import registry
from tvm_costmodel.errors import CheckpointError
from tvm_costmodel.predictors.kernel_sum import KernelSum, kernel_features

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("xgboost") is None or running_generation() == "relay",
    reason="kernel-sum needs XGBoost, and an environment without Relay's OpenMP",
)


def kernel(size: int, kind: str = "conv2d_add_relu") -> Kernel:
    return Kernel(
        name=f"fused_{kind}",
        kind=kind,
        arguments=(TensorType((1, size, 8, 8)), TensorType((size, size, 3, 3))),
        results=(TensorType((1, size, 8, 8)),),
        flops=2 * 9 * 64 * size * size,
    )


@pytest.fixture(scope="module")
def predictor() -> KernelSum:
    kernels = [kernel(size) for size in range(4, 132)]
    fitted = KernelSum(description={"platform": "testium"})
    fitted.fit_kernels(kernels, np.array([k.flops / 1e6 for k in kernels]))
    return fitted


def test_kernels_like_those_measured_are_predicted(predictor):
    kernels = [kernel(size) for size in (17, 40, 90)]
    expected = [k.flops / 1e6 for k in kernels]
    assert predictor.predict_kernels(kernels) == pytest.approx(expected, rel=0.05)


def test_a_network_is_the_sum_of_its_calls(predictor):
    kernels = [kernel(17), kernel(40), kernel(17)]
    assert predictor.latency_ms(kernels) == pytest.approx(predictor.predict_kernels(kernels).sum())


def test_a_kind_never_seen_still_gets_a_finite_time(predictor):
    assert 0 < predictor.latency_ms([kernel(32, "argsort_scan")]) < np.inf


def test_features_see_kind_costs_and_shapes():
    small, large = kernel_features([kernel(8), kernel(16)], ["conv2d", "relu", "tanh"])
    assert small[:3].tolist() == [1, 1, 0]
    assert small.shape == (3 + 4 + 24 + 1,)
    assert (large[3:6] > small[3:6]).all()


def test_what_was_saved_is_loaded(predictor, tmp_path):
    predictor.save(tmp_path)
    loaded = KernelSum.load(tmp_path)
    assert loaded.latency_ms([kernel(33)]) == predictor.latency_ms([kernel(33)])
    assert loaded.description == predictor.description
    assert loaded.config == predictor.config


def test_a_booster_that_is_not_the_saved_one_is_refused(predictor, tmp_path):
    predictor.save(tmp_path)
    (tmp_path / "kernels.ubj").write_bytes(b"nonsense")
    with pytest.raises(CheckpointError, match=str(tmp_path)):
        KernelSum.load(tmp_path)


@pytest.mark.parametrize("platform", registry.platforms())
def test_the_first_checkpoints_are_read(platform, tmp_path):
    shipped = registry.platform_directory(platform) / registry.KERNEL_SUM
    loaded = KernelSum.load(shipped)
    assert loaded.description["platform"] == platform
    assert loaded.latency_ms([kernel(33)]) > 0
    loaded.save(tmp_path / "again")
    again = KernelSum.load(tmp_path / "again")
    assert again.latency_ms([kernel(33)]) == loaded.latency_ms([kernel(33)])
