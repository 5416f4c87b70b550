"""Parquet out and in."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from measure.database import Database
from measure.errors import BuildError, DatabaseError, PlatformChangedError
from measure.parquet import export_parquet, import_parquet, load_parquet
from measure.records import KernelTimes
from tests.measure.test_database import (
    DEVICE,
    NAME,
    PLATFORM,
    PROTOCOL,
    VERSIONS,
    A,
    B,
    database,
    finished,
    kernel,
    path,
)

__all__ = ["database", "path"]


@pytest.fixture
def filled(database: Database) -> Database:
    database.add_round(A, NAME, PROTOCOL, 0, finished(1.25, 2.5))
    database.add_round(A, NAME, PROTOCOL, 1, finished(*np.random.default_rng(0).normal(size=5)))
    times = KernelTimes(kernels=(kernel("a"), kernel("b")), samples=np.arange(6.0).reshape(2, 3))
    database.add_kernels(A, NAME, times)
    database.add_failure(B, NAME, BuildError("build", "net-2", "SIGSEGV", "crashed", "log"))
    return database


def test_a_loaded_export_answers_as_the_database_does(filled: Database, tmp_path: Path) -> None:
    counts = export_parquet(filled, tmp_path / "set")
    assert counts == {
        "networks": 2,
        "platforms": 1,
        "protocols": 1,
        "measurements": 2,
        "kernels": 2,
        "failures": 1,
    }
    loaded = load_parquet(tmp_path / "set")
    assert loaded.networks() == filled.networks()
    assert loaded.stats() == filled.stats()
    rounds = [db.latencies(NAME)[A].rounds for db in (loaded, filled)]
    assert all((ours == theirs).all() for ours, theirs in zip(*rounds, strict=True))
    ours, theirs = loaded.kernel_times(NAME)[A], filled.kernel_times(NAME)[A]
    assert ours.kernels == theirs.kernels
    assert (ours.samples == theirs.samples).all()
    assert loaded.failures(NAME)[0].at == filled.failures(NAME)[0].at
    pending = loaded.pending([A, B], NAME, PROTOCOL, 3)
    assert pending == filled.pending([A, B], NAME, PROTOCOL, 3)
    loaded.add_platform(PLATFORM, DEVICE, VERSIONS)


def test_exports_of_equal_databases_are_equal(filled: Database, tmp_path: Path) -> None:
    export_parquet(filled, tmp_path / "one")
    export_parquet(load_parquet(tmp_path / "one"), tmp_path / "two")
    for file in (tmp_path / "one").iterdir():
        assert pq.read_table(file).equals(pq.read_table(tmp_path / "two" / file.name)), file.name


def test_other_programs_read_plain_columns(filled: Database, tmp_path: Path) -> None:
    export_parquet(filled, tmp_path)
    (first, _) = pq.read_table(tmp_path / "measurements.parquet").to_pylist()
    assert (first["network"], first["platform"], first["protocol"]) == (A, NAME, PROTOCOL)
    assert first["samples_ms"] == [1.25, 2.5]
    assert first["started_at"].timestamp() == 1.7e9


def test_importing_adds_only_what_is_new(filled: Database, tmp_path: Path) -> None:
    export_parquet(filled, tmp_path / "set")
    filled.add_round(B, NAME, PROTOCOL, 0, finished(7.0))
    export_parquet(filled, tmp_path / "later")
    other = load_parquet(tmp_path / "set")
    counts = import_parquet(other, tmp_path / "later")
    assert {table for table, count in counts.items() if count} == {"measurements"}
    assert other.label(B, NAME) == 7.0
    assert not any(import_parquet(other, tmp_path / "later").values())


def test_importing_another_device_under_a_known_name_is_refused(
    filled: Database, tmp_path: Path
) -> None:
    export_parquet(filled, tmp_path)
    with Database.in_memory() as other:
        other.add_platform(PLATFORM, dataclasses.replace(DEVICE, cpu="Z80"), VERSIONS)
        with pytest.raises(PlatformChangedError):
            import_parquet(other, tmp_path)
        assert other.networks() == []


def test_a_directory_without_an_export_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match=r"networks\.parquet: cannot be read"):
        load_parquet(tmp_path)


def test_an_export_of_another_schema_is_refused(filled: Database, tmp_path: Path) -> None:
    export_parquet(filled, tmp_path)
    pq.write_table(pa.table({"digest": ["a"]}), tmp_path / "networks.parquet")
    with pytest.raises(DatabaseError, match="schema version unknown"):
        load_parquet(tmp_path)
