"""A comparison as rows that print: by network, by family, and by view."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvm_costmodel.comparison.records import MEASURED_KERNELS, ROOFLINE, Row, view_name, views
from tvm_costmodel.comparison.summary import by_family, summaries

_BOUNDS = (MEASURED_KERNELS, ROOFLINE)


def rows_of(rows: Sequence[Row], *, brief: bool = False) -> list[dict[str, Any]]:
    """A row for each network and platform.

    Args:
        rows: of a comparison.
        brief: what fits on a screen: one platform, and only the columns that have values.
    """
    names = views(list(rows))
    predictors = [view for view in names if view not in _BOUNDS]
    bounds = [view for view in names if view in _BOUNDS] if brief else list(_BOUNDS)
    return [_brief(r, predictors, bounds) if brief else _whole(r, predictors, bounds) for r in rows]


def family_rows(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """A row for each family of one platform: networks, and MAPE and Acc(10 %) of each view."""
    found: dict[str, dict[str, Any]] = {}
    shown = [view for view in views(list(rows)) if view != ROOFLINE]
    for entry in by_family(rows):
        row = found.setdefault(
            entry.family,
            {"family": entry.family, "networks": sum(r.family == entry.family for r in rows)}
            | {f"{view_name(v)} {what}": None for v in shown for what in ("MAPE %", "Acc(10%)")},
        )
        if entry.view in shown:
            row[f"{view_name(entry.view)} MAPE %"] = entry.metrics.mape
            row[f"{view_name(entry.view)} Acc(10%)"] = entry.metrics.acc_10
    return list(found.values())


def summary_rows(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """A row for each view of one platform: how good it is, and what an estimate costs."""
    found = []
    for summary in summaries(rows):
        metrics = summary.metrics
        found.append(
            {
                "view": view_name(summary.view),
                "measured networks": 0 if metrics is None else metrics.num_networks,
                "trained on": summary.known,
                "MAPE %": None if metrics is None else metrics.mape,
                "Acc(10%)": None if metrics is None else metrics.acc_10,
                "Kendall's tau": None if metrics is None else metrics.kendall_tau,
                "Spearman's rho": None if metrics is None else metrics.spearman,
                "estimate ms": summary.time_ms,
                "needs a build": summary.needs_build,
                "speed-up over measuring": summary.speed_up,
            }
        )
    return found


def _brief(row: Row, predictors: Sequence[str], bounds: Sequence[str]) -> dict[str, Any]:
    shown = [*predictors, *(view for view in bounds if view != ROOFLINE)]
    return {
        "network": row.network,
        "operators": row.operators,
        "kernels": row.kernels,
        **{f"{view_name(view)} ms": row.latency_ms(view) for view in (*predictors, *bounds)},
        "measured ms": row.measured_ms,
        **{f"{view_name(view)} error %": row.error_percent(view) for view in shown},
    }


def _whole(row: Row, predictors: Sequence[str], bounds: Sequence[str]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "platform": row.platform,
        "network": row.network,
        "family": row.family,
        "operators": row.operators,
        "kernels": row.kernels,
        "unknown operators": ", ".join(row.unknown_ops),
        "measured ms": row.measured_ms,
        "label noise %": None if row.noise is None else 100 * row.noise,
        "measuring s": row.measuring_s,
    }
    for view in predictors:
        name, prediction = view_name(view), row.predictions.get(view)
        found[f"{name} ms"] = row.latency_ms(view)
        found[f"{name} error %"] = row.error_percent(view)
        found[f"{name} time ms"] = None if prediction is None else prediction.time_ms
        found[f"{name} kernels"] = None if prediction is None else prediction.kernels
        found[f"{name} trained on it"] = None if prediction is None else prediction.is_known
    for view in bounds:
        found[f"{view_name(view)} ms"] = row.latency_ms(view)
        found[f"{view_name(view)} error %"] = row.error_percent(view)
    return found
