"""Random forests as arrays."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="growing forests needs scikit-learn")

from sklearn.ensemble import RandomForestRegressor

from relay_frontend.errors import InputError
from tvm_costmodel.predictors.forest import Forest, ForestConfig, join, part

CONFIG = ForestConfig(num_trees=7, max_depth=12, max_features=0.5)
RNG = np.random.default_rng(0)
ROWS = RNG.integers(0, 9, (200, 5)) * 10.0 ** RNG.integers(-3, 9, 5)
TARGETS = ROWS[:, 0] / ROWS[:, 0].max() + RNG.random(200)


def test_arrays_predict_what_scikit_learn_predicts():
    reference = RandomForestRegressor(
        n_estimators=7, max_depth=12, max_features=0.5, random_state=3
    ).fit(ROWS, TARGETS)
    forest = Forest.grow(ROWS, TARGETS, CONFIG, seed=3)
    unseen = ROWS * RNG.uniform(0.5, 1.5, ROWS.shape)
    for rows in (ROWS, unseen):
        np.testing.assert_allclose(forest.predict(rows), reference.predict(rows), rtol=1e-6)


def test_many_rows_are_predicted_as_few_are(monkeypatch):
    forest = Forest.grow(ROWS, TARGETS, CONFIG, seed=3)
    together = forest.predict(ROWS)
    monkeypatch.setattr("tvm_costmodel.predictors.forest._CHUNK", 50)
    np.testing.assert_array_equal(forest.predict(ROWS), together)
    assert forest.predict(ROWS[:0]).shape == (0,)


def test_forests_share_one_set_of_arrays():
    forests = {
        kind: Forest.grow(ROWS, TARGETS + seed, CONFIG, seed) for seed, kind in enumerate("abc")
    }
    arrays, num_trees = join(forests)
    for kind, again in part(arrays, num_trees).items():
        np.testing.assert_array_equal(again.predict(ROWS), forests[kind].predict(ROWS))
        assert len(again.left) == len(forests[kind].left)


def test_arrays_that_are_no_forest_are_refused():
    arrays, num_trees = join({"a": Forest.grow(ROWS, TARGETS, CONFIG, 0)})
    with pytest.raises(InputError, match="lead nowhere"):
        part({**arrays, "left": arrays["left"] + 1}, num_trees)
    with pytest.raises(InputError, match="lacks the arrays"):
        part({"left": arrays["left"]}, num_trees)
    for wrong in ({"a": 8}, {"a": 7, "b": 0}):
        with pytest.raises(InputError, match="expected 7 trees, at least one of each kind, got"):
            part(arrays, wrong)
