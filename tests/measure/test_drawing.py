"""Values of the tensors of networks that are timed."""

from __future__ import annotations

import json

import numpy as np
import pytest

from measure.drawing import Draw, data, draw


@pytest.mark.parametrize(
    "spec",
    [
        data((), "float32"),
        data((2, 3), "float16"),
        data((4,), "int64"),
        Draw(shape=(5,), dtype="float32", std=None, low=0.5, high=1.5),
        Draw(shape=(5,), dtype="float64", mean=3.0, std=2.0, low=0.0, high=4.0),
    ],
)
def test_a_tensor_has_its_type_and_passes_through_json(spec: Draw) -> None:
    again = Draw.from_dict(json.loads(json.dumps(spec.to_dict())))
    values = draw(spec, seed=1, index=2)
    assert (values.shape, values.dtype) == (spec.shape, np.dtype(spec.dtype))
    np.testing.assert_array_equal(draw(again, seed=1, index=2), values)


def test_values_depend_on_seed_and_index() -> None:
    spec = data((8,), "float32")
    drawn = {draw(spec, seed, index).tobytes() for seed in range(3) for index in range(3)}
    assert len(drawn) == 9


def test_normal_values_have_their_moments_within_their_range() -> None:
    values = draw(Draw(shape=(20_000,), dtype="float32", mean=3.0, std=2.0, low=0.0), 0, 0)
    assert values.min() == 0.0
    assert abs(np.median(values) - 3.0) < 0.1
    assert abs(np.quantile(values, 0.8413) - 5.0) < 0.1


def test_uniform_values_fill_their_range() -> None:
    values = draw(Draw(shape=(20_000,), dtype="float32", std=None, low=0.5, high=1.5), 0, 0)
    assert (0.5 <= values.min() < 0.51, 1.49 < values.max() <= 1.5) == (True, True)


def test_what_may_be_an_index_is_zero() -> None:
    assert not draw(data((100,), "int64"), 0, 0).any()
