"""Campaigns of several processes on one database: each job is measured once."""

from __future__ import annotations

import os
import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from measure.database import Database
from measure.database.schema import JobRow, MeasurementRow
from tests.measure.campaign.killing import CONFIG, start_campaign

pytestmark = pytest.mark.once

NETWORKS = 5


@pytest.fixture
def start(
    location: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts campaigns on one database; what is left of them ends with the test."""
    started: list[subprocess.Popen[str]] = []

    def start_one(**options: Any) -> subprocess.Popen[str]:
        # Those with other directories for scratch files do not wait for one another.
        scratch = tmp_path / f"scratch-{len(started)}"
        scratch.mkdir()
        monkeypatch.setenv("TMPDIR", str(scratch))
        started.append(start_campaign(location, NETWORKS, **options))
        return started[-1]

    Database.open(location).close()
    yield start_one
    for process in started:
        process.kill()
        process.communicate()


def stored(location: str) -> dict[tuple[str, int], bytes]:
    with Database.open(location) as database, database.session() as session:
        rows = session.scalars(select(MeasurementRow))
        return {(row.network, row.round): row.samples.tobytes() for row in rows}


def states(location: str) -> Counter[str]:
    with Database.open(location) as database, database.session() as session:
        return Counter(row.state for row in session.scalars(select(JobRow)))


def rounds_of(output: str) -> Counter[str]:
    lines = [line.split() for line in output.splitlines()]
    return Counter(words[1] for words in lines if words[0] == "round")


def test_two_processes_never_measure_a_job_twice(
    location: str, start: Callable[..., subprocess.Popen[str]]
) -> None:
    both = [start(), start()]
    outputs = [process.communicate(timeout=120)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert "lost" not in "".join(outputs)
    measured = rounds_of(outputs[0]) + rounds_of(outputs[1])
    assert measured == Counter({f"net-{i}": CONFIG.rounds for i in range(1, NETWORKS + 1)})
    # A network is measured by one of them, not by turns.
    assert not rounds_of(outputs[0]).keys() & rounds_of(outputs[1]).keys()
    assert states(location) == {"done": NETWORKS}


def test_a_process_that_slept_past_its_leases_stores_nothing_after_them(
    location: str, start: Callable[..., subprocess.Popen[str]]
) -> None:
    sleeper = start(lease_s=0.5, stop=True)
    os.waitid(os.P_PID, sleeper.pid, os.WSTOPPED | os.WNOWAIT)
    while states(location) != {"done": NETWORKS}:
        other = start()
        other.communicate(timeout=120)
        assert other.returncode == 0
    rows = stored(location)
    assert len(rows) == NETWORKS * CONFIG.rounds
    sleeper.send_signal(signal.SIGCONT)
    output, _ = sleeper.communicate(timeout=120)
    assert sleeper.returncode == 0
    assert "lease-lost" in output
    assert sum(rounds_of(output).values()) == 1
    assert stored(location) == rows
    assert states(location) == {"done": NETWORKS}
