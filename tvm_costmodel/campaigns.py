"""Measuring for people: networks from files, a progress bar, a summary."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from measure.campaign import run_campaign
from measure.campaign_types import CampaignConfig, Event, NamedNetwork, Summary
from measure.database import Database
from relay_frontend.onnx import Shapes, bind_shapes, load_model


@dataclass(frozen=True, kw_only=True)
class LocalNetwork:
    """A network that the user named; see :class:`measure.campaign_types.NamedNetwork`."""

    name: str
    family: str
    seed: int
    model: onnx.ModelProto


def file_networks(paths: Iterable[Path], shapes: Shapes | None = None) -> Iterator[LocalNetwork]:
    """The networks of ONNX files, under the names of the files; weights are drawn from seed 0."""
    for path in paths:
        model = bind_shapes(load_model(path), shapes)
        yield LocalNetwork(name=path.stem, family="file", seed=0, model=model)


def run_with_progress(
    networks: Iterable[NamedNetwork],
    toolchains: Sequence[str],
    location: str,
    config: CampaignConfig,
    total: int,
) -> Summary:
    """Run a campaign into the database at ``location`` and show how it goes on standard error.

    Args:
        networks: what to measure.
        toolchains: with what.
        location: path or URL of the database.
        config: how.
        total: number of networks, for the bar.
    """
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description:<34}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    steps = 1 + config.rounds + int(config.kernels)  # build, rounds, kernels
    with Database.open(location) as database, Progress(*columns, console=console) as bar:
        task = bar.add_task("starting", total=total * len(toolchains) * steps)

        def show(event: Event) -> None:
            weight = steps if event.kind == "skipped" else 1
            bar.update(task, advance=weight, description=f"{event.kind} {event.network}"[:34])
            if event.kind in ("failed", "unreadable", "worker-lost"):
                where = f" on {event.platform}" if event.platform else ""
                console.print(f"{event.network}{where}: {event.detail}", markup=False)

        summary = run_campaign(networks, toolchains, database, config=config, progress=show)
        bar.update(task, completed=total * len(toolchains) * steps, description="done")
    console.print(_sentence(summary), markup=False, highlight=False)
    return summary


def _sentence(summary: Summary) -> str:
    parts = [f"{summary.done} measured", f"{summary.skipped} known before"]
    parts += [f"{count} failed to {stage}" for stage, count in summary.failed.items()]
    if summary.unreadable:
        parts.append(f"{summary.unreadable} unreadable")
    if summary.worker_errors:
        parts.append(f"{summary.worker_errors} lost with a worker (run again to try again)")
    if summary.out_of_time:
        parts.append("out of budget (run again to go on)")
    return f"{', '.join(parts)}; {summary.rounds} rounds in {summary.duration_s:.0f} s"
