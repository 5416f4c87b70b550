"""Kernels of fusion rules, timed by measured ones, and kernel-sum that needs no compiler."""

from __future__ import annotations

import importlib.util
from dataclasses import replace

import numpy as np
import pytest

from measure.interpreters import running_generation
from relay_frontend.fusion import fuse
from relay_frontend.onnx import read_onnx
from tests.networks import conv_bn_relu
from tests.tvm_costmodel.predictors.networks import latencies, small_networks
from tvm_costmodel.predictors.base import NotFittedError
from tvm_costmodel.predictors.guesses import plain_kernels, running, timed_guesses
from tvm_costmodel.predictors.kernel_sum import KernelSum, KernelSumConfig
from tvm_costmodel.predictors.kernel_trees import TreeConfig

needs_xgboost = pytest.mark.skipif(
    importlib.util.find_spec("xgboost") is None or running_generation() == "relay",
    reason="kernel-sum needs XGBoost, and an environment without Relay's OpenMP",
)
FEW_TREES = TreeConfig(num_trees=40, learning_rate=0.2, min_kernels=1)


def test_guesses_share_all_that_was_measured():
    for network in small_networks():
        kernels, times = timed_guesses(network)
        assert len(kernels) == len(times) <= len(set(fuse(network.graph)))
        assert np.nansum(times) == pytest.approx(network.kernel_ms[running(network.kernels)].sum())
        assert (times[~np.isnan(times)] > 0).all()


def test_a_guess_takes_what_the_kernel_took_in_which_it_is_found():
    network = small_networks()[0]
    kernels, times = timed_guesses(network)
    measured = {k.flops: ms for k, ms in zip(network.kernels, network.kernel_ms, strict=True)}
    convolutions = [(k, ms) for k, ms in zip(kernels, times, strict=True) if "conv2d" in k.kind]
    assert convolutions
    for kernel, ms in convolutions:
        assert ms == pytest.approx(measured[kernel.flops])


def test_changes_of_layout_belong_to_the_kernels_that_asked_for_them():
    network = small_networks()[0]
    change = replace(network.kernels[0], kind="layout_transform", name="fused_layout", flops=0)
    changed = replace(
        network,
        kernels=(change, *network.kernels),
        kernel_ms=np.array([5.0, *network.kernel_ms]),
    )
    before, after = timed_guesses(network)[1], timed_guesses(changed)[1]
    assert after[0] == pytest.approx(before[0] + 5.0)
    assert after[1:] == pytest.approx(before[1:], nan_ok=True)


def test_biases_make_no_other_kernels():
    kernel = plain_kernels(read_onnx(conv_bn_relu()))[0]
    assert kernel.kind == "conv2d_relu_add"  # the next operator's, not a bias
    assert [len(t.shape) for t in kernel.arguments] == [4, 4]


@needs_xgboost
def test_a_network_is_predicted_without_its_kernels():
    networks = small_networks()
    predictor = KernelSum(KernelSumConfig(kernels="guess", trees=FEW_TREES))
    predictor.fit(networks, latencies(networks))
    unbuilt = [replace(network, kernels=None, kernel_ms=None) for network in networks]
    errors = predictor.predict(unbuilt) / latencies(networks) - 1
    assert np.abs(errors).mean() < 0.1
    with pytest.raises(NotFittedError, match="not learned kernels of a compiler"):
        predictor.latency_ms(networks[0].kernels)


@needs_xgboost
def test_a_predictor_of_a_compilers_kernels_learns_guessed_ones_beside_them(tmp_path):
    networks = small_networks()
    steps: list[tuple[int, int]] = []
    predictor = KernelSum(KernelSumConfig(trees=FEW_TREES))
    predictor.fit(
        networks,
        latencies(networks),
        progress=lambda event: steps.append((event.step, event.steps)),
    )
    assert steps == [(step, 40) for step in range(1, 41)]
    assert not predictor.can_guess
    before = predictor.predict(networks)
    predictor.learn("guess", networks, latencies(networks))
    assert (predictor.predict(networks) == before).all()
    predictor.save(tmp_path / "both")
    loaded = KernelSum.load(tmp_path / "both")
    graph = networks[0].graph
    added = loaded.guess(graph)
    assert added.shape == (fuse(graph).max() + 1,)
    assert (added == predictor.guess(graph)).all()
    assert (loaded.predict(networks) == predictor.predict(networks)).all()


@needs_xgboost
def test_what_was_not_learned_is_said():
    predictor = KernelSum()
    networks = small_networks()
    predictor.fit_kernels(networks[0].kernels, networks[0].kernel_ms)
    assert not predictor.can_guess
    with pytest.raises(NotFittedError, match="not learned guessed kernels"):
        predictor.guess(networks[0].graph)
