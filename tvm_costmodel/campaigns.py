"""Measuring for people: networks from files, a progress bar, a summary."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path

import onnx
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

from measure.campaign import run_campaign
from measure.campaign.types import CampaignConfig, Event, NamedNetwork, Summary
from measure.database import Database
from measure.database.jobs import JobQueue
from measure.database.owner import current_owner
from measure.device import Platform
from relay_frontend.onnx import Shapes, bind_shapes, load_model
from tvm_costmodel.measurements import open_existing

# Characters; with it the line fits into a terminal of 80.
_DESCRIPTION = 24
_MANY_DISTURBED = 0.25
# From one line to the next where no terminal shows a bar.
_LOG_S = 60.0
_STEPS = ("built", "round", "kernels")
_ENDS = ("skipped", "unreadable", "done", "failed")
# Of these people get a line; the others only move the bar.
_TOLD = (
    "unreadable",
    "failed",
    "drifted",
    "worker-lost",
    "device-lost",
    "lease-lost",
    "quarantined",
)


@dataclass(frozen=True, kw_only=True)
class LocalNetwork:
    """A network that the user named; see :class:`measure.campaign.types.NamedNetwork`."""

    name: str
    family: str
    seed: int
    model: onnx.ModelProto


def file_networks(paths: Iterable[Path], shapes: Shapes | None = None) -> Iterator[LocalNetwork]:
    """The networks of ONNX files, under the names of the files; weights are drawn from seed 0."""
    for path in paths:
        model = bind_shapes(load_model(path), shapes)
        yield LocalNetwork(name=path.stem, family="file", seed=0, model=model)


class Meter:
    """How far a campaign is, as far as its events tell: what it skips is no work done.

    Args:
        networks: how many are to be measured, as far as is known.
        toolchains: on how many toolchains each.
        config: of the campaign.
    """

    def __init__(self, networks: int, toolchains: int, config: CampaignConfig) -> None:
        self._toolchains = toolchains
        self._budget_s = config.budget_s
        self._steps = 1 + config.rounds + int(config.kernels)  # build, rounds, kernels
        self._done: Counter[tuple[str, str]] = Counter()
        self.total = networks * toolchains * self._steps
        self.completed = 0
        self.rounds = 0

    def observe(self, event: Event) -> None:
        """Count one event."""
        pair = event.network, event.platform
        if event.kind in _STEPS:
            self._done[pair] += 1
            self.completed += 1
            self.rounds += event.kind == "round"
            self.total += self._done[pair] > self._steps  # a disturbed round, taken again
        elif event.kind in _ENDS:
            pairs = 1 if event.platform else self._toolchains
            self.total -= max(0, pairs * self._steps - self._done.pop(pair, 0))
        self.total = max(self.total, self.completed)

    def rounds_per_minute(self, elapsed_s: float) -> float:
        """Timing rounds in a minute, over the whole campaign so far."""
        return 60 * self.rounds / elapsed_s if elapsed_s > 0 else 0.0

    def left_s(self, elapsed_s: float) -> float | None:
        """Seconds until all is done or the budget is spent; None before anything is done."""
        if self.completed == 0:
            return None
        left = max(0, self.total - self.completed) * elapsed_s / self.completed
        return left if self._budget_s is None else max(0.0, min(left, self._budget_s - elapsed_s))

    def pace(self, elapsed_s: float) -> str:
        """Rate and time left, for people."""
        left_s = self.left_s(elapsed_s)
        left = "-:--:--" if left_s is None else _clock(left_s)
        return f"{self.rounds_per_minute(elapsed_s):.1f} rounds/min, {left} left"


class _PaceColumn(ProgressColumn):
    """Rate and time left, as the meter of the task has them."""

    def render(self, task: Task) -> Text:
        meter: Meter = task.fields["meter"]
        return Text(meter.pace(task.elapsed or 0.0))


class ProgressLog:
    """How far a campaign is as a line a minute, for files and pipes, which show no bar.

    Args:
        meter: which has counted an event before it comes here.
        tell: takes each line.
        clock: gives seconds.
    """

    def __init__(
        self,
        meter: Meter,
        tell: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._meter = meter
        self._tell = tell
        self._clock = clock
        self._started_s = self._told_s = clock()

    def observe(self, event: Event) -> None:
        """Tell how far the campaign is, where nothing was told for a minute."""
        now_s = self._clock()
        if now_s < self._told_s + _LOG_S:
            return
        self._told_s = now_s
        meter = self._meter
        self._tell(
            f"{meter.completed} of {meter.total} steps, {meter.pace(now_s - self._started_s)}: "
            f"{event.kind} {event.network}"
        )


def queued_jobs(location: str, toolchains: Sequence[str]) -> int:
    """How many jobs of platforms with these toolchains wait in the database at ``location``.

    Raises:
        InputError: there is no such database.
    """
    with open_existing(location) as database:
        platforms = [
            name for name in database.platforms() if Platform.parse(name).toolchain in toolchains
        ]
        return JobQueue(database, current_owner()).counts(platforms)["queued"]


def run_with_progress(
    networks: Iterable[NamedNetwork] | None,
    toolchains: Sequence[str],
    location: str,
    config: CampaignConfig,
    total: int,
    watch: Callable[[Event], None] = lambda _event: None,
) -> Summary:
    """Run a campaign into the database at ``location`` and show how it goes on standard error.

    Args:
        networks: what to measure; None for whatever is queued there.
        toolchains: with what.
        location: path or URL of the database.
        config: how.
        total: networks on each toolchain, for the bar; of what is queued, jobs in all.
        watch: called with every event too.
    """
    console = Console(stderr=True)
    tell = partial(console.print, markup=False, highlight=False, soft_wrap=True)
    columns = (
        TextColumn(f"{{task.description:<{_DESCRIPTION}}}", markup=False),
        BarColumn(bar_width=10),
        MofNCompleteColumn(),
        _PaceColumn(),
    )
    meter = Meter(total, 1 if networks is None else len(toolchains), config)
    log = None if console.is_terminal else ProgressLog(meter, tell)
    with Database.open(location) as database, Progress(*columns, console=console) as bar:
        task = bar.add_task("starting", total=meter.total, meter=meter)

        def show(event: Event) -> None:
            meter.observe(event)
            bar.update(
                task,
                completed=meter.completed,
                total=meter.total,
                description=f"{event.kind} {event.network}"[:_DESCRIPTION],
            )
            if log is not None:
                log.observe(event)
            if event.kind in _TOLD:
                tell(_sentence(event))
            watch(event)

        summary = run_campaign(networks, toolchains, database, config=config, progress=show)
        bar.update(task, description="out of budget" if summary.out_of_time else "done")
    for line in summary_lines(summary):
        tell(line)
    return summary


def is_complete(summary: Summary) -> bool:
    """Whether nothing went wrong in a campaign; being out of budget is nothing wrong."""
    return not (summary.failures or summary.unreadable or summary.lost or summary.quarantined)


def summary_lines(summary: Summary) -> Iterator[str]:
    """What a campaign did, what failed and why, and how good its labels are."""
    yield (
        f"{summary.done} measured, {summary.skipped} known before; {summary.rounds} rounds in "
        f"{_clock(summary.duration_s)}, {summary.disturbed} of them disturbed"
    )
    if summary.disturbed > _MANY_DISTURBED * summary.rounds:
        yield (
            "many rounds were disturbed; `tvm-costmodel db calibrate` finds whether the networks "
            "of a platform mind"
        )
    for (stage, cause), count in sorted(summary.failures.items()):
        yield f"{count} failed to {stage}: {cause}"
    if summary.unreadable:
        yield f"{summary.unreadable} unreadable"
    if summary.lost:
        yield f"{summary.lost} lost with a worker, a device or a lease (run again to try again)"
    if summary.drifted_blocks:
        yield f"blocks measured again, since their anchors drifted: {summary.drifted_blocks}"
    for device, reason in sorted(summary.quarantined.items()):
        yield f"device {device} is quarantined: {reason}"
    for platform, labels in sorted(summary.labels.items()):
        noise = "" if labels.noise is None else f", label noise {100 * labels.noise:.2g} % (median)"
        yield f"{labels.trusted} of {labels.networks} labels trusted{noise} on {platform}"
    if summary.out_of_time:
        yield "out of budget (run again to go on)"


def _sentence(event: Event) -> str:
    subject = " on ".join(part for part in (event.network, event.platform) if part)
    return ": ".join(part for part in (event.kind, subject, event.detail) if part)


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
