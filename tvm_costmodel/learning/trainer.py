"""The trainer of every predictor made of torch.

By default the recipe of NAR-Former V2, section 4.1, and of its public code: Adam, a learning rate
that rises linearly over the first tenth of the steps and then falls linearly to 0, batches of 16,
50 epochs, and the squared error of the ratio of predicted to measured latency.
"""

# ruff: noqa: N803, N806 (shape suffixes: G graphs)
from __future__ import annotations

import hashlib
import json
import math
import os
import pickle
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from relay_frontend.errors import CostModelError, InputError
from tvm_costmodel.learning.graphs import Graph, GraphStore
from tvm_costmodel.learning.losses import LOSSES, LossName, Objective, pointwise
from tvm_costmodel.predictors.base import FitEvent, Progress, silent
from tvm_costmodel.predictors.examples import checked_targets

FloatArray = npt.NDArray[np.float64]

# Nodes at a time where nothing is learned: what fits a cache, or what keeps a GPU busy.
_PREDICT_NODES = {"cpu": 20_000, "cuda": 330_000}


# What torch.load and load_state_dict raise at files and weights that are not what they should be.
_UNREADABLE = (OSError, EOFError, RuntimeError, LookupError, ValueError, pickle.PickleError)


class TrainingError(CostModelError):
    """Training ran, but its loss is no longer a finite number."""


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How to train; the defaults are the paper's.

    Args:
        epochs: passes over the graphs.
        batch_size: graphs per step; the last step of an epoch takes what is left.
        learning_rate: its peak.
        warmup: share of the steps over which the learning rate rises to its peak, 0 to 1.
        weight_decay: decoupled from the gradient, as in AdamW.
        loss: of each graph.
        seed: of the initial weights, the order of the graphs and dropout.
        device: ``auto`` is CUDA where there is a device.
        amp: whether matrix products run in bfloat16.
        compile: whether the model is compiled by ``torch.compile``.
        keep_best: whether the weights of the epoch that validated best are kept, not the last.
        patience: stop after so many epochs without a better validation; None never does.
        state: file that is written after each epoch and resumed from where it exists.

    Raises:
        InputError: a value outside of its range.
    """

    epochs: int = 50
    batch_size: int = 16
    learning_rate: float = 1e-3
    warmup: float = 0.1
    weight_decay: float = 0.0
    loss: LossName = "relative-squared"
    seed: int = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    amp: bool = False
    compile: bool = False
    keep_best: bool = False
    patience: int | None = None
    state: Path | None = None

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 1 or self.learning_rate <= 0:
            raise InputError(f"epochs, batch_size and learning_rate must be positive: {self}")
        if not 0 <= self.warmup < 1:
            raise InputError(f"warmup is a share of the steps, from 0 to below 1: {self}")
        if self.weight_decay < 0 or self.seed < 0:
            raise InputError(f"weight_decay and seed must not be negative: {self}")
        if self.patience is not None and self.patience < 1:
            raise InputError(f"patience is a number of epochs, at least 1, or None: {self}")
        if self.loss not in LOSSES:
            raise InputError(f"unknown loss {self.loss!r}: choose one of {', '.join(LOSSES)}")
        if self.device not in ("auto", "cpu", "cuda"):
            raise InputError(f"unknown device {self.device!r}: choose auto, cpu or cuda")

    def torch_device(self) -> torch.device:
        """The device to run on.

        Raises:
            InputError: ``cuda`` is asked for and there is none.
        """
        cuda = torch.cuda.is_available()
        if self.device == "cuda" and not cuda:
            raise InputError("device cuda: torch finds none here; choose auto or cpu")
        return torch.device("cuda" if cuda and self.device != "cpu" else "cpu")


def train(
    model: nn.Module,
    graphs: Sequence[Graph],
    targets: FloatArray,
    config: TrainingConfig,
    *,
    objective: Objective | None = None,
    validation: tuple[Sequence[Graph], FloatArray] | None = None,
    identity: str = "",
    progress: Progress = silent,
) -> None:
    """Train ``model``, which maps a ``GraphBatch`` to ``[G]``, in place.

    It is left on the device that it was trained on, in evaluation mode. One seed gives one model on
    the CPU with an equal number of threads, whether or not it was interrupted and resumed; on CUDA,
    whose sums over edges have no fixed order, it does up to rounding. Torch's global generators are
    left as they were.

    Args:
        model: with its initial weights.
        graphs: to learn from.
        targets: positive, ``[num_graphs]``.
        config: how.
        objective: loss of a step; by default ``config.loss`` of each graph.
        validation: graphs and targets of which the error is told after each epoch.
        identity: of what neither ``config`` nor the graphs and targets tell, such as the objective;
            a state file of another one is not resumed from.
        progress: told after each epoch.

    Raises:
        InputError: no graphs, targets that are not positive numbers, best weights or patience
            without validation, or a state file of another training.
        TrainingError: the loss is not finite after an epoch.
    """
    learned = _Examples(graphs, targets, config)
    held_out = None if validation is None else _Examples(*validation, config)
    if held_out is None and (config.keep_best or config.patience is not None):
        raise InputError("keep_best and patience judge by validation: give a validation set")
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        run = _Run(model.to(config.torch_device()), learned, held_out, config, objective, identity)
        for epoch in range(run.resume() + 1, config.epochs + 1):
            loss = run.epoch(epoch)
            error = None if held_out is None else held_out.error(model)
            run.finish(epoch, error)
            progress(FitEvent(step=epoch, steps=config.epochs, loss=loss, validation=error))
            if run.out_of_patience(epoch):
                break
        run.take_best()
    model.eval()


def learning_rate_factor(step: int, total_steps: int, warmup: float) -> float:
    """Learning rate of a step over its peak: up linearly from 0, then down linearly to 0."""
    warmup_steps = warmup * total_steps
    if step < warmup_steps:
        return step / warmup_steps
    return (total_steps - step) / (total_steps - warmup_steps)


@torch.no_grad()
def predict_store(model: nn.Module, store: GraphStore) -> FloatArray:
    """Predictions of ``model`` in evaluation mode for all graphs of ``store``, ``[num_graphs]``."""
    training = model.training
    model.eval()
    all_G = torch.arange(len(store), device=store.device)
    nodes_per_graph = max(1.0, float(store.num_nodes.double().mean()))
    at_once = math.ceil(_PREDICT_NODES[store.device.type] / nodes_per_graph)
    index = torch.split(all_G, at_once)
    predicted = torch.cat([model(store.batch(part)).double() for part in index])
    model.train(training)
    return predicted.cpu().numpy()


class _Examples:
    """Graphs with their targets, on the device of a training."""

    def __init__(
        self, graphs: Sequence[Graph], targets: FloatArray, config: TrainingConfig
    ) -> None:
        self.targets = checked_targets("training", graphs, targets)
        self.store = GraphStore(graphs, config.torch_device())

    def error(self, model: nn.Module) -> float:
        """Mean absolute percentage error of ``model``, in %."""
        predicted = predict_store(model, self.store)
        return float(100 * np.abs(predicted / self.targets - 1).mean())

    def digest(self) -> str:
        """SHA-256 of all numbers, as hex."""
        content = hashlib.sha256(self.store.digest().encode())
        content.update(self.targets.tobytes())
        return content.hexdigest()


class _Run:
    """One training: all that changes from epoch to epoch."""

    def __init__(
        self,
        model: nn.Module,
        learned: _Examples,
        held_out: _Examples | None,
        config: TrainingConfig,
        objective: Objective | None,
        identity: str,
    ) -> None:
        self.config = config
        self.identity = identity
        self._examples = (learned, held_out)
        self.model = model
        self.store = learned.store
        self.device = self.store.device
        self.targets = torch.tensor(learned.targets, dtype=torch.float32, device=self.device)
        self.objective = objective or pointwise(config.loss)
        self.called: Any = torch.compile(model, dynamic=True) if config.compile else model
        self.optimizer = torch.optim.AdamW(
            model.parameters(),
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
            fused=True,
        )
        self.steps_per_epoch = math.ceil(len(self.store) / config.batch_size)
        self.best: dict[str, Tensor] = {}
        self.best_error = math.inf
        self.best_epoch = 0

    def epoch(self, number: int) -> float:
        """Train epoch ``number``, counted from 1; return its mean loss."""
        # Seeded anew by the epoch, so that resuming needs no generator's state.
        seed = int(np.random.SeedSequence([self.config.seed, number]).generate_state(1)[0])
        torch.manual_seed(seed)
        generator = torch.Generator().manual_seed(seed)
        order_G = torch.randperm(len(self.store), generator=generator).to(self.device)
        loss_sum = torch.zeros((), device=self.device)
        self.model.train()
        first_step = (number - 1) * self.steps_per_epoch
        for step, index_G in enumerate(torch.split(order_G, self.config.batch_size), first_step):
            loss_sum += self._step(step, index_G, generator) * len(index_G)
        loss = float(loss_sum) / len(self.store)
        if not math.isfinite(loss):
            raise TrainingError(
                f"the training loss of epoch {number} is {loss}; lower the learning rate, and look "
                "for targets that are orders of magnitude apart for like networks"
            )
        return loss

    def _step(self, step: int, index_G: Tensor, generator: torch.Generator) -> Tensor:
        config = self.config
        total = config.epochs * self.steps_per_epoch
        for group in self.optimizer.param_groups:
            group["lr"] = config.learning_rate * learning_rate_factor(step, total, config.warmup)
        batch = self.store.batch(index_G)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=config.amp):
            loss = self.objective(self.called, batch, self.targets[index_G], index_G, generator)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return loss.detach()

    def finish(self, epoch: int, error: float | None) -> None:
        """Remember the best weights and write the state."""
        if error is not None and error < self.best_error:
            self.best_error, self.best_epoch = error, epoch
            if self.config.keep_best:
                self.best = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
        if self.config.state is not None:
            self._write(self.config.state, epoch)

    def out_of_patience(self, epoch: int) -> bool:
        """Whether validation has not improved for too long."""
        return self.config.patience is not None and epoch - self.best_epoch >= self.config.patience

    def take_best(self) -> None:
        """Put the best weights into the model, where they were kept."""
        if self.best:
            self.model.load_state_dict(self.best)

    def resume(self) -> int:
        """Go on from the state file; the epoch that it was written after, 0 without one."""
        path = self.config.state
        if path is None or not path.exists():
            return 0
        try:
            state = torch.load(path, map_location=self.device, weights_only=True)
            if state["training"] != self._identity:
                raise InputError(
                    f"training state {path} belongs to another configuration, training or "
                    "validation set: remove it to start afresh, or name another file"
                )
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
        except _UNREADABLE as error:
            raise InputError(
                f"training state {path} cannot be resumed from ({error}): remove it to start afresh"
            ) from error
        self.best, self.best_error = state["best"], state["best_error"]
        self.best_epoch = state["best_epoch"]
        # One that ran out of patience is as complete as one that did all its epochs.
        epoch: int = state["epoch"]
        return self.config.epochs if self.out_of_patience(epoch) else epoch

    def _write(self, path: Path, epoch: int) -> None:
        state = {
            "training": self._identity,
            "epoch": epoch,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "best": self.best,
            "best_error": self.best_error,
            "best_epoch": self.best_epoch,
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            torch.save(state, scratch)
            scratch.replace(path)
        finally:
            scratch.unlink(missing_ok=True)

    @cached_property
    def _identity(self) -> str:
        """Differs between trainings that must not go on from each other's state."""
        free = {"state", "device", "compile"}
        chosen = {k: v for k, v in asdict(self.config).items() if k not in free}
        examples = [None if part is None else part.digest() for part in self._examples]
        known = json.dumps([chosen, self.identity, examples], sort_keys=True)
        return hashlib.sha256(known.encode()).hexdigest()
