"""The data of a report as plain JSON values: the same comparison gives the same data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from statistics import median
from typing import Any

from tvm_costmodel.comparison.disagreement import (
    Disagreement,
    KindTotal,
    disagreeing_pair,
    disagreements,
    kind_totals,
)
from tvm_costmodel.comparison.parts import largest
from tvm_costmodel.comparison.records import Comparison, Part, Row, view_name, views
from tvm_costmodel.comparison.summary import (
    Agreement,
    FamilyMetrics,
    ViewSummary,
    agreements,
    by_family,
    label_noise,
    summaries,
)
from tvm_costmodel.evaluation.metrics import Metrics

DIGITS = 4  # significant ones: finer than any label is
_PARTS, _NETWORKS, _OF_A_FAMILY, _KINDS = 12, 12, 2, 15


def report_data(comparison: Comparison) -> dict[str, Any]:
    """All that a report shows, platform by platform."""
    return {
        "platforms": [
            _platform(name, comparison.on(name), comparison.notes.get(name, ()))
            for name in comparison.platforms()
        ]
    }


def _platform(name: str, rows: Sequence[Row], notes: Sequence[str]) -> dict[str, Any]:
    names = views(list(rows))
    predictors = [view for view in names if any(view in row.predictions for row in rows)]
    found = summaries(rows)
    noise = label_noise(rows)
    pair = disagreeing_pair(rows)
    told = [
        view for view in names if any(view in part.latency_ms for r in rows for part in r.parts)
    ]
    return {
        "platform": name,
        "views": [
            {"view": view, "name": view_name(view), "predicts": view in predictors}
            for view in names
        ],
        "networks": len(rows),
        "measured": sum(row.measured_ms is not None for row in rows),
        "noise": None if noise is None else _rounded(asdict(noise)),
        "measuring_ms": _measuring_ms(rows),
        "notes": [*notes, *_known_notes(found, len(rows))],
        "summary": [_summary(summary) for summary in found],
        "families": [_family(metrics) for metrics in by_family(rows)],
        "agreements": [_agreement(agreement) for agreement in agreements(rows)],
        "rows": [_row(row, names) for row in rows],
        "part_views": told,
        "parts": [[_part(part, told) for part in largest(row.parts, _PARTS)] for row in rows],
        "pair": pair,
        "disagreements": []
        if pair is None
        else [_disagreement(d, told) for d in disagreements(rows, pair, _NETWORKS, _OF_A_FAMILY)],
        "kinds": [] if pair is None else [_kind(k) for k in kind_totals(rows, pair, _KINDS)],
    }


def _measuring_ms(rows: Sequence[Row]) -> float | None:
    seconds = [row.measuring_s for row in rows if row.measuring_s]
    return _rounded(1e3 * median(seconds)) if seconds else None


def _known_notes(found: Sequence[ViewSummary], networks: int) -> list[str]:
    """What makes an error look smaller than it is."""
    return [
        f"{view_name(s.view)} was trained on {s.known:,} of the {networks:,} networks: its errors "
        "here are not those on new networks."
        for s in found
        if s.known
    ]


def _row(row: Row, names: Sequence[str]) -> dict[str, Any]:
    return {
        "network": row.network,
        "family": row.family,
        "operators": row.operators,
        "measured": _rounded(row.measured_ms),
        "noise": _rounded(row.noise),
        **{view: _rounded(row.latency_ms(view)) for view in names},
    }


def _part(part: Part, told: Sequence[str]) -> list[Any]:
    """Kind, shape, calls, and the latency in each view that tells."""
    shape = "×".join(map(str, part.shape))
    return [part.kind, shape, part.calls, *(_rounded(part.latency_ms.get(v)) for v in told)]


def _metrics(metrics: Metrics | None) -> dict[str, Any]:
    if metrics is None:
        return {"networks": 0, "mape": None, "acc_10": None, "kendall_tau": None, "spearman": None}
    return {
        "networks": metrics.num_networks,
        "mape": _rounded(metrics.mape),
        "acc_10": _rounded(metrics.acc_10),
        "kendall_tau": _rounded(metrics.kendall_tau),
        "spearman": _rounded(metrics.spearman),
    }


def _summary(summary: ViewSummary) -> dict[str, Any]:
    return {
        "view": summary.view,
        **_metrics(summary.metrics),
        "time_ms": _rounded(summary.time_ms),
        "needs_build": summary.needs_build,
        "speed_up": _rounded(summary.speed_up),
        "known": summary.known,
    }


def _family(found: FamilyMetrics) -> dict[str, Any]:
    return {"family": found.family, "view": found.view, **_metrics(found.metrics)}


def _agreement(found: Agreement) -> dict[str, Any]:
    values: dict[str, Any] = _rounded(asdict(found))
    return values


def _disagreement(found: Disagreement, told: Sequence[str]) -> dict[str, Any]:
    return {
        "row": found.row,
        "ratio": _rounded(found.ratio),
        "closer": found.closer,
        "parts": [_part(part, told) for part in found.parts],
    }


def _kind(total: KindTotal) -> dict[str, Any]:
    return {
        "kind": total.kind,
        "calls": total.calls,
        **{view: _rounded(ms) for view, ms in sorted(total.latency_ms.items())},
    }


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(entry) for key, entry in value.items()}
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value
