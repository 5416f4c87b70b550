"""Measuring from the command line, with a toolchain that misbehaves as told."""

from __future__ import annotations

import pytest

from measure.campaign.types import CampaignConfig, Summary
from measure.database import Database
from measure.database.jobs import JobQueue
from measure.database.owner import current_owner
from measure.protocol import Protocol
from tests.measure import databases
from tests.measure.fake_toolchain import SPEC
from tests.measure.fake_toolchain import network as fake_network
from tests.networks import conv_bn_relu
from tests.tvm_costmodel.cli.messages import assert_one_message
from tvm_costmodel import campaigns


@pytest.fixture
def options(tmp_path):
    """Of a campaign that is quick."""
    return ("--toolchain", SPEC, "--database", tmp_path / "m.db", "--no-anchors", "--no-probes")


def test_a_build_that_fails_is_one_message_and_exit_code_1(run, write, options):
    path = write(fake_network("build-raise"), "broken.onnx")
    result = run("measure", path, *options)
    assert_one_message(result, 1, "broken", "no schedule", "1 failed to build: ValueError")


def test_a_run_over_its_time_limit_is_one_message_and_exit_code_1(run, write, options):
    path = write(fake_network("run-hang"), "endless.onnx")
    result = run("measure", path, *options, "--time-limit", "5s")
    assert_one_message(result, 1, "endless", "5 s", "1 failed to run: TimeLimitError")


def test_a_second_run_goes_on_where_the_first_stopped(run, write, options):
    paths = [write(fake_network(f"net-{i}", i + 1), f"net-{i}.onnx") for i in range(2)]
    assert "1 measured, 0 known before" in run("measure", paths[0], *options)[2]
    assert "1 measured, 1 known before" in run("measure", *paths, *options)[2]


def test_explain_tells_of_what_was_measured_now_or_before(run, write, options):
    path = write(fake_network("net-1"), "net-1.onnx")
    for _ in range(2):
        code, out, _ = run("measure", path, *options, "--explain")
        assert code == 0
        assert "network   net-1 (file)" in out
        assert "/fake/" in out
        assert "Label " in out
        assert "rusted" in out


def test_explain_says_of_a_failure_that_there_is_no_label(run, write, options):
    path = write(fake_network("build-raise"), "broken.onnx")
    code, out, _ = run("measure", path, *options, "--explain")
    assert code == 1
    assert "There is no label: build failed with ValueError" in out


def test_kernels_may_be_left_out(run, write, options, tmp_path):
    path = write(fake_network("net-1"), "net-1.onnx")
    assert run("measure", path, *options, "--no-kernels", "--rounds", 1)[0] == 0
    with Database.open(tmp_path / "m.db") as database:
        (platform,) = database.platforms()
        assert database.kernel_times(platform) == {}
        assert len(database.latencies(platform)) == 1


def test_options_become_the_campaign_that_they_name(run, monkeypatch, tmp_path):
    seen = {}

    def run_campaign(networks, toolchains, _database, *, config, progress):
        seen.update(networks=[n.name for n in networks], toolchains=toolchains, config=config)
        return Summary()

    monkeypatch.setattr(campaigns, "run_campaign", run_campaign)
    code, _, err = run(
        *("measure", "--zoo", "vgg,resnet", "--count", 2, "--size", "small"),
        *("--platform", "tvm-relay,onnxruntime", "--database", tmp_path / "m.db"),
        *(
            "--device",
            "rpc://host:9190/a",
            "--device",
            "rpc://host:9190/b",
            "--target",
            "llvm -mcpu=znver4",
        ),
        *("--budget", "2h", "--build-limit", "5m", "--max-retakes", 5, "--cpus", "0,1"),
        *("--artifacts", tmp_path / "built"),
    )
    assert code == 0, err
    # A campaign cut short has seen all families.
    assert seen["networks"] == ["vgg-00000", "resnet-00000", "vgg-00001", "resnet-00001"]
    assert seen["toolchains"] == ["tvm-relay", "onnxruntime"]
    config: CampaignConfig = seen["config"]
    assert config.devices == ("rpc://host:9190/a", "rpc://host:9190/b")
    assert (config.target, config.budget_s, config.kernels) == ("llvm -mcpu=znver4", 7200.0, True)
    assert config.anchors
    assert (config.max_retakes, config.cpus) == (5, (0, 1))
    assert config.limits.build_s == 300.0
    assert config.limits.round_s == CampaignConfig().limits.round_s
    assert config.artifacts == tmp_path / "built"


def test_what_is_queued_is_measured_without_naming_it(run, write, options, tmp_path):
    path = write(fake_network("net-1"), "net-1.onnx")
    run("measure", path, *options, "--no-kernels", "--rounds", 1, "--max-retakes", 0)
    with Database.open(tmp_path / "m.db") as database:
        (platform,) = database.platforms()
        (network,) = database.networks(platform)
        queue = JobQueue(database, current_owner())
        queue.add([network.digest], platform, Protocol().name, rounds=2, kernels=True)
    code, _, err = run("measure", "--queued", "--max-retakes", 0, *options)
    assert (code, "1 measured, 0 known before; 1 rounds" in err) == (0, True)
    assert "of 1 labels trusted" in err


def test_waiting_jobs_are_counted_by_toolchain(tmp_path):
    with Database.open(tmp_path / "m.db") as database:
        databases.fill(database)
        queue = JobQueue(database, current_owner())
        both = [databases.A, databases.B]
        queue.add(both, databases.NAME, databases.PROTOCOL, rounds=1, kernels=True)
        queue.lease([databases.NAME], 1)
    assert campaigns.queued_jobs(str(tmp_path / "m.db"), ["tvm-relay"]) == 0
    assert campaigns.queued_jobs(str(tmp_path / "m.db"), ["tvm-relay", "fake"]) == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--zoo", "vgg", "--queued"), ("--queued", "name no networks")),
        (("--queued", "--explain"), ("--explain", "leave out --queued")),
        (("--queued", "--cpus", "0-1"), ("--cpus '0-1'", "such as 0,1")),
        (("--zoo", ","), ("--zoo ','", "such as resnet,vgg")),
        (("--queued", "--toolchain", ","), ("--toolchain ','", "such as tvm-relay")),
    ],
)
def test_options_that_contradict_one_another_or_themselves(run, options, arguments, words):
    assert_one_message(run("measure", *options, *arguments), 2, *words)


def test_what_is_queued_in_a_database_that_is_not_there(run, options, tmp_path):
    assert_one_message(run("measure", "--queued", *options), 2, "m.db", "no such file")
    assert not (tmp_path / "m.db").exists()


def test_a_budget_that_is_no_duration(run, write):
    result = run("measure", write(fake_network("net-1")), "--budget", "soon")
    assert_one_message(result, 2, "'soon'", "2h, 90m, 45s")


def test_nothing_to_measure(run):
    assert_one_message(run("measure"), 2, "nothing to measure")


def test_an_unknown_family_and_an_unknown_toolchain(run, write, tmp_path):
    database = ("--database", tmp_path / "m.db")
    result = run("measure", "--zoo", "dinosaurs", "--toolchain", SPEC, *database)
    assert_one_message(result, 2, "dinosaurs")
    result = run("measure", write(conv_bn_relu()), "--toolchain", "gcc", *database)
    assert_one_message(result, 2, "gcc")
