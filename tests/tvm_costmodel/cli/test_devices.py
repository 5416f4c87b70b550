"""Devices from the command line."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from measure.database import Database
from measure.database.device_states import DeviceStates
from tests.tvm_costmodel.cli.messages import assert_one_message


@pytest.fixture
def database(tmp_path):
    """A database that knows a good device and a quarantined one."""
    path = tmp_path / "m.db"
    with Database.open(path) as opened:
        states = DeviceStates(opened)
        states.record_success("good-2c", "rpc://here:9190/good")
        states.record_failure("bad-2c", "rpc://here:9190/bad", "cannot be reached", limit=1)
    return path


def test_devices_are_listed_with_their_state(run, database):
    code, out, _ = run("devices", "--database", database, "--format", "json")
    rows = {row["name"]: row for row in map(json.loads, out.splitlines())}
    assert code == 0
    assert (rows["good-2c"]["state"], rows["bad-2c"]["state"]) == ("ok", "quarantined")
    assert rows["bad-2c"]["reason"] == "cannot be reached"
    assert rows["bad-2c"]["address"] == "rpc://here:9190/bad"


def test_a_quarantine_can_be_lifted(run, database):
    code, out, err = run(
        "devices", "--release", "bad-2c", "--database", database, "--format", "json"
    )
    assert code == 0
    assert {json.loads(line)["state"] for line in out.splitlines()} == {"ok"}
    assert "bad-2c is released" in err


def test_releasing_an_unknown_device_names_those_there_are(run, database):
    result = run("devices", "--release", "toaster", "--database", database)
    assert_one_message(result, 2, "toaster", "bad-2c, good-2c")


@pytest.fixture
def started(monkeypatch):
    """What would have taken the place of this process."""
    seen = {}

    def execve(path, arguments, environment):
        seen.update(path=path, arguments=arguments, environment=environment)

    monkeypatch.setattr(os, "execve", execve)
    return seen


@pytest.fixture
def relay_python(monkeypatch, tmp_path):
    """Stands for the Python of another environment."""
    python = tmp_path / "python"
    python.symlink_to(sys.executable)
    monkeypatch.setattr("measure.interpreters.running_generation", lambda: "relax")
    monkeypatch.setenv("TVM_COSTMODEL_RELAY_PYTHON", str(python))
    return python


def test_serve_becomes_the_server_of_the_toolchains_python(run, started, relay_python):
    options = ("--tracker", "host:9190", "--key", "board", "--port", 9100)
    assert run("serve", *options, "--toolchain", "tvm-relay")[0] == 0
    assert started["path"] == relay_python
    command = " ".join(started["arguments"])
    assert command == (
        f"{relay_python} -m measure.rpc.server --tracker host:9190 --key board "
        "--toolchain tvm-relay --host 0.0.0.0 --port 9100 --port-end 9199"
    )
    # Its own packages, and of ours only these.
    paths = started["environment"]["PYTHONPATH"].split(os.pathsep)
    assert [(Path(path) / "measure" / "rpc").is_dir() for path in paths] == [True]


def test_tracker_becomes_tvms_tracker(run, started, relay_python):
    assert run("tracker", "--toolchain", "tvm-relay", "--host", "127.0.0.1")[0] == 0
    command = " ".join(started["arguments"])
    assert command == (
        f"{relay_python} -m tvm.exec.rpc_tracker --host 127.0.0.1 --port 9190 --port-end 9199"
    )


def test_serve_needs_a_toolchain_that_there_is(run, started):
    result = run("serve", "--tracker", "host:1", "--key", "k", "--toolchain", "gcc")
    assert_one_message(result, 2, "gcc")
    assert not started
