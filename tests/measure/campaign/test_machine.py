"""The lock by which campaigns on one machine wait for one another."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest

from measure.campaign import machine
from measure.campaign.machine import alone_on_machine, beside_others
from relay_frontend.errors import InputError

LOCK = "tvm-costmodel-machine.lock"


class EndedError(Exception):
    """Ends a wait."""


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the lock is, of which those of other processes know nothing."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(machine, "_WAIT_S", 0.01)
    return tmp_path


def end() -> None:
    raise EndedError


def go_on() -> None:
    """Waits on."""


def test_any_number_build_and_none_beside_one_that_times() -> None:
    with (
        beside_others(go_on),
        beside_others(go_on),
        pytest.raises(EndedError),
        alone_on_machine(end),
    ):
        pass
    for lock in (alone_on_machine, beside_others):
        with alone_on_machine(go_on), pytest.raises(EndedError), lock(end):
            pass


def test_who_waits_is_asked_again_and_again_until_the_machine_is_free() -> None:
    with ExitStack() as other:
        other.enter_context(alone_on_machine(go_on))
        asked = []

        def waiting() -> None:
            asked.append(True)
            if len(asked) == 3:
                other.close()

        with beside_others(waiting):
            assert len(asked) >= 3


def test_a_wait_that_was_ended_leaves_the_machine_to_others() -> None:
    with alone_on_machine(go_on), pytest.raises(EndedError), alone_on_machine(end):
        pass
    with alone_on_machine(go_on):
        pass


def test_the_file_of_another_user_is_enough(directory: Path) -> None:
    (directory / LOCK).touch(mode=0o444)
    with alone_on_machine(end):
        pass


def test_a_file_that_cannot_be_opened_is_named(directory: Path) -> None:
    (directory / LOCK).symlink_to(directory / "missing" / "file")
    with pytest.raises(InputError, match=f"{LOCK}: cannot be opened"), alone_on_machine(end):
        pass
