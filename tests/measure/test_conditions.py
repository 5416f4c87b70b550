"""Conditions of a round, from counters that a test makes up, and from those of this machine."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from measure.conditions import (
    MAX_DRIFT,
    ConditionsRecorder,
    disturbance,
    is_disturbed,
    read_counters,
    unknown_counters,
)

BEFORE = {"clock_s": 100.0, "own_cpu_s": 5.0, "busy_s": 50.0, "steal_s": 1.0, "major_faults": 3}
AFTER = {"clock_s": 104.0, "own_cpu_s": 9.0, "busy_s": 56.0, "steal_s": 1.2, "major_faults": 10}


def record(*readings: Mapping[str, Any] | None) -> dict[str, Any]:
    given = iter(readings)
    return ConditionsRecorder(lambda: next(given)).finish()


def test_counters_become_cores() -> None:
    conditions = record(BEFORE, {**AFTER, "load_1m": 0.7})
    assert conditions["wall_s"] == 4.0
    assert conditions["cpu_per_wall"] == pytest.approx(1.0)
    assert conditions["foreign_cpu"] == pytest.approx(0.5)
    assert conditions["steal"] == pytest.approx(0.05)
    assert conditions["major_faults"] == 7
    assert conditions["load_1m"] == 0.7


def test_coarse_counters_give_no_negative_work_of_others() -> None:
    assert record(BEFORE, {**AFTER, "busy_s": 53.9})["foreign_cpu"] == 0.0


@pytest.mark.parametrize("readings", [(None, None), (BEFORE, None), (None, AFTER)])
def test_without_counters_nothing_is_known(readings: tuple[Mapping[str, Any] | None, ...]) -> None:
    conditions = record(*readings)
    assert conditions["foreign_cpu"] is None
    assert conditions["wall_s"] is None
    assert disturbance(conditions) is None
    assert unknown_counters(conditions) == (
        "the device does not tell the CPU time of other processes and the time that the "
        "hypervisor took"
    )


def test_a_machine_without_steal_time_tells_the_rest() -> None:
    conditions = record({**BEFORE, "steal_s": None}, AFTER)
    assert unknown_counters(conditions) == (
        "the device does not tell the time that the hypervisor took"
    )
    assert disturbance(conditions) == "other processes used 0.50 cores (limit 0.25)"


def test_this_machine_tells_all_as_plain_values() -> None:
    conditions = ConditionsRecorder().finish()
    assert json.loads(json.dumps(conditions)) == conditions
    assert unknown_counters(conditions) is None
    assert conditions["affinity"] >= 1


def test_the_own_cpu_time_counts_the_work_of_this_process() -> None:
    before = read_counters()
    sum(range(1_000_000))
    assert read_counters()["own_cpu_s"] > before["own_cpu_s"]


@pytest.mark.parametrize(
    ("conditions", "drift", "reason"),
    [
        ({"foreign_cpu": 0.25, "steal": 0.1}, MAX_DRIFT, None),
        ({"foreign_cpu": 0.62, "steal": 0.0}, None, "other processes used 0.62 cores (limit 0.25)"),
        ({"foreign_cpu": 0.0, "steal": 0.2}, None, "the hypervisor took 0.20 cores (limit 0.1)"),
        ({"foreign_cpu": 0.0, "steal": 0.0}, 0.031, "anchors drifted 3.1 % (limit 2 %)"),
        (
            {"foreign_cpu": 1.0, "steal": 0.2},
            0.5,
            (
                "other processes used 1.00 cores (limit 0.25); the hypervisor took 0.20 cores "
                "(limit 0.1); anchors drifted 50.0 % (limit 2 %)"
            ),
        ),
        ({}, None, None),
    ],
)
def test_what_disturbed_a_round_is_said(
    conditions: dict[str, float], drift: float | None, reason: str | None
) -> None:
    assert disturbance(conditions, drift) == reason
    assert is_disturbed(conditions, drift) == (reason is not None)
