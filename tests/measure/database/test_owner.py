"""Which processes are alive."""

from __future__ import annotations

import os
import subprocess

import pytest

from measure.database import owner
from measure.database.owner import current_owner, is_dead, is_running


def test_this_process_is_alive() -> None:
    assert is_running(os.getpid())
    assert not is_dead(current_owner())


def test_a_process_that_ended_is_dead_even_before_it_is_waited_for() -> None:
    with subprocess.Popen(["true"]) as ended:
        os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
        assert not is_running(ended.pid)
    assert not is_running(ended.pid)


def test_another_process_under_the_same_number_is_another() -> None:
    host, pid, start, rest = current_owner().split(":")
    assert is_dead(f"{host}:{pid}:{int(start) + 1}:{rest}")
    assert not is_dead(f"elsewhere:{pid}:{int(start) + 1}:{rest}")


def test_a_process_that_the_system_hides_is_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    def kill(_pid: int, _signal: int) -> None:
        raise PermissionError

    mine = current_owner()
    monkeypatch.setattr(os, "kill", kill)
    monkeypatch.setattr(owner, "_stat", lambda _pid: [])
    assert not is_dead(mine)


def test_a_number_that_no_process_can_have_is_dead() -> None:
    assert not is_running(10**30)
