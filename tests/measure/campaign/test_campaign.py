"""Campaigns on this machine, with a toolchain that misbehaves, and killed at any moment."""

from __future__ import annotations

import dataclasses
import os
import signal
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select

from measure.campaign import CampaignConfig, Event, Summary, builds, run_campaign
from measure.client import Limits, Worker
from measure.database import Database
from measure.database.jobs import JobQueue
from measure.database.owner import current_owner
from measure.database.schema import (
    AnchorRoundRow,
    BlockRow,
    JobRow,
    KernelTimingRow,
    MeasurementRow,
)
from measure.errors import PlatformChangedError, RunError, WorkerError
from measure.probes import Quiet
from measure.protocol import Protocol
from measure.records import KernelTimes, Round
from measure.zoo import ZooNetwork
from relay_frontend.errors import InputError
from tests.measure.campaign.killing import kill_campaign
from tests.measure.fake_toolchain import SPEC, network

pytestmark = pytest.mark.once

QUICK = Protocol(name="quick-lq", warmup_s=0.0, min_sample_s=0.002, min_samples=3, max_samples=3)
# Whether other work runs beside the tests must not matter to them.
SETTINGS = CampaignConfig(
    watch_s=0.0,
    rounds=2,
    block_size=4,
    max_retakes=0,
    anchors=False,
    parallel_builds=1,
    limits=Limits(build_s=2.0, round_s=5.0),
)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with Database.open(tmp_path / "latencies.db") as database:
        yield database


def fake(name: str, layers: int) -> ZooNetwork:
    return ZooNetwork(name=name, family="relu", seed=layers, model=network(name, layers))


def run(
    networks: Sequence[ZooNetwork], database: Database, **changes: object
) -> tuple[Summary, list[Event]]:
    events: list[Event] = []
    config = CampaignConfig(**{**vars(SETTINGS), **changes})  # type: ignore[arg-type]
    return run_campaign(networks, [SPEC], database, QUICK, config, events.append), events


def kinds(events: Sequence[Event], name: str) -> list[str]:
    return [event.kind for event in events if event.network == name]


def test_a_network_is_built_and_timed_once(database: Database) -> None:
    networks = [fake("one", 1), fake("two", 2)]
    summary, events = run(networks, database)
    assert (summary.done, summary.rounds, summary.kernels, summary.skipped) == (2, 4, 2, 0)
    assert kinds(events, "one") == ["queued", "built", "round", "round", "kernels", "done"]
    (platform,) = database.platforms()
    assert platform.endswith("/fake/fake-z80/t1/float32")
    latencies = database.latencies(platform, QUICK.name)
    assert len(latencies) == 2
    assert all(1.0 <= latency.label_ms < 20.0 for latency in latencies.values())
    (labels,) = summary.labels.values()
    assert (list(summary.labels), labels.networks) == ([platform], 2)
    assert labels.noise is not None

    summary, events = run(networks, database)
    assert (summary.done, summary.rounds, summary.skipped) == (0, 0, 2)
    assert {event.kind for event in events} == {"skipped"}


def test_only_what_is_missing_is_measured(database: Database) -> None:
    run([fake("one", 1)], database, rounds=1, kernels=False)
    _, events = run([fake("one", 1)], database, rounds=3)
    assert kinds(events, "one") == ["queued", "built", "round", "round", "kernels", "done"]


def test_a_platform_is_watched_once_and_keeps_its_reference(database: Database) -> None:
    run([fake("unprobed", 3)], database, rounds=1, watch_s=0)
    _, events = run([fake("one", 1)], database, rounds=1, watch_s=0.05)
    assert [event.kind for event in events].count("watched") == 1
    (platform,) = database.platforms()
    quiet = database.quiet(platform, QUICK.name)
    assert quiet is not None
    _, events = run([fake("one", 1), fake("two", 2)], database, rounds=2, watch_s=0.05)
    assert "watched" not in [event.kind for event in events]
    with database.session() as session:
        first_round, *rounds = session.scalars(select(MeasurementRow)).all()
        first_timing, *timings = session.scalars(select(KernelTimingRow)).all()
    for row in [first_round, first_timing]:
        assert "reference_ms" not in row.conditions
    for row in [*rounds, *timings]:
        assert Quiet.of(row.conditions) == quiet
    assert [len(row.conditions["probes_ms"]) for row in rounds] == [len(r.samples) for r in rounds]


def test_a_disturbed_round_is_taken_again(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    foreign_cpu = iter([1.5, 0.0, 0.0])
    measure = Worker.measure

    def disturbed(self: Worker, *arguments: Any) -> Round:
        finished = measure(self, *arguments)
        conditions = {"foreign_cpu": next(foreign_cpu)}
        # Rounds that agree, however busy this machine is.
        samples = np.full_like(finished.samples, 2.0)
        return dataclasses.replace(finished, conditions=conditions, samples=samples)

    monkeypatch.setattr(Worker, "measure", disturbed)
    summary, events = run([fake("one", 1)], database, max_retakes=2)
    assert (summary.rounds, summary.disturbed, summary.done) == (3, 1, 1)
    assert [e.detail.endswith("disturbed") for e in events if e.kind == "round"] == [
        True,
        False,
        False,
    ]


def disturbing(monkeypatch: pytest.MonkeyPatch, foreign_cpu: Iterator[float]) -> None:
    """Have the timings of kernels see other work as ``foreign_cpu`` says, then none."""
    time_kernels = Worker.time_kernels

    def disturbed(self: Worker, *arguments: Any) -> KernelTimes:
        times = time_kernels(self, *arguments)
        conditions = {"foreign_cpu": next(foreign_cpu, 0.0)}
        (timing,) = times.timings
        timing = dataclasses.replace(timing, conditions=conditions)
        return dataclasses.replace(times, timings=(timing,))

    monkeypatch.setattr(Worker, "time_kernels", disturbed)


def test_a_disturbed_timing_of_kernels_is_taken_again(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    disturbing(monkeypatch, iter([1.5, 1.5]))
    summary, events = run([fake("one", 1)], database, rounds=1, max_retakes=2)
    assert (summary.kernels, summary.done) == (3, 1)
    assert [e.detail for e in events if e.kind == "kernels"] == [
        "2 calls, disturbed",
        "2 calls, disturbed",
        "2 calls",
    ]
    (times,) = database.kernel_times(database.platforms()[0]).values()
    assert not times.disturbed
    assert times.samples.shape == (2, QUICK.kernel_repeats)


def test_a_later_campaign_takes_disturbed_timings_of_kernels_again(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    disturbing(monkeypatch, iter([1.5]))
    run([fake("one", 1)], database, rounds=1)
    assert run([fake("one", 1)], database, rounds=1)[0].skipped == 1
    summary, events = run([fake("one", 1)], database, rounds=1, max_retakes=1)
    assert (summary.kernels, summary.done) == (1, 1)
    assert kinds(events, "one").count("kernels") == 1


def test_kernels_that_changed_fail_and_the_campaign_goes_on(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    disturbing(monkeypatch, iter([1.5, 1.5]))
    run([fake("one", 1)], database, rounds=1)
    time_kernels = Worker.time_kernels

    def fewer(self: Worker, name: str, *arguments: Any) -> KernelTimes:
        times = time_kernels(self, name, *arguments)
        if name == "two":
            return times
        return dataclasses.replace(times, kernels=times.kernels[:1], samples=times.samples[:1])

    monkeypatch.setattr(Worker, "time_kernels", fewer)
    networks = [fake("one", 1), fake("two", 2)]
    summary, _ = run(networks, database, rounds=1, max_retakes=1)
    assert summary.failures == {("kernels", "KernelsChanged"): 1}
    assert (summary.done, summary.kernels) == (2, 2)
    assert database.verify() == []
    assert run(networks, database, rounds=1, max_retakes=1)[0].skipped == 2


def test_kernels_that_fail_again_are_tried_once_in_a_campaign(database: Database) -> None:
    networks = [fake("kernels-raise", 1)]
    run(networks, database, rounds=1)
    summary, _ = run(networks, database, rounds=2, retry_failed=True)
    assert (summary.failures, summary.done) == ({("kernels", "ValueError"): 1}, 1)


def test_timings_may_be_pinned_to_cpus(database: Database) -> None:
    cpu = min(os.sched_getaffinity(0))
    run([fake("one", 1)], database, rounds=1, cpus=(cpu,))
    with database.session() as session:
        (round_,) = session.scalars(select(MeasurementRow))
        assert (round_.conditions["cpus"], round_.conditions["affinity"]) == ([cpu], 1)
        (timing,) = session.scalars(select(KernelTimingRow))
        assert timing.conditions["cpus"] == [cpu]
    with pytest.raises(InputError, match="cpus"):
        run([fake("two", 2)], database, cpus=(99_999,))


def test_a_later_campaign_takes_disturbed_rounds_again(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    foreign_cpu = iter([1.5, 0.0])
    measure = Worker.measure

    def disturbed(self: Worker, *arguments: Any) -> Round:
        conditions = {"foreign_cpu": next(foreign_cpu)}
        return dataclasses.replace(measure(self, *arguments), conditions=conditions)

    monkeypatch.setattr(Worker, "measure", disturbed)
    for max_retakes, rounds in ((0, 1), (0, 0), (1, 1), (1, 0)):
        summary, _ = run([fake("one", 1)], database, rounds=1, max_retakes=max_retakes)
        assert (summary.rounds, summary.done) == (rounds, rounds)


def test_failures_are_stored_and_do_not_stop_the_others(database: Database) -> None:
    names = ["build-segv", "build-hang", "run-exit", "nan", "kernels-raise", "ok"]
    networks = [fake(name, layers) for layers, name in enumerate(names, start=1)]
    summary, events = run(networks, database)
    assert summary.failures == {
        ("build", "SIGSEGV"): 1,
        ("build", "TimeLimitError"): 1,
        ("run", "exit"): 1,
        ("run", "NonFiniteOutputError"): 1,
        ("kernels", "ValueError"): 1,
    }
    # Without its kernels a network has its latency all the same.
    assert (summary.done, summary.rounds, summary.lost) == (2, 4, 0)
    assert kinds(events, "ok") == ["queued", "built", "round", "round", "kernels", "done"]
    assert kinds(events, "run-exit") == ["queued", "built", "failed"]
    (platform,) = database.platforms()
    stored = {(row.stage, row.error) for row in database.failures(platform)}
    assert stored == {
        ("build", "SIGSEGV"),
        ("build", "TimeLimitError"),
        ("run", "exit"),
        ("run", "NonFiniteOutputError"),
        ("kernels", "ValueError"),
    }


def test_what_failed_is_tried_again_only_when_asked(database: Database) -> None:
    networks = [fake("build-raise", 1)]
    run(networks, database)
    summary, _ = run(networks, database)
    assert (summary.skipped, summary.failures) == (1, {})
    summary, _ = run(networks, database, retry_failed=True)
    assert summary.failures == {("build", "ValueError"): 1}
    attempts = [row.attempt for row in database.failures(database.platforms()[0])]
    assert attempts == [1, 2]


def test_equal_networks_are_measured_once(database: Database) -> None:
    summary, _ = run([fake("one", 1), fake("same", 1)], database)
    assert (summary.done, summary.skipped) == (1, 1)


def test_a_network_that_cannot_be_read_is_reported(database: Database) -> None:
    model = network("symbolic", 1)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "N"
    symbolic = ZooNetwork(name="symbolic", family="relu", seed=0, model=model)
    summary, events = run([symbolic, fake("ok", 1)], database)
    assert (summary.unreadable, summary.done) == (1, 1)
    (event,) = [event for event in events if event.network == "symbolic"]
    assert event.kind == "unreadable"
    assert "N" in event.detail


def test_a_block_is_built_before_it_is_timed_in_interleaved_rounds(database: Database) -> None:
    networks = [fake(f"net-{i}", i) for i in range(1, 7)]
    _, events = run(networks, database)
    assert [e.kind for e in events[:6]] == ["queued"] * 6
    first = [e for e in events[6:] if e.network in {"net-1", "net-2", "net-3", "net-4"}]
    assert [e.kind for e in first] == (
        ["built"] * 4 + ["round"] * 8 + ["kernels"] * 4 + ["done"] * 4
    )
    orders = [[e.network for e in first[4:8]], [e.network for e in first[8:12]]]
    assert sorted(orders[0]) == sorted(orders[1])
    assert orders[0] != orders[1]
    assert [e.kind for e in events[6 + len(first) :]][:3] == ["built", "built", "round"]


def test_the_order_of_rounds_follows_from_the_seed(tmp_path: Path) -> None:
    def order(name: str, seed: int) -> list[str]:
        with Database.open(tmp_path / name) as database:
            networks = [fake(f"net-{i}", i) for i in range(1, 5)]
            _, events = run(networks, database, seed=seed, rounds=1, kernels=False)
        return [event.network for event in events if event.kind == "round"]

    assert order("a", 1) == order("b", 1) != order("c", 2)


def test_nothing_starts_after_the_budget(database: Database) -> None:
    run([fake("known", 9)], database, rounds=1)
    networks = [fake(f"net-{i}", i) for i in range(1, 4)]
    summary, events = run(networks, database, budget_s=0.0)
    assert (summary.out_of_time, events) == (True, [])
    assert summary.labels == {}
    summary, _ = run(networks, database)
    assert (summary.out_of_time, summary.done) == (False, 3)


def test_a_compiler_of_another_version_is_refused(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    run([fake("one", 1)], database)
    monkeypatch.setenv("FAKE_VERSION", "2")
    with pytest.raises(PlatformChangedError, match="fake was '1' and is '2'"):
        run([fake("two", 2)], database)


def test_a_lost_worker_costs_one_request(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = iter([True])
    monkeypatch.setattr(Worker, "measure", _losing(Worker.measure, lost))
    summary, events = run([fake("one", 1), fake("two", 2)], database, rounds=1)
    assert (summary.lost, summary.done, summary.failures) == (1, 2, {})
    assert [e.kind for e in events].count("worker-lost") == 1


def test_a_campaign_ends_where_workers_keep_dying(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Worker, "measure", _losing(Worker.measure, iter([True] * 9)))
    networks = [fake(f"net-{i}", i) for i in range(1, 5)]
    with pytest.raises(WorkerError, match="lost during run"):
        run(networks, database)
    assert database.failures(database.platforms()[0]) == []


def test_a_lost_worker_is_not_counted_against_a_network(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = iter([True, False, True, False, True])
    monkeypatch.setattr(Worker, "measure", _losing(Worker.measure, lost))
    summary, _ = run([fake("one", 1)], database, rounds=4)
    assert (summary.lost, summary.done, summary.failures) == (3, 1, {})
    with database.session() as session:
        (job,) = session.scalars(select(JobRow))
        assert job.attempts == 0


ERRORS = (WorkerError("lost"), RunError("run", "anchor", "SIGKILL", "out of memory"))


@pytest.mark.parametrize("error", ERRORS)
def test_an_anchor_is_measured_again_where_a_worker_fails(
    database: Database, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(Worker, "measure", _raising(Worker.measure, iter([error, error])))
    summary, events = run([fake("one", 1)], database, anchors=True, kernels=False)
    assert (summary.done, summary.rounds) == (1, 2)
    assert [event.kind for event in events].count("worker-lost") == 2


@pytest.mark.parametrize("error", ERRORS)
def test_a_campaign_ends_where_workers_keep_failing_at_an_anchor(
    database: Database, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(Worker, "measure", _raising(Worker.measure, iter([error] * 9)))
    with pytest.raises(WorkerError, match=r"lost|cannot run the anchor"):
        run([fake("one", 1)], database, anchors=True)


def _raising(measure: object, errors: Iterator[Exception]) -> object:
    """``Worker.measure`` that raises each of ``errors`` first."""

    def raising(self: Worker, *arguments: object) -> object:
        for error in errors:
            raise error
        return measure(self, *arguments)  # type: ignore[operator]

    return raising


def test_leases_are_kept_while_a_build_takes_longer(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease_s = 1.0
    taken: list[object] = []

    def build(
        _self: Worker, name: str, _model: Path, _target: str, directory: Path, *_more: object
    ) -> float:
        time.sleep(1.5 * lease_s)
        (directory / "behaviour").write_text(name)
        taken.extend(JobQueue(database, "elsewhere:1:1:other").lease(database.platforms(), 1))
        return 1.5 * lease_s

    monkeypatch.setattr(builds, "_WAIT_S", 0.05)
    monkeypatch.setattr(Worker, "build", build)
    summary, _ = run([fake("one", 1)], database, lease_s=lease_s)
    assert (summary.done, summary.lost, taken) == (1, 0, [])


def _losing(measure: object, lost: Iterator[bool]) -> object:
    """``Worker.measure`` whose server is killed before it as often as ``lost`` says."""

    def losing(self: Worker, *arguments: object) -> object:
        if next(lost, False):
            self.describe()
            assert self._process is not None
            os.kill(self._process.pid, signal.SIGKILL)
            self._process.wait()
        return measure(self, *arguments)  # type: ignore[operator]

    return losing


def test_an_interrupt_ends_builds_at_once(database: Database) -> None:
    # A shell has what it starts in the background ignore interrupts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    main = threading.get_ident()
    interrupt = threading.Timer(1.5, lambda: signal.pthread_kill(main, signal.SIGINT))
    networks = [fake("build-hang", 1), fake("ok", 2)]
    interrupt.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            run(networks, database, limits=Limits(build_s=600.0))
    finally:
        interrupt.cancel()
    summary, _ = run([fake("ok", 2)], database)
    assert summary.done == 1


def test_what_is_kept_is_not_built_again(database: Database, tmp_path: Path) -> None:
    kept = tmp_path / "artifacts"
    run([fake("one", 1)], database, rounds=1, artifacts=kept)
    assert len(list(kept.iterdir())) == 1
    _, events = run([fake("one", 1)], database, rounds=2, artifacts=kept)
    assert kinds(events, "one") == ["queued", "round", "done"]


def test_anchors_are_measured_at_both_ends_of_a_block(database: Database) -> None:
    _, events = run([fake("one", 1)], database, anchors=True, kernels=False)
    # Whether a busy machine drifts meanwhile is not the question here.
    assert [e.kind for e in events if e.kind not in ("built", "drifted")] == (
        ["queued"] + ["anchor"] * 3 + ["round"] * 2 + ["anchor"] * 3 + ["done"]
    )
    with database.session() as session:
        (block,) = session.scalars(select(BlockRow))
        assert block.finished_at is not None
        assert block.drift is not None
        assert {row.block_id for row in session.scalars(select(MeasurementRow))} == {block.id}
        positions = [row.position for row in session.scalars(select(AnchorRoundRow))]
    assert sorted(positions) == ["end"] * 3 + ["start"] * 3


def test_a_block_whose_anchors_drift_is_measured_again(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    visits = iter([1.0] * 3 + [1.1] * 3 + [1.0] * 6)

    def measure(self: Worker, name: str, *arguments: Any) -> Round:
        latency = next(visits) if name.startswith("anchor") else 5.0
        return Round(
            started_at=0.0, duration_s=1.0, inner_count=1, samples=np.full(3, latency),
            conditions={},
        )  # fmt: skip

    monkeypatch.setattr(Worker, "measure", measure)
    disturbing(monkeypatch, iter(()))
    summary, events = run([fake("one", 1)], database, anchors=True, rounds=1, max_retakes=2)
    assert (summary.drifted_blocks, summary.rounds, summary.done) == (1, 2, 1)
    assert summary.kernels == 2
    (drifted,) = [event for event in events if event.kind == "drifted"]
    assert "10" in drifted.detail
    (latency,) = database.latencies(database.platforms()[0], QUICK.name).values()
    assert len(latency.rounds) == 1
    assert not latency.disturbed
    (times,) = database.kernel_times(database.platforms()[0]).values()
    assert (len(times.timings), times.disturbed) == (1, False)


def test_what_is_queued_is_measured_without_naming_it(database: Database) -> None:
    run([fake("one", 1), fake("two", 2)], database, rounds=1)
    JobQueue(database, current_owner()).add(
        [network.digest for network in database.networks()],
        database.platforms()[0],
        QUICK.name,
        rounds=2,
        kernels=True,
    )
    events: list[Event] = []
    summary = run_campaign(None, [SPEC], database, QUICK, SETTINGS, events.append)
    assert (summary.done, summary.rounds) == (2, 2)


def test_a_campaign_measures_no_other_jobs_than_its_own(database: Database) -> None:
    run([fake("one", 1)], database, rounds=1)
    JobQueue(database, current_owner()).add(
        [database.networks()[0].digest],
        database.platforms()[0],
        QUICK.name,
        rounds=2,
        kernels=True,
    )
    summary, events = run([fake("two", 2)], database, rounds=1)
    assert summary.done == 1
    assert kinds(events, "one") == []


def test_artifacts_of_a_killed_campaign_are_removed_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    monkeypatch.setattr(tempfile, "tempdir", None)
    kill_campaign(tmp_path / "latencies.db", count=6, events=1, delay_s=0.0)
    assert list(scratch.glob("*artifacts*"))
    with Database.open(tmp_path / "latencies.db") as database:
        run([fake("one", 1)], database)
    assert not list(scratch.glob("*artifacts*"))
