"""Comparing from the command line."""

from __future__ import annotations

import csv
import io
import json
import shutil
import sys

import numpy as np
import pytest
from onnx import helper

from measure.campaign.types import Summary
from measure.database import Database
from measure.device import Device, Platform
from measure.errors import InterpreterError
from measure.records import Round
from relay_frontend.onnx import read_onnx
from tests.networks import conv_bn_relu, model
from tests.tvm_costmodel.cli.messages import assert_one_message
from tests.tvm_costmodel.measured import PLATFORM, PROTOCOL
from tvm_costmodel import campaigns
from tvm_costmodel.campaigns import LocalNetwork


@pytest.fixture
def compare(run, fitted):
    """Run ``compare`` with checkpoints of the invented platform."""
    return lambda *options: run(
        "compare", "--platform", "tvm-relax", "--checkpoints", fitted[0], *options
    )


def test_both_estimates_are_shown_and_unknown_operators_named(compare, write):
    path = write(model([helper.make_node("Hardmax", ["x"], ["y"])]))
    code, out, err = compare(path, "--kernels", "guess", "--format", "json")
    row = json.loads(out)
    assert code == 0
    assert row["NAR-Former V2 ms"] > 0
    assert row["kernel-sum ms"] > 0
    assert row["kernel-sum kernels"] == "guess"
    assert row["measured ms"] is None
    assert "outside of the vocabulary: Hardmax" in err


@pytest.mark.relax
def test_the_compiler_lists_the_kernels_where_it_is_asked(compare, write):
    path = write(model([helper.make_node("Relu", ["x"], ["y"])]))
    code, out, _ = compare(path, "--kernels", "compiler", "--format", "json")
    assert code == 0
    assert json.loads(out)["kernel-sum kernels"] == "compiler"


def test_networks_of_a_database_are_chosen_by_family_and_limit(compare, measured_database):
    options = ("--data", measured_database, "--family", "vgg,resnet", "--limit", 2)
    code, out, _ = compare(*options, "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert code == 0
    assert [row["family"] for row in rows] == ["resnet"] * 2 + ["vgg"] * 2
    assert {row["platform"] for row in rows} == {PLATFORM.name}
    assert all(float(row["measured kernels ms"]) > 0 for row in rows)
    assert all(float(row["roofline ms"]) > 0 for row in rows)


def test_the_table_ends_with_how_good_each_view_is(compare, measured_database):
    code, out, err = compare("--data", measured_database)
    assert code == 0
    assert "over all of them" in out
    assert "roofline" in out  # a narrow table breaks longer names
    assert "No measured peak is recorded" in err


def test_networks_of_the_zoo_are_compared_by_the_predictors_that_are_named(compare):
    options = ("--zoo", "squeezenet", "--count", 2, "--size", "small", "--format", "json")
    code, out, _ = compare(*options, "--predictors", "nar-former-v2")
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert [row["network"] for row in rows] == ["squeezenet-00000", "squeezenet-00001"]
    assert "kernel-sum ms" not in rows[0]


def test_without_times_the_same_command_writes_the_same_report(
    compare, measured_database, tmp_path
):
    pytest.importorskip("vl_convert", reason="the report's charts need vl-convert-python")
    pages = [tmp_path / "a.html", tmp_path / "b.html"]
    for page in pages:
        code, _, err = compare("--data", measured_database, "--no-times", "--report", page)
        assert code == 0
        assert f"wrote the report: {page}" in err
    assert pages[0].read_bytes() == pages[1].read_bytes()


def test_the_usual_database_is_looked_up_where_there_is_one(
    compare, measured_database, write, tmp_path, monkeypatch
):
    from measure.zoo import sample  # noqa: PLC0415

    path = write(sample("resnet", 0, "small").model)
    monkeypatch.chdir(tmp_path)
    options = (path, "--kernels", "guess", "--format", "json")
    assert json.loads(compare(*options)[1])["measured ms"] is None
    shutil.copy(measured_database, tmp_path / "measurements.db")
    assert json.loads(compare(*options)[1])["measured ms"] > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "nothing to compare on"),
        (("--family", "vgg", "x.onnx"), "--family and --limit choose among"),
        (("--zoo", "vgg", "--predictors", "nnlp"), "unknown predictor 'nnlp'"),
        (("--zoo", "vgg", "--predictors", ","), "no predictor is named"),
        (("--zoo", "vgg", "--database", "none.db"), "none.db"),
        (("--data", "none.db"), "none.db"),
        (("--zoo", "vgg", "--report", "none/report.html"), "in an existing directory"),
        (("--zoo", "cnn"), "unknown network family 'cnn'"),
    ],
)
def test_input_at_fault_is_named(compare, options, message):
    if "--report" in options:
        pytest.importorskip("vl_convert", reason="reports need vl-convert-python")
    assert_one_message(compare(*options), 2, message)


def test_a_base_install_is_told_what_comparing_needs_at_once(compare, monkeypatch):
    for package in ("scipy", "sqlalchemy"):
        monkeypatch.setitem(sys.modules, package, None)
    assert_one_message(compare("--zoo", "vgg"), 2, "pip install 'tvm-costmodel[report]'")


def test_a_family_that_the_data_lack_is_named(compare, measured_database):
    result = compare("--data", measured_database, "--family", "bert")
    assert_one_message(result, 2, "no networks of 'bert'", "resnet, squeezenet, vgg")


@pytest.fixture
def demo(run, monkeypatch, tmp_path):
    """Run the demo without Relay, on one network, which the given function measures."""

    def demo_(measure):
        def campaign(networks, toolchains, location, *_options):
            with Database.open(location) as database:
                measure(networks, toolchains, database)
            return Summary()

        def no_compiler(*_arguments, **_options):
            raise InterpreterError("no Python with the compiler")

        def light_networks():
            yield LocalNetwork(name="squeezenet", family="onnx-light", seed=0, model=conv_bn_relu())

        monkeypatch.setenv("TVM_COSTMODEL_RELAY_PYTHON", "/nowhere/python")
        monkeypatch.setattr(campaigns, "run_with_progress", campaign)
        monkeypatch.setattr("tvm_costmodel.demo.light_networks", light_networks)
        monkeypatch.setattr("tvm_costmodel.kernel_finding.Worker", no_compiler)
        return run("demo", "--database", tmp_path / "demo.db")

    return demo_


def measured_here(networks, toolchains, database):
    """What a campaign on this machine would write, for a latency that is made up."""
    device = Device.local()
    platform = Platform(device=device.short_name, toolchain=toolchains[0], target="llvm")
    database.add_platform(platform, device, {"test": "1"})
    database.add_protocol(PROTOCOL)
    for network in networks:
        digest = read_onnx(network.model).digest
        database.add_network(digest, network.name, network.family, network.seed, network.model)
        taken = Round(
            started_at=0.0, duration_s=1.0, inner_count=1, samples=np.full(5, 7.25), conditions={}
        )
        database.add_round(digest, platform.name, PROTOCOL.name, 0, taken)


@pytest.mark.relax
def test_without_relay_the_demo_runs_on_relax_and_says_so(demo):
    code, out, err = demo(measured_here)
    assert code == 0
    assert "on tvm-relax instead of tvm-relay: no Python with the relay generation" in err
    assert "Kernels of networks not built before are guessed" in err
    assert f"measured on   {Device.local().short_name}/tvm-relax/llvm/t1/float32" in out
    assert "7.25" in out


@pytest.mark.relax
def test_a_demo_that_measured_nothing_says_so(demo):
    _, out, _ = demo(lambda *_campaign: None)
    assert "measured on   no platform, since nothing could be measured" in out
    assert "squeezenet" in out
