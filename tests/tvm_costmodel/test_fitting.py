"""From measurements to checkpoints."""

from __future__ import annotations

import pytest

from relay_frontend.errors import InputError
from tests.tvm_costmodel.measured import PLATFORM, invented_measurements
from tvm_costmodel.summaries import platform_rows


def test_both_predictors_are_assessed_in_and_out_of_their_families(fitted):
    _, metrics = fitted
    for result in metrics.values():
        assert result["in_domain"]["num_networks"] == 12
        assert set(result["out_of_family_by_family"]) == {"resnet", "vgg", "squeezenet"}
        low, high = result["interval"]
        assert 0 < low <= high
        assert result["label_noise"]["median"] == pytest.approx(1.0, abs=0.05)


def test_too_few_networks_are_refused(tmp_path):
    pytest.importorskip("torch", reason="training needs torch")
    from tvm_costmodel.fitting import fit_platform  # noqa: PLC0415

    with (
        invented_measurements(3) as database,
        pytest.raises(InputError, match="3 measured networks, training needs at least 10"),
    ):
        fit_platform(database, PLATFORM.name, tmp_path)


def test_platforms_are_listed_with_their_quality(fitted):
    rows = platform_rows(fitted[0])
    assert [row["predictor"] for row in rows] == ["nar-former-v2", "kernel-sum"]
    assert {row["platform"] for row in rows} == {PLATFORM.name}
    assert all(row["MAPE %"] > 0 for row in rows)
