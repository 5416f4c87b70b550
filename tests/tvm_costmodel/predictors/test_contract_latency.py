"""What every predictor of latencies promises."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from relay_frontend.errors import InputError
from tests.tvm_costmodel.predictors.contract import small
from tests.tvm_costmodel.predictors.networks import latencies, small_networks
from tvm_costmodel import predictors
from tvm_costmodel.errors import CheckpointError
from tvm_costmodel.predictors.base import FitEvent, NotFittedError

NETWORKS = small_networks()
LATENCIES = latencies(NETWORKS)


@pytest.fixture(scope="module", params=predictors.LATENCY)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def fitted(name: str) -> Any:
    """A fitted predictor, what it told while it was fitted, and how."""
    events: list[FitEvent] = []
    predictor = small(name, "latency")
    held_out = (NETWORKS[:2], LATENCIES[:2])
    predictor.fit(NETWORKS, LATENCIES, validation=held_out, progress=events.append)
    return predictor, events


def test_it_learns(fitted):
    predicted = fitted[0].predict(NETWORKS)
    error = np.abs(predicted / LATENCIES - 1).mean()
    assert error < np.abs(LATENCIES.mean() / LATENCIES - 1).mean()


def test_predictions_are_positive_and_finite(fitted):
    predicted = fitted[0].predict(NETWORKS)
    assert predicted.shape == (len(NETWORKS),)
    assert predicted.dtype == np.float64
    assert (np.isfinite(predicted) & (predicted > 0)).all()


def test_predictions_keep_the_order_and_ignore_the_batch(fitted):
    together = fitted[0].predict(NETWORKS)
    backwards = fitted[0].predict(NETWORKS[::-1])[::-1]
    alone = np.concatenate([fitted[0].predict([network]) for network in NETWORKS])
    np.testing.assert_allclose(backwards, together, rtol=2e-5)
    np.testing.assert_allclose(alone, together, rtol=2e-5)


def test_nothing_asked_nothing_said(fitted):
    assert fitted[0].predict([]).shape == (0,)


def test_what_was_saved_predicts_the_same(fitted, tmp_path):
    predictor = fitted[0]
    predictor.save(tmp_path / "saved")
    loaded = type(predictor).load(tmp_path / "saved")
    np.testing.assert_array_equal(loaded.predict(NETWORKS), predictor.predict(NETWORKS))
    assert loaded.describe() == predictor.describe()


def test_what_was_saved_is_plain(fitted, tmp_path):
    fitted[0].save(tmp_path / "saved")
    names = {path.suffix for path in (tmp_path / "saved").iterdir()}
    assert names <= {".json", ".safetensors", ".ubj"}


def test_nothing_is_overwritten(fitted, tmp_path):
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(CheckpointError, match=str(tmp_path)):
        fitted[0].save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["note.txt"]


def test_a_damaged_directory_is_named(fitted, tmp_path):
    with pytest.raises(CheckpointError, match="nowhere"):
        type(fitted[0]).load(tmp_path / "nowhere")
    fitted[0].save(tmp_path / "saved")
    for path in sorted((tmp_path / "saved").iterdir()):
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
        with pytest.raises(CheckpointError, match="saved"):
            type(fitted[0]).load(tmp_path / "saved")
        path.write_bytes(content)


def test_the_directory_of_another_predictor_is_refused(fitted, name, tmp_path):
    fitted[0].save(tmp_path / "saved")
    other = "flops-mac" if name == "flops" else "flops"
    with pytest.raises(CheckpointError, match="saved"):
        predictors.predictor_class(other).load(tmp_path / "saved")


def test_it_describes_itself_in_plain_json(fitted, name):
    described = fitted[0].describe()
    assert json.loads(json.dumps(described, allow_nan=False)) == json.loads(json.dumps(described))
    assert described["name"] == name


def test_it_tells_how_far_it_has_come(fitted):
    _, events = fitted
    steps = [event.step for event in events]
    assert steps == sorted(steps)
    assert events[-1].step == events[-1].steps
    assert events[-1].validation is not None
    assert 0 <= events[-1].validation < 1000


def test_one_seed_gives_one_predictor(fitted, name):
    again = small(name, "latency")
    again.fit(NETWORKS, LATENCIES)
    np.testing.assert_array_equal(again.predict(NETWORKS), fitted[0].predict(NETWORKS))


def test_it_must_be_fitted_first(name, tmp_path: Path):
    with pytest.raises(NotFittedError):
        small(name, "latency").predict(NETWORKS)
    with pytest.raises(NotFittedError):
        small(name, "latency").save(tmp_path / "saved")


@pytest.mark.parametrize(
    ("networks", "targets"),
    [
        ((), np.zeros(0)),
        (NETWORKS[:2], np.array([1.0, 0.0])),
        (NETWORKS[:2], np.array([1.0, np.nan])),
        (NETWORKS[:2], np.array([1.0])),
    ],
)
def test_what_cannot_be_learned_from_is_refused(name, networks, targets):
    with pytest.raises(InputError):
        small(name, "latency").fit(networks, targets)


def test_kernel_times_are_read_by_fitting_alone(fitted):
    untimed = [replace(network, kernel_ms=None) for network in NETWORKS]
    if fitted[0].name == "measured-kernels":  # which is a bound, and no prediction
        with pytest.raises(InputError, match="were not timed"):
            fitted[0].predict(untimed)
        return
    np.testing.assert_array_equal(fitted[0].predict(untimed), fitted[0].predict(NETWORKS))
