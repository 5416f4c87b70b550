"""Campaigns over a real tracker and real servers, one of which is killed, stalled, or misled."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from measure.campaign import CampaignConfig, Event, Summary, run_campaign
from measure.client import Limits
from measure.database import Database
from measure.database.device_states import DeviceStates
from measure.protocol import Protocol
from tests.measure.campaign.killing_servers import TOOLCHAIN, conv_network, kill_servers
from tests.measure.rpc.servers import Server, Tracker, server, tracker

QUICK = Protocol(name="quick-lq", warmup_s=0.0, min_sample_s=0.002, min_samples=3, max_samples=3)
ROUNDS = 2
NETWORKS = [conv_network(channels) for channels in (4, 8, 12, 16)]

pytestmark = pytest.mark.relax


@dataclass(frozen=True)
class Rig:
    """A tracker with a server under each of the keys ``a`` and ``b``, and where artifacts stay."""

    tracker: Tracker
    servers: dict[str, Server]
    artifacts: Path


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    directory = tmp_path_factory.mktemp("rpc")
    with contextlib.ExitStack() as stack:
        its_tracker = stack.enter_context(tracker(TOOLCHAIN, directory))
        servers = {
            key: stack.enter_context(server(TOOLCHAIN, its_tracker, key, directory))
            for key in ("a", "b")
        }
        yield Rig(its_tracker, servers, directory / "artifacts")


@pytest.fixture
def rig(started: Rig) -> Iterator[Rig]:
    """Both servers up, whatever the test before did to them."""
    for key, process in started.servers.items():
        if not process.is_running():
            process.start()
        started.tracker.wait_for_servers(key, 1)
    yield started
    for process in started.servers.values():
        process.resume()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with Database.open(tmp_path / "latencies.db") as database:
        yield database


def run(
    rig: Rig, database: Database, progress: Callable[[Event], None] = lambda _event: None
) -> Summary:
    config = CampaignConfig(
        watch_s=0.0,
        devices=tuple(rig.tracker.device(key) for key in rig.servers),
        rounds=ROUNDS,
        max_retakes=0,
        kernels=False,
        anchors=False,
        block_size=1,
        artifacts=rig.artifacts,
        parallel_builds=1,
        limits=Limits(round_s=6.0, device_s=6.0),
    )
    return run_campaign(NETWORKS, [TOOLCHAIN], database, QUICK, config, progress)


def check_all_measured(summary: Summary, database: Database) -> None:
    assert (summary.done, summary.failures) == (4, {})
    (platform,) = database.platforms()
    latencies = database.latencies(platform, QUICK.name)
    assert len(latencies) == 4
    assert database.failures(platform) == []


def after_first_round(act: Callable[[], None]) -> Callable[[Event], None]:
    acts = iter([act])

    def progress(event: Event) -> None:
        if event.kind == "round":
            next(acts, lambda: None)()

    return progress


def test_two_devices_measure_a_campaign(rig: Rig, database: Database) -> None:
    summary = run(rig, database)
    check_all_measured(summary, database)
    assert (summary.rounds, summary.lost, summary.quarantined) == (4 * ROUNDS, 0, {})
    assert f"/{TOOLCHAIN}/" in database.platforms()[0]


@pytest.mark.parametrize("fault", ["kill", "stall"])
def test_the_jobs_of_a_server_that_fails_are_done_on_the_other(
    rig: Rig, database: Database, fault: str
) -> None:
    summary = run(rig, database, after_first_round(getattr(rig.servers["a"], fault)))
    check_all_measured(summary, database)
    address = rig.tracker.device("a")
    assert list(summary.quarantined) in ([], [address])
    if summary.quarantined:  # else the other was quick enough to do all that was left
        assert DeviceStates(database).get(address).state == "quarantined"


def test_a_bad_library_is_a_failure_of_its_network_alone(rig: Rig, database: Database) -> None:
    run(rig, database)
    (library,) = rig.artifacts.glob(f"{database.networks()[0].digest}*/network.so")
    content = library.read_bytes()
    library.write_bytes(b"no library")
    try:
        with Database.in_memory() as fresh:
            summary = run(rig, fresh)
            assert (summary.done, summary.quarantined, summary.lost) == (3, {}, 0)
            assert [stage for stage, _ in summary.failures] == ["run"]
            (failure,) = fresh.failures(fresh.platforms()[0])
            assert failure.network == database.networks()[0].digest
    finally:
        library.write_bytes(content)


def test_a_server_that_is_killed_again_and_again_loses_nothing(tmp_path: Path) -> None:
    summary = kill_servers(kills=2, count=4, seed=0, directory=tmp_path)
    assert (summary.done, summary.failures, summary.quarantined) == (4, {}, {})
