"""Names for the processes that hold leases, by which a dead one is known without waiting."""

from __future__ import annotations

import os
import secrets
import socket
from pathlib import Path


def current_owner() -> str:
    """``host:pid:start:random`` of this process; every call gives another name."""
    pid = os.getpid()
    return f"{_host()}:{pid}:{_start_time(_stat(pid))}:{secrets.token_hex(4)}"


def is_dead(owner: str) -> bool:
    """Whether the process of ``owner`` is of this machine and has ended.

    Of other machines, and of containers with processes of their own, nothing is known: False.
    """
    host, _, rest = owner.partition(":")
    pid, _, rest = rest.partition(":")
    start = rest.partition(":")[0]
    return host == _host() and pid.isdigit() and not is_running(int(pid), start)


def is_running(pid: int, start: str | None = None) -> bool:
    """Whether there is a process ``pid`` here; with ``start``, whether it is the one begun then."""
    if fields := _stat(pid):
        # A process that is dead, but not yet waited for, works no more.
        return fields[0] not in "ZX" and start in (None, _start_time(fields))
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True  # of another user, whose processes the system hides
    except (ProcessLookupError, OverflowError):
        return False
    return True


def _host() -> str:
    """The machine, its boot and its table of processes, in which a number means one process."""
    boot = _read("/proc/sys/kernel/random/boot_id").strip().replace("-", "")[:12]
    try:
        table = Path("/proc/self/ns/pid").stat().st_ino
    except OSError:
        table = 0
    return f"{socket.gethostname()}-{boot}-{table}"


def _stat(pid: int) -> list[str]:
    """What the system tells of a process, from its state on; nothing where it is hidden or gone."""
    # The state, field 3, comes after the name in parentheses.
    return _read(f"/proc/{pid}/stat").rpartition(")")[2].split()


def _start_time(fields: list[str]) -> str:
    """When a process began, in ticks since the boot: its number may be another's later."""
    return fields[19] if fields else ""


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
