"""Scales of features and outputs."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

import torch

from tvm_costmodel.learning.scales import Standardize, output_scale


def test_standardized_values_have_mean_0_and_deviation_1() -> None:
    values = torch.tensor([[1.0, 10.0], [3.0, 30.0]])
    standardize = Standardize(2)
    standardize.calibrate(values)
    assert standardize(values).tolist() == [[-1.0, -1.0], [1.0, 1.0]]
    assert standardize.state_dict().keys() == {"mean", "deviation"}


def test_feature_that_never_varies_counts_for_nothing() -> None:
    standardize = Standardize(1)
    standardize.calibrate(torch.full((4, 1), 7.0))
    assert standardize(torch.tensor([[7.0], [8.0]])).tolist() == [[0.0], [0.0]]


def test_rare_feature_is_stretched_by_no_more_than_four() -> None:
    standardize = Standardize(1)
    values = torch.zeros(1000, 1)
    values[0] = 1.0
    standardize.calibrate(values)
    assert standardize(torch.ones(1, 1)).item() == pytest.approx(4.0, rel=0.01)


def test_output_scale_is_the_first_percentile() -> None:
    assert output_scale([2001.0, 1.0, 1001.0]) == pytest.approx(21.0)
