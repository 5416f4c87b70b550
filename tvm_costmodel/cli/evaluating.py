"""``evaluate``: predictors side by side, by the paper's protocols."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from relay_frontend.errors import InputError
from tvm_costmodel.cli.options import DEFAULT_DATABASE, FormatOption, note, parse_names
from tvm_costmodel.rendering import Format, print_rows
from tvm_costmodel.specs import parse_specs

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from tvm_costmodel.datasets import Dataset
    from tvm_costmodel.evaluation.rows import Run
    from tvm_costmodel.evaluation.runs import RunEvent
    from tvm_costmodel.evaluation.scores import Score

_COMPARED = "flops,flops-mac,nar-former-v2"


def evaluate(
    data: Annotated[
        str,
        typer.Option(
            help="Measurement database or Parquet directory, or nnlqp:PATH, nasbench101:PATH, "
            "nasbench201:PATH, help:PATH, cells:PATH."
        ),
    ] = DEFAULT_DATABASE,
    platform: Annotated[
        str | None,
        typer.Option(help="Platforms by commas, or parts that only one has; by default all."),
    ] = None,
    protocol: Annotated[
        str,
        typer.Option(
            help="in-domain, leave-one-family-out, unseen-platform or fixed, with options in "
            "brackets: in-domain[folds=5]."
        ),
    ] = "in-domain",
    predictors: Annotated[
        str,
        typer.Option(
            help="Names by commas, with options in brackets: nar-former-v2[preset=paper,width=128]."
        ),
    ] = _COMPARED,
    seeds: Annotated[int, typer.Option(min=1, help="Repetitions, with the seeds from 0.")] = 1,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Passes over the training data, where any are made.")
    ] = None,
    output: Annotated[
        Path, typer.Option(help="Directory of finished runs, which are not done again.")
    ] = Path("evaluation"),
    table: Annotated[
        Path | None, typer.Option(help="Write the paper's table as Markdown; - prints it.")
    ] = None,
    format_: FormatOption = Format.table,
) -> None:
    """Fit and test predictors; safe to kill, and to run again to go on."""
    from tvm_costmodel.evaluation.candidates import candidate  # noqa: PLC0415 (scipy, pyarrow)
    from tvm_costmodel.evaluation.protocols import parse_protocol  # noqa: PLC0415
    from tvm_costmodel.evaluation.rows import RunStore  # noqa: PLC0415
    from tvm_costmodel.evaluation.runs import evaluate as run_all  # noqa: PLC0415
    from tvm_costmodel.evaluation.tables import table as paper_table  # noqa: PLC0415

    specs = parse_specs(predictors)
    if not specs:
        raise InputError("nothing to evaluate: name predictors, --predictors flops,nar-former-v2")
    division = parse_protocol(protocol)
    with _bar() as bar:
        dataset = _load(data, platform, bar)
        candidates = [candidate(spec, dataset.task, epochs) for spec in specs]
        meter = Meter(bar)
        runs = run_all(dataset, division, candidates, range(seeds), RunStore(output), meter.update)
    if runs and table is not None:
        _write(table, paper_table(runs))
    if table is None or str(table) != "-":
        print_rows(rows_of(runs), format_, title=f"{dataset.name}, {protocol}")
    if meter.failed:
        note(f"{meter.failed} runs failed; they are tried again the next time")
        raise typer.Exit(1)


class Meter:
    """Shows how far an evaluation is: runs, and the error of the one that is being fitted.

    Args:
        bar: to draw on.
    """

    def __init__(self, bar: Progress) -> None:
        self.failed = 0
        self._bar = bar
        self._runs: TaskID = bar.add_task("runs", total=None)
        self._fit: TaskID | None = None

    def update(self, event: RunEvent) -> None:
        """Take notice of an event."""
        if event.state == "begun":
            self._fit = self._bar.add_task(_title(event), total=None)
        elif event.state == "fitting" and event.fit is not None and self._fit is not None:
            watched = event.fit.validation
            error = "" if watched is None else f" MAPE {watched:.2f} %"
            self._bar.update(
                self._fit,
                completed=event.fit.step,
                total=event.fit.steps,
                description=_title(event) + error,
            )
        elif event.state in {"done", "known", "failed"}:
            if self._fit is not None:
                self._bar.remove_task(self._fit)
            self._fit = None
            self._bar.update(self._runs, completed=event.number, total=event.total)
            self._tell(event)

    def _tell(self, event: RunEvent) -> None:
        if event.state == "failed":
            self.failed += 1
            note(f"{_title(event)} failed: {event.error}")
        elif event.state == "done" and event.run is not None:
            score = _tested(event.run)
            note(
                f"{_title(event)}: MAPE {score.mean('mape'):.2f} %, Acc(10 %) "
                f"{score.mean('acc_10'):.1f} %, Kendall's tau {score.mean('kendall_tau'):.3f}"
            )


def rows_of(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """A row for each predictor and family, and for all networks together.

    There is none where the predictor was not tested on all that another one was.
    """
    from tvm_costmodel.evaluation.scores import scores  # noqa: PLC0415 (scipy)

    labels = dict.fromkeys(run.key.label for run in runs)
    grouping = "split" if runs and runs[0].key.task == "accuracy" else "family"
    return [
        _row(label, name, score)
        for label in labels
        for name, score in scores(
            [run for run in runs if run.key.label == label],
            grouping,  # type: ignore[arg-type] # one of two literals
            runs,
        ).items()
    ]


def _row(label: str, group: str, score: Score) -> dict[str, Any]:
    def known(value: float | None) -> float | None:
        return None if value is None or math.isnan(value) else value

    return {
        "predictor": label,
        "tested on": group,
        "networks": score.num_networks,
        "runs": score.num_runs,
        "MAPE %": known(score.mean("mape")),
        "sd": known(score.deviation("mape")),
        "best": known(score.best["mape"]),
        "Acc(10%)": known(score.mean("acc_10")),
        "Acc(5%)": known(score.mean("acc_5")),
        "Kendall's tau": known(score.mean("kendall_tau")),
        "Spearman's rho": known(score.mean("spearman")),
        "label noise %": None if score.noise is None else score.noise[0],
    }


def _tested(run: Run) -> Score:
    from tvm_costmodel.evaluation.scores import ALL, scores  # noqa: PLC0415 (scipy)

    return scores([run], "split")[ALL]


def _title(event: RunEvent) -> str:
    return f"{event.key.label}, {event.key.split}, seed {event.key.seed}"


def _load(data: str, platform: str | None, bar: Progress) -> Dataset[Any]:
    from tvm_costmodel.datasets import open_dataset  # noqa: PLC0415

    task = bar.add_task(f"reading {data}", total=None)
    chosen = None if platform is None else parse_names(platform)
    dataset = open_dataset(
        data, chosen, lambda done, total: bar.update(task, completed=done, total=total)
    )
    bar.remove_task(task)
    return dataset


@contextmanager
def _bar() -> Iterator[Progress]:
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn  # noqa: PLC0415

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        yield bar


def _write(path: Path, text: str) -> None:
    if str(path) == "-":
        print(text, end="")
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    note(f"written: {path}")
