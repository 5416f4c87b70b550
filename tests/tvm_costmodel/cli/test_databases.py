"""Databases from the command line: figures, into and out of Parquet, whether they are sound."""

from __future__ import annotations

import csv
import io
import json
import sqlite3

import numpy as np
import pytest

from measure.calibration import MIN_NETWORKS
from measure.database import Database
from measure.probes import Quiet
from measure.protocol import Protocol
from measure.records import Round
from relay_frontend.onnx import read_onnx
from tests.measure.fake_toolchain import network
from tests.tvm_costmodel.cli.messages import assert_one_message
from tests.tvm_costmodel.measured import DEVICE, PLATFORM, invented_measurements


@pytest.fixture
def parquet(run, measured_database, tmp_path):
    """A directory with an export of the invented measurements."""
    directory = tmp_path / "parquet"
    assert run("db", "export", directory, "--database", measured_database)[0] == 0
    return directory


def test_stats_have_a_row_for_each_platform(run, measured_database):
    code, out, _ = run("db", "stats", "--database", measured_database, "--format", "json")
    row = json.loads(out)
    assert code == 0
    # Nothing tells of other work during the invented rounds.
    assert (row["platform"], row["networks"], row["trusted"]) == (PLATFORM.name, 12, 0)
    assert (row["rounds"], row["disturbed"], row["failed"]) == (24, 0, "")
    assert 0 < row["min ms"] <= row["median ms"] <= row["max ms"]
    assert row["noise %"] == pytest.approx(1.0, abs=0.02)
    assert "networks" in run("db", "stats", "--database", measured_database)[1]


def test_stats_of_a_directory_of_parquet_are_those_of_its_database(run, measured_database, parquet):
    options = ("--format", "json")
    stats = [run("db", "stats", "--database", x, *options) for x in (measured_database, parquet)]
    assert stats[0] == stats[1]


def test_import_restores_what_export_wrote_and_adds_nothing_twice(
    run, measured_database, parquet, tmp_path
):
    database = ("--database", tmp_path / "new.db", "--format", "csv")
    code, out, _ = run("db", "import", parquet, *database)
    assert code == 0
    rows = {row["table"]: int(row["rows"]) for row in csv.DictReader(io.StringIO(out))}
    assert (rows["networks"], rows["measurements"], rows["failures"]) == (12, 24, 0)
    _, again, _ = run("db", "import", parquet, *database)
    assert {row["rows"] for row in csv.DictReader(io.StringIO(again))} == {"0"}
    with Database.open(measured_database) as old, Database.open(tmp_path / "new.db") as new:
        assert new.stats() == old.stats()


def test_verify_finds_nothing_wrong_with_a_sound_database(run, measured_database, parquet):
    for place in (measured_database, parquet):
        code, out, _ = run("db", "verify", "--database", place)
        assert (code, out.endswith("no problems found\n")) == (0, True)


def test_verify_lists_problems_and_ends_with_1(run, tmp_path):
    path = tmp_path / "damaged.db"
    with Database.open(path) as database:
        invented_measurements(1, database)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE measurements SET network = 'nobody' WHERE round = 1")
    connection.close()
    code, out, err = run("db", "verify", "--database", path)
    assert (code, err) == (1, "")
    assert "measurements" in out
    assert "no problems" not in out


@pytest.mark.parametrize("command", ["stats", "verify", "export"])
def test_a_database_that_is_not_there_is_not_made(run, tmp_path, command):
    missing = tmp_path / "typo.db"
    arguments = ("out",) if command == "export" else ()
    result = run("db", command, *arguments, "--database", missing)
    assert_one_message(result, 2, "typo.db", "no such file")
    assert not missing.exists()


def test_importing_from_nowhere_makes_no_database(run, tmp_path):
    database = tmp_path / "m.db"
    result = run("db", "import", tmp_path / "nowhere", "--database", database)
    assert_one_message(result, 2, "nowhere", "db export")
    assert not database.exists()


@pytest.fixture
def probed_database(tmp_path):
    """Networks whose rounds a neighbour made slower, by a quarter of what it did to the probes."""
    path, rng = tmp_path / "probed.db", np.random.default_rng(0)
    quiet = Quiet(reference_ms=(0.3, 6.0))
    with Database.open(path) as database:
        database.add_platform(PLATFORM, DEVICE, {"test": "1"})
        database.add_protocol(Protocol.standard())
        for layers in range(1, MIN_NETWORKS + 1):
            model = network("n", layers)
            digest = read_onnx(model).digest
            database.add_network(digest, f"net-{layers}", "relu", layers, model)
            for number in range(3):
                slowdown = rng.uniform(1, 2)
                probes = [[0.3 * slowdown, 6.0] * 2] * 10
                finished = Round(
                    started_at=1.7e9 + number,
                    duration_s=1.0,
                    inner_count=1,
                    samples=np.full(10, layers * slowdown**0.25),
                    conditions={"probes_ms": probes, "foreign_cpu": 0, "steal": 0, **quiet.notes()},
                )
                database.add_round(digest, PLATFORM.name, Protocol().name, number, finished)
    return path


def test_calibrating_finds_how_much_the_networks_of_a_platform_mind(run, probed_database):
    def trusted():
        out = run("db", "stats", "--database", probed_database, "--format", "json")[1]
        return json.loads(out)["trusted"]

    options = ("--platform", "tvm-relax", "--database", probed_database, "--format", "csv")
    code, tried, _ = run("db", "calibrate", *options, "--dry-run")
    before, after = csv.DictReader(io.StringIO(tried))
    assert (code, trusted()) == (0, 0)
    assert (before["core limit"], before["core exponent"]) == ("1.15", "0.6")
    assert (after["core limit"], float(after["core exponent"])) == ("none", 0.25)
    assert float(after["label noise %, mean"]) < 0.01 < float(before["label noise %, mean"])
    assert run("db", "calibrate", *options)[1] == tried
    assert trusted() == MIN_NETWORKS


def test_a_platform_with_too_few_probed_rounds_is_not_calibrated(run, measured_database):
    options = ("--platform", PLATFORM.name, "--database", measured_database)
    result = run("db", "calibrate", *options)
    assert_one_message(result, 2, "0 networks have two or more rounds with probes")
