"""Devices that fail: their jobs are done elsewhere or later, and no network is blamed for them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from measure.campaign import CampaignConfig, Event, Summary, run_campaign
from measure.client import Worker
from measure.database import Database
from measure.database.device_states import DeviceStates
from measure.database.jobs import JobQueue
from measure.database.owner import current_owner
from measure.device import Device, Fingerprint
from measure.errors import DeviceError
from measure.protocol import Protocol
from measure.records import Round
from measure.zoo import ZooNetwork
from relay_frontend.errors import InputError
from tests.measure.fake_toolchain import SPEC, network

pytestmark = pytest.mark.once

QUICK = Protocol(name="quick-lq", warmup_s=0.0, min_sample_s=0.002, min_samples=3, max_samples=3)
A, B = "rpc://127.0.0.1:9190/a", "rpc://127.0.0.1:9190/b"
NETWORKS = [
    ZooNetwork(name=name, family="relu", seed=0, model=network(name, layers))
    for layers, name in enumerate(("one", "two", "three"), start=1)
]

Fault = Callable[[str, str], bool]
"""Whether a device, by its address, is lost while it runs a network, by its name."""


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with Database.open(tmp_path / "latencies.db") as database:
        yield database


@pytest.fixture
def lose(monkeypatch: pytest.MonkeyPatch) -> Callable[[Fault], None]:
    """Devices without machines, which are lost where a fault says so."""

    def fingerprint(self: Worker) -> Fingerprint:
        if is_lost(self.device, ""):
            raise DeviceError(f"device {self.device} does not answer")
        return Fingerprint(
            device=Device.named("board"), toolchain="fake", target="fake -mcpu=z80", versions={}
        )

    def measure(self: Worker, name: str, *_arguments: Any) -> Round:
        if is_lost(self.device, name):
            raise DeviceError(f"device {self.device}: connection lost")
        return Round(
            started_at=0.0, duration_s=1.0, inner_count=1, samples=np.full(3, 5.0), conditions={}
        )

    faults: list[Fault] = [lambda _device, _network: False]

    def is_lost(device: str, name: str) -> bool:
        return faults[-1](device, name)

    monkeypatch.setattr(Worker, "fingerprint", fingerprint)
    monkeypatch.setattr(Worker, "measure", measure)
    return faults.append


def settings(*devices: str, rounds: int = 1) -> CampaignConfig:
    return CampaignConfig(
        watch_s=0.0,
        devices=devices,
        rounds=rounds,
        kernels=False,
        block_size=2,
        parallel_builds=1,
    )


def run(database: Database, *devices: str, rounds: int = 1) -> tuple[Summary, list[Event]]:
    events: list[Event] = []
    config = settings(*devices, rounds=rounds)
    return run_campaign(NETWORKS, [SPEC], database, QUICK, config, events.append), events


def labels(database: Database) -> list[float]:
    (platform,) = database.platforms()
    return [latency.label_ms for latency in database.latencies(platform, QUICK.name).values()]


def test_what_one_device_is_done_with_stays_for_another_that_is_not(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is built for one target is built once, for however many platforms."""
    a_is_done = threading.Event()
    left: list[str] = []

    def fingerprint(self: Worker) -> Fingerprint:
        board = Device.named(f"board-{self.device[-1]}")
        return Fingerprint(device=board, toolchain="fake", target="fake -mcpu=z80", versions={})

    def measure(self: Worker, name: str, artifact: Path, *_arguments: Any) -> Round:
        if self.device == B and not name.startswith("anchor"):
            assert a_is_done.wait(60.0)
        left.extend([] if artifact.exists() else [name])
        return Round(
            started_at=0.0, duration_s=1.0, inner_count=1, samples=np.full(3, 5.0), conditions={}
        )

    def progress(event: Event) -> None:
        if event.kind == "done":
            done.append(event.platform)
        if sum("board-a" in platform for platform in done) == len(NETWORKS):
            a_is_done.set()

    done: list[str] = []
    monkeypatch.setattr(Worker, "fingerprint", fingerprint)
    monkeypatch.setattr(Worker, "measure", measure)
    summary = run_campaign(NETWORKS, [SPEC], database, QUICK, settings(A, B), progress)
    assert (summary.done, left) == (6, [])


def test_two_devices_share_the_jobs(database: Database, lose: Callable[[Fault], None]) -> None:
    summary, events = run(database, A, B)
    assert (summary.done, summary.rounds, summary.lost) == (3, 3, 0)
    assert sum(event.kind == "round" for event in events) == 3
    assert database.platforms() == ["board-0c/fake/fake-z80/t1/float32"]


def test_a_connection_that_is_lost_once_costs_one_attempt(
    database: Database, lose: Callable[[Fault], None]
) -> None:
    left = [True]
    lose(lambda _device, name: name == "two" and bool(left) and left.pop())
    summary, _ = run(database, A)
    assert (summary.done, summary.lost, summary.failures, summary.quarantined) == (3, 1, {}, {})
    state = DeviceStates(database).get(A)
    assert (state.state, state.failures_in_a_row) == ("ok", 0)


def test_a_network_that_takes_every_connection_with_it_is_to_blame(
    database: Database, lose: Callable[[Fault], None]
) -> None:
    lose(lambda _device, name: name == "two")
    summary, _ = run(database, A, B)
    assert (summary.done, summary.quarantined) == (2, {})
    assert summary.failures == {("run", "ConnectionLost"): 1}
    (failure,) = database.failures(database.platforms()[0])
    assert (failure.stage, failure.error) == ("run", "ConnectionLost")
    assert "connection lost" in failure.message


def test_the_jobs_of_a_device_that_dies_are_done_on_the_other(
    database: Database, lose: Callable[[Fault], None]
) -> None:
    measured: list[str] = []

    def dies_after_its_anchors(device: str, name: str) -> bool:
        if device == A and name and not name.startswith("anchor"):
            measured.append(name)
        return device == A and bool(measured)

    lose(dies_after_its_anchors)
    summary, _ = run(database, A, B)
    assert (summary.done, summary.failures) == (3, {})
    assert len(labels(database)) == 3
    if measured:  # else the other was quick enough to do all the work
        assert "connection lost" in summary.quarantined[A] or "answer" in summary.quarantined[A]
        assert DeviceStates(database).get(A).state == "quarantined"


def test_a_campaign_without_a_device_left_keeps_its_jobs(
    database: Database, lose: Callable[[Fault], None]
) -> None:
    lose(lambda _device, name: name != "")
    with pytest.raises(DeviceError, match=r"no device is left .* connection lost"):
        run(database, A)
    (platform,) = database.platforms()
    assert JobQueue(database, current_owner()).counts([platform])["queued"] == 3
    assert database.failures(platform) == []

    lose(lambda _device, _name: False)
    with pytest.raises(DeviceError, match="devices --release"):
        run(database, A)
    DeviceStates(database).release(A)
    summary, _ = run(database, A)
    assert summary.done == 3


def test_a_device_that_does_not_answer_at_the_start_is_left_out(
    database: Database, lose: Callable[[Fault], None]
) -> None:
    lose(lambda device, _name: device == A)
    summary, events = run(database, A, B)
    assert (summary.done, summary.lost, summary.quarantined) == (3, 1, {})
    (event,) = [event for event in events if event.kind == "device-lost"]
    assert "does not answer" in event.detail
    state = DeviceStates(database).get(A)
    assert (state.state, state.failures_in_a_row) == ("ok", 1)


def test_a_device_that_never_answers_at_the_start_is_quarantined(
    database: Database, lose: Callable[[Fault], None]
) -> None:
    lose(lambda device, _name: device == A)
    quarantined = [bool(run(database, A, B)[0].quarantined) for _ in range(4)]
    assert quarantined == [False, False, True, True]


def test_failures_before_a_device_did_its_work_count_no_more(
    database: Database, lose: Callable[[Fault], None]
) -> None:
    for rounds in (1, 2, 3):
        lose(lambda _device, _name: True)
        with pytest.raises(DeviceError, match=r"does not answer.* see to the devices, and run"):
            run(database, A)
        lose(lambda _device, _name: False)
        assert run(database, A, rounds=rounds)[0].done == 3
    state = DeviceStates(database).get(A)
    assert (state.state, state.failures_in_a_row) == ("ok", 0)


def test_an_anchor_that_fails_now_and_then_is_measured_again(
    database: Database, lose: Callable[[Fault], None]
) -> None:
    faults = iter([True, False, True, False])
    lose(lambda _device, name: name.startswith("anchor") and next(faults, False))
    summary, events = run(database, A)
    assert (summary.done, summary.lost, summary.quarantined) == (3, 0, {})
    assert [event.kind for event in events].count("device-lost") == 2
    assert DeviceStates(database).get(A).failures_in_a_row == 0


def test_a_device_that_always_fails_at_one_anchor_is_quarantined(
    database: Database, lose: Callable[[Fault], None]
) -> None:
    lose(lambda _device, name: name == "anchor-wide")
    with pytest.raises(DeviceError, match=r"no device is left .* devices --release"):
        run(database, A)
    (platform,) = database.platforms()
    assert JobQueue(database, current_owner()).counts([platform])["queued"] == 3


def test_a_device_with_another_compiler_is_refused(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = Fingerprint(
        device=Device.named("board"),
        toolchain="fake",
        target="fake -mcpu=z80",
        versions={"fake": "0", "llvm": "17", "python": "2"},
    )
    monkeypatch.setattr(Worker, "fingerprint", lambda _worker: device)
    with pytest.raises(InputError, match=f"{A} .* differ: fake 0 there and 1 here;"):
        run(database, A)


def test_this_machine_is_not_measured_while_it_builds_for_others(database: Database) -> None:
    with pytest.raises(InputError, match="would disturb"):
        run(database, "local", A)
