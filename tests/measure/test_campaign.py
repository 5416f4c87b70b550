"""Campaigns, with a toolchain that misbehaves, and killed at any moment."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from measure.campaign import CampaignConfig, Event, Summary, run_campaign
from measure.client import Limits, Worker
from measure.database import Database
from measure.errors import PlatformChangedError, WorkerError
from measure.protocol import Protocol
from measure.records import Round
from measure.schema import MeasurementRow
from measure.zoo import ZooNetwork
from tests.measure.fake_toolchain import SPEC, network
from tests.measure.test_worker import wait_until_gone

QUICK = Protocol(name="quick-lq", warmup_s=0.0, min_sample_s=0.002, min_samples=3, max_samples=3)
# Whether other work runs beside the tests must not matter to them.
SETTINGS = CampaignConfig(block_size=4, max_retakes=0, limits=Limits(build_s=2.0, round_s=5.0))
NUM_NETWORKS = 6
ROUNDS = 3


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
    assert kinds(events, "one") == ["built", "round", "round", "kernels"]
    (platform,) = database.platforms()
    assert platform.endswith("/fake/fake-z80/t1/float32")
    latencies = database.latencies(platform, QUICK.name)
    assert len(latencies) == 2
    assert all(1.0 <= latency.label_ms < 20.0 for latency in latencies.values())

    summary, events = run(networks, database)
    assert (summary.done, summary.rounds, summary.skipped) == (0, 0, 2)
    assert {event.kind for event in events} == {"skipped"}


def test_only_what_is_missing_is_measured(database: Database) -> None:
    run([fake("one", 1)], database, rounds=1, kernels=False)
    _, events = run([fake("one", 1)], database, rounds=3)
    assert kinds(events, "one") == ["built", "round", "round", "kernels"]


def test_a_disturbed_round_is_taken_again(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    foreign_cpu = iter([1.5, 0.0, 0.0])
    measure = Worker.measure

    def disturbed(self: Worker, *arguments: Any) -> Round:
        conditions = {"foreign_cpu": next(foreign_cpu)}
        return dataclasses.replace(measure(self, *arguments), conditions=conditions)

    monkeypatch.setattr(Worker, "measure", disturbed)
    summary, events = run([fake("one", 1)], database, max_retakes=2)
    assert (summary.rounds, summary.disturbed, summary.done) == (3, 1, 1)
    assert [e.detail.endswith("disturbed") for e in events if e.kind == "round"] == [
        True,
        False,
        False,
    ]


def test_failures_are_stored_and_do_not_stop_the_others(database: Database) -> None:
    names = ["build-segv", "build-hang", "run-exit", "nan", "kernels-raise", "ok"]
    networks = [fake(name, layers) for layers, name in enumerate(names, start=1)]
    summary, events = run(networks, database)
    assert summary.failed == {"build": 2, "run": 2, "kernels": 1}
    assert (summary.done, summary.rounds, summary.worker_errors) == (1, 4, 0)
    assert kinds(events, "ok") == ["built", "round", "round", "kernels"]
    assert kinds(events, "run-exit") == ["built", "failed"]
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
    assert (summary.skipped, summary.failed) == (1, {})
    summary, _ = run(networks, database, retry_failed=True)
    assert summary.failed == {"build": 1}
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
    first = [e for e in events if e.network in {"net-1", "net-2", "net-3", "net-4"}]
    assert [e.kind for e in first] == ["built"] * 4 + ["round"] * 8 + ["kernels"] * 4
    orders = [[e.network for e in first[4:8]], [e.network for e in first[8:12]]]
    assert sorted(orders[0]) == sorted(orders[1])
    assert orders[0] != orders[1]
    assert [e.kind for e in events[len(first) :]][:3] == ["built", "built", "round"]


def test_the_order_of_rounds_follows_from_the_seed(tmp_path: Path) -> None:
    def order(name: str, seed: int) -> list[str]:
        with Database.open(tmp_path / name) as database:
            networks = [fake(f"net-{i}", i) for i in range(1, 5)]
            _, events = run(networks, database, seed=seed, rounds=1, kernels=False)
        return [event.network for event in events if event.kind == "round"]

    assert order("a", 1) == order("b", 1) != order("c", 2)


def test_nothing_starts_after_the_budget(database: Database) -> None:
    networks = [fake(f"net-{i}", i) for i in range(1, 4)]
    summary, events = run(networks, database, budget_s=0.0)
    assert (summary.out_of_time, events) == (True, [])
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
    assert (summary.worker_errors, summary.done, summary.failed) == (1, 1, {})
    assert [e.kind for e in events].count("worker-lost") == 1
    summary, _ = run([fake("one", 1), fake("two", 2)], database, rounds=1)
    assert (summary.skipped, summary.done) == (1, 1)


def test_a_campaign_ends_where_workers_keep_dying(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Worker, "measure", _losing(Worker.measure, iter([True] * 9)))
    networks = [fake(f"net-{i}", i) for i in range(1, 5)]
    with pytest.raises(WorkerError, match="lost during run"):
        run(networks, database)
    assert database.failures(database.platforms()[0]) == []


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


def test_nothing_finished_is_lost_to_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "latencies.db"
    known: dict[tuple[str, int], list[float]] = {}
    for events_until_kill in (1, NUM_NETWORKS, 2 * NUM_NETWORKS):
        finished = _kill_campaign_after(path, events_until_kill)
        stored = _stored_rounds(path)
        assert len(stored) >= len(known) + finished
        assert {key: stored.get(key) for key in known} == known
        known = stored
    assert 0 < len(known) < NUM_NETWORKS * ROUNDS

    with Database.open(path) as database:
        summary, _ = run(_networks(), database, rounds=ROUNDS)
    assert summary.rounds == NUM_NETWORKS * ROUNDS - len(known)
    final = _stored_rounds(path)
    assert len(final) == NUM_NETWORKS * ROUNDS
    assert {key: final[key] for key in known} == known


def test_artifacts_of_a_killed_campaign_are_removed_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "scratch"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    (tmp_path / "scratch").mkdir()
    _kill_campaign_after(tmp_path / "latencies.db", 1)
    assert list((tmp_path / "scratch").iterdir())
    with Database.open(tmp_path / "latencies.db") as database:
        run(_networks(), database)
    assert not list((tmp_path / "scratch").iterdir())


def _networks() -> list[ZooNetwork]:
    return [fake(f"net-{i}", i) for i in range(1, NUM_NETWORKS + 1)]


def _stored_rounds(path: Path) -> dict[tuple[str, int], list[float]]:
    """Samples by network and number of the round, disturbed or not."""
    with Database.open(path) as database, database.session() as session:
        rows = session.scalars(select(MeasurementRow))
        return {(row.network, row.round): row.samples.tolist() for row in rows}


def _kill_campaign_after(path: Path, num_events: int) -> int:
    """Start a campaign, SIGKILL it after so many events; gives the rounds that it had reported.

    Its workers end with it.
    """
    process = subprocess.Popen(
        [sys.executable, __file__, str(path)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    with process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(num_events)]
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        workers = [int(pid) for pid in children.read_text().split()]
        process.kill()
        lines += process.stdout.readlines()
    assert process.returncode == -signal.SIGKILL
    assert workers
    for worker in workers:
        wait_until_gone(worker)
    return lines.count("round\n")


def main(path: str) -> None:
    """A campaign as a process of its own, which prints the kind of each event."""
    with Database.open(path) as database:
        config = CampaignConfig(**{**vars(SETTINGS), "rounds": ROUNDS})
        run_campaign(
            _networks(),
            [SPEC],
            database,
            QUICK,
            config,
            lambda event: print(event.kind, flush=True),
        )


if __name__ == "__main__":
    main(sys.argv[1])
