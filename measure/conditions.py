"""Conditions of a timing round: how loaded and how fast the machine was while it ran."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# In cores; a quiet machine shows 0.00 to 0.02. On two virtual cores the labels of two rounds
# differed by 1 % (at most 4 %) on the quiet machine, by up to 140 % where both were disturbed.
_MAX_FOREIGN_CPU = 0.25
_MAX_STEAL = 0.1

_CPUFREQ = Path("/sys/devices/system/cpu/cpu0/cpufreq")


class ConditionsRecorder:
    """Notes the machine's counters when made, and what changed when :meth:`finish` is called."""

    def __init__(self) -> None:
        self._wall = time.perf_counter()
        self._cpu = _process_cpu_s()
        self._stat = _read_stat()

    def finish(self) -> dict[str, Any]:
        """The conditions since this recorder was made, as plain JSON values.

        ``cpu_per_wall`` is this process's CPU time per second (about the number of threads that
        truly ran), ``foreign_cpu`` that of everything else, ``steal`` what the hypervisor took,
        all in cores; None where the system has no such counter.
        """
        wall = max(time.perf_counter() - self._wall, 1e-9)
        own = (_process_cpu_s() - self._cpu) / wall
        stat = _read_stat()
        busy = steal = None
        if stat is not None and self._stat is not None:
            busy = (stat[0] - self._stat[0]) / wall
            steal = (stat[1] - self._stat[1]) / wall
        return {
            "wall_s": wall,
            "cpu_per_wall": own,
            "foreign_cpu": None if busy is None else max(0.0, busy - own),
            "steal": steal,
            "load_1m": os.getloadavg()[0],
            "clock_mhz": _clock_mhz(),
            "governor": _read_text(_CPUFREQ / "scaling_governor"),
            "affinity": len(os.sched_getaffinity(0)),
        }


def is_disturbed(conditions: Mapping[str, Any]) -> bool:
    """Whether other processes or other guests of the machine worked during a round."""
    foreign_cpu, steal = conditions.get("foreign_cpu"), conditions.get("steal")
    return (foreign_cpu or 0.0) > _MAX_FOREIGN_CPU or (steal or 0.0) > _MAX_STEAL


def _process_cpu_s() -> float:
    times = os.times()
    return times.user + times.system


def _read_stat() -> tuple[float, float] | None:
    """Seconds of all cores spent busy and stolen since boot; None where /proc/stat is absent."""
    text = _read_text(Path("/proc/stat"))
    if text is None:
        return None
    fields = [int(value) for value in text.splitlines()[0].split()[1:9]]
    user, nice, system, _idle, _iowait, irq, softirq, steal = fields
    tick = os.sysconf("SC_CLK_TCK")
    return (user + nice + system + irq + softirq) / tick, steal / tick


def _clock_mhz() -> float | None:
    """Highest current clock of all cores: idle ones report their resting clock."""
    text = _read_text(Path("/proc/cpuinfo")) or ""
    clocks = [float(line.partition(":")[2]) for line in text.splitlines() if "cpu MHz" in line]
    return max(clocks, default=None)


def _read_text(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except OSError:
        return None
