"""Evaluation from the command line."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("pyarrow", reason="runs are written as Parquet")

from relay_frontend.errors import InputError
from tests.tvm_costmodel.cli.messages import assert_one_message
from tvm_costmodel.predictors.linear import FlopsMac


@pytest.fixture
def options(measured_database, tmp_path):
    """Of a quick evaluation of measurements on one platform."""
    return (
        *("--data", measured_database, "--platform", "tvm-relax", "--output", tmp_path / "rows"),
        *("--predictors", "flops,flops-mac"),
    )


def test_each_predictor_has_a_row_for_each_family(run, options):
    code, out, err = run(
        "evaluate", *options, "--protocol", "leave-one-family-out", "--format", "json"
    )
    assert code == 0, err
    rows = [json.loads(line) for line in out.splitlines()]
    assert [(row["predictor"], row["tested on"]) for row in rows[:4]] == [
        ("flops", name) for name in ("all", "resnet", "squeezenet", "vgg")
    ]
    assert rows[0]["networks"] == 12
    assert rows[0]["MAPE %"] > 0
    assert rows[0]["label noise %"] == pytest.approx(1.0, abs=0.05)
    assert "flops, resnet, seed 0: MAPE" in err


def test_a_second_evaluation_goes_on_from_the_first(run, options):
    protocol = ("--protocol", "in-domain[parts=2,folds=2]")
    assert "MAPE" in run("evaluate", *options, *protocol)[2]
    code, out, err = run("evaluate", *options, *protocol, "--seeds", 3)
    assert code == 0
    assert "MAPE %" in out
    assert "MAPE" not in err


def test_the_papers_table_is_written_or_printed(run, options, tmp_path):
    protocol = ("--protocol", "leave-one-family-out")
    path = tmp_path / "results" / "table2.md"
    code, _, err = run("evaluate", *options, *protocol, "--table", path)
    assert code == 0, err
    text = path.read_text()
    assert "| MAPE %, family | tested | flops | flops-mac | label noise % |" in text
    assert run("evaluate", *options, *protocol, "--table", "-")[1] == text


def test_a_run_that_fails_is_told_and_the_exit_code_1(run, options, monkeypatch):
    def fail(*_arguments, **_options):
        raise InputError("no such law")

    monkeypatch.setattr(FlopsMac, "fit", fail)
    code, out, err = run("evaluate", *options, "--protocol", "in-domain[parts=2]")
    assert code == 1
    assert "flops-mac, part 1, seed 0 failed: no such law" in err
    assert "1 runs failed" in err
    assert "flops" in out


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("--protocol", "by-lot"), ("by-lot", "in-domain")),
        (("--predictors", ""), ("nothing to evaluate",)),
        (("--predictors", "oracle"), ("oracle", "choose one of flops")),
        (("--platform", "toaster"), ("toaster",)),
        (("--data", "nnlqp:nowhere"), ("nowhere", "gt.txt")),
        (("--protocol", "fixed"), ("brings no split",)),
    ],
)
def test_wrong_input_is_one_message(run, options, arguments, parts):
    assert_one_message(run("evaluate", *options, *arguments), 2, *parts)
