"""Conditions of a timing round: how loaded and how fast the device was while it ran.

A device's counters are read twice, before and after; what changed is judged. The counters of this
machine come from :func:`read_counters`, those of another device from whoever can ask it.
"""

from __future__ import annotations

import contextlib
import os
import resource
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from measure.probes import MIN_QUIET, Quiet, median_slowdowns, quiet_count

# In cores; a quiet machine shows 0.00 to 0.02. On two virtual cores the labels of two rounds
# differed by 1 % (at most 4 %) on the quiet machine, by up to 140 % where both were disturbed.
MAX_FOREIGN_CPU = 0.25
MAX_STEAL = 0.1
MAX_DRIFT = 0.02
"""Relative drift of the anchors, from before to after a block, up to which its rounds count."""

CounterReader = Callable[[], Mapping[str, Any] | None]

_CPUFREQ = Path("/sys/devices/system/cpu/cpu0/cpufreq")
_COUNTS = ("major_faults", "voluntary_switches", "involuntary_switches")
_STATES = ("load_1m", "clock_mhz", "governor", "affinity")


def read_counters() -> dict[str, Any]:
    """The counters of this process and its machine, as plain JSON values.

    ``clock_s`` is monotonic; ``own_cpu_s`` the CPU time of this process, ``busy_s`` and
    ``steal_s`` those of all cores since boot (None without ``/proc/stat``); page faults that read
    a disk and context switches are counts of this process; ``load_1m``, ``clock_mhz`` (the highest
    of all cores: idle ones report their resting clock), ``governor`` and ``affinity`` (CPUs that
    the threads of this process may use) are states of this moment.
    """
    usage = resource.getrusage(resource.RUSAGE_SELF)
    busy_s, steal_s = _read_stat()
    return {
        "clock_s": time.perf_counter(),
        "own_cpu_s": usage.ru_utime + usage.ru_stime,
        "busy_s": busy_s,
        "steal_s": steal_s,
        "major_faults": usage.ru_majflt,
        "voluntary_switches": usage.ru_nvcsw,
        "involuntary_switches": usage.ru_nivcsw,
        "load_1m": os.getloadavg()[0],
        "clock_mhz": _clock_mhz(),
        "governor": _read_text(_CPUFREQ / "scaling_governor"),
        "affinity": len(usable_cpus()),
    }


def usable_cpus() -> set[int]:
    """The CPUs that any thread of this process may use: a library may bind its own."""
    cpus: set[int] = set()
    for thread in Path("/proc/self/task").iterdir():
        with contextlib.suppress(ProcessLookupError):  # it has ended
            cpus |= os.sched_getaffinity(int(thread.name))
    return cpus


class ConditionsRecorder:
    """Notes the counters when made, and what changed when :meth:`finish` is called.

    Args:
        read: gives the counters of the device as :func:`read_counters` does; what it leaves out is
            unknown, all of it where it gives None.
    """

    def __init__(self, read: CounterReader = read_counters) -> None:
        self._read = read
        self._before = dict(read() or {})

    def finish(self) -> dict[str, Any]:
        """The conditions since this recorder was made, as plain JSON values.

        ``cpu_per_wall`` is the timed process's CPU time per second (about the number of threads
        that truly ran), ``foreign_cpu`` that of everything else, ``steal`` what the hypervisor
        took, all in cores; None where the device has no such counter.
        """
        after = dict(self._read() or {})
        wall = _difference(self._before, after, "clock_s")
        own, busy, steal = (
            _rate(_difference(self._before, after, key), wall)
            for key in ("own_cpu_s", "busy_s", "steal_s")
        )
        return {
            "wall_s": wall,
            "cpu_per_wall": own,
            "foreign_cpu": None if busy is None or own is None else max(0.0, busy - own),
            "steal": steal,
            **{key: _difference(self._before, after, key) for key in _COUNTS},
            **{key: after.get(key) for key in _STATES},
        }


def is_disturbed(conditions: Mapping[str, Any], drift: float | None = None) -> bool:
    """Whether there is a :func:`disturbance`."""
    return disturbance(conditions, drift) is not None


def disturbance(conditions: Mapping[str, Any], drift: float | None = None) -> str | None:
    """Why a round does not count, in words; None where nothing is known to have disturbed it.

    Args:
        conditions: of the round, from :meth:`ConditionsRecorder.finish`.
        drift: relative drift of the anchors around the round's block; None where unknown. It says
            nothing of a round with probes of its own.
    """
    reasons = _other_work(conditions)
    counted = quiet_count(conditions)
    if counted is not None and counted[0] < MIN_QUIET:
        reasons.append(_too_loud(*counted, conditions))
    # Probes show the device at each sample, anchors only before and after all rounds of a block.
    if counted is None and drift is not None and drift > MAX_DRIFT:
        reasons.append(f"anchors drifted {100 * drift:.1f} % (limit {100 * MAX_DRIFT:g} %)")
    return "; ".join(reasons) or None


def saw_other_work(conditions: Mapping[str, Any]) -> bool:
    """Whether counters show that the device did something else meanwhile, whatever probes say."""
    return bool(_other_work(conditions))


def _other_work(conditions: Mapping[str, Any]) -> list[str]:
    reasons = []
    foreign_cpu, steal = conditions.get("foreign_cpu"), conditions.get("steal")
    if foreign_cpu is not None and foreign_cpu > MAX_FOREIGN_CPU:
        reasons.append(f"other processes used {foreign_cpu:.2f} cores (limit {MAX_FOREIGN_CPU:g})")
    if steal is not None and steal > MAX_STEAL:
        reasons.append(f"the hypervisor took {steal:.2f} cores (limit {MAX_STEAL:g})")
    return reasons


def _too_loud(quiet: int, samples: int, conditions: Mapping[str, Any]) -> str:
    slowdowns, known = median_slowdowns(conditions) or {}, Quiet.of(conditions)
    times = ", ".join(f"{name} {factor:.2f}" for name, factor in slowdowns.items())
    limits = " and ".join(f"{limit:g}" for limit in (known and known.limits) or ())
    return (
        f"only {quiet} of {samples} samples were taken while the device was quiet (at least "
        f"{MIN_QUIET}): its probes took {times} times their reference (limits {limits or 'none'})"
    )


def unknown_counters(conditions: Mapping[str, Any]) -> str | None:
    """What the device does not tell of other work on it, in words; None where it tells all."""
    missing = [
        words
        for key, words in (
            ("foreign_cpu", "the CPU time of other processes"),
            ("steal", "the time that the hypervisor took"),
        )
        if conditions.get(key) is None
    ]
    return f"the device does not tell {' and '.join(missing)}" if missing else None


def _difference(before: Mapping[str, Any], after: Mapping[str, Any], key: str) -> Any:
    """The growth of a counter; None where it is unknown."""
    start, end = before.get(key), after.get(key)
    return None if start is None or end is None else end - start


def _rate(change: float | None, wall: float | None) -> float | None:
    return None if change is None or wall is None else change / max(wall, 1e-9)


def _read_stat() -> tuple[float | None, float | None]:
    """Seconds of all cores spent busy and stolen since boot; None where /proc/stat is absent."""
    text = _read_text(Path("/proc/stat"))
    if text is None:
        return None, None
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
