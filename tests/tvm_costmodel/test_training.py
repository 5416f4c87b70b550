"""Training learns a known latency, and repeats itself."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from relay_frontend.errors import InputError
from tests.tvm_costmodel.graphs import SMALL, random_tokens
from tvm_costmodel.metrics import evaluate
from tvm_costmodel.nar_former_v2 import NarFormerV2, NarFormerV2Config
from tvm_costmodel.runtime import NumpyPredictor
from tvm_costmodel.training import (
    Sample,
    TrainingConfig,
    TrainingError,
    learning_rate_factor,
    train,
)

SHORT = TrainingConfig(epochs=2, batch_size=4, seed=1)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Threads cost more than they give on models this small."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def sample(seed: int) -> Sample:
    """A network whose latency is a sum over its nodes, from about 1 to 150 ms."""
    num_nodes = int(np.random.default_rng(seed).integers(2, 25))
    tokens = random_tokens(num_nodes, seed)
    return Sample(tokens=tokens, latency_ms=float(np.exp(2 * tokens.node_features[:, 0]).sum()))


def few_samples() -> list[Sample]:
    return [sample(seed) for seed in range(10)]


def test_learns_a_known_latency_function_and_generalizes() -> None:
    losses: list[float] = []
    config = TrainingConfig(epochs=40, learning_rate=3e-3)
    model = train(
        [sample(seed) for seed in range(200)],
        config,
        SMALL,
        progress=lambda _, loss: losses.append(loss),
    )
    unseen = [sample(seed) for seed in range(1000, 1050)]
    predicted = NumpyPredictor(model.weights(), model.config).predict([s.tokens for s in unseen])
    metrics = evaluate(predicted, [s.latency_ms for s in unseen])
    assert losses[-1] < losses[0] / 10
    assert metrics.mape < 20
    assert metrics.kendall_tau is not None
    assert metrics.kendall_tau > 0.8


def test_same_seed_gives_the_same_weights_and_another_seed_others() -> None:
    first, again = (train(few_samples(), SHORT, SMALL).weights() for _ in range(2))
    other = train(few_samples(), TrainingConfig(epochs=2, batch_size=4, seed=2), SMALL).weights()
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not np.array_equal(first["fc1.weight"], other["fc1.weight"])


def test_training_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    train(few_samples(), SHORT, SMALL)
    assert torch.equal(torch.rand(3), expected)


def test_latency_scale_becomes_the_first_percentile_of_the_labels() -> None:
    tokens = random_tokens(4, seed=0)
    samples = [Sample(tokens=tokens, latency_ms=ms) for ms in (2001.0, 1.0, 1001.0)]
    model = train(samples, SHORT, SMALL)
    assert model.config.latency_scale == pytest.approx(21.0)
    assert replace(model.config, latency_scale=SMALL.latency_scale) == SMALL
    assert not model.training


def test_progress_hears_of_every_epoch() -> None:
    heard: list[int] = []
    train(few_samples(), SHORT, SMALL, progress=lambda epoch, _: heard.append(epoch))
    assert heard == [1, 2]


def test_learning_rate_rises_over_the_warmup_and_falls_to_zero() -> None:
    factors = [learning_rate_factor(step, 100, 0.1) for step in range(101)]
    assert factors[0] == 0.0
    assert factors[5] == pytest.approx(0.5)
    assert factors[10] == 1.0
    assert factors[55] == pytest.approx(0.5)
    assert factors[100] == 0.0
    assert learning_rate_factor(0, 100, 0.0) == 1.0


@pytest.mark.parametrize("latency_ms", [0.0, -1.0, math.nan, math.inf])
def test_latency_that_is_no_positive_number_is_refused(latency_ms: float) -> None:
    bad = Sample(tokens=random_tokens(3, seed=0), latency_ms=latency_ms)
    with pytest.raises(InputError, match="sample 1: latency must be a positive number"):
        train([sample(0), bad], SHORT, SMALL)


def test_tokens_of_another_width_are_refused() -> None:
    with pytest.raises(InputError, match="sample 0: tokens have 12 node and 6 static features"):
        train([sample(0)], SHORT, NarFormerV2Config())


def test_training_on_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="at least one sample"):
        train([], SHORT, SMALL)


def test_loss_that_is_not_finite_stops_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(NarFormerV2, "forward", lambda self, _: self.fc3.bias * math.nan)
    with pytest.raises(TrainingError, match="epoch 1 is nan; lower the learning rate"):
        train([sample(0)], SHORT, SMALL)


@pytest.mark.parametrize(
    "values", [{"epochs": 0}, {"batch_size": 0}, {"learning_rate": 0.0}, {"warmup": 1.0}]
)
def test_impossible_training_configuration_is_refused(values: dict[str, float]) -> None:
    with pytest.raises(InputError):
        TrainingConfig(**values)  # type: ignore[arg-type]
