"""Training of the whole-network predictor on measured latencies.

The recipe of NAR-Former V2, section 4.1, and of its public code: Adam, a learning rate that rises
linearly over the first tenth of the steps and then falls linearly to 0, batches of 16, 50 epochs,
and the squared error of the ratio of predicted to measured latency.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch.nn import functional

from relay_frontend.errors import CostModelError, InputError
from relay_frontend.tokens import GraphTokens
from tvm_costmodel.nar_former_v2 import GraphBatch, NarFormerV2
from tvm_costmodel.runtime import NarFormerV2Config


class TrainingError(CostModelError):
    """Training ran, but its loss is no longer a finite number."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Sample:
    """A network and its measured latency in ms."""

    tokens: GraphTokens
    latency_ms: float


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How to train; the defaults are the paper's.

    Args:
        epochs: passes over the samples.
        batch_size: networks per step; the last step of an epoch takes what is left.
        learning_rate: its peak.
        warmup: share of the steps over which the learning rate rises to its peak, 0 to 1.
        seed: of the initial weights and of the order of the samples.

    Raises:
        InputError: a value outside of its range.
    """

    epochs: int = 50
    batch_size: int = 16
    learning_rate: float = 1e-3
    warmup: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 1 or self.learning_rate <= 0:
            raise InputError(f"epochs, batch_size and learning_rate must be positive: {self}")
        if not 0 <= self.warmup < 1:
            raise InputError(f"warmup is a share of the steps, from 0 to below 1: {self}")


Progress = Callable[[int, float], None]
"""Called after each epoch with its number, counted from 1, and the mean training loss in it."""


def train(
    samples: Sequence[Sample],
    config: TrainingConfig,
    model_config: NarFormerV2Config,
    progress: Progress | None = None,
) -> NarFormerV2:
    """Train a new model and return it on the CPU, in evaluation mode.

    Runs on CUDA where there is a device. One seed gives one model on the CPU with an equal number
    of threads; on CUDA, whose sums over edges have no fixed order, it does up to rounding.
    ``latency_scale`` of ``model_config`` is replaced, see :func:`latency_scale`.

    Raises:
        InputError: no samples, tokens that do not fit ``model_config``, or a latency that is not
            a positive number.
        TrainingError: the loss is not finite after an epoch.
    """
    _check_samples(samples, model_config)
    scale = latency_scale([sample.latency_ms for sample in samples])
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = _initial_model(replace(model_config, latency_scale=scale), config.seed).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=config.learning_rate)
    total_steps = config.epochs * math.ceil(len(samples) / config.batch_size)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: learning_rate_factor(step, total_steps, config.warmup)
    )
    shuffle = torch.Generator().manual_seed(config.seed)
    for epoch in range(1, config.epochs + 1):
        loss_sum = torch.zeros((), device=device)
        order = torch.randperm(len(samples), generator=shuffle).tolist()
        for start in range(0, len(samples), config.batch_size):
            chosen = [samples[i] for i in order[start : start + config.batch_size]]
            loss = _loss(model, chosen, device)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            loss_sum += loss.detach() * len(chosen)
        _report(epoch, float(loss_sum) / len(samples), progress)
    return model.cpu().eval()


def latency_scale(latencies_ms: Sequence[float]) -> float:
    """The unit of the head's output in ms: the first percentile of the labels.

    A fresh head answers about 0.7 for every network. The ratio loss is lopsided: a prediction 100
    times too high costs 10^4, one of 0 costs 1. Were the scale in the middle of labels that span
    decades, the first steps would push every prediction down into the flat tail of
    ``-logsigmoid``, where the gradient vanishes and the loss stays at 1. From below almost all
    labels the first steps push up, along its linear part; the percentile, unlike the minimum, does
    not hang on a single label.
    """
    return float(np.percentile(latencies_ms, 1))


def learning_rate_factor(step: int, total_steps: int, warmup: float) -> float:
    """Learning rate of a step over its peak: up linearly from 0, then down linearly to 0."""
    warmup_steps = warmup * total_steps
    if step < warmup_steps:
        return step / warmup_steps
    return (total_steps - step) / (total_steps - warmup_steps)


def _check_samples(samples: Sequence[Sample], model_config: NarFormerV2Config) -> None:
    if not samples:
        raise InputError("training needs at least one sample, got none")
    expected = (model_config.num_features, model_config.num_static)
    for index, sample in enumerate(samples):
        tokens, latency = sample.tokens, sample.latency_ms
        if not (math.isfinite(latency) and latency > 0):
            raise InputError(f"sample {index}: latency must be a positive number, got {latency}")
        found = (tokens.node_features.shape[-1], tokens.static_features.shape[-1])
        if found != expected:
            raise InputError(
                f"sample {index}: tokens have {found[0]} node and {found[1]} static features, the "
                f"model is configured for {expected[0]} and {expected[1]}"
            )


def _initial_model(config: NarFormerV2Config, seed: int) -> NarFormerV2:
    """A model on the CPU with weights drawn from ``seed``; torch's global generator is kept."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return NarFormerV2(config)


def _loss(model: NarFormerV2, samples: Sequence[Sample], device: torch.device) -> torch.Tensor:
    """MSE(y_hat / y, 1): the error counts relative to the latency, as in MAPE and Acc(delta)."""
    batch = GraphBatch.from_tokens([sample.tokens for sample in samples]).to(device)
    measured = torch.tensor([sample.latency_ms for sample in samples], device=device)
    ratio: torch.Tensor = model(batch) / measured
    return functional.mse_loss(ratio, torch.ones_like(ratio))


def _report(epoch: int, loss: float, progress: Progress | None) -> None:
    if not math.isfinite(loss):
        raise TrainingError(
            f"the training loss of epoch {epoch} is {loss}; lower the learning rate, and look for "
            "labels that are orders of magnitude apart for like networks"
        )
    if progress is not None:
        progress(epoch, loss)
