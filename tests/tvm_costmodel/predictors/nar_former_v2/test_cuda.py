"""On a GPU the same training and prediction as on the CPU, up to rounding."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from tests.tvm_costmodel.predictors.networks import latencies, small_networks
from tvm_costmodel.learning.trainer import TrainingConfig
from tvm_costmodel.predictors.nar_former_v2.predictor import LatencyNarFormerV2
from tvm_costmodel.predictors.nar_former_v2.presets import LATENCY_PRESETS

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device")

NETWORKS = small_networks()
LATENCIES = latencies(NETWORKS)


def fitted(preset: str, device: str, *, amp: bool = False) -> LatencyNarFormerV2:
    config = LATENCY_PRESETS[preset]()
    config = replace(config, model=replace(config.model, width=32))
    training = TrainingConfig(epochs=3, batch_size=4, device=device, amp=amp)
    predictor = LatencyNarFormerV2(config, training)
    predictor.fit(NETWORKS, LATENCIES)
    return predictor


@pytest.mark.parametrize("preset", list(LATENCY_PRESETS))
def test_training_on_cuda_gives_the_model_of_the_cpu(preset: str) -> None:
    if preset == "reference":
        pytest.skip("its dropout draws other numbers on another device")
    on_cuda, on_cpu = fitted(preset, "cuda"), fitted(preset, "cpu")
    assert next(on_cuda.model.parameters()).is_cuda
    np.testing.assert_allclose(on_cuda.predict(NETWORKS), on_cpu.predict(NETWORKS), rtol=2e-2)


@pytest.mark.parametrize("preset", list(LATENCY_PRESETS))
def test_saved_on_cuda_it_predicts_the_same_on_the_cpu(preset: str, tmp_path) -> None:
    predictor = fitted(preset, "cuda")
    expected = predictor.predict(NETWORKS)
    predictor.save(tmp_path / "saved")
    loaded = LatencyNarFormerV2.load(tmp_path / "saved")
    loaded.model.to("cpu")
    np.testing.assert_allclose(loaded.predict(NETWORKS), expected, rtol=1e-4)


def test_bfloat16_trains_to_about_the_same() -> None:
    full, half = fitted("best", "cuda"), fitted("best", "cuda", amp=True)
    np.testing.assert_allclose(half.predict(NETWORKS), full.predict(NETWORKS), rtol=0.2)
