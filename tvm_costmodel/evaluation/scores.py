"""Metrics of repeated runs, group by group: mean, deviation and best, as the paper gives them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from tvm_costmodel.evaluation.metrics import Metrics, evaluate
from tvm_costmodel.evaluation.rows import TEST, Run

FloatArray = npt.NDArray[np.float64]
Grouping = Literal["family", "platform", "split"]
Metric = Literal["mape", "acc_10", "acc_5", "kendall_tau", "spearman"]

ALL = "all"
METRICS: tuple[Metric, ...] = ("mape", "acc_10", "acc_5", "kendall_tau", "spearman")


@dataclass(frozen=True, eq=False, kw_only=True)
class Score:
    """How good one predictor is on one group of networks.

    Args:
        num_networks: size of the group.
        values: by metric, one for each seed; NaN where it is undefined.
        best: by metric, of the run that has the lowest MAPE (for rank correlations, the highest
            one of its own).
        noise: median and mean relative error in % of a label of the group; None where unknown.
    """

    num_networks: int
    values: Mapping[Metric, FloatArray]
    best: Mapping[Metric, float]
    noise: tuple[float, float] | None

    @property
    def num_runs(self) -> int:
        """Repetitions with different seeds."""
        return len(self.values["mape"])

    def mean(self, metric: Metric) -> float:
        """Over the runs; NaN where the metric is undefined in one."""
        return float(self.values[metric].mean())

    def deviation(self, metric: Metric) -> float | None:
        """Standard deviation of single runs (with n - 1); None for one run."""
        return float(self.values[metric].std(ddof=1)) if self.num_runs > 1 else None


def scores(
    runs: Sequence[Run], grouping: Grouping, among: Sequence[Run] | None = None
) -> dict[str, Score]:
    """The scores of one predictor by group, and those of all networks together as ``all``.

    Args:
        runs: of one predictor on one data set by one protocol. A seed whose splits are not all
            there is left out.
        grouping: what makes a group.
        among: the runs of all predictors that it is compared with, itself included; by default its
            own. A group of which they test networks that it was not tested on is left out.

    Returns:
        ``all`` first, then the groups by name.
    """
    complete = _complete_seeds(runs)
    if not complete:
        return {}
    columns = [_Columns.of(group, grouping) for group in complete]
    names = sorted(set(columns[0].group.tolist()))
    found = {
        ALL: _score(columns, None),
        **{name: _score(columns, name) for name in names},
    }
    sizes = _sizes(runs if among is None else among, grouping)
    return {name: score for name, score in found.items() if score.num_networks == sizes[name]}


def average(parts: Iterable[Score]) -> Score:
    """The mean of the scores of several groups, each of which counts once.

    As in the paper's table 2, the best is the mean of the groups' bests, each of its own run.
    """
    groups = list(parts)
    num_runs = min(group.num_runs for group in groups)
    noises = [group.noise for group in groups if group.noise is not None]
    medians, means = zip(*noises, strict=True) if noises else ((), ())
    return Score(
        num_networks=sum(group.num_networks for group in groups),
        values={
            metric: np.mean([group.values[metric][:num_runs] for group in groups], axis=0)
            for metric in METRICS
        },
        best={
            metric: float(np.mean([group.best[metric] for group in groups])) for metric in METRICS
        },
        noise=(float(np.mean(medians)), float(np.mean(means))) if noises else None,
    )


@dataclass(frozen=True, eq=False)
class _Columns:
    """The tested networks of all splits of one seed."""

    group: npt.NDArray[np.str_]
    target: FloatArray
    prediction: FloatArray
    noise: FloatArray

    @classmethod
    def of(cls, runs: Sequence[Run], grouping: Grouping) -> _Columns:
        parts: list[tuple[npt.NDArray[np.str_], FloatArray, FloatArray, FloatArray]] = []
        for run in runs:
            rows = run.predictions
            tested = rows.part == TEST
            if grouping == "split":
                group = np.full(int(tested.sum()), run.key.split)
            else:
                group = (rows.family if grouping == "family" else rows.platform)[tested]
            parts.append((group, rows.target[tested], rows.prediction[tested], rows.noise[tested]))
        group, target, prediction, noise = (
            np.concatenate(column) for column in zip(*parts, strict=True)
        )
        return cls(group, target, prediction, noise)

    def metrics(self, name: str | None) -> Metrics:
        chosen = self.chosen(name)
        return evaluate(self.prediction[chosen], self.target[chosen])

    def chosen(self, name: str | None) -> npt.NDArray[np.bool_]:
        return np.ones(len(self.group), dtype=bool) if name is None else self.group == name


def _complete_seeds(runs: Sequence[Run]) -> list[list[Run]]:
    splits = {run.key.split for run in runs}
    by_seed: dict[int, list[Run]] = {}
    for run in runs:
        by_seed.setdefault(run.key.seed, []).append(run)
    return [
        sorted(group, key=lambda run: run.key.split)
        for _, group in sorted(by_seed.items())
        if {run.key.split for run in group} == splits
    ]


def _sizes(runs: Sequence[Run], grouping: Grouping) -> dict[str, int]:
    """How many networks of each group the splits of ``runs`` test."""
    one_of_each_split = {run.key.split: run for run in runs}.values()
    groups = _Columns.of(list(one_of_each_split), grouping).group.tolist()
    return {ALL: len(groups), **Counter(groups)}


def _score(columns: Sequence[_Columns], name: str | None) -> Score:
    found = [entry.metrics(name) for entry in columns]
    values = {
        metric: np.array([getattr(entry, metric) for entry in found], dtype=np.float64)
        for metric in METRICS
    }
    lowest = int(np.argmin(values["mape"]))
    best = {metric: float(values[metric][lowest]) for metric in METRICS}
    best |= {"kendall_tau": _highest(values["kendall_tau"])}
    best |= {"spearman": _highest(values["spearman"])}
    noise = columns[0].noise[columns[0].chosen(name)]
    known = 100 * noise[np.isfinite(noise)]
    return Score(
        num_networks=found[0].num_networks,
        values=values,
        best=best,
        noise=(float(np.median(known)), float(known.mean())) if len(known) else None,
    )


def _highest(values: FloatArray) -> float:
    known = values[np.isfinite(values)]
    return float(known.max()) if len(known) else float("nan")
