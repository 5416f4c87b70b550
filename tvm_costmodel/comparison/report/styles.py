"""What all charts of a report look like: colours, shapes, fonts.

Views keep one colour and one shape in all charts; colours are those of Okabe and Ito (Color
Universal Design, 2008), which people with any colour vision tell apart, as do greys in print by
their shapes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvm_costmodel import registry
from tvm_costmodel.comparison.records import MEASURED, MEASURED_KERNELS, ROOFLINE, view_name

Spec = dict[str, Any]  # a part of a Vega-Lite specification

_SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"  # a name, which nothing fetches
_STYLES = {
    registry.NAR_FORMER_V2: ("#0072B2", "circle"),
    registry.KERNEL_SUM: ("#D55E00", "square"),
    registry.BLEND: ("#E69F00", "triangle-down"),
    MEASURED_KERNELS: ("#009E73", "triangle-up"),
    ROOFLINE: ("#CC79A7", "diamond"),
    MEASURED: ("#1A1A1A", "cross"),
}
GREY, BAND = "#8A8A8A", "#E3DCC8"
_FONT = "system-ui, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"

_CONFIG: Spec = {
    "background": "#FFFFFF",
    "font": _FONT,
    "axis": {
        "labelColor": "#333",
        "titleColor": "#333",
        "labelFontSize": 11,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "gridColor": "#ECECEC",
        "domainColor": "#999",
        "tickColor": "#999",
        "labelLimit": 420,
    },
    "header": {"labelFontSize": 13, "labelFontWeight": 600, "labelColor": "#222", "title": None},
    "legend": {"labelFontSize": 12, "titleFontSize": 12, "labelColor": "#222"},
    "view": {"stroke": "#D8D8D8"},
}


def color_of(view: str) -> str:
    """The colour of a view in all charts."""
    return _STYLES[view][0]


def names(views: Sequence[str]) -> list[str]:
    """What readers know the views by."""
    return [view_name(view) for view in views]


def color(views: Sequence[str], *, legend: bool = True) -> Spec:
    """The channel that colours marks by their view."""
    return _styled(views, 0, legend=legend)


def shape(views: Sequence[str], *, legend: bool = True) -> Spec:
    """The channel that gives marks the shape of their view."""
    return _styled(views, 1, legend=legend)


def finished(spec: Spec) -> Spec:
    """A specification that stands by itself."""
    return {"$schema": _SCHEMA, **spec, "config": _CONFIG}


def _styled(views: Sequence[str], which: int, *, legend: bool) -> Spec:
    return {
        "field": "name",
        "type": "nominal",
        "sort": None,
        "scale": {"domain": names(views), "range": [_STYLES[view][which] for view in views]},
        "legend": {"title": None, "orient": "top"} if legend else None,
    }
