"""Parquet out and in."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from measure.database import Database, parquet
from measure.database.device_states import DeviceStates
from measure.database.jobs import JobQueue
from measure.database.parquet import export_parquet, import_parquet, load_parquet
from measure.database.schema import SCHEMA_VERSION
from measure.errors import (
    DatabaseError,
    KernelsChangedError,
    PlatformChangedError,
    ProtocolError,
    RunError,
)
from measure.protocol import Protocol
from relay_frontend.onnx import read_onnx
from tests.measure.databases import (
    DEVICE,
    NAME,
    PLATFORM,
    PROTOCOL,
    VERSIONS,
    A,
    B,
    drifting_block,
    fill,
    fill_all,
    finished,
    kernel_times,
)

V0 = Path(__file__).parents[3] / "data/v0"
NO_JOBS = {"queued": 0, "leased": 0, "done": 0, "failed": 0}
# The tables that came with version 2 of the schema.
NEW_TABLES = ("blocks", "anchor_rounds", "kernel_timings")


@pytest.fixture
def filled(database: Database) -> Database:
    fill_all(database)
    return database


def assert_equal_exports(one: Path, other: Path) -> None:
    names = [path.name for path in sorted(one.iterdir())]
    assert names == [path.name for path in sorted(other.iterdir())]
    for name in names:
        assert pq.read_table(one / name).equals(pq.read_table(other / name)), name


def rewrite(path: Path, records: pa.Table, version: int) -> None:
    metadata = {"measure.schema_version": str(version)}
    pq.write_table(records.replace_schema_metadata(metadata), path)


def test_a_loaded_export_answers_as_the_database_does(filled: Database, tmp_path: Path) -> None:
    counts = export_parquet(filled, tmp_path / "set")
    assert counts == {
        "networks": 2,
        "platforms": 1,
        "protocols": 1,
        "blocks": 2,
        "anchor_rounds": 4,
        "measurements": 3,
        "kernels": 2,
        "kernel_timings": 2,
        "kernel_samples": 4,
        "failures": 1,
    }
    loaded = load_parquet(tmp_path / "set")
    assert loaded.networks() == filled.networks()
    ours, theirs = (
        [dataclasses.replace(s, jobs=NO_JOBS) for s in db.stats()] for db in (loaded, filled)
    )
    assert ours == theirs
    assert loaded.latencies(NAME)[B].disturbed
    rounds = [db.latencies(NAME)[A].rounds for db in (loaded, filled)]
    assert all((ours == theirs).all() for ours, theirs in zip(*rounds, strict=True))
    ours, theirs = loaded.kernel_times(NAME)[A], filled.kernel_times(NAME)[A]
    assert (ours.kernels, ours.timings) == (theirs.kernels, theirs.timings)
    assert (ours.samples == theirs.samples).all()
    assert loaded.failures(NAME)[0].at == filled.failures(NAME)[0].at
    pending = loaded.pending([A, B], NAME, PROTOCOL, 3)
    assert pending == filled.pending([A, B], NAME, PROTOCOL, 3)
    assert loaded.verify() == []
    loaded.add_platform(PLATFORM, DEVICE, VERSIONS)


def test_jobs_and_devices_stay_where_they_are(filled: Database, tmp_path: Path) -> None:
    export_parquet(filled, tmp_path)
    assert {"jobs.parquet", "devices.parquet"}.isdisjoint(path.name for path in tmp_path.iterdir())
    loaded = load_parquet(tmp_path)
    assert JobQueue(loaded, "owner").counts([NAME]) == NO_JOBS
    assert DeviceStates(loaded).all() == []


def test_exports_of_equal_databases_are_equal(filled: Database, tmp_path: Path) -> None:
    export_parquet(filled, tmp_path / "one")
    export_parquet(load_parquet(tmp_path / "one"), tmp_path / "other")
    assert_equal_exports(tmp_path / "one", tmp_path / "other")


def test_an_export_goes_into_either_kind_of_database(location: str, tmp_path: Path) -> None:
    with Database.in_memory() as source:
        fill_all(source)
        export_parquet(source, tmp_path / "one")
    with Database.open(location) as database:
        # Its keys are other numbers than those of the source.
        database.add_platform(dataclasses.replace(PLATFORM, threads=2), DEVICE, VERSIONS)
        counts = import_parquet(database, tmp_path / "one")
        assert counts == {**counts, "platforms": 1, "blocks": 2, "measurements": 3}
        assert not any(import_parquet(database, tmp_path / "one").values())
        assert database.label(A, NAME) == 2.0
        assert database.latencies(NAME)[B].disturbed
        assert database.verify() == []


@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_whatever_was_measured_comes_back_to_the_bit(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    positive = st.floats(min_value=1e-9, max_value=1e9)
    condition = st.none() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
    rounds = st.tuples(
        st.sampled_from([A, B]),
        st.integers(0, 3),
        st.lists(positive, min_size=1, max_size=9),
        st.none() | st.floats(0, 10),
        st.booleans(),
        st.dictionaries(st.text(), condition, max_size=3),
    )
    unique = data.draw(st.lists(rounds, max_size=5, unique_by=lambda entry: entry[:2]))
    with Database.in_memory() as database:
        fill(database)
        block = drifting_block(database, data.draw(st.floats(0, 0.1)))
        for network, number, samples, foreign_cpu, in_block, conditions in unique:
            measured = dataclasses.replace(
                finished(*samples), conditions={**conditions, "foreign_cpu": foreign_cpu}
            )
            database.add_round(
                network, NAME, PROTOCOL, number, measured, block=block if in_block else None
            )
        directory = tmp_path_factory.mktemp("exports")
        export_parquet(database, directory / "one")
        with load_parquet(directory / "one") as loaded:
            export_parquet(loaded, directory / "other")
            assert repr(loaded.latencies(NAME)) == repr(database.latencies(NAME))
            assert loaded.stats() == database.stats()
    assert_equal_exports(directory / "one", directory / "other")


def test_a_large_table_becomes_several_files(
    filled: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = np.random.default_rng(0).lognormal(size=(20, 500))
    for number, row in enumerate(samples, start=9):
        filled.add_round(B, NAME, PROTOCOL, number, finished(*row))
    one, several = tmp_path / "one", tmp_path / "several"
    export_parquet(filled, one)
    export_parquet(filled, several)
    monkeypatch.setattr(parquet, "_MAX_FILE_BYTES", 30_000)
    export_parquet(filled, several)
    files = sorted(path.name for path in several.glob("measurements*"))
    count = len(files)
    assert count > 2
    assert files == [f"measurements-{part + 1}-of-{count}.parquet" for part in range(count)]
    assert all((several / name).stat().st_size < 35_000 for name in files)
    assert load_parquet(several).stats() == load_parquet(one).stats()
    (several / files[1]).unlink()
    with pytest.raises(DatabaseError, match=f"measurements-2-of-{count}.parquet: cannot be read"):
        load_parquet(several)
    monkeypatch.undo()
    export_parquet(filled, several)
    assert_equal_exports(one, several)


def test_other_programs_read_plain_columns(filled: Database, tmp_path: Path) -> None:
    export_parquet(filled, tmp_path)
    (first, second, _) = sorted(
        pq.read_table(tmp_path / "measurements.parquet").to_pylist(),
        key=lambda r: r["network"] != A,
    )
    assert (first["network"], first["platform"], first["protocol"]) == (A, NAME, PROTOCOL)
    assert first["samples_ms"] == [2.0, 2.0, 3.0]
    assert first["started_at"].timestamp() == 1.7e9
    assert second["block"] is None
    blocks = pq.read_table(tmp_path / "blocks.parquet").to_pylist()
    (block,) = (block for block in blocks if block["key"] == first["block"])
    assert block["drift"] == pytest.approx(0.01)
    anchors = pq.read_table(tmp_path / "anchor_rounds.parquet").to_pylist()
    assert {anchor["position"] for anchor in anchors if anchor["block"] == block["key"]} == {
        "start",
        "end",
    }
    samples = pq.read_table(tmp_path / "kernel_samples.parquet").to_pylist()
    (second,) = (row for row in samples if (row["attempt"], row["index"]) == (1, 1))
    assert (second["network"], second["platform"]) == (A, NAME)
    assert second["samples_ms"] == [4.0, 5.0, 6.0]


def test_importing_adds_only_what_is_new(filled: Database, tmp_path: Path) -> None:
    export_parquet(filled, tmp_path / "set")
    filled.add_round(B, NAME, PROTOCOL, 7, finished(7.0, started_at=1.8e9))
    export_parquet(filled, tmp_path / "later")
    other = load_parquet(tmp_path / "set")
    counts = import_parquet(other, tmp_path / "later")
    assert {table for table, count in counts.items() if count} == {"measurements"}
    assert other.label(B, NAME) == 7.0
    assert not any(import_parquet(other, tmp_path / "later").values())


def test_importing_again_ends_a_block_that_was_open(database: Database, tmp_path: Path) -> None:
    block = database.open_block(NAME, PROTOCOL)
    database.add_anchor_round(block, A, "start", finished(1.0))
    database.add_round(A, NAME, PROTOCOL, 0, finished(1.0), block=block)
    export_parquet(database, tmp_path)
    other = load_parquet(tmp_path)
    assert not other.latencies(NAME)[A].disturbed
    database.add_anchor_round(block, A, "end", finished(2.0))
    database.close_block(block)
    export_parquet(database, tmp_path)
    assert import_parquet(other, tmp_path)["blocks"] == 0
    assert other.latencies(NAME)[A].disturbed
    # What is known is not overwritten.
    with other.transaction() as session:
        session.connection().exec_driver_sql("UPDATE blocks SET drift = 0.001")
    import_parquet(other, tmp_path)
    assert not other.latencies(NAME)[A].disturbed


def test_importing_another_device_under_a_known_name_is_refused(
    filled: Database, tmp_path: Path
) -> None:
    export_parquet(filled, tmp_path)
    with Database.in_memory() as other:
        other.add_platform(PLATFORM, dataclasses.replace(DEVICE, cpu="Z80"), VERSIONS)
        with pytest.raises(PlatformChangedError):
            import_parquet(other, tmp_path)
        assert other.networks() == []


def test_importing_another_protocol_under_a_known_name_is_refused(
    database: Database, tmp_path: Path
) -> None:
    database.add_protocol(Protocol(name="quick-lq", min_samples=2))
    export_parquet(database, tmp_path)
    with Database.in_memory() as other:
        other.add_protocol(Protocol(name="quick-lq", min_samples=3))
        with pytest.raises(ProtocolError, match="'quick-lq'"):
            import_parquet(other, tmp_path)
        assert other.networks() == []


def as_of_version(version: int, directory: Path) -> None:
    """Make an export one of an older version, with one timing of the kernels."""
    timings = pq.read_table(directory / "kernel_timings.parquet")
    samples = pq.read_table(directory / "kernel_samples.parquet")
    (directory / "kernel_samples.parquet").unlink()
    for path in list(directory.glob("*.parquet")):
        records = pq.read_table(path)
        if path.stem == "kernel_timings":
            records = timings.filter(pc.field("attempt") == 1).drop_columns(["attempt"])
        elif path.stem == "kernels":
            of_timing = samples.filter(pc.field("attempt") == 1)
            assert of_timing["index"].equals(records["index"])
            records = records.append_column("samples_ms", of_timing["samples_ms"])
        elif path.stem == "measurements" and version == 1:
            records = records.drop_columns(["block"])
        rewrite(path, records, version)
        if path.stem in NEW_TABLES and version == 1:
            path.unlink()


@pytest.mark.parametrize("version", [1, 2])
def test_an_export_of_an_older_version_is_read(
    filled: Database, tmp_path: Path, version: int
) -> None:
    export_parquet(filled, tmp_path)
    as_of_version(version, tmp_path)
    loaded = load_parquet(tmp_path)
    assert loaded.label(A, NAME) == 2.0
    assert loaded.latencies(NAME)[B].disturbed == (version == 2)
    ours, theirs = loaded.kernel_times(NAME)[A], filled.kernel_times(NAME)[A]
    assert ours.kernels == theirs.kernels
    assert (ours.samples == theirs.samples).all()
    assert ours.timings == (theirs.timings if version == 2 else ())
    assert not loaded.pending([A], NAME, PROTOCOL, 2)[A]
    assert loaded.verify() == []
    export_parquet(loaded, tmp_path / "again")
    assert not any(import_parquet(loaded, tmp_path / "again").values())


def test_importing_other_kernels_of_a_known_network_is_refused(
    filled: Database, tmp_path: Path
) -> None:
    export_parquet(filled, tmp_path)
    for names in (("first", "other"), ("first",), ("first", "second", "third")):
        with Database.in_memory() as other:
            fill(other)
            other.add_kernels(A, NAME, kernel_times(*names))
            before = other.stats()
            with pytest.raises(KernelsChangedError):
                import_parquet(other, tmp_path)
            assert other.stats() == before


def test_importing_adds_the_attempts_that_are_new(database: Database, tmp_path: Path) -> None:
    database.add_kernels(A, NAME, kernel_times("a", foreign_cpu=1.5))
    export_parquet(database, tmp_path / "one")
    database.add_kernels(A, NAME, kernel_times("a", scale=2.0, started_at=1.8e9))
    export_parquet(database, tmp_path / "two")
    with load_parquet(tmp_path / "one") as other:
        assert other.kernel_times(NAME)[A].disturbed
        counts = import_parquet(other, tmp_path / "two")
        assert {table: count for table, count in counts.items() if count} == {
            "kernel_timings": 1,
            "kernel_samples": 1,
        }
        assert other.kernel_times(NAME)[A].samples.tolist() == [[2.0, 4.0, 6.0]]


def measured_alone(samples_ms: float, started_at: float) -> Database:
    """A database that measured A and its kernels twice, and failed, with no other to count with."""
    database = Database.in_memory()
    fill(database)
    for number in range(2):
        moment = started_at + number
        database.add_round(A, NAME, PROTOCOL, number, finished(samples_ms, started_at=moment))
        times = kernel_times("a", "b", scale=samples_ms, started_at=moment)
        database.add_kernels(A, NAME, times)
    database.add_failure(A, NAME, RunError("run", "net-1", "exit", f"{samples_ms}"))
    return database


def test_what_two_databases_measured_alone_is_all_kept(tmp_path: Path) -> None:
    with measured_alone(1.0, 1.7e9) as one, measured_alone(2.0, 1.8e9) as two:
        export_parquet(one, tmp_path / "one")
        export_parquet(two, tmp_path / "two")
    with load_parquet(tmp_path / "one") as merged:
        counts = import_parquet(merged, tmp_path / "two")
        assert {table: count for table, count in counts.items() if count} == {
            "measurements": 2,
            "kernel_timings": 2,
            "kernel_samples": 4,
            "failures": 1,
        }
        rounds = merged.latencies(NAME)[A].rounds
        assert [list(samples) for samples in rounds] == [[1.0], [1.0], [2.0], [2.0]]
        times = merged.kernel_times(NAME)[A]
        assert times.samples[0].tolist() == [1.0, 2.0, 3.0] * 2 + [2.0, 4.0, 6.0] * 2
        assert [row.message for row in merged.failures(NAME)] == ["1.0", "2.0"]
        assert merged.verify() == []
        for name in ("one", "two"):
            assert not any(import_parquet(merged, tmp_path / name).values())


def test_an_export_that_fails_leaves_the_one_before(
    filled: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export_parquet(filled, tmp_path / "set")
    shutil.copytree(tmp_path / "set", tmp_path / "before")
    filled.add_round(B, NAME, PROTOCOL, 7, finished(7.0))

    def write(_records: pa.Table, directory: Path, name: str) -> None:
        if name == "kernels":
            raise OSError("no space left")
        (directory / f"{name}.parquet").write_bytes(b"half an export")

    monkeypatch.setattr(parquet, "_write", write)
    with pytest.raises(OSError, match="no space left"):
        export_parquet(filled, tmp_path / "set")
    assert_equal_exports(tmp_path / "set", tmp_path / "before")


@pytest.mark.skipif(not V0.exists(), reason="the first data set is not in this checkout")
def test_the_first_data_set_is_read() -> None:
    database = load_parquet(V0)
    assert {stats.platform.split("/")[1]: stats.networks for stats in database.stats()} == {
        "tvm-relax": 205,
        "tvm-relay": 245,
    }
    platform = database.platforms()[0]
    assert all(read_onnx(n.model).digest == n.digest for n in database.networks(platform)[::50])


def test_a_column_of_this_version_must_be_there(filled: Database, tmp_path: Path) -> None:
    export_parquet(filled, tmp_path)
    path = tmp_path / "measurements.parquet"
    rewrite(path, pq.read_table(path).drop_columns(["block"]), SCHEMA_VERSION)
    with pytest.raises(DatabaseError, match=r"measurements\.parquet: no column 'block'"):
        load_parquet(tmp_path)


def test_a_directory_without_an_export_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match=r"networks\.parquet: cannot be read"):
        load_parquet(tmp_path)


def test_a_table_that_is_missing_is_named(filled: Database, tmp_path: Path) -> None:
    export_parquet(filled, tmp_path)
    (tmp_path / "blocks.parquet").unlink()
    with pytest.raises(DatabaseError, match=r"blocks\.parquet: cannot be read"):
        load_parquet(tmp_path)


@pytest.mark.parametrize("version", [None, "99"])
def test_an_export_of_another_schema_is_refused(
    filled: Database, tmp_path: Path, version: str | None
) -> None:
    export_parquet(filled, tmp_path)
    metadata = None if version is None else {"measure.schema_version": version}
    records = pa.table({"digest": ["a"]}).replace_schema_metadata(metadata)
    pq.write_table(records, tmp_path / "networks.parquet")
    with pytest.raises(DatabaseError, match=f"schema version {version or 'unknown'}"):
        load_parquet(tmp_path)
