"""Estimates and tokens: what is printed, and one clear message for each mistake."""

from __future__ import annotations

import csv
import io
import json

import pytest
from onnx import helper

from measure.zoo import sample
from tests.networks import conv_bn_relu, model, zoo_network
from tests.tvm_costmodel.cli.messages import assert_one_message
from tests.tvm_costmodel.measured import PLATFORM


def test_estimate_prints_latency_source_and_checkpoint(run, write, fitted):
    path = write(conv_bn_relu())
    options = ("--platform", "tvm-relax", "--checkpoints", fitted[0], "--format", "json")
    code, out, _ = run("estimate", path, *options)
    estimate = json.loads(out)
    assert code == 0
    assert estimate["latency_ms"] > 0
    assert (estimate["source"], estimate["platform"]) == ("nar-former-v2", PLATFORM.name)
    assert "12 networks" in estimate["checkpoint"]


def test_estimate_gives_what_a_database_has_measured(run, write, fitted, measured_database):
    path = write(sample("resnet", 0, "small").model)
    options = ("--platform", "tvm-relax", "--checkpoints", fitted[0], "--format", "json")
    _, plain, _ = run("estimate", path, *options)
    _, looked_up, _ = run("estimate", path, *options, "--database", measured_database)
    assert json.loads(plain)["source"] == "nar-former-v2"
    assert json.loads(looked_up)["source"] == "measured"
    assert "2 timing rounds" in json.loads(looked_up)["checkpoint"]


def test_explain_prints_kernels_types_and_known_families(run, write, fitted_contributions):
    path = write(zoo_network("densenet"))
    options = ("--platform", "tvm-relax", "--checkpoints", fitted_contributions)
    code, out, _ = run("estimate", path, *options, "--explain")
    assert code == 0
    for part in (
        "latency_ms",
        "conv2d",
        "others",
        "with what is fused",
        "known networks",
        "usual distance",
    ):
        assert part in out
    _, text, _ = run("estimate", path, *options, "--explain", "--format", "json")
    explained = json.loads(text)
    kernels = explained["contributions"]["kernels"]
    assert len(kernels) > 11
    total = sum(kernel["latency_ms"] for kernel in kernels)
    assert total == pytest.approx(explained["estimate"]["latency_ms"], rel=1e-5)
    assert sum(family["near"] for family in explained["grounds"]["families"]) == 10


def test_explain_says_what_a_checkpoint_cannot_tell(run, write, fitted):
    options = ("--platform", "tvm-relax", "--checkpoints", fitted[0])
    code, out, _ = run("estimate", write(conv_bn_relu()), *options, "--explain")
    assert code == 0
    assert "The checkpoint has the readout 'pooled'" in out
    assert "kernels that it comes from" not in out
    assert "known families that it rests on" in out


def test_an_explanation_is_no_csv_and_accepts_no_unknown_operators(run, write, fitted):
    path = write(model([helper.make_node("Hardmax", ["x"], ["y"])]))
    options = ("--platform", "tvm-relax", "--checkpoints", fitted[0], "--explain")
    assert_one_message(run("estimate", path, *options, "--format", "csv"), 2, "several tables")
    assert_one_message(run("estimate", path, *options), 2, "vocabulary: Hardmax")
    assert run("estimate", path, *options, "--allow-unknown")[0] == 0


def test_a_database_that_is_not_there_is_not_made(run, write, fitted, tmp_path):
    options = ("--platform", "tvm-relax", "--checkpoints", fitted[0])
    missing = tmp_path / "typo.db"
    result = run("estimate", write(conv_bn_relu()), *options, "--database", missing)
    assert_one_message(result, 2, "typo.db", "no such file")
    assert not missing.exists()


def test_tokens_print_as_table_json_and_csv(run, write):
    path = write(conv_bn_relu())
    code, table, _ = run("tokens", path)
    assert code == 0
    assert "global_avg_pool2d" in table
    _, text, _ = run("tokens", path, "--format", "json")
    graph = json.loads(text)
    assert graph["edges"] == [[0, 1], [1, 2], [2, 3], [3, 4], [4, 5]]
    _, rows, _ = run("tokens", path, "--format", "csv")
    assert [row["op"] for row in csv.DictReader(io.StringIO(rows))][:2] == ["conv2d", "relu"]


def test_an_operator_outside_of_the_vocabulary_is_reported(run, write):
    path = write(model([helper.make_node("Hardmax", ["x"], ["y"])]))
    code, out, err = run("tokens", path)
    assert code == 0
    assert "elementwise" in out
    assert "outside of the vocabulary: Hardmax" in err


@pytest.mark.parametrize(
    "ir",
    [
        pytest.param("relax", marks=pytest.mark.relax),
        pytest.param("relay", marks=pytest.mark.worker),
    ],
)
def test_tokens_through_an_ir_have_the_digest_of_onnx(run, write, ir):
    path = write(conv_bn_relu())
    digests = [
        json.loads(run("tokens", path, "--ir", source, "--format", "json")[1])["digest"]
        for source in ("onnx", ir)
    ]
    assert digests[0] == digests[1]


def test_a_file_that_is_no_network(run, tmp_path, fitted):
    path = tmp_path / "poem.onnx"
    path.write_text("roses are red")
    result = run("estimate", path, "--platform", "tvm-relax", "--checkpoints", fitted[0])
    assert_one_message(result, 2, "error:", "poem.onnx", "not an ONNX model")


def test_a_dynamic_batch(run, write, fitted):
    path = write(model([helper.make_node("Relu", ["x"], ["y"])], ("batch", 3, 8, 8)))
    options = ("--platform", "tvm-relax", "--checkpoints", fitted[0])
    result = run("estimate", path, *options)
    assert_one_message(result, 2, "'batch'", "--shape x=1,3,224,224")
    assert run("estimate", path, *options, "--shape", "x=1,3,8,8")[0] == 0
    assert_one_message(run("estimate", path, *options, "--shape", "x=1,z"), 2, "x=1,z")


def test_an_unknown_operator(run, write, fitted):
    path = write(model([helper.make_node("Hardmax", ["x"], ["y"])]))
    options = ("--platform", "tvm-relax", "--checkpoints", fitted[0])
    assert_one_message(run("estimate", path, *options), 2, "vocabulary: Hardmax", "--allow-unknown")
    code, out, _ = run("estimate", path, *options, "--allow-unknown", "--format", "json")
    assert code == 0
    assert json.loads(out)["unknown_ops"] == ["Hardmax"]
    _, rows, _ = run("estimate", path, *options, "--allow-unknown", "--format", "csv")
    assert next(csv.DictReader(io.StringIO(rows)))["unknown_ops"] == "Hardmax"


def test_an_operator_that_no_training_network_has(run, write):
    path = write(model([helper.make_node("Asinh", ["x"], ["y"])]))
    code, out, err = run("estimate", path, "--platform", "tvm-relay", "--format", "json")
    assert code == 0
    assert (json.loads(out)["unknown_ops"], json.loads(out)["unlearned_ops"]) == ([], ["asinh"])
    assert "no training network has asinh" in err


def test_an_unknown_platform(run, write):
    result = run("estimate", write(conv_bn_relu()), "--platform", "toaster")
    assert_one_message(result, 2, "unknown platform 'toaster'", "known are:")


def test_wrong_options_are_usage_errors(run):
    assert_one_message(run("estimate"), 2, "network")
    assert_one_message(run("fly"), 2, "fly")
