"""Training learns a known latency, repeats itself, and goes on where it was interrupted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from torch import nn

from relay_frontend.errors import InputError
from tests.tvm_costmodel.batches import seeded_model
from tests.tvm_costmodel.graphs import SMALL, random_tokens
from tvm_costmodel.evaluation.metrics import evaluate
from tvm_costmodel.learning.graphs import Graph, GraphStore
from tvm_costmodel.learning.trainer import (
    TrainingConfig,
    TrainingError,
    learning_rate_factor,
    predict_store,
    train,
)
from tvm_costmodel.predictors.base import FitEvent
from tvm_costmodel.predictors.nar_former_v2.config import NarFormerV2Config
from tvm_costmodel.predictors.nar_former_v2.model import NarFormerV2
from tvm_costmodel.predictors.nar_former_v2.predictor import as_graph

SHORT = TrainingConfig(epochs=2, batch_size=4, seed=1, device="cpu")
WITH_DROPOUT = replace(SMALL, dropout=0.3)


def samples(seeds: Sequence[int]) -> tuple[list[Graph], np.ndarray]:
    """Networks whose latencies are sums over their nodes, from about 1 to 150 ms."""
    graphs, targets = [], []
    for seed in seeds:
        num_nodes = int(np.random.default_rng(seed).integers(2, 25))
        graphs.append(as_graph(random_tokens(num_nodes, seed)))
        targets.append(float(np.exp(2 * graphs[-1].node_features[:, 0]).sum()))
    return graphs, np.array(targets)


FEW = samples(range(10))


def trained(
    config: TrainingConfig, model_config: NarFormerV2Config = SMALL, **options: Any
) -> NarFormerV2:
    model = seeded_model(model_config, config.seed)
    model.calibrate(GraphStore(FEW[0]), FEW[1])
    train(model, *FEW, config, **options)
    return model


def same(first: nn.Module, second: nn.Module) -> bool:
    mine, theirs = first.state_dict(), second.state_dict()
    return all(torch.equal(value, theirs[name]) for name, value in mine.items())


def test_learns_a_known_latency_function_and_generalizes() -> None:
    events: list[FitEvent] = []
    config = TrainingConfig(epochs=20, learning_rate=1e-2, device="cpu")
    known, unseen = samples(range(200)), samples(range(1000, 1050))
    model = seeded_model(replace(SMALL, num_blocks=1), config.seed)
    model.calibrate(GraphStore(known[0]), known[1])
    train(model, *known, config, validation=unseen, progress=events.append)
    metrics = evaluate(predict_store(model, GraphStore(unseen[0])), unseen[1])
    first, last = events[0], events[-1]
    assert first.loss is not None
    assert last.loss is not None
    assert last.loss < first.loss / 10
    assert metrics.mape < 20
    assert metrics.kendall_tau is not None
    assert metrics.kendall_tau > 0.8
    assert last.validation == pytest.approx(metrics.mape)


def test_same_seed_gives_the_same_weights_and_another_seed_others() -> None:
    first, again = (trained(SHORT, WITH_DROPOUT) for _ in range(2))
    assert same(first, again)
    assert not same(first, trained(replace(SHORT, seed=2), WITH_DROPOUT))


def test_training_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    trained(SHORT, WITH_DROPOUT)
    assert torch.equal(torch.rand(3), expected)


def test_watching_a_validation_set_changes_nothing() -> None:
    assert same(trained(SHORT, WITH_DROPOUT), trained(SHORT, WITH_DROPOUT, validation=FEW))


def test_model_is_left_in_evaluation_mode() -> None:
    assert not trained(SHORT).training


def test_progress_hears_of_every_epoch() -> None:
    heard: list[FitEvent] = []
    trained(SHORT, progress=heard.append)
    assert [(event.step, event.steps) for event in heard] == [(1, 2), (2, 2)]
    assert all(event.loss is not None and event.validation is None for event in heard)


class _Killed(Exception):  # noqa: N818 (no error)
    """Stands for whatever ends a process."""


def _kill_after(epoch: int) -> Any:
    def progress(event: FitEvent) -> None:
        if event.step == epoch:
            raise _Killed

    return progress


@pytest.mark.parametrize("keep_best", [False, True])
def test_resumed_training_gives_the_weights_of_an_uninterrupted_one(
    tmp_path: Path, keep_best: bool
) -> None:
    config = replace(SHORT, epochs=6, weight_decay=0.01, keep_best=keep_best)
    resumable = replace(config, state=tmp_path / "states" / "state.pt")
    validation = {"validation": samples(range(20, 25))}
    whole = trained(config, WITH_DROPOUT, **validation)
    for epoch in (2, 3):
        with pytest.raises(_Killed):
            trained(resumable, WITH_DROPOUT, progress=_kill_after(epoch), **validation)
    heard: list[FitEvent] = []
    resumed = trained(resumable, WITH_DROPOUT, progress=heard.append, **validation)
    assert [event.step for event in heard] == [4, 5, 6]
    assert same(resumed, whole)
    assert [path.name for path in (tmp_path / "states").iterdir()] == ["state.pt"]


def test_finished_training_is_not_done_again(tmp_path: Path) -> None:
    config = replace(SHORT, state=tmp_path / "state.pt")
    first = trained(config)
    assert same(trained(config, progress=_kill_after(1)), first)


@pytest.mark.parametrize("change", [{"seed": 9}, {"learning_rate": 0.5}, {"epochs": 3}])
def test_state_of_another_training_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    config = replace(SHORT, state=tmp_path / "state.pt")
    trained(config)
    with pytest.raises(InputError, match=r"state\.pt belongs to another configuration"):
        trained(replace(config, **change))


def _with(what: str) -> list[Graph]:
    """The graphs of which the first has something else, and as many nodes and edges as before."""
    first, *others = FEW[0]
    other = {
        "node_features": first.node_features + 1,
        "edge_index": first.edge_index[::-1].copy(),
        "static_features": first.static_features + 1,
    }[what]
    return [replace(first, **{what: other}), *others]


@pytest.mark.parametrize("what", ["node_features", "edge_index", "static_features"])
def test_state_of_other_graphs_is_refused(tmp_path: Path, what: str) -> None:
    config = replace(SHORT, state=tmp_path / "state.pt")
    trained(config)
    with pytest.raises(InputError, match=r"state\.pt belongs to another configuration"):
        train(seeded_model(SMALL, 1), _with(what), FEW[1], config)


def test_state_of_another_validation_set_is_refused(tmp_path: Path) -> None:
    config = replace(SHORT, state=tmp_path / "state.pt", keep_best=True)
    trained(config, validation=FEW)
    for other in ((_with("node_features"), FEW[1]), (FEW[0], FEW[1] + 1)):
        with pytest.raises(InputError, match=r"state\.pt belongs to .* validation set"):
            trained(config, validation=other)


def test_state_of_another_model_is_refused(tmp_path: Path) -> None:
    config = replace(SHORT, state=tmp_path / "state.pt")
    trained(config)
    with pytest.raises(InputError, match=r"state\.pt cannot be resumed from"):
        trained(config, replace(SMALL, width=32))


@pytest.mark.parametrize("kept", [0, 10, 2000])
def test_damaged_state_is_refused(tmp_path: Path, kept: int) -> None:
    config = replace(SHORT, state=tmp_path / "state.pt")
    trained(config)
    content = (tmp_path / "state.pt").read_bytes()
    (tmp_path / "state.pt").write_bytes(content[:kept])
    with pytest.raises(InputError, match=r"state\.pt cannot be resumed from"):
        trained(config)


def test_best_weights_are_kept_where_asked_for() -> None:
    events: list[FitEvent] = []
    # Validation that is best at first and then only gets worse.
    start = seeded_model(SMALL, 1)
    start.calibrate(GraphStore(FEW[0]), FEW[1])
    validation = (FEW[0], predict_store(start, GraphStore(FEW[0])))
    config = replace(SHORT, epochs=5, learning_rate=1e-2, keep_best=True)
    best = trained(config, validation=validation, progress=events.append)
    errors = [event.validation for event in events if event.validation is not None]
    assert min(errors) < errors[-1]
    error = 100 * np.abs(predict_store(best, GraphStore(FEW[0])) / validation[1] - 1).mean()
    assert error == pytest.approx(min(errors))


class _Constant(nn.Module):
    """Learns nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.parameter = nn.Parameter(torch.ones(()))

    def forward(self, batch: Any) -> torch.Tensor:
        return self.parameter * 0 + torch.ones(batch.num_graphs)


def test_patience_ends_what_does_not_improve(tmp_path: Path) -> None:
    config = replace(SHORT, epochs=20, patience=3, state=tmp_path / "state.pt")
    heard: list[FitEvent] = []
    for _ in range(2):  # the second time there is nothing left to do
        train(_Constant(), *FEW, config, validation=FEW, progress=heard.append)
        assert [event.step for event in heard] == [1, 2, 3, 4]


@pytest.mark.parametrize("change", [{"patience": 3}, {"keep_best": True}])
def test_judging_needs_a_validation_set(change: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="give a validation set"):
        trained(replace(SHORT, **change))


def test_bfloat16_learns_nearly_the_same() -> None:
    events: dict[bool, list[FitEvent]] = {False: [], True: []}
    for amp, heard in events.items():
        trained(replace(SHORT, epochs=5, amp=amp), progress=heard.append)
    losses = [heard[-1].loss for heard in events.values()]
    assert losses[1] == pytest.approx(losses[0], rel=0.1)


class _Compiled(nn.Module):
    """Stands for what torch.compile gives: its forward pass is another one, and nothing else."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self._orig_mod = model
        self.calls = 0

    def forward(self, batch: Any) -> Any:
        self.calls += 1
        return self._orig_mod(batch)


def test_compiled_model_takes_batches_of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[_Compiled, dict[str, Any]]] = []

    def compiled(model: nn.Module, **options: Any) -> nn.Module:
        made.append((_Compiled(model), options))
        return made[-1][0]

    monkeypatch.setattr(torch, "compile", compiled)
    assert same(trained(replace(SHORT, compile=True)), trained(SHORT))
    ((model, options),) = made
    assert model.calls == 2 * 3  # epochs of 4, 4 and 2 graphs
    assert options == {"dynamic": True}


def test_objective_of_a_predictor_takes_the_place_of_the_loss() -> None:
    seen: list[list[int]] = []

    def objective(model: Any, batch: Any, y: Any, index: Any, generator: Any) -> torch.Tensor:
        assert torch.equal(y, torch.tensor(FEW[1], dtype=torch.float32)[index])
        assert batch.num_graphs == len(index)
        seen.append(index.tolist())
        return model(batch).sum()

    trained(replace(SHORT, epochs=1), objective=objective)
    assert [len(index) for index in seen] == [4, 4, 2]
    assert sorted(i for index in seen for i in index) == list(range(10))


def test_learning_rate_rises_over_the_warmup_and_falls_to_zero() -> None:
    factors = [learning_rate_factor(step, 100, 0.1) for step in range(101)]
    assert factors[0] == 0.0
    assert factors[5] == pytest.approx(0.5)
    assert factors[10] == 1.0
    assert factors[55] == pytest.approx(0.5)
    assert factors[100] == 0.0
    assert learning_rate_factor(0, 100, 0.0) == 1.0


@pytest.mark.parametrize("target", [0.0, -1.0, math.nan, math.inf])
def test_target_that_is_no_positive_number_is_refused(target: float) -> None:
    targets = FEW[1].copy()
    targets[1] = target
    with pytest.raises(InputError, match=r"positive finite numbers, but number 1 is"):
        train(NarFormerV2(SMALL), FEW[0], targets, SHORT)


def test_training_on_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="at least one example"):
        train(NarFormerV2(SMALL), [], np.zeros(0), SHORT)


def test_another_number_of_targets_is_refused() -> None:
    with pytest.raises(InputError, match="expected 10 targets, one for each input"):
        train(NarFormerV2(SMALL), FEW[0], FEW[1][:3], SHORT)


def test_loss_that_is_not_finite_stops_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_Constant, "forward", lambda self, _: self.parameter * math.nan)
    with pytest.raises(TrainingError, match="epoch 1 is nan; lower the learning rate"):
        train(_Constant(), *FEW, SHORT)


@pytest.mark.parametrize(
    "values",
    [
        {"epochs": 0},
        {"batch_size": 0},
        {"learning_rate": 0.0},
        {"warmup": 1.0},
        {"weight_decay": -1.0},
        {"seed": -1},
        {"patience": 0},
        {"loss": "hinge"},
        {"device": "abacus"},
    ],
    ids=str,
)
def test_impossible_training_configuration_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        TrainingConfig(**values)


def test_absent_cuda_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert TrainingConfig().torch_device() == torch.device("cpu")
    with pytest.raises(InputError, match="device cuda: torch finds none here"):
        TrainingConfig(device="cuda").torch_device()
