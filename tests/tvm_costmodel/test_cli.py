"""The command line: what it prints, and one clear message for each mistake."""

from __future__ import annotations

import csv
import io
import json
import sys

import pytest
from onnx import helper

from tests.measure.fake_toolchain import SPEC
from tests.measure.fake_toolchain import network as fake_network
from tests.networks import conv_bn_relu, model
from tests.tvm_costmodel.measured import PLATFORM
from tvm_costmodel.cli import main


@pytest.fixture
def run(monkeypatch, capsys):
    """Run the command line; gives exit code, standard output and standard error."""

    def run_(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["tvm-costmodel", *map(str, arguments)])
        code = 0
        try:
            main()
        except SystemExit as exit_:
            code = exit_.code if isinstance(exit_.code, int) else int(exit_.code is not None)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run_


@pytest.fixture
def write(tmp_path):
    def write_(network, name="network.onnx"):
        path = tmp_path / name
        path.write_bytes(network.SerializeToString())
        return path

    return write_


def test_estimate_prints_latency_source_and_checkpoint(run, write, fitted):
    path = write(conv_bn_relu())
    options = ("--platform", "tvm-relax", "--checkpoints", fitted[0], "--format", "json")
    code, out, _ = run("estimate", path, *options)
    estimate = json.loads(out)
    assert code == 0
    assert estimate["latency_ms"] > 0
    assert (estimate["source"], estimate["platform"]) == ("nar-former-v2", PLATFORM.name)
    assert "12 networks" in estimate["checkpoint"]


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


def test_platforms_lists_checkpoints(run, fitted):
    code, out, _ = run("platforms", "--checkpoints", fitted[0], "--format", "csv")
    assert code == 0
    assert [row["platform"] for row in csv.DictReader(io.StringIO(out))] == [PLATFORM.name] * 2


def assert_one_message(result: tuple[int, str, str], code: int, *parts: str) -> None:
    assert result[0] == code, result
    assert "Traceback" not in result[2]
    message = " ".join(result[2].split())  # a terminal wraps lines
    for part in parts:
        assert part.lower() in message.lower()


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


@pytest.mark.relax
def test_compare_shows_both_estimates_and_names_unknown_operators(run, write, fitted, tmp_path):
    path = write(model([helper.make_node("Hardmax", ["x"], ["y"])]))
    options = ("--platform", "tvm-relax", "--checkpoints", fitted[0], "--format", "json")
    code, out, err = run("compare", path, *options, "--database", tmp_path / "m.db")
    row = json.loads(out)
    assert code == 0
    assert row["NAR-Former V2 ms"] > 0
    assert row["kernel-sum ms"] > 0
    assert row["measured ms"] is None
    assert "outside of the vocabulary: Hardmax" in err


def test_an_unknown_platform(run, write):
    result = run("estimate", write(conv_bn_relu()), "--platform", "toaster")
    assert_one_message(result, 2, "unknown platform 'toaster'", "known are:")


def test_a_build_that_fails_is_one_message_and_exit_code_1(run, write, tmp_path):
    path = write(fake_network("build-raise"), "broken.onnx")
    database = tmp_path / "m.db"
    result = run("measure", path, "--toolchain", SPEC, "--database", database)
    assert_one_message(result, 1, "broken", "1 failed to build")


def test_a_run_over_its_time_limit_is_one_message_and_exit_code_1(run, write, tmp_path):
    path = write(fake_network("run-hang"), "endless.onnx")
    options = ("--toolchain", SPEC, "--database", tmp_path / "m.db", "--time-limit", 1)
    result = run("measure", path, *options)
    assert_one_message(result, 1, "endless", "1 s", "1 failed to run")


def test_a_second_run_goes_on_where_the_first_stopped(run, write, tmp_path):
    paths = [write(fake_network(f"net-{i}", i + 1), f"net-{i}.onnx") for i in range(2)]
    options = ("--toolchain", SPEC, "--database", tmp_path / "m.db")
    assert "1 measured, 0 known before" in run("measure", paths[0], *options)[2]
    assert "1 measured, 1 known before" in run("measure", *paths, *options)[2]


def test_nothing_to_measure(run):
    assert_one_message(run("measure"), 2, "nothing to measure")


def test_an_unknown_family_and_an_unknown_toolchain(run, write, tmp_path):
    database = ("--database", tmp_path / "m.db")
    result = run("measure", "--zoo", "dinosaurs", "--toolchain", SPEC, *database)
    assert_one_message(result, 2, "dinosaurs")
    result = run("measure", write(conv_bn_relu()), "--toolchain", "gcc", *database)
    assert_one_message(result, 2, "gcc")


def test_a_missing_optional_package_names_the_install_line(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "tvm_costmodel.fitting", raising=False)
    monkeypatch.delitem(sys.modules, "tvm_costmodel.training", raising=False)
    monkeypatch.delitem(sys.modules, "tvm_costmodel.nar_former_v2", raising=False)
    result = run("train", "--platform", "x", "--output", "checkpoints")
    assert_one_message(result, 2, "needs torch", "tvm-costmodel[train]")


def test_training_without_measurements(run, tmp_path):
    pytest.importorskip("torch", reason="training needs torch")
    result = run(
        "train", "--platform", "x", "--output", tmp_path / "c", "--data", tmp_path / "none.db"
    )
    assert_one_message(result, 2, "none.db")


def test_wrong_options_are_usage_errors(run):
    assert_one_message(run("estimate"), 2, "network")
    assert_one_message(run("fly"), 2, "fly")
