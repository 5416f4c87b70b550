"""The measurement database."""

from __future__ import annotations

import dataclasses
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy.exc import IntegrityError

from measure.database import Database
from measure.device import Device, Platform
from measure.errors import (
    BuildError,
    DatabaseError,
    PlatformChangedError,
    ProtocolError,
    RunError,
    TimeLimitError,
    UnknownPlatformError,
)
from measure.protocol import Protocol
from measure.records import KernelTimes, Round
from measure.weights import strip_weights
from relay_frontend.graph import TensorType
from relay_frontend.kernel import Kernel
from tests.measure.fake_toolchain import network

DEVICE = Device(
    cpu="AMD EPYC 9R14",
    cpu_revision="25-17-1",
    cores=2,
    memory_bytes=1 << 34,
    os="Linux 6.1",
    architecture="x86_64",
)
PLATFORM = Platform(device=DEVICE.short_name, toolchain="fake", target="fake -mcpu=z80")
NAME = PLATFORM.name
VERSIONS = {"fake": "1", "python": "3.11.1"}
PROTOCOL = Protocol().name
A, B = "a" * 64, "b" * 64


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "latencies.db"


@pytest.fixture
def database(path: Path) -> Iterator[Database]:
    with Database.open(path) as database:
        database.add_platform(PLATFORM, DEVICE, VERSIONS)
        database.add_protocol(Protocol())
        for digest, layers in ((A, 1), (B, 2)):
            database.add_network(digest, f"net-{layers}", "relu", layers, network("n", layers))
        yield database


def finished(*samples: float, foreign_cpu: float = 0.0) -> Round:
    return Round(
        started_at=1.7e9,
        duration_s=1.5,
        inner_count=10,
        samples=np.array(samples),
        conditions={"foreign_cpu": foreign_cpu},
    )


def kernel(name: str) -> Kernel:
    data = TensorType((1, 3, 8, 8))
    return Kernel(name=name, kind="relu", arguments=(data,), results=(data, data), flops=1 << 40)


def test_samples_come_back_to_the_bit(database: Database, path: Path) -> None:
    samples = np.random.default_rng(0).lognormal(size=100)
    database.add_round(A, NAME, PROTOCOL, 0, finished(*samples))
    with Database.open(path) as again:
        (stored,) = again.latencies(NAME)[A].rounds
    assert stored.dtype == np.float64
    assert (stored == samples).all()


def test_the_label_is_the_lower_quartile_of_all_rounds(database: Database) -> None:
    database.add_round(A, NAME, PROTOCOL, 1, finished(4.0, 5.0))
    database.add_round(A, NAME, PROTOCOL, 0, finished(1.0, 2.0, 3.0))
    latency = database.latencies(NAME)[A]
    assert latency.label_ms == database.label(A, NAME) == 2.0
    assert [list(samples) for samples in latency.rounds] == [[1.0, 2.0, 3.0], [4.0, 5.0]]
    assert latency.noise == pytest.approx(((4.25 - 1.5) / 1.5 + (4.25 - 1.5) / 4.25) / 2)
    assert not latency.disturbed
    assert database.label(B, NAME) is None
    assert B not in database.latencies(NAME)


def test_disturbed_rounds_are_kept_but_make_no_label(database: Database) -> None:
    database.add_round(A, NAME, PROTOCOL, 0, finished(9.0, foreign_cpu=1.5))
    latency = database.latencies(NAME)[A]
    assert (latency.label_ms, latency.disturbed) == (9.0, True)
    assert database.stats()[0].disturbed == 1
    database.add_round(A, NAME, PROTOCOL, 1, finished(2.0))
    latency = database.latencies(NAME)[A]
    assert (latency.label_ms, latency.disturbed, len(latency.rounds)) == (2.0, False, 1)
    assert database.label(A, NAME) == 2.0
    assert database.stats()[0].disturbed == 0


def test_disturbed_rounds_are_taken_again_within_limits(database: Database) -> None:
    def rounds(max_retakes: int) -> tuple[int, ...]:
        return database.pending([A], NAME, PROTOCOL, 2, max_retakes=max_retakes)[A].rounds

    database.add_round(A, NAME, PROTOCOL, 0, finished(9.0, foreign_cpu=1.5))
    assert (rounds(0), rounds(1)) == ((1,), (1, 2))
    database.add_round(A, NAME, PROTOCOL, 1, finished(9.0, foreign_cpu=1.5))
    assert (rounds(0), rounds(1), rounds(9)) == ((), (2,), (2, 3))
    database.add_round(A, NAME, PROTOCOL, 2, finished(2.0))
    assert (rounds(1), rounds(2)) == ((), (3,))
    database.add_round(A, NAME, PROTOCOL, 3, finished(2.0))
    assert rounds(9) == ()


def test_networks_are_stored_without_weights(database: Database) -> None:
    stored = database.network(A)
    assert (stored.name, stored.family, stored.seed) == ("net-1", "relu", 1)
    assert stored.model == strip_weights(network("n", 1))
    database.add_round(B, NAME, PROTOCOL, 0, finished(1.0))
    assert [n.digest for n in database.networks()] == [A, B]
    assert [n.digest for n in database.networks(NAME)] == [B]
    with pytest.raises(DatabaseError, match="no network with the digest"):
        database.network("c" * 64)


def test_a_network_is_stored_once(database: Database) -> None:
    database.add_network(A, "another name", "relu", 9, network("n", 1))
    assert database.network(A).name == "net-1"


def test_kernels_keep_their_order_and_types(database: Database) -> None:
    times = KernelTimes(
        kernels=(kernel("z"), kernel("a"), kernel("z")), samples=np.arange(6.0).reshape(3, 2)
    )
    database.add_kernels(A, NAME, times)
    stored = database.kernel_times(NAME)
    assert list(stored) == [A]
    assert stored[A].kernels == times.kernels
    assert (stored[A].samples == times.samples).all()


def test_a_round_cannot_be_stored_twice(database: Database) -> None:
    database.add_round(A, NAME, PROTOCOL, 0, finished(1.0))
    with pytest.raises(IntegrityError):
        database.add_round(A, NAME, PROTOCOL, 0, finished(2.0))
    assert database.label(A, NAME) == 1.0


def test_a_round_of_an_unknown_network_is_refused(database: Database) -> None:
    with pytest.raises(IntegrityError):
        database.add_round("c" * 64, NAME, PROTOCOL, 0, finished(1.0))


def test_half_of_the_kernels_are_none(database: Database) -> None:
    times = KernelTimes(kernels=(kernel("a"), kernel("b")), samples=np.ones((1, 5)))
    with pytest.raises(ValueError, match="zip"):
        database.add_kernels(A, NAME, times)
    assert database.kernel_times(NAME) == {}


def test_pending_is_what_is_neither_done_nor_failed(database: Database) -> None:
    def pending(digest: str, rounds: int = 3, *, retry: bool = False) -> tuple[object, ...]:
        work = database.pending([digest], NAME, PROTOCOL, rounds, retry_failed=retry)[digest]
        return work.rounds, work.kernels, bool(work)

    assert pending(A) == ((0, 1, 2), True, True)
    database.add_round(A, NAME, PROTOCOL, 1, finished(1.0))
    assert pending(A) == ((0, 2), True, True)
    database.add_failure(A, NAME, RunError("kernels", "net-1", "exit", "ended"))
    assert pending(A) == ((0, 2), False, True)
    database.add_failure(A, NAME, TimeLimitError("run", "net-1", 5.0))
    assert pending(A) == ((), False, False)
    assert pending(A, retry=True) == ((0, 2), True, True)
    assert pending(B) == ((0, 1, 2), True, True)
    database.add_kernels(B, NAME, KernelTimes(kernels=(kernel("a"),), samples=np.ones((1, 5))))
    database.add_round(B, NAME, PROTOCOL, 0, finished(1.0))
    assert pending(B, 1) == ((), False, False)


def test_failures_are_counted_attempts(database: Database) -> None:
    for reason in ("first", "second"):
        database.add_failure(A, NAME, BuildError("build", "net-1", "SIGSEGV", reason, "the log"))
    database.add_failure(B, NAME, TimeLimitError("run", "net-2", 5.0))
    rows = database.failures(NAME)
    assert [(r.stage, r.attempt, r.error, r.message) for r in rows] == [
        ("build", 1, "SIGSEGV", "first"),
        ("build", 2, "SIGSEGV", "second"),
        ("run", 1, "TimeLimitError", "not done within its limit of 5 s"),
    ]
    assert rows[0].log == "the log"
    (stats,) = database.stats()
    assert stats.failures == {"build": 1, "run": 1}


def test_stats_count_what_is_there(database: Database) -> None:
    database.add_round(A, NAME, PROTOCOL, 0, finished(1.0))
    database.add_round(A, NAME, PROTOCOL, 1, finished(1.0))
    database.add_round(B, NAME, PROTOCOL, 0, finished(1.0))
    (stats,) = database.stats()
    assert (stats.platform, stats.networks, stats.rounds) == (NAME, 2, 3)
    assert stats.label_noise == 0.0
    assert database.platforms() == [NAME]


def test_an_unknown_platform_is_reported_with_those_there_are(database: Database) -> None:
    with pytest.raises(UnknownPlatformError, match=f"'nowhere'.*{NAME}"):
        database.latencies("nowhere")


def test_a_platform_may_be_registered_again(database: Database) -> None:
    more_memory = dataclasses.replace(DEVICE, memory_bytes=1, os="Linux 6.2")
    database.add_platform(PLATFORM, more_memory, {**VERSIONS, "python": "3.11.2"})
    assert database.platforms() == [NAME]


def test_a_platform_that_changed_is_refused(database: Database) -> None:
    with pytest.raises(PlatformChangedError, match="fake was '1' and is '2'"):
        database.add_platform(PLATFORM, DEVICE, {**VERSIONS, "fake": "2"})
    with pytest.raises(PlatformChangedError, match="cpu_revision was '25-17-1' and is '25-1-1'"):
        database.add_platform(
            PLATFORM, dataclasses.replace(DEVICE, cpu_revision="25-1-1"), VERSIONS
        )
    with pytest.raises(PlatformChangedError, match="target was"):
        database.add_platform(
            dataclasses.replace(PLATFORM, target="fake -mattr=x -mcpu=z80"), DEVICE, VERSIONS
        )


def test_a_protocol_s_name_stands_for_its_settings(database: Database) -> None:
    database.add_protocol(Protocol(name="quick-lq", min_samples=2))
    database.add_protocol(Protocol(name="quick-lq", min_samples=2))
    with pytest.raises(ProtocolError, match="'quick-lq' was used here with the settings"):
        database.add_protocol(Protocol(name="quick-lq", min_samples=3))


def test_other_protocols_do_not_mix(database: Database) -> None:
    database.add_protocol(Protocol(name="quiet-median"))
    database.add_round(A, NAME, "quiet-median", 0, finished(1.0, 2.0, 3.0, 4.0, 100.0))
    assert database.label(A, NAME) is None
    assert database.label(A, NAME, "quiet-median") == 3.0


def test_what_is_committed_is_synchronized(path: Path, database: Database) -> None:
    with database.session() as session:
        connection = session.connection().exec_driver_sql
        assert connection("PRAGMA journal_mode").scalar() == "wal"
        assert connection("PRAGMA synchronous").scalar() == 2
        assert connection("PRAGMA foreign_keys").scalar() == 1


def test_a_file_that_is_no_database_is_refused(path: Path) -> None:
    path.write_text("latency,network\n" * 100)
    with pytest.raises(DatabaseError, match="cannot be used as a measurement database"):
        Database.open(path)
    assert path.read_text().startswith("latency")


def test_a_database_of_something_else_is_refused_and_left_alone(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE songs (title TEXT)")
    with pytest.raises(DatabaseError, match=r"none of measurements.*songs"):
        Database.open(path)
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("songs",)]


def test_another_schema_version_is_refused(path: Path, database: Database) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE meta SET value = '99' WHERE key = 'schema_version'")
    with pytest.raises(DatabaseError, match="schema version 99, but this program knows version 1"):
        Database.open(path)


@pytest.mark.parametrize("location", ["/nowhere/at/all.db", "nonsense://x", "sqlite+none:///x"])
def test_a_place_that_cannot_hold_one_is_refused(location: str) -> None:
    with pytest.raises(DatabaseError):
        Database.open(location)
