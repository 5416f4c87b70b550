"""What every predictor of accuracies promises."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from relay_frontend.cells import Cell
from relay_frontend.errors import InputError
from tests.tvm_costmodel.predictors.contract import small
from tests.tvm_costmodel.predictors.networks import accuracies, small_cells
from tvm_costmodel import predictors
from tvm_costmodel.errors import CheckpointError
from tvm_costmodel.predictors.base import NotFittedError

CELLS = small_cells()
ACCURACIES = accuracies(CELLS)


@pytest.fixture(scope="module", params=predictors.ACCURACY)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def fitted(name: str) -> Any:
    predictor = small(name, "accuracy")
    predictor.fit(CELLS, ACCURACIES)
    return predictor


def test_it_learns(fitted):
    error = np.abs(fitted.predict(CELLS) / ACCURACIES - 1).mean()
    assert error < np.abs(ACCURACIES.mean() / ACCURACIES - 1).mean()


def test_predictions_are_accuracies(fitted):
    predicted = fitted.predict(CELLS)
    assert predicted.shape == (len(CELLS),)
    assert (np.isfinite(predicted) & (predicted > 0)).all()


def test_predictions_keep_the_order_and_ignore_the_batch(fitted):
    together = fitted.predict(CELLS)
    # A small cell beside them pads its sequence to theirs.
    small_one = Cell(("input", "nor_conv_3x3", "output"), ((0, 1), (1, 2)))
    np.testing.assert_allclose(fitted.predict(CELLS[::-1])[::-1], together, rtol=2e-5)
    beside = fitted.predict([small_one, *CELLS])
    np.testing.assert_allclose(beside[1:], together, rtol=2e-5)
    np.testing.assert_allclose(beside[:1], fitted.predict([small_one]), rtol=2e-5)


def test_what_was_saved_predicts_the_same(fitted, tmp_path):
    fitted.save(tmp_path / "saved")
    loaded = type(fitted).load(tmp_path / "saved")
    np.testing.assert_array_equal(loaded.predict(CELLS), fitted.predict(CELLS))
    assert loaded.describe() == fitted.describe()


def test_a_damaged_directory_is_named(fitted, tmp_path):
    fitted.save(tmp_path / "saved")
    for path in sorted((tmp_path / "saved").iterdir()):
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
        with pytest.raises(CheckpointError, match="saved"):
            type(fitted).load(tmp_path / "saved")
        path.write_bytes(content)


def test_it_describes_itself_in_plain_json(fitted, name):
    described = fitted.describe()
    assert json.loads(json.dumps(described, allow_nan=False)) == json.loads(json.dumps(described))
    assert (described["name"], described["task"]) == (name, "accuracy")


def test_one_seed_gives_one_predictor(fitted, name):
    again = small(name, "accuracy")
    again.fit(CELLS, ACCURACIES)
    np.testing.assert_array_equal(again.predict(CELLS), fitted.predict(CELLS))


def test_it_must_be_fitted_first(name, tmp_path):
    with pytest.raises(NotFittedError):
        small(name, "accuracy").predict(CELLS)
    with pytest.raises(NotFittedError):
        small(name, "accuracy").save(tmp_path / "saved")


def test_what_cannot_be_learned_from_is_refused(name):
    with pytest.raises(InputError):
        small(name, "accuracy").fit((), np.zeros(0))
    with pytest.raises(InputError):
        small(name, "accuracy").fit(CELLS[:2], np.array([0.9, -0.1]))


def test_a_label_that_is_unknown_is_named(fitted):
    strange = Cell(("input", "nor_conv_9x9", "output"), ((0, 1), (1, 2)))
    with pytest.raises(InputError, match="nor_conv_9x9"):
        fitted.predict([strange])
