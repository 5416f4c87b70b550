"""The kernel-sum baseline."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from measure.interpreters import running_generation
from relay_frontend.errors import InputError
from relay_frontend.graph import TensorType
from relay_frontend.kernel import Kernel
from tests.tvm_costmodel.predictors.networks import convolutions
from tvm_costmodel import registry
from tvm_costmodel.errors import CheckpointError
from tvm_costmodel.predictors.base import Network
from tvm_costmodel.predictors.kernel_features import (
    ROOFLINE_COSTS,
    kernel_features,
    rising,
    roofline_costs,
)
from tvm_costmodel.predictors.kernel_sum import KernelSum, KernelSumConfig
from tvm_costmodel.predictors.kernel_trees import TreeConfig
from tvm_costmodel.predictors.kernel_tuning import tune

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("xgboost") is None or running_generation() == "relay",
    reason="kernel-sum needs XGBoost, and an environment without Relay's OpenMP",
)

FIRST_FORMAT = Path(__file__).parents[1] / "checkpoints" / "kernel-sum-v1"
FIRST_FORMAT_MS = 1.183988


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
    words = ["conv2d", "relu", "tanh"]
    small, large = kernel_features([kernel(8), kernel(16)], words)
    assert small[:3].tolist() == [1, 1, 0]
    assert (large[3:6] > small[3:6]).all()
    assert rising(words, len(small))[:7] == (0, 0, 0, 1, 1, 1, 0)
    assert sum(rising(words, len(small))) == 3


def test_features_of_the_first_version_come_first():
    words = ["conv2d", "relu", "tanh"]
    first, second = (kernel_features([kernel(8)], words, version)[0] for version in (1, 2))
    assert first.shape == (3 + 4 + 24 + 1,)
    assert second[: len(first)].tolist() == first.tolist()
    assert len(second) > len(first)


def test_features_see_the_blocks_of_a_layout():
    def blocked(lanes: int) -> Kernel:
        image = TensorType((1, 64 // lanes, 8, 8, lanes))
        weight = TensorType((64 // lanes, 64 // lanes, 3, 3, lanes, lanes))
        return replace(kernel(64, "conv2d_NCHWc"), arguments=(image, weight), results=(image,))

    narrow, wide = kernel_features([blocked(4), blocked(16)], ["conv2d"])
    assert (narrow != wide).any()
    plain = 1 + 4 + 24 + 1
    assert narrow[plain : plain + 14].tolist() == wide[plain : plain + 14].tolist()


def test_exponentials_before_a_broadcast_count_once_a_channel():
    gate, image = TensorType((1, 64, 1, 1)), TensorType((1, 64, 8, 8))
    gated = Kernel(
        name="fused_sigmoid_multiply",
        kind="sigmoid_multiply",
        arguments=(gate, image),
        results=(image,),
        flops=64 + 64 * 64,
    )
    silu = replace(gated, kind="multiply_sigmoid")  # of the product, so of all elements
    exponentials = ROOFLINE_COSTS.index("exponentials")
    assert roofline_costs([gated, silu])[:, exponentials].tolist() == [64, 64 * 64]
    assert roofline_costs([gated], version=2)[0, exponentials] == 64 * 64
    by_version = [kernel_features([gated], ["sigmoid"], version)[0, -1] for version in (2, 3)]
    assert by_version == pytest.approx(np.log1p([64 * 64, 64]))


def test_larger_kernels_than_any_measured_take_longer(predictor):
    largest, larger = predictor.predict_kernels([kernel(131), kernel(1024)])
    assert larger > 10 * largest


def test_what_sums_lack_is_learned_from_networks():
    networks, sums = [], []
    for number, count in enumerate((1, 2, 4, 8, 16, 32)):
        kernels = tuple(kernel(8 + number + i) for i in range(count))
        times = np.array([k.flops / 1e6 for k in kernels])
        networks.append(
            Network(
                name=f"n{number}",
                family="convolutions",
                platform="testium",
                graph=convolutions(1, 8),
                kernels=kernels,
                kernel_ms=times,
            )
        )
        sums.append(times.sum())
    latencies = 0.9 * np.array(sums) + 0.01 * np.array([len(n.kernels or ()) for n in networks])
    predictor = KernelSum(KernelSumConfig(trees=TreeConfig(num_trees=20, min_kernels=1)))
    predictor.fit(networks, latencies)
    overhead = predictor.describe()["overheads"]
    assert overhead["factor"] == pytest.approx(0.9, rel=1e-6)
    assert overhead["call_ms"] == pytest.approx(0.01, rel=1e-6)
    added = predictor.contributions(networks[-1].kernels)
    assert added.sum() == pytest.approx(predictor.latency_ms(networks[-1].kernels))
    alone = KernelSum(KernelSumConfig(overhead=False))
    alone.fit(networks, latencies)
    assert alone.contributions([kernel(9)]) == pytest.approx(alone.predict_kernels([kernel(9)]))


def test_trees_may_start_from_nothing(tmp_path):
    kernels = [kernel(size, kind) for size in range(4, 68) for kind in ("conv2d", "conv2d_relu")]
    predictor = KernelSum(KernelSumConfig(trees=TreeConfig(start=False, own_kinds=10)))
    predictor.fit_kernels(kernels, np.array([k.flops / 1e6 for k in kernels]))
    assert predictor.latency_ms([kernel(1024, "conv2d")]) < 2 * predictor.latency_ms(
        [kernel(67, "conv2d")]
    )
    predictor.save(tmp_path / "nothing")
    loaded = KernelSum.load(tmp_path / "nothing")
    assert loaded.latency_ms(kernels) == predictor.latency_ms(kernels)


def test_frequent_kinds_get_trees_of_their_own(tmp_path):
    kernels = [kernel(size, kind) for size in range(4, 68) for kind in ("conv2d", "conv2d_relu")]
    kernels.append(kernel(8, "tanh"))
    config = KernelSumConfig(trees=TreeConfig(num_trees=20, own_kinds=10))
    predictor = KernelSum(config)
    predictor.fit_kernels(kernels, np.array([k.flops / 1e6 for k in kernels]))
    predictor.save(tmp_path / "kinds")
    assert len(list((tmp_path / "kinds").glob("*.ubj"))) == 3
    loaded = KernelSum.load(tmp_path / "kinds")
    asked = [kernel(20, kind) for kind in ("conv2d", "conv2d_relu", "tanh")]
    assert (loaded.predict_kernels(asked) == predictor.predict_kernels(asked)).all()


def test_the_best_of_several_trials_is_taken():
    pytest.importorskip("optuna")
    kernels = [kernel(size) for size in range(4, 40)]
    times = np.array([k.flops / 1e6 for k in kernels])
    network = np.arange(len(kernels)) % 6
    poor = TreeConfig(num_trees=100, learning_rate=0.02, max_depth=4, min_kernels=24, seed=3)
    steps: list[int] = []
    tuned = tune(kernels, times, network, poor, 4, lambda event: steps.append(event.step))
    assert steps == [1, 2, 3, 4]
    assert tuned.min_kernels < poor.min_kernels  # of which no leaf holds so many
    assert tuned.seed == poor.seed
    with pytest.raises(InputError, match="2 networks are too few"):
        tune(kernels, times, network % 2, poor, 1)


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


def test_a_checkpoint_of_the_first_format_is_read(tmp_path):
    loaded = KernelSum.load(FIRST_FORMAT)
    # As the version that wrote it predicted.
    assert loaded.latency_ms([kernel(33)]) == pytest.approx(FIRST_FORMAT_MS, rel=1e-5)
    loaded.save(tmp_path / "again")
    again = KernelSum.load(tmp_path / "again")
    assert again.latency_ms([kernel(33)]) == loaded.latency_ms([kernel(33)])


@pytest.mark.parametrize("platform", registry.platforms())
def test_shipped_checkpoints_are_read(platform):
    loaded = KernelSum.load(registry.platform_directory(platform) / registry.KERNEL_SUM)
    assert loaded.description["platform"] == platform
    assert loaded.latency_ms([kernel(33)]) > 0
