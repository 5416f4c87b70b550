"""Training from the command line."""

from __future__ import annotations

import csv
import io
import sys

import pytest

from tests.tvm_costmodel.cli.messages import assert_one_message
from tests.tvm_costmodel.measured import FITTED, PLATFORM
from tvm_costmodel.summaries import metrics_rows


def test_platforms_lists_checkpoints(run, fitted):
    code, out, _ = run("platforms", "--checkpoints", fitted[0], "--format", "csv")
    assert code == 0
    assert [row["platform"] for row in csv.DictReader(io.StringIO(out))] == [PLATFORM.name] * len(
        FITTED
    )


def test_errors_stand_beside_the_label_noise(fitted):
    rows = metrics_rows(fitted[1])
    assert [(row["predictor"], row["test"]) for row in rows] == [
        (predictor, test) for predictor in FITTED for test in ("in_domain", "out_of_family")
    ]
    assert all(row["mape"] > 0 for row in rows)
    assert all(row["label noise %"] == pytest.approx(1.0, abs=0.05) for row in rows)
    unknown = {**fitted[1]["kernel-sum"], "label_noise": None}
    assert metrics_rows({"kernel-sum": unknown})[0]["label noise %"] is None


def test_a_missing_optional_package_names_the_install_line(
    run, monkeypatch, measured_database, tmp_path
):
    monkeypatch.setitem(sys.modules, "torch", None)
    needs_torch = ("tvm_costmodel.learning.", "tvm_costmodel.predictors.nar_former_v2.")
    for name in [name for name in sys.modules if name.startswith(needs_torch)]:
        monkeypatch.delitem(sys.modules, name)
    options = ("--platform", "tvm-relax", "--data", measured_database)
    result = run("train", *options, "--output", tmp_path / "c")
    assert_one_message(result, 2, "needs torch", "tvm-costmodel[train]")


def test_training_without_measurements(run, tmp_path):
    pytest.importorskip("torch", reason="training needs torch")
    result = run(
        "train", "--platform", "x", "--output", tmp_path / "c", "--data", tmp_path / "none.db"
    )
    assert_one_message(result, 2, "none.db")
