"""Every predictor made of torch is fitted, asked, saved and loaded alike."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from torch import Tensor, nn

from relay_frontend.errors import InputError
from tvm_costmodel.errors import CheckpointError
from tvm_costmodel.learning.graphs import Graph, GraphBatch, GraphStore
from tvm_costmodel.learning.torch_predictor import TorchPredictor
from tvm_costmodel.learning.trainer import TrainingConfig
from tvm_costmodel.predictors.base import FitEvent, FloatArray, NotFittedError


@dataclass(frozen=True, kw_only=True)
class _Inner:
    width: int = 4
    names: tuple[str, ...] = ("a", "b")

    def __post_init__(self) -> None:
        if self.width < 1:
            raise InputError("width")


@dataclass(frozen=True, kw_only=True)
class _Config:
    inner: _Inner = field(default_factory=_Inner)
    bias: bool = True


class _Module(nn.Module):
    scale: Tensor

    def __init__(self, config: _Config) -> None:
        super().__init__()
        self.up = nn.Linear(1, config.inner.width, bias=config.bias)
        self.down = nn.Linear(config.inner.width, 1)
        self.register_buffer("scale", torch.ones(()))

    def forward(self, batch: GraphBatch) -> Tensor:
        y = self.down(torch.relu(self.up(batch.static_features_GS))).squeeze(-1)
        return nn.functional.softplus(y) * self.scale


class _Numbers(TorchPredictor[float]):
    """Predicts a number from a number."""

    name = "numbers"
    config_type = _Config

    def encode(self, inputs: Sequence[float]) -> list[Graph]:
        return [
            Graph(
                np.zeros((0, 1), np.float32),
                np.zeros((2, 0), np.int64),
                np.array([value], np.float32),
            )
            for value in inputs
        ]

    def make_model(self) -> nn.Module:
        return _Module(self.config)

    def calibrate(self, model: nn.Module, store: GraphStore, targets: FloatArray) -> None:
        assert isinstance(model, _Module)
        assert len(store) == len(targets)
        model.scale.fill_(targets.mean())


class _Others(_Numbers):
    name = "others"


INPUTS = [0.1 * i for i in range(30)]
TARGETS = 1 + np.array(INPUTS) ** 2
CONFIG = _Config(inner=_Inner(width=8, names=("x",)), bias=False)
TRAINING = TrainingConfig(epochs=5, learning_rate=0.01, device="cpu")


@pytest.fixture
def fitted() -> _Numbers:
    predictor = _Numbers(CONFIG, TRAINING)
    predictor.fit(INPUTS, TARGETS)
    return predictor


def test_fit_learns_and_tells_how_far_it_has_come() -> None:
    events: list[FitEvent] = []
    predictor = _Numbers(CONFIG, replace(TRAINING, epochs=30, learning_rate=0.03))
    predictor.fit(INPUTS, TARGETS, validation=(INPUTS[:3], TARGETS[:3]), progress=events.append)
    error = np.abs(predictor.predict(INPUTS) / TARGETS - 1).mean()
    assert error < 0.5 * np.abs(TARGETS.mean() / TARGETS - 1).mean()
    assert [event.step for event in events] == list(range(1, 31))
    found = predictor.predict(INPUTS[:3]) / TARGETS[:3]
    assert events[-1].validation == pytest.approx(100 * np.abs(found - 1).mean())


def test_saved_predictor_comes_back(fitted: _Numbers, tmp_path: Path) -> None:
    fitted.facts = {"platform": "testium"}
    fitted.save(tmp_path / "saved")
    loaded = _Numbers.load(tmp_path / "saved")
    np.testing.assert_array_equal(loaded.predict(INPUTS), fitted.predict(INPUTS))
    assert loaded.config == CONFIG
    assert loaded.training == replace(TRAINING, device="auto")
    assert loaded.facts == {"platform": "testium"}
    assert loaded.describe() == fitted.describe()


def test_description_is_plain_and_complete(fitted: _Numbers) -> None:
    described = fitted.describe()
    assert json.loads(json.dumps(described, allow_nan=False))["config"]["inner"]["width"] == 8
    assert described["parameters"] == 8 + 8 + 1
    assert described["fitted_on"] == {"inputs": 30, "targets": [1.0, pytest.approx(9.41)]}
    assert described["training"]["epochs"] == 5
    assert "state" not in described["training"]


def test_one_seed_gives_one_predictor_and_leaves_the_generator_alone(fitted: _Numbers) -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    again = _Numbers(CONFIG, TRAINING)
    again.fit(INPUTS, TARGETS)
    assert torch.equal(torch.rand(2), expected)
    np.testing.assert_array_equal(again.predict(INPUTS), fitted.predict(INPUTS))
    other = _Numbers(CONFIG, replace(TRAINING, seed=1))
    other.fit(INPUTS, TARGETS)
    assert not np.array_equal(other.predict(INPUTS), fitted.predict(INPUTS))


def test_training_of_another_configuration_is_not_resumed(tmp_path: Path) -> None:
    training = replace(TRAINING, state=tmp_path / "state.pt")
    _Numbers(CONFIG, training).fit(INPUTS, TARGETS)
    other = replace(CONFIG, inner=replace(CONFIG.inner, names=("y",)))
    with pytest.raises(InputError, match=r"state\.pt belongs to another configuration"):
        _Numbers(other, training).fit(INPUTS, TARGETS)


class _Magnitudes(_Numbers):
    def encode(self, inputs: Sequence[float]) -> list[Graph]:
        return super().encode([abs(value) for value in inputs])


def test_training_on_inputs_that_only_look_the_same_is_not_resumed(tmp_path: Path) -> None:
    training = replace(TRAINING, state=tmp_path / "state.pt")
    _Magnitudes(CONFIG, training).fit(INPUTS, TARGETS)
    with pytest.raises(InputError, match=r"state\.pt belongs to another configuration"):
        _Magnitudes(CONFIG, training).fit([-value for value in INPUTS], TARGETS)


def test_predictions_do_not_depend_on_how_many_are_asked_for(fitted: _Numbers) -> None:
    many = fitted.predict(INPUTS * 20)
    np.testing.assert_allclose(many, np.tile(fitted.predict(INPUTS), 20), rtol=1e-6)
    assert fitted.predict([]).shape == (0,)


def test_unfitted_predictor_neither_predicts_nor_saves(tmp_path: Path) -> None:
    for ask in (lambda p: p.predict(INPUTS), lambda p: p.save(tmp_path / "x"), _Numbers.describe):
        with pytest.raises(NotFittedError, match="numbers is not fitted"):
            ask(_Numbers())
    assert list(tmp_path.iterdir()) == []


def test_checkpoint_of_another_predictor_is_refused(fitted: _Numbers, tmp_path: Path) -> None:
    fitted.save(tmp_path / "saved")
    with pytest.raises(CheckpointError, match="holds the latency predictor 'numbers', not"):
        _Others.load(tmp_path / "saved")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"colour": "red"}, "colour"),
        ({"inner": {"width": 0}}, "width"),
        ({"inner": {"width": 9, "names": []}}, "size mismatch"),
        ({"inner": 3}, "mapping"),
    ],
)
def test_configuration_that_does_not_fit_is_named(
    fitted: _Numbers, tmp_path: Path, change: dict[str, object], message: str
) -> None:
    fitted.save(tmp_path / "saved")
    path = tmp_path / "saved" / "checkpoint.json"
    description = json.loads(path.read_text())
    description["config"].update(change)
    path.write_text(json.dumps(description))
    with pytest.raises(CheckpointError, match=f"(?s)does not describe a numbers: .*{message}"):
        _Numbers.load(tmp_path / "saved")


def test_facts_must_be_plain(fitted: _Numbers, tmp_path: Path) -> None:
    fitted.facts = {"mape": float("nan")}
    with pytest.raises(CheckpointError, match="plain, finite JSON values"):
        fitted.save(tmp_path / "saved")
    assert list(tmp_path.iterdir()) == []


def test_targets_must_be_positive() -> None:
    with pytest.raises(InputError, match="numbers: targets must be positive finite numbers"):
        _Numbers(CONFIG, TRAINING).fit([1.0], np.array([0.0]))
