"""The measurement database."""

from __future__ import annotations

import dataclasses
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError

from measure.database import Database
from measure.database.schema import AnchorRoundRow, MeasurementRow
from measure.errors import (
    BuildError,
    DatabaseError,
    KernelsChangedError,
    PlatformChangedError,
    ProtocolError,
    RunError,
    TimeLimitError,
    UnknownPlatformError,
)
from measure.probes import Quiet
from measure.protocol import Protocol
from measure.records import KernelTimes, LatencyStats, NoiseStats
from measure.weights import strip_weights
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
    finished,
    kernel,
    kernel_times,
)
from tests.measure.fake_toolchain import network

C = "c" * 64


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "latencies.db"


def test_samples_come_back_to_the_bit(database: Database, location: str) -> None:
    samples = np.random.default_rng(0).lognormal(size=100)
    database.add_round(A, NAME, PROTOCOL, 0, finished(*samples))
    with Database.open(location) as again:
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


def test_measuring_takes_the_build_where_it_was_recorded_and_all_rounds(database: Database) -> None:
    for number in range(2):
        timed = finished(1.0)
        conditions = {**timed.conditions, "build_s": 20.0}
        database.add_round(
            A, NAME, PROTOCOL, number, dataclasses.replace(timed, conditions=conditions)
        )
        database.add_round(B, NAME, PROTOCOL, number, timed)
    assert database.measuring_s(NAME) == {A: 23.0, B: 3.0}


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


def test_one_more_round_is_to_tell_which_of_those_that_disagree_is_off(database: Database) -> None:
    def rounds(digest: str, max_retakes: int) -> tuple[int, ...]:
        work = database.pending([digest], NAME, PROTOCOL, 2, max_retakes=max_retakes)
        return work[digest].rounds

    for digest in (A, B):
        database.add_round(digest, NAME, PROTOCOL, 0, finished(2.0))
        database.add_round(digest, NAME, PROTOCOL, 1, finished(2.1))
        assert (rounds(digest, 0), rounds(digest, 1), rounds(digest, 9)) == ((), (2,), (2,))
    database.add_round(A, NAME, PROTOCOL, 2, finished(2.01))
    assert rounds(A, 9) == ()
    database.add_round(B, NAME, PROTOCOL, 2, finished(2.05))
    assert (rounds(B, 1), rounds(B, 2)) == ((), (3,))


def test_networks_are_stored_without_weights(database: Database) -> None:
    stored = database.network(A)
    assert (stored.name, stored.family, stored.seed) == ("net-1", "relu", 1)
    assert stored.model == strip_weights(network("n", 1))
    database.add_round(B, NAME, PROTOCOL, 0, finished(1.0))
    assert [n.digest for n in database.networks()] == [A, B]
    assert [n.digest for n in database.networks(NAME)] == [B]
    with pytest.raises(DatabaseError, match="no network with the digest"):
        database.network(C)


def test_a_network_is_stored_once(database: Database) -> None:
    database.add_network(A, "another name", "relu", 9, network("n", 1))
    assert database.network(A).name == "net-1"


def test_kernels_keep_their_order_types_and_conditions(database: Database) -> None:
    times = kernel_times("z", "a", "z")
    database.add_kernels(A, NAME, times)
    stored = database.kernel_times(NAME)
    assert list(stored) == [A]
    assert stored[A].kernels == times.kernels
    assert (stored[A].samples == times.samples).all()
    assert stored[A].timings == times.timings
    assert not stored[A].disturbed


def test_kernels_are_timed_until_it_was_not_disturbed(database: Database) -> None:
    def pending(max_retakes: int) -> bool:
        return database.pending([A], NAME, PROTOCOL, 1, max_retakes=max_retakes)[A].kernels

    assert pending(0)
    database.add_kernels(A, NAME, kernel_times("a", "b", foreign_cpu=1.5))
    assert (pending(0), pending(1)) == (False, True)
    drifted = drifting_block(database, 0.5)
    database.add_kernels(A, NAME, kernel_times("a", "b", scale=2.0), block=drifted)
    assert (pending(1), pending(2)) == (False, True)
    times = database.kernel_times(NAME)[A]
    # As long as all are disturbed all count.
    assert times.samples.tolist() == [[1, 2, 3, 2, 4, 6], [4, 5, 6, 8, 10, 12]]
    assert (times.disturbed, len(times.timings)) == (True, 2)
    assert database.stats()[0].disturbed_kernels == 1
    for scale in (3.0, 4.0):
        database.add_kernels(A, NAME, kernel_times("a", "b", scale=scale))
        assert not pending(9)
    times = database.kernel_times(NAME)[A]
    assert times.samples.tolist() == [[3, 6, 9, 4, 8, 12], [12, 15, 18, 16, 20, 24]]
    assert (times.disturbed, len(times.timings)) == (False, 2)
    (stats,) = database.stats()
    assert (stats.kernel_calls, stats.disturbed_kernels) == (2, 0)


def test_what_a_kernel_is_stands_once(database: Database) -> None:
    for _ in range(3):
        database.add_kernels(A, NAME, kernel_times("a", "b"))
    with database.session() as session:
        counts = [
            session.scalar(text(f"SELECT count(*) FROM {table}"))
            for table in ("kernels", "kernel_timings", "kernel_samples")
        ]
    assert counts == [2, 3, 6]


@pytest.mark.parametrize(
    ("names", "difference"),
    [
        (("a", "c"), "kernel call 1 was .*'b'.* and is .*'c'"),
        (("b", "a"), "kernel call 0 was .*'a'.* and is .*'b'"),
        (("a",), "2 kernel calls were stored and now there are 1"),
    ],
)
def test_times_of_other_kernels_are_refused(
    database: Database, names: tuple[str, ...], difference: str
) -> None:
    database.add_kernels(A, NAME, kernel_times("a", "b"))
    with pytest.raises(KernelsChangedError, match=f"'net-1'.*{NAME}.*{difference}"):
        database.add_kernels(A, NAME, kernel_times(*names))
    assert database.kernel_times(NAME)[A].samples.shape == (2, 3)
    database.add_kernels(B, NAME, kernel_times(*names))


def test_timings_that_are_stored_at_once_are_all_counted(database: Database) -> None:
    with ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(database.add_kernels, A, NAME, kernel_times("a")) for _ in range(8)]
        for call in calls:
            call.result()
    assert database.kernel_times(NAME)[A].samples.shape == (1, 24)


def test_a_round_cannot_be_stored_twice(database: Database) -> None:
    database.add_round(A, NAME, PROTOCOL, 0, finished(1.0))
    with pytest.raises(IntegrityError):
        database.add_round(A, NAME, PROTOCOL, 0, finished(2.0))
    assert database.label(A, NAME) == 1.0


def test_a_round_of_an_unknown_network_is_refused(database: Database) -> None:
    with pytest.raises(IntegrityError):
        database.add_round(C, NAME, PROTOCOL, 0, finished(1.0))


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


def test_a_failure_counts_no_more_once_what_failed_has_succeeded(database: Database) -> None:
    def pending() -> tuple[int, bool]:
        work = database.pending([A], NAME, PROTOCOL, 3)[A]
        return len(work.rounds), work.kernels

    database.add_failure(A, NAME, BuildError("build", "net-1", "SIGSEGV", "crashed"))
    database.add_failure(A, NAME, RunError("kernels", "net-1", "exit", "ended"))
    database.add_round(A, NAME, PROTOCOL, 0, finished(1.0))
    database.add_round(B, NAME, PROTOCOL, 0, finished(1.0, started_at=9e9))
    assert pending() == (0, False)
    database.add_round(A, NAME, PROTOCOL, 1, finished(1.0, started_at=9e9))
    assert pending() == (1, False)
    database.add_kernels(A, NAME, kernel_times("a", foreign_cpu=1.5, started_at=9e9))
    assert database.pending([A], NAME, PROTOCOL, 3, max_retakes=1)[A].kernels


def test_a_moment_comes_back_in_utc(database: Database) -> None:
    database.add_round(A, NAME, PROTOCOL, 0, finished(1.0, started_at=1.7e9))
    with database.session() as session:
        started_at = session.scalars(select(MeasurementRow.started_at)).one()
    assert started_at.isoformat() == "2023-11-14T22:13:20+00:00"


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
    assert stats.failures == {("build", "SIGSEGV"): 1, ("run", "TimeLimitError"): 1}


def test_what_a_dying_process_printed_can_be_stored(database: Database) -> None:
    log = "half a line\0 and \ud800"
    database.add_failure(A, NAME, BuildError("build", "net-1", "E" * 300, "crashed", log))
    (row,) = database.failures(NAME)
    assert row.log == "half a line\N{SYMBOL FOR NULL} and ?"
    assert row.error == "E" * 255


def test_failures_that_come_at_once_are_all_counted(database: Database) -> None:
    failure = BuildError("build", "net-1", "SIGSEGV", "crashed")
    with ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(database.add_failure, A, NAME, failure) for _ in range(12)]:
            future.result()
    assert [row.attempt for row in database.failures(NAME)] == list(range(1, 13))


def test_stats_count_what_is_there(database: Database) -> None:
    (stats,) = database.stats()
    assert (stats.networks, stats.latency_ms, stats.label_noise) == (0, None, None)
    database.add_round(A, NAME, PROTOCOL, 0, finished(1.0))
    database.add_round(A, NAME, PROTOCOL, 1, finished(1.0))
    database.add_round(A, NAME, PROTOCOL, 2, finished(9.0, foreign_cpu=1.5))
    database.add_round(B, NAME, PROTOCOL, 0, finished(2.0, foreign_cpu=1.5))
    database.add_kernels(A, NAME, kernel_times("a", "b"))
    (stats,) = database.stats()
    assert (stats.platform, stats.networks, stats.disturbed) == (NAME, 2, 1)
    assert stats.families == {"relu": 2}
    assert stats.latency_ms == LatencyStats(min=1.0, median=1.5, max=2.0)
    assert (stats.rounds, stats.disturbed_rounds, stats.kernel_calls) == (4, 2, 2)
    # Nothing tells of the hypervisor.
    assert stats.trusted == 0
    assert stats.label_noise == NoiseStats(networks=1, median=0.0, mean=0.0, p90=0.0)
    assert stats.jobs == {"queued": 0, "leased": 0, "done": 0, "failed": 0}
    assert database.platforms() == [NAME]


def test_labels_are_trusted_whose_rounds_agree(database: Database) -> None:
    def add(digest: str, *latencies_ms: float) -> None:
        for number, latency_ms in enumerate(latencies_ms):
            quiet = {"foreign_cpu": 0.0, "steal": 0.0}
            round_ = dataclasses.replace(finished(latency_ms), conditions=quiet)
            database.add_round(digest, NAME, PROTOCOL, number, round_)

    add(A, 1.0, 1.01)
    add(B, 1.0, 1.03)
    latencies = database.latencies(NAME)
    assert (latencies[A].trusted, latencies[B].trusted) == (True, False)
    assert database.stats()[0].trusted == 1


def test_label_noise_is_summed_up_over_the_networks(database: Database) -> None:
    for digest, second in ((A, 2.0), (B, 1.0)):
        database.add_round(digest, NAME, PROTOCOL, 0, finished(1.0))
        database.add_round(digest, NAME, PROTOCOL, 1, finished(second))
    noise = database.stats()[0].label_noise
    # Half of the networks show (1/1 + 1/2) / 2.
    assert noise == NoiseStats(
        networks=2,
        median=pytest.approx(0.375),
        mean=pytest.approx(0.375),
        p90=pytest.approx(0.675),
    )


@pytest.mark.parametrize(("drift", "disturbed"), [(0.019, False), (0.021, True)])
def test_rounds_of_a_block_that_drifted_are_disturbed(
    database: Database, drift: float, disturbed: bool
) -> None:
    block = drifting_block(database, drift)
    database.add_round(A, NAME, PROTOCOL, 0, finished(9.0), block=block)
    assert database.latencies(NAME)[A].disturbed == disturbed
    assert database.stats()[0].disturbed_rounds == disturbed
    work = database.pending([A], NAME, PROTOCOL, 1, max_retakes=1)[A]
    assert work.rounds == ((1,) if disturbed else ())
    database.add_round(A, NAME, PROTOCOL, 1, finished(2.0))
    assert database.label(A, NAME) == (2.0 if disturbed else pytest.approx(3.75))


def test_a_calibrated_platform_is_judged_anew_but_keeps_its_samples(database: Database) -> None:
    quiet = Quiet(reference_ms=(0.3, 6.0))
    loud = {"probes_ms": [[0.6, 6.0, 0.6, 6.0]] * 4, **quiet.notes()}
    samples = [2.0, 2.0, 2.0, 2.0]
    probed = dataclasses.replace(finished(*samples), conditions={"foreign_cpu": 0.1, **loud})
    block = database.open_block(NAME, PROTOCOL)
    database.add_anchor_round(block, A, "start", probed)
    database.add_round(A, NAME, PROTOCOL, 0, probed, block=block)
    database.add_round(A, NAME, PROTOCOL, 1, finished(3.0))
    times = kernel_times("first")
    timing = dataclasses.replace(times.timings[0], conditions=loud)
    fourfold = KernelTimes(kernels=times.kernels, samples=np.full((1, 4), 2.0), timings=(timing,))
    database.add_kernels(A, NAME, fourfold)
    assert (database.label(A, NAME), database.kernel_times(NAME)[A].disturbed) == (3.0, True)

    calm = dataclasses.replace(quiet, limits=None, sensitivity=(1.0, 0.0))
    database.calibrate(NAME, calm)
    assert database.quiet(NAME, PROTOCOL) == calm
    first, second = database.rounds(NAME)[A]
    assert (first.label_ms, first.disturbed, first.samples.tolist()) == (1.0, False, samples)
    assert first.conditions == {**probed.conditions, **calm.notes()}
    assert second.conditions == finished(3.0).conditions
    kernels = database.kernel_times(NAME)[A]
    assert (kernels.times_ms.tolist(), kernels.disturbed) == ([1.0], False)
    with database.session() as session:
        assert Quiet.of(session.scalars(select(AnchorRoundRow)).one().conditions) == calm


def test_an_open_block_disturbs_nothing(database: Database) -> None:
    block = database.open_block(NAME, PROTOCOL)
    database.add_anchor_round(block, A, "start", finished(1.0))
    database.add_round(A, NAME, PROTOCOL, 0, finished(9.0), block=block)
    assert not database.latencies(NAME)[A].disturbed


def test_drift_is_the_median_over_the_anchors_in_either_direction(database: Database) -> None:
    block = database.open_block(NAME, PROTOCOL)
    assert database.close_block(block) is None
    database.add_anchor_round(block, A, "start", finished(2.0))
    assert database.close_block(block) is None
    database.add_anchor_round(block, A, "end", finished(1.0))
    database.add_anchor_round(block, B, "start", finished(1.0, 1.0, 4.0))
    database.add_anchor_round(block, B, "end", finished(1.1, 1.1, 9.0))
    assert database.close_block(block) == pytest.approx((0.5 + 0.1) / 2)
    with pytest.raises(IntegrityError):
        database.add_anchor_round(block, B, "end", finished(1.0))
    with pytest.raises(DatabaseError, match="no block 99"):
        database.close_block(99)


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


def test_registering_from_several_places_at_once_is_no_conflict(location: str) -> None:
    start = threading.Barrier(4)

    def register() -> None:
        with Database.open(location) as database:
            start.wait(timeout=60)
            fill(database)

    with ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(register) for _ in range(4)]:
            future.result()
    with Database.open(location) as database:
        assert database.platforms() == [NAME]
        assert [n.digest for n in database.networks()] == [A, B]


def test_a_database_in_memory_serves_several_threads() -> None:
    with Database.in_memory() as database, ThreadPoolExecutor(4) as pool:
        fill(database)
        for number in range(8):
            pool.submit(database.add_round, A, NAME, PROTOCOL, number, finished(1.0)).result()
        counts = [pool.submit(lambda: database.stats()[0].rounds) for _ in range(8)]
        assert {future.result() for future in counts} == {8}


def test_what_is_committed_is_synchronized(path: Path) -> None:
    with Database.open(path) as database, database.transaction() as session:
        connection = session.connection().exec_driver_sql
        assert connection("PRAGMA journal_mode").scalar() == "wal"
        assert connection("PRAGMA synchronous").scalar() == 2
        assert connection("PRAGMA foreign_keys").scalar() == 1


def test_of_two_that_read_and_then_write_one_waits(path: Path) -> None:
    with Database.open(path) as first, Database.open(path) as second:
        fill(first)
        reading = threading.Event()

        def write(database: Database, number: int) -> None:
            with database.transaction() as session:
                session.execute(text("SELECT count(*) FROM measurements")).all()
                reading.set()
                session.execute(text("UPDATE networks SET seed = seed + :n"), {"n": number})

        with ThreadPoolExecutor(1) as pool, first.transaction() as session:
            session.execute(text("SELECT count(*) FROM measurements")).all()
            other = pool.submit(write, second, 10)
            assert not reading.wait(0.2)
            session.execute(text("UPDATE networks SET seed = seed + 1"))
            session.commit()
            other.result()
        assert [n.seed for n in first.networks()] == [12, 13]


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


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ("/nowhere/at/all.db", "give the path of one"),
        ("nonsense://x", "no usable database URL"),
        ("sqlite+none:///x", "no usable database URL"),
        ("mysql+pymysql://x", "PostgreSQL|postgresql"),
    ],
)
def test_a_place_that_cannot_hold_one_is_refused(place: str, reason: str) -> None:
    with pytest.raises(DatabaseError, match=reason):
        Database.open(place)


def test_a_postgresql_server_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    pytest.importorskip("psycopg")
    with pytest.raises(DatabaseError, match="cannot be used as a measurement database"):
        Database.open(f"postgresql://user@/latencies?host={tmp_path}")


def test_a_sound_database_has_no_problems(database: Database) -> None:
    database.add_round(A, NAME, PROTOCOL, 0, finished(1.0))
    database.add_kernels(A, NAME, kernel_times("a"))
    drifting_block(database, 0.5)
    assert database.verify() == []


def test_what_cannot_be_true_is_found(database: Database) -> None:
    database.add_round(A, NAME, PROTOCOL, 0, finished(1.0, float("nan")))
    database.add_round(B, NAME, PROTOCOL, 1, finished())
    database.add_kernels(
        A, NAME, KernelTimes(kernels=(kernel("a"),), samples=np.array([[0.0, 1.0]]))
    )
    block = database.open_block(NAME, PROTOCOL)
    database.add_anchor_round(block, B, "start", finished(-1.0))
    database.add_network(C, "impostor", "relu", 0, network("n", 3))
    database.add_kernels(B, NAME, kernel_times("a", "b"))
    with database.transaction() as session:
        session.execute(
            text("UPDATE networks SET onnx_zlib = :data WHERE digest = :digest"),
            {"data": b"no zlib", "digest": B},
        )
        session.execute(text('DELETE FROM kernel_samples WHERE "index" = 1'))
    problems = database.verify()
    for expected in (
        f"round 0 of {A} on {NAME}: samples that are not finite",
        f"round 1 of {B} on {NAME}: 0 bytes of samples",
        f"kernel call 0 of {A} on {NAME}: samples that are not positive",
        f"anchor round at the start of {B} on {NAME}: samples that are not positive",
        f"timing 0 of the kernels of {B} on {NAME}: samples of 1 of 2 kernel calls",
        f"network impostor is stored as {C}, but its digest is",
        f"network net-2 ({B}) cannot be read",
    ):
        assert sum(problem.startswith(expected) for problem in problems) == 1, problems
    assert len(problems) == 7


def test_a_broken_reference_is_found(path: Path) -> None:
    with Database.open(path) as database:
        fill(database)
        database.add_round(A, NAME, PROTOCOL, 0, finished(1.0))
        with sqlite3.connect(path) as connection:
            connection.execute("DELETE FROM platforms")
        (problem,) = database.verify()
    assert problem == "row 1 of measurements refers to a row of platforms that is not there"


def test_a_damaged_file_is_found(path: Path) -> None:
    with Database.open(path) as database:
        fill(database)
        database.add_round(A, NAME, PROTOCOL, 0, finished(1.0))
    with sqlite3.connect(path) as connection:
        (size,) = connection.execute("PRAGMA page_size").fetchone()
        query = "SELECT rootpage FROM sqlite_master WHERE name = 'ix_measurements_platform_id'"
        (page,) = connection.execute(query).fetchone()
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"?" * size)
    with Database.open(path) as database:
        problems = database.verify()
    assert problems
    assert all(problem.startswith(("damaged", "cannot be read")) for problem in problems)
