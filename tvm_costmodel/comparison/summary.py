"""How good each view is over all networks of a platform, by family, and at what cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, median

from tvm_costmodel.comparison.records import MEASURED, Row, views
from tvm_costmodel.evaluation.metrics import Metrics, evaluate, kendall_tau, spearman


@dataclass(frozen=True, kw_only=True)
class ViewSummary:
    """How good a view is, and what an answer in it costs.

    Args:
        view: its key.
        metrics: against measured latencies; None where no network has both.
        time_ms: median wall time of an estimate; None where not taken.
        needs_build: whether a compiler has to list the kernels first; None for bounds.
        speed_up: median of the time that measuring a network took over that of its estimate.
        known: networks that its checkpoint was trained on; None where it does not tell.
    """

    view: str
    metrics: Metrics | None
    time_ms: float | None
    needs_build: bool | None
    speed_up: float | None
    known: int | None


@dataclass(frozen=True, kw_only=True)
class FamilyMetrics:
    """How good a view is on one family."""

    family: str
    view: str
    metrics: Metrics


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How alike two views rank networks: Kendall's tau-b and Spearman's rho; None: undefined."""

    first: str
    second: str
    networks: int
    kendall_tau: float | None
    spearman: float | None


@dataclass(frozen=True, kw_only=True)
class Noise:
    """Relative error of one round's label against another's, over the networks of a platform."""

    mean: float
    median: float
    p90: float


def summaries(rows: Sequence[Row]) -> list[ViewSummary]:
    """The summary of each view of ``rows``, which are of one platform."""
    return [_summary(view, rows) for view in views(list(rows))]


def by_family(rows: Sequence[Row]) -> list[FamilyMetrics]:
    """The metrics of each view on each family, families in alphabetical order."""
    found = []
    for family in sorted({row.family for row in rows}):
        members = [row for row in rows if row.family == family]
        for view in views(list(rows)):
            metrics = metrics_of(view, members)
            if metrics is not None:
                found.append(FamilyMetrics(family=family, view=view, metrics=metrics))
    return found


def agreements(rows: Sequence[Row]) -> list[Agreement]:
    """How alike any two views rank networks, the measured latency among them."""
    names = [MEASURED, *views(list(rows))]
    return [
        _agreement(first, second, rows)
        for i, first in enumerate(names)
        for second in names[i + 1 :]
    ]


def metrics_of(view: str, rows: Sequence[Row]) -> Metrics | None:
    """The metrics of a view against measured latencies; None where no network has both."""
    pairs = _pairs(view, MEASURED, rows)
    return evaluate([a for a, _ in pairs], [b for _, b in pairs]) if pairs else None


def label_noise(rows: Sequence[Row]) -> Noise | None:
    """The noise of the labels; None where no network was measured twice."""
    values = sorted(row.noise for row in rows if row.noise is not None)
    if not values:
        return None
    p90 = values[min(len(values) - 1, math.ceil(0.9 * len(values)) - 1)]
    return Noise(mean=mean(values), median=median(values), p90=p90)


def _summary(view: str, rows: Sequence[Row]) -> ViewSummary:
    asked = [(row, row.predictions[view]) for row in rows if view in row.predictions]
    times = [p.time_ms for _, p in asked if p.time_ms is not None]
    ratios = [
        1e3 * row.measuring_s / p.time_ms for row, p in asked if row.measuring_s and p.time_ms
    ]
    known = [p.is_known for _, p in asked if p.is_known is not None]
    return ViewSummary(
        view=view,
        metrics=metrics_of(view, rows),
        time_ms=median(times) if times else None,
        needs_build=any(p.needs_build for _, p in asked) if asked else None,
        speed_up=median(ratios) if ratios else None,
        known=sum(known) if known else None,
    )


def _agreement(first: str, second: str, rows: Sequence[Row]) -> Agreement:
    pairs = _pairs(first, second, rows)
    a, b = [x for x, _ in pairs], [y for _, y in pairs]
    return Agreement(
        first=first,
        second=second,
        networks=len(pairs),
        kendall_tau=kendall_tau(a, b) if pairs else None,
        spearman=spearman(a, b) if pairs else None,
    )


def _pairs(first: str, second: str, rows: Sequence[Row]) -> list[tuple[float, float]]:
    both = [(row.latency_ms(first), row.latency_ms(second)) for row in rows]
    return [(a, b) for a, b in both if a is not None and b is not None]
