"""Listings show values as they are."""

from __future__ import annotations

import csv
import io
import json

import pytest

from tvm_costmodel.rendering import Format, print_rows

ROW = {"predictor": "kernel-sum[kernels=guess]", "MAPE %[1]": 7.145, "networks": 1500}


@pytest.mark.parametrize("format_", Format)
def test_brackets_in_names_are_shown(format_: Format, capsys: pytest.CaptureFixture[str]) -> None:
    print_rows([ROW], format_, title="unseen[a]")
    out = capsys.readouterr().out
    assert "kernel-sum[kernels=guess]" in out
    assert "MAPE %[1]" in out
    assert (format_ is Format.table) == ("unseen[a]" in out)


def test_rows_for_programs_are_not_rounded(capsys: pytest.CaptureFixture[str]) -> None:
    print_rows([ROW], Format.json)
    assert json.loads(capsys.readouterr().out) == ROW
    print_rows([ROW], Format.csv)
    (read,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert read == {name: str(value) for name, value in ROW.items()}


def test_nothing_to_list_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    print_rows([], Format.table, title="platforms")
    assert capsys.readouterr().out == "platforms\nnothing to list\n"
