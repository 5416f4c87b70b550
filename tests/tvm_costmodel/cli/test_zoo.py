"""The zoo from the command line."""

from __future__ import annotations

import json
import re

import onnx
import pytest

from measure.zoo import FAMILIES, sample
from tests.tvm_costmodel.cli.messages import assert_one_message
from tests.tvm_costmodel.measured import PLATFORM
from tvm_costmodel.cli.zoo import short_names


def rows_of(out: str) -> dict[str, dict]:
    return {row["family"]: row for row in map(json.loads, out.splitlines())}


def test_there_is_a_row_for_every_family(run):
    code, out, _ = run("zoo", "--count", 1, "--size", "small", "--format", "json")
    assert code == 0
    assert list(rows_of(out)) == list(FAMILIES)


def test_a_row_tells_operators_flops_and_what_is_frequent(run):
    row = rows_of(run("zoo", "vgg", "--count", 2, "--size", "small", "--format", "json")[1])["vgg"]
    assert row["networks"] == 2
    low, _, high = row["operators"].partition(" to ")
    assert int(low) <= row["median"] <= int(high)
    assert 0.005 <= float(row["GFLOPs"].split()[0]) <= 0.3
    assert re.match(r"(relu|conv2d) 3\d%, ", row["most frequent operators"])


def test_latencies_are_those_of_the_families_that_were_measured(run, measured_database):
    options = ("--count", 1, "--size", "small", "--format", "json", "--data", measured_database)
    rows = rows_of(run("zoo", "resnet,bert", *options)[1])
    low, high = map(float, rows["resnet"]["tvm-relax ms"].split(" to "))
    assert 0 < low < high
    assert rows["bert"]["tvm-relax ms"] is None


def test_networks_can_be_written(run, tmp_path):
    code, _, err = run(
        "zoo", "squeezenet", "--count", 2, "--size", "small", "--write", tmp_path / "networks"
    )
    assert code == 0
    assert "networks" in err
    for seed in range(2):
        network = sample("squeezenet", seed, "small")
        assert onnx.load(tmp_path / "networks" / f"{network.name}.onnx") == network.model


def test_an_unknown_family_and_an_unknown_size_list_those_there_are(run):
    assert_one_message(run("zoo", "dinosaurs"), 2, "dinosaurs", "resnet")
    assert_one_message(run("zoo", "vgg", "--size", "huge"), 2, "huge", "small, standard")


@pytest.mark.parametrize(
    ("platforms", "names"),
    [
        ([PLATFORM.name], ["tvm-relax"]),
        (
            ["a/tvm-relay/llvm/t1/float32", "b/tvm-relay/llvm/t1/float32"],
            ["a/tvm-relay", "b/tvm-relay"],
        ),
        (
            ["a/tvm-relay/llvm/t1/float32", "a/onnxruntime/cpu/t1/float32"],
            ["tvm-relay/llvm", "onnxruntime/cpu"],
        ),
        ([], []),
    ],
)
def test_platforms_are_named_by_what_tells_them_apart(platforms, names):
    assert short_names(platforms) == names
