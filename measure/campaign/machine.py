"""Who may use this machine's cores: one process that times, or any number that build."""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from relay_frontend.errors import InputError

_LOCK = "tvm-costmodel-machine.lock"
_WAIT_S = 0.5


@contextlib.contextmanager
def alone_on_machine(waiting: Callable[[], None]) -> Iterator[None]:
    """While networks are timed here: waits until no other campaign on this machine works.

    Args:
        waiting: called again and again meanwhile; what it raises ends the wait.

    Raises:
        InputError: the file by which campaigns wait for one another cannot be opened.
    """
    with _locked(fcntl.LOCK_EX, waiting):
        yield


@contextlib.contextmanager
def beside_others(waiting: Callable[[], None]) -> Iterator[None]:
    """While networks are built: waits until no campaign on this machine times.

    Arguments and errors as of :func:`alone_on_machine`.
    """
    with _locked(fcntl.LOCK_SH, waiting):
        yield


@contextlib.contextmanager
def _locked(kind: int, waiting: Callable[[], None]) -> Iterator[None]:
    """The system gives the lock back when the process ends, however it ends."""
    descriptor = _open_lock()
    try:
        _take(descriptor, kind, waiting)
        yield
    finally:
        # Where the wait was ended, the lock goes back as soon as it is given.
        os.close(descriptor)


def _take(descriptor: int, kind: int, waiting: Callable[[], None]) -> None:
    """Take the lock, in a thread that stands in line for it where it is not free.

    Who only asked for it from time to time would hardly get it between two that do stand in line.
    """
    with contextlib.suppress(BlockingIOError):
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        return
    taken = threading.Event()

    def wait() -> None:
        fcntl.flock(descriptor, kind)
        taken.set()

    threading.Thread(target=wait, daemon=True).start()
    while not taken.wait(_WAIT_S):
        waiting()


def _open_lock() -> int:
    """A descriptor of the lock's file, which may be another user's: reading is enough to lock."""
    path = Path(tempfile.gettempdir()) / _LOCK
    try:
        try:
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be opened ({error.strerror}); campaigns on this machine wait for one "
            "another by this file: have its owner make it readable for all, or remove it while no "
            "campaign runs"
        ) from error
