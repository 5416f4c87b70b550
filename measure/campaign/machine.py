"""Who may use this machine's cores: one process that times, or any number that build."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_LOCK = "tvm-costmodel-machine.lock"


@contextmanager
def alone_on_machine() -> Iterator[None]:
    """While networks are timed here: waits until no other campaign on this machine works."""
    with _locked(fcntl.LOCK_EX):
        yield


@contextmanager
def beside_others() -> Iterator[None]:
    """While networks are built: waits until no campaign on this machine times."""
    with _locked(fcntl.LOCK_SH):
        yield


@contextmanager
def _locked(kind: int) -> Iterator[None]:
    """The system gives the lock back when the process ends, however it ends."""
    path = Path(tempfile.gettempdir()) / _LOCK
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(descriptor, kind)
        yield
    finally:
        os.close(descriptor)
