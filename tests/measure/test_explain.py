"""Explanations of labels that were measured in good and in bad conditions."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from measure.database import Database
from measure.errors import BuildError, DatabaseError, TimeLimitError, UnknownPlatformError
from measure.explain import Explanation, explain, lines
from measure.records import Round
from tests.measure.databases import DEVICE, LOWER_QUARTILE, NAME, PLATFORM, PROTOCOL, kernel_times
from tests.measure.fake_toolchain import network

A, ANCHOR = "a" * 64, "b" * 64
QUIET = {"foreign_cpu": 0.01, "steal": 0.0}
BUSY = {"foreign_cpu": 0.62, "steal": 0.0}
UNKNOWN = {"foreign_cpu": None, "steal": None}
RETRY = "The network has failed: a campaign tries it again only with --retry-failed."
MORE = "Where a campaign finds nothing left to do, give it a higher --rounds or --max-retakes."


@pytest.fixture
def database() -> Iterator[Database]:
    with Database.in_memory() as database:
        database.add_platform(PLATFORM, DEVICE, {"fake": "1", "python": "3.11.1"})
        database.add_protocol(LOWER_QUARTILE)
        database.add_network(A, "net", "relu", 1, network("n", 1))
        database.add_network(ANCHOR, "anchor", "relu", 2, network("n", 2))
        yield database


def finished(
    latency_ms: float, conditions: dict[str, Any] | None = None, started_at: float = 1.7e9
) -> Round:
    """A round of samples of one latency, give or take 1 %."""
    return Round(
        started_at=started_at,
        duration_s=1.5,
        inner_count=12,
        samples=latency_ms * np.linspace(0.99, 1.01, 9),
        conditions=QUIET if conditions is None else conditions,
    )


def explained(database: Database, *rounds: Round, block: int | None = None) -> Explanation:
    for number, entry in enumerate(rounds):
        database.add_round(A, NAME, PROTOCOL, number, entry, block=block)
    explanation = explain(database, A, NAME)
    assert explanation.trusted == database.latencies(NAME)[A].trusted
    return explanation


def block_with_drift(database: Database, drift: float) -> int:
    block = database.open_block(NAME, PROTOCOL)
    database.add_anchor_round(block, ANCHOR, "start", finished(1.0))
    database.add_anchor_round(block, ANCHOR, "end", finished(1.0 + drift))
    database.close_block(block)
    return block


def test_two_undisturbed_rounds_that_agree_are_trusted(database: Database) -> None:
    explanation = explained(
        database, finished(10.0), finished(10.1, started_at=1.7e9 + 3 * 3600), finished(17.0, BUSY)
    )
    assert explanation.trusted
    assert explanation.verdict == (
        "Trusted: 2 of 2 undisturbed rounds, the first and the last 3.0 h apart, agree within "
        "1.0 % (limit 2 %)."
    )
    assert [entry.used for entry in explanation.rounds] == [True, True, False]
    assert explanation.rounds[2].disturbance == "other processes used 0.62 cores (limit 0.25)"


def test_the_label_and_its_noise_are_those_of_the_database(database: Database) -> None:
    explanation = explained(database, finished(10.0), finished(11.0), finished(17.0, BUSY))
    latency = database.latencies(NAME)[A]
    assert explanation.label_ms == latency.label_ms
    assert explanation.noise == latency.noise


def test_spreads_between_and_within_rounds_are_told_apart(database: Database) -> None:
    explanation = explained(database, finished(10.0), finished(11.0))
    assert explanation.between == pytest.approx(0.1)
    assert explanation.within == pytest.approx(0.01)


def test_rounds_that_disagree_need_one_more(database: Database) -> None:
    explanation = explained(database, finished(10.0), finished(10.6))
    assert not explanation.trusted
    assert explanation.verdict == (
        "Not trusted: the labels of 2 undisturbed rounds lie 6.0 % apart (limit 2 %). Measure one "
        f"more round, to tell which of them is off. {MORE}"
    )


def test_a_third_round_tells_which_of_two_was_off(database: Database) -> None:
    explanation = explained(database, finished(10.0), finished(10.6), finished(10.05))
    assert explanation.trusted
    assert "2 of 3 undisturbed rounds" in explanation.verdict


def test_a_label_that_follows_the_odd_round_is_not_trusted(database: Database) -> None:
    """The lower quartile of all samples lies in the one quick round of three."""
    explanation = explained(database, finished(10.0), finished(10.6), finished(10.65))
    assert explanation.label_ms == pytest.approx(10.0, rel=0.02)
    assert not explanation.trusted


def test_half_of_the_rounds_is_no_majority(database: Database) -> None:
    values = [finished(value) for value in (10.0, 10.01, 11.0, 12.0)]
    assert not explained(database, *values).trusted


def test_one_undisturbed_round_is_not_enough(database: Database) -> None:
    explanation = explained(database, finished(10.0), finished(10.0, BUSY))
    assert not explanation.trusted
    assert explanation.verdict == (
        "Not trusted: there is only one undisturbed round. Measure one more round, which has to "
        f"agree with it within 2 %. {MORE}"
    )


def test_disturbed_rounds_are_used_where_there_is_no_other(database: Database) -> None:
    explanation = explained(database, finished(10.0, BUSY), finished(10.0, BUSY))
    assert [entry.used for entry in explanation.rounds] == [True, True]
    assert explanation.label_ms == pytest.approx(10.0, rel=0.01)
    assert explanation.verdict.startswith("Not trusted: every round was disturbed.")
    assert "It counts only because no round is undisturbed." in "\n".join(lines(explanation))


def test_drift_of_the_anchors_disturbs_the_rounds_of_their_block(database: Database) -> None:
    block = block_with_drift(database, 0.031)
    explanation = explained(database, finished(10.0), finished(10.0), block=block)
    assert not explanation.trusted
    assert explanation.rounds[0].disturbance == "anchors drifted 3.1 % (limit 2 %)"
    assert "In block 1 anchors drifted 3.1 %: anchor 0.995 to 1.026 ms." in lines(explanation)


def test_without_counters_rounds_that_agree_are_no_evidence(database: Database) -> None:
    explanation = explained(database, finished(10.0, UNKNOWN), finished(10.0, UNKNOWN))
    assert not explanation.trusted
    assert "the device does not tell the CPU time of other processes" in explanation.verdict
    text = lines(explanation)
    assert (
        "Round 1 in cores: own unknown, other processes unknown, hypervisor unknown; load unknown, "
        "clock unknown, governor unknown, threads unknown."
    ) in text
    assert any(line.startswith("Round 1 may have been disturbed") for line in text)


def test_without_counters_the_anchors_are_evidence(database: Database) -> None:
    block = block_with_drift(database, 0.001)
    rounds = [finished(10.0, UNKNOWN), finished(10.0, UNKNOWN)]
    assert explained(database, *rounds, block=block).trusted
    database.add_round(A, NAME, PROTOCOL, 2, finished(10.0, UNKNOWN))
    assert explain(database, A, NAME).trusted


def test_what_a_round_noted_is_told(database: Database) -> None:
    notes = {
        "warmup_s": 0.31,
        "calibration": [[1, 0.0101], [12, 0.121], [12, 0.12]],
        "stop": "settled",
        "median_interval_ms": [9.98, 10.02],
    }
    machine = {"cpu_per_wall": 0.998, "load_1m": 1.234, "clock_mhz": 2596.142, "threads": 1}
    explanation = explained(database, finished(10.0, {**QUIET, **notes, **machine}))
    (entry,) = explanation.rounds
    assert entry.stop == "settled"
    assert entry.median_interval_ms == (9.98, 10.02)
    text = lines(explanation)
    assert ("Round 0 was calibrated by its runs: 1 in 10.1 ms, 12 in 121 ms, 12 in 120 ms.") in text
    assert (
        "Round 0 in cores: own 1.00, other processes 0.01, hypervisor 0.00; load 1.23, clock "
        "2596 MHz, governor unknown, threads 1."
    ) in text
    (row,) = (line for line in text if line.startswith("0  "))
    assert row.split() == [
        *("0", "2023-11-14", "22:13:20", "0.31", "12", "9", "settled", "10", "9.98..10.02"),
        *("9.95", "-", "yes"),
    ]


def test_a_round_without_notes_gets_its_interval_from_the_samples(database: Database) -> None:
    (entry,) = explained(database, finished(10.0)).rounds
    low, high = entry.median_interval_ms
    assert 9.9 <= low < 10.0 < high <= 10.1
    assert (entry.stop, entry.calibration, entry.warmup_s) == (None, None, None)


def test_the_columns_of_the_table_are_aligned(database: Database) -> None:
    text = lines(explained(database, finished(10.0), finished(1234.5, {**BUSY, "stop": "settled"})))
    heading = next(index for index, line in enumerate(text) if line.startswith("round"))
    start = text[heading].index("counts")
    assert [line[start:] for line in text[heading + 1 : heading + 3]] == ["yes", "no"]


def test_the_timings_of_the_kernels_are_told(database: Database) -> None:
    block = block_with_drift(database, 0.031)
    machine = {"cpu_per_wall": 0.998, "load_1m": 1.234, "clock_mhz": 2596.142, "threads": 1}
    for in_block, conditions in ((block, QUIET), (None, {**QUIET, **machine, "cpus": [0, 1]})):
        times = kernel_times("first", "second")
        (timing,) = times.timings
        timing = dataclasses.replace(timing, conditions=conditions)
        times = dataclasses.replace(times, timings=(timing,))
        database.add_kernels(A, NAME, times, block=in_block)
    explanation = explain(database, A, NAME)
    assert [entry.used for entry in explanation.timings] == [False, True]
    assert lines(explanation)[-7:-1] == [
        (
            "Timing 0 of the kernels: 3 samples of each of 2 calls, means of 7 runs, started "
            "2023-11-14 22:13:20 UTC, in block 1."
        ),
        (
            "Timing 0 of the kernels in cores: own unknown, other processes 0.01, hypervisor 0.00; "
            "load unknown, clock unknown, governor unknown, threads unknown."
        ),
        "Timing 0 of the kernels was disturbed: anchors drifted 3.1 % (limit 2 %).",
        (
            "Timing 1 of the kernels: 3 samples of each of 2 calls, means of 7 runs, started "
            "2023-11-14 22:13:20 UTC."
        ),
        (
            "Timing 1 of the kernels in cores: own 1.00, other processes 0.01, hypervisor 0.00; "
            "load 1.23, clock 2596 MHz, governor unknown, threads 1 pinned to CPUs 0, 1."
        ),
        "In block 1 anchors drifted 3.1 %: anchor 0.995 to 1.026 ms.",
    ]


def test_a_timing_that_counts_for_want_of_another_says_so(database: Database) -> None:
    database.add_kernels(A, NAME, kernel_times("first", foreign_cpu=1.5))
    (note,) = (line for line in lines(explain(database, A, NAME)) if "was disturbed" in line)
    assert note.endswith("It counts only because no timing is undisturbed.")


def test_a_timing_that_was_not_recorded_says_so(database: Database) -> None:
    database.add_kernels(A, NAME, dataclasses.replace(kernel_times("first"), timings=()))
    assert (
        "Timing 0 of the kernels: 3 samples of each of 1 calls; when and how was not recorded."
    ) in lines(explain(database, A, NAME))


def test_a_network_that_failed_has_no_label_but_a_reason(database: Database) -> None:
    database.add_failure(A, NAME, BuildError("build", "net", "SIGSEGV", "killed"))
    explanation = explain(database, A, NAME)
    assert explanation.label_ms is None
    assert lines(explanation)[-1] == f"There is no label: build failed with SIGSEGV. {RETRY}"


def test_a_failure_after_some_rounds_is_told_with_how_to_go_on(database: Database) -> None:
    explained(database, finished(10.0), finished(10.6))
    database.add_failure(A, NAME, TimeLimitError("run", "net", 120.0))
    explanation = explain(database, A, NAME)
    assert "Failed: run with TimeLimitError." in lines(explanation)
    assert explanation.verdict.endswith(f"{RETRY} {MORE}")


def test_failed_kernels_are_told_and_stop_no_rounds(database: Database) -> None:
    explained(database, finished(10.0), finished(10.6))
    database.add_failure(A, NAME, TimeLimitError("kernels", "net", 120.0))
    explanation = explain(database, A, NAME)
    assert "Failed: kernels with TimeLimitError." in lines(explanation)
    assert RETRY not in explanation.verdict


def test_a_network_that_was_not_measured_says_so(database: Database) -> None:
    assert explain(database, A, NAME).verdict == (
        "There is no label: the network was not measured yet."
    )


def test_unknown_networks_and_platforms_are_refused(database: Database) -> None:
    with pytest.raises(DatabaseError, match="no network with the digest"):
        explain(database, "c" * 64, NAME)
    with pytest.raises(UnknownPlatformError, match=NAME):
        explain(database, A, "elsewhere/fake/x/t1/float32")
