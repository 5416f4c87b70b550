"""Databases of all schema versions, brought to the latest one."""

from __future__ import annotations

import shutil
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from measure.database import Database
from measure.database.device_states import DeviceStates
from measure.database.engine import for_writing, make_engine
from measure.database.migrations import upgrade
from measure.database.migrations.versions import v0002_blocks_and_jobs as version_2
from measure.database.schema import SCHEMA_VERSION, Base
from measure.errors import DatabaseError
from tests.measure.databases import NAME, A, B, kernel_times

DATABASES = Path(__file__).parents[2] / "data/databases"
RELAX, RELAY = (f"epyc-2c/tvm-{ir}/llvm-znver4/t1/float32" for ir in ("relax", "relay"))
# As the program that wrote the file gave them, by the start of the digest.
V1_LABELS_MS = {
    RELAX: {
        "135e96559617": 73.577477499839,
        "1d637717ca29": 6.285024777778543,
        "b2a17c7b1208": 49.4289710833679,
        "e4d7fc25d9df": 8.31146016666177,
    },
    RELAY: {
        "135e96559617": 2.8861086217812746,
        "1d637717ca29": 0.1536771994341593,
        "b2a17c7b1208": 4.540951291649738,
        "e4d7fc25d9df": 0.754419496430663,
    },
}
V1_RELAY_MS = 43.942238801059574


def url_of(location: str) -> str:
    return location if "://" in location else f"sqlite:///{location}"


def tables_of(location: str) -> set[str]:
    engine = make_engine(url_of(location))
    try:
        return set(sa.inspect(engine).get_table_names())
    finally:
        engine.dispose()


def execute(location: str, statement: str) -> None:
    engine = make_engine(url_of(location))
    with for_writing(engine).begin() as connection:
        connection.execute(sa.text(statement))
    engine.dispose()


@pytest.fixture
def v1_location(location: str, tmp_path: Path) -> str:
    """A database of version 1, from before there were migrations."""
    file = tmp_path / "latencies.db"
    shutil.copy(DATABASES / "v1.db", file)
    if location == str(file):
        return location
    engine = make_engine(location)
    source = make_engine(f"sqlite:///{file}")
    with for_writing(engine).begin() as connection, source.connect() as old:
        upgrade(connection, since=0, to=1)
        connection.execute(sa.text("DROP TABLE alembic_version"))
        connection.execute(sa.text("DELETE FROM meta"))
        tables = sa.MetaData()
        tables.reflect(connection)
        known = sa.MetaData()
        known.reflect(old)
        for table in tables.sorted_tables:
            rows = [dict(row._mapping) for row in old.execute(sa.select(known.tables[table.name]))]
            connection.execute(table.insert(), rows)
    engine.dispose()
    source.dispose()
    return location


def test_the_steps_make_exactly_the_tables_of_the_program(location: str) -> None:
    with Database.open(location):
        engine = make_engine(url_of(location))
        with engine.connect() as connection:
            context = MigrationContext.configure(connection, opts={"compare_type": True})
            assert compare_metadata(context, Base.metadata) == []
            assert context.get_current_revision() == f"{SCHEMA_VERSION:04d}"
        engine.dispose()


def test_every_version_left_a_database() -> None:
    names = {path.name for path in DATABASES.glob("*.db")}
    assert names == {f"v{version + 1}.db" for version in range(SCHEMA_VERSION)}


def test_a_database_of_version_1_keeps_what_it_has(v1_location: str) -> None:
    with Database.open(v1_location) as database:
        labels = {
            platform: {
                digest[:12]: latency.label_ms
                for digest, latency in database.latencies(platform).items()
            }
            for platform in database.platforms()
        }
        assert labels == V1_LABELS_MS
        by_platform = {stats.platform: stats for stats in database.stats()}
        assert [by_platform[name].rounds for name in (RELAX, RELAY)] == [12, 12]
        assert [by_platform[name].disturbed_rounds for name in (RELAX, RELAY)] == [4, 6]
        assert [by_platform[name].kernel_calls for name in (RELAX, RELAY)] == [130, 158]
        assert by_platform[RELAY].failures == {("build", "InternalError"): 1}
        kernels = database.kernel_times(RELAY)
        assert sum(len(times.kernels) for times in kernels.values()) == 158
        # The sum of all samples of all kernels, as the file has them.
        assert sum(times.samples.sum() for times in kernels.values()) == pytest.approx(V1_RELAY_MS)
        assert all(times.timings == () and not times.disturbed for times in kernels.values())
        work = database.pending(list(kernels), RELAY, "v1-lq", 1, max_retakes=9)
        assert not any(left.kernels for left in work.values())
        assert database.verify() == []
        block = database.open_block(RELAY, "v1-lq")
        assert database.close_block(block) is None
    assert "meta" not in tables_of(v1_location)


@pytest.mark.parametrize("version", range(2, SCHEMA_VERSION + 1))
def test_a_database_of_a_later_version_answers(version: int, tmp_path: Path) -> None:
    shutil.copy(DATABASES / f"v{version}.db", tmp_path / "latencies.db")
    with Database.open(tmp_path / "latencies.db") as database:
        assert database.label(A, NAME) == 2.0
        assert database.latencies(NAME)[B].disturbed
        (stats,) = database.stats()
        assert stats.jobs == {"queued": 0, "leased": 1, "done": 1, "failed": 0}
        assert stats.failures == {("build", "SIGSEGV"): 1}
        times = database.kernel_times(NAME)[A]
        assert [kernel.name for kernel in times.kernels] == ["first", "second"]
        assert times.samples.tolist() == [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
        (timing,) = times.timings
        assert timing.inner_count == 7
        assert DeviceStates(database).get("board").failures_in_a_row == 1
        assert database.verify() == []
        database.add_kernels(A, NAME, kernel_times("first", "second"))
        assert database.kernel_times(NAME)[A].samples.shape == (2, 6)


def test_an_upgrade_that_fails_changes_nothing(
    v1_location: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = tables_of(v1_location)

    def fail(_name: str) -> None:
        raise RuntimeError("power cut")

    with monkeypatch.context() as patch:
        patch.setattr(version_2.op, "drop_table", fail)
        with pytest.raises(RuntimeError, match="power cut"):
            Database.open(v1_location)
    assert tables_of(v1_location) == before
    with Database.open(v1_location) as database:
        assert database.platforms() == [RELAX, RELAY]


def test_one_of_several_that_open_at_once_makes_the_tables(location: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(Database.open, location) for _ in range(4)]:
            with future.result() as database:
                assert database.platforms() == []


def test_a_newer_version_is_refused_and_left_alone(location: str) -> None:
    Database.open(location).close()
    execute(location, "UPDATE alembic_version SET version_num = '0099'")
    expected = f"schema version 0099, but this program knows versions 1 to {SCHEMA_VERSION}"
    for _ in range(2):
        with pytest.raises(DatabaseError, match=expected):
            Database.open(location)


def test_an_unknown_first_version_is_refused(tmp_path: Path) -> None:
    shutil.copy(DATABASES / "v1.db", tmp_path)
    with sqlite3.connect(tmp_path / "v1.db") as connection:
        connection.execute("UPDATE meta SET value = '99'")
    with pytest.raises(DatabaseError, match="schema version 99"):
        Database.open(tmp_path / "v1.db")


def test_another_program_s_migrations_are_not_ours(location: str) -> None:
    execute(location, "CREATE TABLE songs (title TEXT)")
    execute(location, "CREATE TABLE alembic_version (version_num TEXT)")
    with pytest.raises(DatabaseError, match=r"none of measurements.*alembic_version, songs"):
        Database.open(location)
    assert tables_of(location) == {"songs", "alembic_version"}
