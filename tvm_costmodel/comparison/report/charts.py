"""The charts of a report as Vega-Lite specifications, over the values of `report_data`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tvm_costmodel.comparison.records import MEASURED, MEASURED_KERNELS, ROOFLINE, view_name
from tvm_costmodel.comparison.report.styles import (
    BAND,
    GREY,
    Spec,
    color,
    finished,
    names,
    shape,
)

_PANEL = 288
_LEAST_ERROR = 0.1  # in %; the logarithmic axis of errors begins here

_FAMILY: Spec = {
    "field": "family",
    "type": "nominal",
    "title": None,
    "sort": None,
    "axis": {"grid": True, "domain": False, "ticks": False},
}


def charts(platform: dict[str, Any]) -> dict[str, Spec]:
    """The charts of one platform by name; those that its data cannot feed are left out."""
    views = [view["view"] for view in platform["views"]]
    predictors = [view["view"] for view in platform["views"] if view["predicts"]]
    estimating = [view for view in views if view != ROOFLINE]
    found: dict[str, Spec] = {}
    if platform["measured"]:
        found["scatter"] = _scatter(platform, estimating)
        found["histogram"] = _histogram(estimating)
        found["within"] = _within(platform, estimating)
        if len({entry["family"] for entry in platform["families"]}) > 1:
            found["families"] = _families(estimating)
            found["ranks"] = _ranks(platform, estimating)
        if any(entry["time_ms"] for entry in platform["summary"]):
            found["cost"] = _cost(platform, predictors)
    if platform["part_views"]:
        found["parts"] = _parts(platform["part_views"])
    if platform["kinds"] and MEASURED_KERNELS in platform["part_views"]:
        found["kinds"] = _kinds(predictors)
    return {name: finished(spec) for name, spec in found.items()}


def _scatter(platform: dict[str, Any], views: Sequence[str]) -> Spec:
    values = [row[v] for row in platform["rows"] for v in (MEASURED, *views) if row[v]]
    low, high = 0.8 * min(values), 1.25 * max(values)
    noise = platform["noise"]["p90"] if platform["noise"] else 0.0
    edges = [
        {"x": x, "low": x * (1 - noise), "high": x * (1 + noise), "less": 0.9 * x, "more": 1.1 * x}
        for x in (low, high)
    ]
    scale = {"type": "log", "domain": [low, high], "nice": False}
    axis = {"scale": scale, "type": "quantitative", "axis": {"tickCount": 5, "format": "~g"}}
    x = {"field": "x", **axis, "title": "measured, ms"}
    line = {"type": "line", "aria": False, "clip": True, "tooltip": None}
    points = {
        "transform": _folded(views, "latency"),
        "mark": {"type": "point", "filled": True, "size": 34, "aria": False, "clip": True},
        "encoding": {
            "x": {"field": MEASURED, **axis, "title": "measured, ms"},
            "y": {"field": "latency", **axis, "title": "predicted, ms"},
            "color": color(views, legend=False),
            "shape": shape(views, legend=False),
            "opacity": {
                "condition": {"test": "family == 'all' || datum.family == family", "value": 0.75},
                "value": 0.04,
            },
            "tooltip": _tooltip("predicted", "latency"),
        },
    }
    layers = [
        {
            "data": {"values": edges},
            "mark": {"type": "area", "color": BAND, "aria": False, "clip": True, "tooltip": None},
            "encoding": {"x": x, "y": {"field": "low", **axis}, "y2": {"field": "high"}},
        },
        *(
            {
                "data": {"values": edges},
                "mark": {**line, "color": GREY, "strokeWidth": 1, "strokeDash": dash},
                "encoding": {"x": x, "y": {"field": field, **axis}},
            }
            for field, dash in (("x", [1, 0]), ("less", [4, 3]), ("more", [4, 3]))
        ),
    ]
    families = sorted({row["family"] for row in platform["rows"]})
    chosen = {
        "name": "family",
        "value": "all",
        "bind": {"input": "select", "options": ["all", *families], "name": "Highlight family "},
    }
    return {
        "description": "Predicted against measured latency of every network, logarithmic axes; "
        "one panel for each view.",
        "params": [chosen],
        "columns": 2 if len(views) == 4 else 3,  # as many as a page is wide, and no lone one below
        "concat": [
            {
                "title": view_name(view),
                "width": _PANEL,
                "height": _PANEL,
                "layer": [*layers, {**points, "transform": _folded([view], "latency")}],
            }
            for view in views
        ],
    }


def _histogram(views: Sequence[str]) -> Spec:
    bins = {"step": 4, "extent": [-60, 100]}
    return {
        "description": "Histogram of signed errors for each view.",
        "data": {"name": "rows"},
        "transform": [
            *_folded(views, "latency"),
            {"calculate": f"100 * (datum.latency / datum['{MEASURED}'] - 1)", "as": "error"},
            {"calculate": "clamp(datum.error, -60, 99)", "as": "shown"},
        ],
        "facet": {"row": {"field": "name", "type": "nominal", "sort": names(views), "title": None,
                          "header": {"labelAngle": 0, "labelAnchor": "start",
                                     "labelOrient": "top"}}},
        "spec": {
            "width": 420,
            "height": 92,
            "layer": [
                {
                    "mark": {"type": "bar", "aria": False, "binSpacing": 0.5},
                    "encoding": {
                        "x": {
                            "field": "shown",
                            "bin": bins,
                            "type": "quantitative",
                            "title": "error, % (beyond the axis: in the outermost bars)",
                            "axis": {"values": [-60, -40, -20, 0, 20, 40, 60, 80, 100]},
                        },
                        "y": {"aggregate": "count", "type": "quantitative", "title": "networks",
                              "axis": {"tickCount": 3}},
                        "color": color(views, legend=False),
                        "tooltip": [
                            {"aggregate": "count", "title": "networks", "type": "quantitative"},
                            {"field": "shown", "bin": bins, "title": "error, %",
                             "type": "quantitative"},
                        ],
                    },
                },
                {
                    "mark": {"type": "rule", "color": "#333", "aria": False, "tooltip": None},
                    "encoding": {"x": {"datum": 0, "type": "quantitative"}},
                },
            ],
        },
        "resolve": {"scale": {"y": "shared"}},
    }  # fmt: skip


def _within(platform: dict[str, Any], views: Sequence[str]) -> Spec:
    noise = platform["noise"]
    marks = [{"x": 10.0, "text": "10 %"}]
    if noise and 100 * noise["median"] > _LEAST_ERROR:
        marks.append({"x": 100 * noise["median"], "text": "label noise"})
    x = {
        "field": "error",
        "type": "quantitative",
        "title": "error of at most, %",
        "scale": {"type": "log", "domain": [_LEAST_ERROR, 1000], "nice": False, "clamp": True},
        "axis": {"values": [0.1, 1, 10, 100, 1000], "format": "~g"},
    }
    return {
        "description": "Share of networks whose error is at most so large, for each view.",
        "width": 420,
        "height": 330,
        "layer": [
            {
                "data": {"values": marks},
                "mark": {"type": "rule", "color": GREY, "strokeDash": [4, 3], "aria": False},
                "encoding": {"x": {**x, "field": "x"}},
            },
            {
                "data": {"values": marks},
                "mark": {"type": "text", "align": "left", "dx": 4, "y": 10, "aria": False,
                         "color": "#555"},
                "encoding": {"x": {**x, "field": "x"}, "text": {"field": "text"}},
            },
            {
                "data": {"name": "rows"},
                "transform": [
                    *_folded(views, "latency"),
                    {
                        "calculate": "max(abs(100 * (datum.latency / "
                        f"datum['{MEASURED}'] - 1)), {_LEAST_ERROR})",
                        "as": "error",
                    },
                    {
                        "window": [{"op": "cume_dist", "as": "share"}],
                        "sort": [{"field": "error"}],
                        "groupby": ["name"],
                    },
                ],
                "mark": {"type": "line", "interpolate": "step-after", "strokeWidth": 2,
                         "aria": False},
                "encoding": {
                    "x": x,
                    "y": {
                        "field": "share",
                        "type": "quantitative",
                        "title": "share of networks",
                        "axis": {"format": ".0%"},
                        "scale": {"domain": [0, 1]},
                    },
                    "color": color(views),
                    "strokeDash": {
                        "field": "name",
                        "scale": {"domain": names(views),
                                  "range": [[1, 0], [7, 3], [2, 2], [8, 2, 2, 2]][: len(views)]},
                        "legend": {"title": None, "orient": "top", "symbolSize": 600},
                    },
                },
            },
        ],
    }  # fmt: skip


def _families(views: Sequence[str]) -> Spec:
    error = {
        "field": "mape",
        "type": "quantitative",
        "title": "mean error (MAPE), %; logarithmic",
        "scale": {"type": "log", "nice": True},
        "axis": {"format": "~g", "tickCount": 6},
    }
    within = {
        "field": "acc_10",
        "type": "quantitative",
        "title": "networks within 10 %, %",
        "scale": {"domain": [0, 100]},
    }
    unnamed = {**_FAMILY, "axis": {**_FAMILY["axis"], "labels": False}}
    return {
        "description": "Mean error and share of networks within 10 %, by family and view.",
        "hconcat": [
            _dots(views, error, "families", width=430, legend=True),
            _dots(views, within, "families", width=300, legend=True, y=unnamed),
        ],
    }


def _ranks(platform: dict[str, Any], views: Sequence[str]) -> Spec:
    known = [f["kendall_tau"] for f in platform["families"] if f["kendall_tau"] is not None]
    lowest = min([0.8, *(math.floor(10 * tau) / 10 for tau in known if tau > -1)])
    tau = {
        "field": "kendall_tau",
        "type": "quantitative",
        "title": "Kendall's tau against the measured ranking, within the family",
        "scale": {"domain": [lowest, 1], "clamp": True},
        "axis": {"tickCount": 5},
    }
    return {
        "description": "Rank agreement with the measured latencies within each family.",
        **_dots(views, tau, "families", width=360, legend=True),
    }


def _dots(
    views: Sequence[str], x: Spec, data: str, *, width: int, legend: bool, y: Spec = _FAMILY
) -> Spec:
    """A row of dots for each family, one for each view, with a line from the first to the last."""
    return {
        "data": {"name": data},
        "transform": [{"filter": {"field": "view", "oneOf": list(views)}}],
        "width": width,
        "height": {"step": 21},
        "layer": [
            {
                "mark": {"type": "line", "color": "#BBB", "strokeWidth": 2, "aria": False,
                         "tooltip": None},
                "encoding": {"y": y, "x": x, "detail": {"field": y["field"]}},
            },
            {
                # Outlines, so that points in one place are all seen.
                "mark": {"type": "point", "filled": False, "strokeWidth": 2.2, "size": 70,
                         "opacity": 1, "aria": False},
                "encoding": {
                    "y": y,
                    "x": x,
                    "color": color(views, legend=legend),
                    "shape": shape(views, legend=legend),
                    "tooltip": [
                        {"field": y["field"], "title": "of"},
                        {"field": "name", "title": "view"},
                        {"field": x["field"], "title": x["title"], "format": ".3g",
                         "type": "quantitative"},
                        {"field": "count", "title": "networks" if y is _FAMILY else "calls",
                         "type": "quantitative"},
                    ],
                },
            },
        ],
    }  # fmt: skip


def _cost(platform: dict[str, Any], predictors: Sequence[str]) -> Spec:
    summary = {entry["view"]: entry for entry in platform["summary"]}
    points = [
        {
            "name": view_name(view),
            "time": summary[view]["time_ms"],
            "error": summary[view]["mape"],
            "what": "after a build" if summary[view]["needs_build"] else "no build",
        }
        for view in predictors
        if summary[view]["time_ms"] and summary[view]["mape"]
    ]
    if platform["measuring_ms"] and platform["noise"]:
        points.append({
            "name": view_name(MEASURED),
            "time": platform["measuring_ms"],
            "error": 100 * platform["noise"]["mean"],
            "what": "timing rounds; error: label noise",
        })  # fmt: skip
    highest = max((point["error"] for point in points), default=1.0)
    times = [point["time"] for point in points] or [1.0]
    least, most = math.log10(min(times) / 2), math.log10(max(times) * 10)
    domain = [10 ** math.floor(least), 10 ** math.ceil(most)]
    views = [*predictors, MEASURED]
    x = {
        "field": "time",
        "type": "quantitative",
        "title": "time of one estimate, ms; logarithmic",
        "scale": {"type": "log", "domain": domain, "nice": False},
        "axis": {"format": "~s", "tickCount": 5},
    }
    y = {"field": "error", "type": "quantitative", "title": "mean error, %",
         "scale": {"domain": [0, 1.15 * highest]}}  # fmt: skip
    text = {"type": "text", "align": "left", "dx": 10, "fontSize": 12, "aria": False}
    return {
        "description": "Time of one estimate against its mean error, for each predictor.",
        "width": 560,
        "height": 240,
        "data": {"values": points},
        "encoding": {"x": x, "y": y, "color": color(views, legend=False)},
        "layer": [
            {
                "mark": {"type": "point", "filled": True, "size": 130, "opacity": 1,
                         "aria": False},
                "encoding": {"shape": shape(views, legend=False)},
            },
            {
                "mark": {**text, "fontWeight": 600, "dy": -5},
                "encoding": {"text": {"field": "name"}},
            },
            {
                "mark": {**text, "dy": 10, "fontSize": 11},
                "encoding": {"text": {"field": "what"}, "color": {"value": "#555"}},
            },
        ],
    }  # fmt: skip


def _parts(views: Sequence[str]) -> Spec:
    """Bars that the page feeds with one network's parts."""
    return {
        "description": "What each kernel of the chosen network contributes, a bar for each view.",
        "data": {"name": "parts"},
        "width": 640,
        "height": {"step": 10},
        "mark": {"type": "bar", "aria": False},
        "encoding": {
            "y": {
                "field": "label",
                "type": "nominal",
                "sort": None,
                "title": None,
                "scale": {"paddingInner": 0.25},
            },
            "yOffset": {"field": "name", "sort": names(views),
                        "scale": {"domain": names(views)}},
            "x": {"field": "ms", "type": "quantitative", "title": "contribution, ms"},
            "color": color(views),
            "tooltip": [
                {"field": "label", "title": "kernels"},
                {"field": "name", "title": "view"},
                {"field": "ms", "type": "quantitative", "format": ".4g"},
            ],
        },
    }  # fmt: skip


def _kinds(predictors: Sequence[str]) -> Spec:
    ratio = {
        "field": "ratio",
        "type": "quantitative",
        "title": "estimated over measured time of all such kernels; logarithmic",
        "scale": {"type": "log", "nice": True},
        "axis": {"format": "~g", "tickCount": 7},
    }
    y = {**_FAMILY, "field": "label"}
    spec = _dots(predictors, ratio, "kinds", width=520, legend=True, y=y)
    spec["layer"].insert(
        0,
        {
            "mark": {"type": "rule", "color": "#333", "aria": False, "tooltip": None},
            "encoding": {"x": {"datum": 1, "type": "quantitative"}},
        },
    )
    return {
        "description": "Estimated over measured time of the kinds of kernels on which the views "
        "disagree most.",
        **spec,
    }


def _folded(views: Sequence[str], value: str) -> list[Spec]:
    """A row for each network and view that were measured, with the name of the view."""
    labels = ", ".join(f"'{view}': '{view_name(view)}'" for view in views)
    return [
        {"fold": list(views), "as": ["view", value]},
        {"filter": f"isValid(datum.{value}) && isValid(datum['{MEASURED}'])"},
        {"calculate": f"({{{labels}}})[datum.view]", "as": "name"},
    ]


def _tooltip(title: str, value: str) -> list[Spec]:
    return [
        {"field": "network", "title": "network"},
        {"field": "family", "title": "family"},
        {"field": "operators", "type": "quantitative"},
        {"field": MEASURED, "title": "measured, ms", "format": ".4g", "type": "quantitative"},
        {"field": value, "title": f"{title}, ms", "format": ".4g", "type": "quantitative"},
    ]
