"""Names for the processes that hold leases, by which a dead one is known without waiting."""

from __future__ import annotations

import os
import secrets
import socket
from pathlib import Path


def current_owner() -> str:
    """``host:pid:start:random`` of this process; every call gives another name."""
    pid = os.getpid()
    return f"{_host()}:{pid}:{_start_time(pid)}:{secrets.token_hex(4)}"


def is_dead(owner: str) -> bool:
    """Whether the process of ``owner`` is of this machine and has ended.

    Of other machines, and of containers with processes of their own, nothing is known: False.
    """
    host, _, rest = owner.partition(":")
    pid, _, rest = rest.partition(":")
    start = rest.partition(":")[0]
    return host == _host() and pid.isdigit() and _start_time(int(pid)) != start


def _host() -> str:
    """The machine, its boot and its table of processes, in which a number means one process."""
    boot = _read("/proc/sys/kernel/random/boot_id").strip().replace("-", "")[:12]
    try:
        table = Path("/proc/self/ns/pid").stat().st_ino
    except OSError:
        table = 0
    return f"{socket.gethostname()}-{boot}-{table}"


def _start_time(pid: int) -> str:
    """When a process began, in ticks since the boot: its number may be another's later."""
    # After the name in parentheses: state is field 3, the start time field 22.
    fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    # A process that is dead, but not yet waited for, works no more.
    return fields[19] if fields and fields[0] not in "ZX" else ""


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
