"""An explanation in words, for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from measure.explain.explanation import (
    ExplainedBlock,
    ExplainedRound,
    ExplainedTiming,
    Explanation,
)
from measure.probes import median_slowdowns, quiet_count
from measure.trust import percent

_HEADINGS: tuple[str, ...] = (
    "round",
    "started (UTC)",
    "warm-up s",
    "runs/sample",
    "samples",
    "stopped by",
    "median ms",
    "its interval",
    "label ms",
    "block",
    "counts",
)


def lines(explanation: Explanation) -> list[str]:
    """The explanation as lines of text for a terminal."""
    versions = ", ".join(f"{key} {value}" for key, value in sorted(explanation.versions.items()))
    result = [
        f"network   {explanation.name} ({explanation.family}), {explanation.network}",
        f"platform  {explanation.platform}",
        "          {cpu} ({cpu_revision}), {cores} cores, {os}".format_map(explanation.device),
        f"          {explanation.target}",
        f"          {versions}",
        f"protocol  {explanation.protocol}",
        "",
    ]
    if explanation.rounds:
        result += [*_table(explanation.rounds), ""]
        result += [sentence for entry in explanation.rounds for sentence in _notes(entry)]
    result += [sentence for entry in explanation.timings for sentence in _timing_notes(entry)]
    result += _block_notes(
        [entry.block for entry in explanation.rounds]
        + [entry.block for entry in explanation.timings]
    )
    if explanation.rounds:
        # Where there is no label they are the verdict.
        result += [f"Failed: {stage} with {error}." for stage, error in explanation.failures]
        result += _spreads(explanation)
    return [*result, explanation.verdict]


def _table(rounds: Sequence[ExplainedRound]) -> list[str]:
    """The rounds, one a line under a heading, in columns."""
    cells = [_HEADINGS]
    for entry in rounds:
        low, high = entry.median_interval_ms
        cells.append(
            (
                str(entry.number),
                _moment(entry.started_at),
                "-" if entry.warmup_s is None else f"{entry.warmup_s:.2f}",
                str(entry.inner_count),
                str(len(entry.samples)),
                entry.stop or "-",
                f"{entry.median_ms:.4g}",
                f"{low:.4g}..{high:.4g}",
                f"{entry.label_ms:.4g}",
                "-" if entry.block is None else str(entry.block.number),
                "yes" if entry.used else "no",
            )
        )
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]


def _notes(entry: ExplainedRound) -> list[str]:
    """What the table has no room for: calibration, conditions, and what was wrong."""
    result = [f"Round {entry.number} in cores: {_conditions(entry.conditions)}."]
    if entry.calibration is not None:
        tries = ", ".join(f"{number} in {s * 1e3:.3g} ms" for number, s in entry.calibration)
        result.append(f"Round {entry.number} was calibrated by its runs: {tries}.")
    probes = _probes(entry.conditions)
    if probes:
        result.append(f"Round {entry.number}: {probes}.")
    if entry.disturbance is not None:
        but = " It counts only because no round is undisturbed." if entry.used else ""
        result.append(f"Round {entry.number} was disturbed: {entry.disturbance}.{but}")
    if entry.unknown is not None:
        result.append(f"Round {entry.number} may have been disturbed: {entry.unknown}.")
    return result


def _timing_notes(entry: ExplainedTiming) -> list[str]:
    """When and how the kernels were timed, and what was wrong."""
    name = f"Timing {entry.attempt} of the kernels"
    took = f"{entry.samples} samples of each of {entry.calls} calls"
    if entry.timing is None:
        return [f"{name}: {took}; when and how was not recorded."]
    started = datetime.fromtimestamp(entry.timing.started_at, timezone.utc)
    block = "" if entry.block is None else f", in block {entry.block.number}"
    took = f"{took}, means of {entry.timing.inner_count} runs"
    result = [
        f"{name}: {took}, started {_moment(started)} UTC{block}.",
        f"{name} in cores: {_conditions(entry.timing.conditions)}.",
    ]
    probes = _probes(entry.timing.conditions)
    if probes:
        result.append(f"{name}: {probes}.")
    if entry.disturbance is not None:
        but = " It counts only because no timing is undisturbed." if entry.used else ""
        result.append(f"{name} was disturbed: {entry.disturbance}.{but}")
    return result


def _conditions(conditions: Mapping[str, Any]) -> str:
    def told(key: str, form: str) -> str:
        value = conditions.get(key)
        return "unknown" if value is None else form.format(value)

    cpus = conditions.get("cpus")
    pinned = f" pinned to CPUs {', '.join(map(str, cpus))}" if cpus else ""
    return (
        f"own {told('cpu_per_wall', '{:.2f}')}, other processes "
        f"{told('foreign_cpu', '{:.2f}')}, hypervisor {told('steal', '{:.2f}')}; load "
        f"{told('load_1m', '{:.2f}')}, clock {told('clock_mhz', '{:.0f} MHz')}, governor "
        f"{told('governor', '{}')}, threads {told('threads', '{}')}{pinned}"
    )


def _probes(conditions: Mapping[str, Any]) -> str:
    """What the probes said; empty without them."""
    counted, slowdowns = quiet_count(conditions), median_slowdowns(conditions)
    if counted is None or slowdowns is None:
        return ""
    quiet, samples = counted
    times = ", ".join(f"{name} {factor:.2f}" for name, factor in slowdowns.items())
    return (
        f"{quiet} of {samples} samples were taken while the device was quiet, in the median of all "
        f"its probes took {times} times their reference"
    )


def _moment(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S}"


def _block_notes(visited: Iterable[ExplainedBlock | None]) -> list[str]:
    """How the anchors of the blocks fared."""
    blocks = {block.number: block for block in visited if block is not None}
    result = []
    for number, block in sorted(blocks.items()):
        anchors = ", ".join(
            f"{anchor} {start:.4g} to {end:.4g} ms"
            for anchor, (start, end) in sorted(block.anchors.items())
        )
        if block.drift is None:
            result.append(f"The drift of block {number} is unknown: its anchors have no pair.")
        else:
            result.append(f"In block {number} anchors drifted {percent(block.drift)}: {anchors}.")
    return result


def _spreads(explanation: Explanation) -> list[str]:
    assert explanation.label_ms is not None
    assert explanation.within is not None
    count = sum(entry.used for entry in explanation.rounds)
    if explanation.between is None or explanation.noise is None:
        between = "With one round nothing is known of the spread between rounds."
        noise = ""
    else:
        between = f"The labels of {count} rounds lie {percent(explanation.between)} apart."
        noise = f", label noise {percent(explanation.noise)}"
    rounds = "1 round" if count == 1 else f"{count} rounds"
    return [
        f"Within a round the middle half of the samples spans {percent(explanation.within)}.",
        between,
        f"Label {explanation.label_ms:.4g} ms, from {rounds}{noise}.",
    ]
