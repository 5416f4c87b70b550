"""Kill a campaign at random moments, and see that nothing is lost.

``python -m tests.measure.campaign.killing --kills 200`` does it at length.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select, text

from measure.campaign import CampaignConfig, Event, run_campaign
from measure.client import Limits
from measure.database import Database
from measure.database.schema import JobRow, KernelSamplesRow, KernelTimingRow, MeasurementRow
from measure.protocol import Protocol
from measure.zoo import ZooNetwork
from tests.measure.fake_toolchain import SPEC, network
from tests.measure.test_worker import wait_until_gone

PROTOCOL = Protocol(name="kill-lq", warmup_s=0.0, min_sample_s=0.002, min_samples=3, max_samples=3)
# Whether other work runs meanwhile must not matter.
CONFIG = CampaignConfig(
    watch_s=0.0, rounds=3, block_size=4, max_retakes=0, limits=Limits(build_s=20.0, round_s=20.0)
)
WORK = frozenset({"built", "anchor", "round", "kernels", "done"})

Rows = dict[tuple[str, str, int], bytes]


@dataclass(frozen=True)
class Report:
    """What was seen over all kills."""

    kills: int
    campaigns: int
    acknowledged: int


def networks(count: int) -> list[ZooNetwork]:
    """Networks that are built and run in no time."""
    return [
        ZooNetwork(name=f"net-{i}", family="relu", seed=i, model=network(f"net-{i}", i))
        for i in range(1, count + 1)
    ]


def stored_rows(path: Path) -> Rows:
    """The samples of all rounds and kernels, disturbed or not."""
    with Database.open(path) as database, database.session() as session:
        assert session.scalar(text("PRAGMA integrity_check")) == "ok"
        rounds = session.scalars(select(MeasurementRow))
        rows = {("round", row.network, row.round): row.samples.tobytes() for row in rounds}
        kernels = session.execute(select(KernelTimingRow, KernelSamplesRow).join(KernelSamplesRow))
        for timing, calls in kernels.tuples():
            key = (f"kernel/{timing.attempt}", timing.network, calls.index)
            rows[key] = calls.samples.tobytes()
        return rows


def start_campaign(
    location: str, count: int, *, lease_s: float = 900.0, stop: bool = False
) -> subprocess.Popen[str]:
    """A campaign as a process of its own, which prints the kind and the network of each event.

    With ``stop`` it stops (SIGSTOP) after its first round, between two transactions.
    """
    command = [sys.executable, "-m", "tests.measure.campaign.killing", "--campaign", location]
    options = ["--networks", str(count), "--lease", str(lease_s), *(["--stop"] if stop else [])]
    return subprocess.Popen(
        [*command, *options],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )


def kill_campaign(path: Path, count: int, events: int, delay_s: float) -> Counter[str]:
    """Start a campaign and SIGKILL it ``delay_s`` after so many pieces of finished work.

    Returns:
        The events that it had reported, which its workers do not outlive.
    """
    process = start_campaign(str(path), count)
    with process:
        assert process.stdout is not None
        seen: list[str] = []
        for line in process.stdout:
            seen.append(line.split()[0])
            if sum(kind in WORK for kind in seen) >= events:
                break
        time.sleep(delay_s)
        workers = _children(process.pid)
        process.kill()
        seen += [line.split()[0] for line in process.stdout]
    assert process.returncode in (-signal.SIGKILL, 0)
    for worker in workers:
        wait_until_gone(worker)
    return Counter(seen)


def finish_campaign(path: Path, count: int) -> None:
    """Let the campaign go on to its end."""
    with Database.open(path) as database:
        run_campaign(networks(count), [SPEC], database, PROTOCOL, CONFIG)


def kill_until_done(path: Path, count: int, rng: random.Random) -> Iterator[int]:
    """Kill the campaign of one database until it has nothing to do; gives what it acknowledged."""
    known: Rows = {}
    while True:
        events = kill_campaign(path, count, rng.randrange(1, 12), rng.uniform(0.0, 0.05))
        rows = stored_rows(path)
        assert {key: rows.get(key) for key in known} == known, "an acknowledged row was lost"
        new = Counter(key[0].partition("/")[0] for key in rows.keys() - known.keys())
        assert new["round"] >= events["round"], "an acknowledged round was lost"
        assert new["kernel"] >= events["kernels"], "acknowledged kernel times were lost"
        known = rows
        if not sum(events[kind] for kind in WORK):
            return
        yield events["round"] + events["kernels"]


def check_equal(path: Path, uninterrupted: Path) -> None:
    """See that two databases hold the same set of rounds, kernels and finished jobs."""
    assert stored_rows(path).keys() == stored_rows(uninterrupted).keys()
    assert _job_states(path) == _job_states(uninterrupted)


def kill_many(kills: int, count: int, seed: int, directory: Path) -> Report:
    """Kill campaigns ``kills`` times in all, a new database whenever one is done."""
    rng = random.Random(seed)
    uninterrupted = directory / "uninterrupted.db"
    finish_campaign(uninterrupted, count)
    done = campaigns = acknowledged = 0
    while done < kills:
        path = directory / f"killed-{campaigns}.db"
        for rounds in kill_until_done(path, count, rng):
            done += 1
            acknowledged += rounds
            print(f"\r{done} kills, {acknowledged} rows acknowledged", end="", flush=True)
            if done == kills:
                break
        finish_campaign(path, count)
        check_equal(path, uninterrupted)
        campaigns += 1
    print()
    return Report(done, campaigns, acknowledged)


def _job_states(path: Path) -> dict[str, str]:
    with Database.open(path) as database, database.session() as session:
        return {row.network: row.state for row in session.scalars(select(JobRow))}


def _children(pid: int) -> list[int]:
    """Each thread lists the processes that it started."""
    found: list[int] = []
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += map(int, children.read_text().split())
    return found


def main() -> None:
    """Kill many times; or, for that, be the campaign, which prints the kind of each event."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--networks", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--campaign", help=argparse.SUPPRESS)
    parser.add_argument("--lease", type=float, default=900.0, help=argparse.SUPPRESS)
    parser.add_argument("--stop", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.campaign is None:
        with tempfile.TemporaryDirectory() as directory:
            print(kill_many(arguments.kills, arguments.networks, arguments.seed, Path(directory)))
        return
    config = dataclasses.replace(CONFIG, lease_s=arguments.lease)
    stops = iter([arguments.stop])

    def progress(event: Event) -> None:
        print(event.kind, event.network, flush=True)
        if event.kind == "round" and next(stops, False):
            os.kill(os.getpid(), signal.SIGSTOP)
            time.sleep(0.5)  # another thread may take the signal, and stop this one later

    with Database.open(arguments.campaign) as database:
        run_campaign(networks(arguments.networks), [SPEC], database, PROTOCOL, config, progress)


if __name__ == "__main__":
    main()
