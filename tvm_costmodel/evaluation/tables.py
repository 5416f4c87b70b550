"""The tables of the paper from finished runs, as Markdown.

One data set, one protocol, some predictors; the layout follows from these:

- accuracies: Kendall's tau of each predictor by split (tables 3 and 4);
- variants of one predictor: errors of each, and what changes against the first (tables 5 and 6);
- several platforms: MAPE and Spearman's correlation by platform;
- else MAPE and Acc(10 %) by family (table 1 in domain, table 2 with an average over families).

Equal runs give an equal text.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence

from relay_frontend.errors import InputError
from tvm_costmodel.evaluation.protocols import LeaveOneFamilyOut
from tvm_costmodel.evaluation.rows import Run
from tvm_costmodel.evaluation.scores import ALL, Grouping, Metric, Score, average, scores
from tvm_costmodel.evaluation.table_notes import notes

AVERAGE = "average"

_TITLES: dict[Metric, str] = {
    "mape": "MAPE %",
    "acc_10": "Acc(10 %) %",
    "acc_5": "Acc(5 %) %",
    "kendall_tau": "Kendall's tau",
    "spearman": "Spearman's rho",
}
_DIGITS: dict[Metric, int] = {
    "mape": 2,
    "acc_10": 2,
    "acc_5": 2,
    "kendall_tau": 3,
    "spearman": 3,
}

Row = Sequence[str]


def table(runs: Sequence[Run]) -> str:
    """The table of ``runs`` with its conditions.

    Args:
        runs: of one data set and one protocol; predictors stand in the order of their first runs.

    Raises:
        InputError: there are none, or they are of several data sets or protocols.
    """
    kinds = {(run.key.data_digest, run.key.protocol) for run in runs}
    if len(kinds) != 1:
        raise InputError(
            f"a table is about one data set and one protocol, and these {len(runs)} runs are of "
            f"{len(kinds)}"
        )
    by_label: dict[str, list[Run]] = {}
    for run in runs:
        by_label.setdefault(run.key.label, []).append(run)
    lines = [*_layout(runs)(by_label), "", *notes(runs)]
    return "\n".join(lines) + "\n"


def _layout(runs: Sequence[Run]) -> Callable[[Mapping[str, list[Run]]], Iterator[str]]:
    labels = {run.key.label for run in runs}
    if runs[0].key.task == "accuracy":
        return _accuracies
    if len(labels) > 1 and len({run.key.predictor for run in runs}) == 1:
        return _variants
    if len({platform for run in runs for platform in run.predictions.platform.tolist()}) > 1:
        return _platforms
    return _families


def _families(by_label: Mapping[str, list[Run]]) -> Iterator[str]:
    """Families as rows, all networks together first; averaged over families out of family."""
    found = _scores(by_label, "family")
    if _leaves_families_out(by_label):
        found = _averaged(found)
    yield from _grouped(found, ("mape", "acc_10"), "family")


def _platforms(by_label: Mapping[str, list[Run]]) -> Iterator[str]:
    """Platforms as rows, and their average."""
    found = _averaged(_scores(by_label, "platform"))
    yield from _grouped(found, ("mape", "spearman"), "platform")


def _accuracies(by_label: Mapping[str, list[Run]]) -> Iterator[str]:
    """Predictors as rows, splits as columns."""
    found = _scores(by_label, "split")
    splits = [name for name in _group_names(found) if name != ALL]
    yield from _markdown(
        ["predictor", *splits],
        (
            [label, *(_cell(entries.get(split), "kendall_tau") for split in splits)]
            for label, entries in found.items()
        ),
    )


def _variants(by_label: Mapping[str, list[Run]]) -> Iterator[str]:
    """Variants as rows, with what changes against the first; over families an average."""
    metrics: tuple[Metric, ...] = ("mape", "acc_10", "acc_5")
    found, whole = _scores(by_label, "family"), ALL
    if _leaves_families_out(by_label):
        found, whole = _averaged(found), AVERAGE
    wholes = {label: entries.get(whole) for label, entries in found.items()}
    first = next(iter(wholes.values()))
    rows = []
    for number, (label, score) in enumerate(wholes.items(), start=1):
        cells = [_cell(score, metric) + _change(score, first, metric) for metric in metrics]
        rows.append([str(number), label, *cells])
    yield from _markdown(["row", "predictor", *(_TITLES[metric] for metric in metrics)], rows)


def _change(score: Score | None, first: Score | None, metric: Metric) -> str:
    if score is None or first is None or score is first:
        return ""
    return f" ({score.mean(metric) - first.mean(metric):+.{_DIGITS[metric]}f})"


def _leaves_families_out(by_label: Mapping[str, list[Run]]) -> bool:
    protocol = next(iter(by_label.values()))[0].key.protocol
    return protocol.partition("[")[0] == LeaveOneFamilyOut.name


def _scores(by_label: Mapping[str, list[Run]], grouping: Grouping) -> dict[str, dict[str, Score]]:
    """The scores of each predictor, where it was tested on all that another one was."""
    among = [run for runs in by_label.values() for run in runs]
    return {label: scores(runs, grouping, among) for label, runs in by_label.items()}


def _averaged(found: Mapping[str, dict[str, Score]]) -> dict[str, dict[str, Score]]:
    """With the average over all groups, each of which counts once, in the place of ``all``.

    Predictors that have not been tested on all groups have none.
    """
    parts = {
        label: {name: score for name, score in entries.items() if name != ALL}
        for label, entries in found.items()
    }
    groups = _group_names(parts)
    return {
        label: {**entries, AVERAGE: average(entries.values())}
        if entries and list(entries) == groups
        else entries
        for label, entries in parts.items()
    }


def _group_names(found: Mapping[str, Mapping[str, Score]]) -> list[str]:
    """All groups by name, but for those of the special names, which stand first and last."""
    names = {name for entries in found.values() for name in entries}
    return [
        *(name for name in (ALL,) if name in names),
        *sorted(names - {ALL, AVERAGE}),
        *(name for name in (AVERAGE,) if name in names),
    ]


def _grouped(
    found: Mapping[str, Mapping[str, Score]], metrics: Sequence[Metric], title: str
) -> Iterator[str]:
    """A table for each metric: groups as rows, predictors as columns, label noise beside."""
    groups = _group_names(found)
    sizes = {name: score for entries in found.values() for name, score in entries.items()}
    noisy = any(score.noise is not None for score in sizes.values())
    for number, metric in enumerate(metrics):
        if number:
            yield ""
        rows = [
            [
                group,
                f"{sizes[group].num_networks:,}",
                *(_cell(entries.get(group), metric) for entries in found.values()),
                *([_noise(sizes[group])] if noisy else []),
            ]
            for group in groups
        ]
        header = [f"{_TITLES[metric]}, {title}", "tested", *found]
        yield from _markdown([*header, *(["label noise %"] if noisy else [])], rows)


def _cell(score: Score | None, metric: Metric) -> str:
    """Mean, deviation and best; a mean alone for one run."""
    if score is None or math.isnan(score.mean(metric)):
        return "-"
    digits = _DIGITS[metric]
    mean, deviation = score.mean(metric), score.deviation(metric)
    if deviation is None:
        return f"{mean:.{digits}f}"
    return f"{mean:.{digits}f} ± {deviation:.{digits}f} / {score.best[metric]:.{digits}f}"


def _noise(score: Score) -> str:
    return "-" if score.noise is None else f"{score.noise[0]:.2f} / {score.noise[1]:.2f}"


def _markdown(header: Row, rows: Sequence[Row] | Iterator[Row]) -> Iterator[str]:
    yield f"| {' | '.join(header)} |"
    yield f"|{'---|' * len(header)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"
