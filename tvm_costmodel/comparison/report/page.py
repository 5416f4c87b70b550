"""The page of a report: its data, charts and tables, with the plotting library in it."""

from __future__ import annotations

import json
from functools import cache
from html import escape
from importlib import resources
from string import Template
from typing import Any

from relay_frontend.errors import MissingDependencyError
from tvm_costmodel.comparison.report.charts import charts
from tvm_costmodel.comparison.report.sections import section


def report_page(data: dict[str, Any]) -> str:
    """The HTML of a report: one page that fetches nothing and forbids itself to.

    Args:
        data: what :func:`tvm_costmodel.comparison.report.data.report_data` gave. The same data give
            the same page, byte for byte, with one version of the plotting library.

    Raises:
        MissingDependencyError: the plotting library is not installed.
    """
    platforms = data["platforms"]
    content = [
        {"charts": charts(platform), "data": _for_charts(platform)} for platform in platforms
    ]
    return Template(_file("page.html")).substitute(
        title=escape(_title(platforms)),
        contents="".join(
            f'<li><a href="#platform-{i}">{escape(platform["platform"])}</a></li>'
            for i, platform in enumerate(platforms)
        ),
        style=_file("style.css"),
        sections="\n".join(
            section(i, platform, content[i]["charts"].keys())
            for i, platform in enumerate(platforms)
        ),
        library=_library(),
        content=_json(content),
        script=_file("script.js"),
    )


def check_library() -> Any:
    """The module that brings the plotting library.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        import vl_convert  # noqa: PLC0415 (optional)
    except ImportError:
        raise MissingDependencyError(
            "a report's charts need Vega-Lite: pip install 'tvm-costmodel[report]'"
        ) from None
    return vl_convert


def _title(platforms: list[dict[str, Any]]) -> str:
    networks = max((platform["networks"] for platform in platforms), default=0)
    names = list(dict.fromkeys(v["name"] for p in platforms for v in p["views"] if v["predicts"]))
    listed = " and ".join([", ".join(names[:-1]), *names[-1:]] if len(names) > 1 else names)
    return f"{listed or 'Latencies'} on {networks:,} networks"


def _for_charts(platform: dict[str, Any]) -> dict[str, Any]:
    names = {view["view"]: view["name"] for view in platform["views"]}
    part_views = [{"view": view, "name": names[view]} for view in platform["part_views"]]
    return {
        "rows": platform["rows"],
        "families": [
            {**f, "name": names[f["view"]], "count": f["networks"]} for f in platform["families"]
        ],
        "kinds": [entry for kind in platform["kinds"] for entry in _kind_entries(kind, names)],
        "partViews": part_views,
        "parts": platform["parts"],
        "views": [{"view": view["view"], "name": view["name"]} for view in platform["views"]],
    }


def _kind_entries(kind: dict[str, Any], names: dict[str, str]) -> list[dict[str, Any]]:
    measured = kind.get("measured-kernels")
    if not measured:
        return []
    label = f"{kind['kind']} ({kind['calls']:,} calls)"
    return [
        {
            "label": label,
            "view": view,
            "name": name,
            "ratio": float(f"{kind[view] / measured:.3g}"),
            "count": kind["calls"],
        }
        for view, name in names.items()
        if kind.get(view)
    ]


def _json(value: Any) -> str:
    """JSON that may stand within a script element."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).replace("</", "<\\/")


def _file(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


@cache
def _library() -> str:
    bundle: str = check_library().javascript_bundle()
    return bundle.replace("</script", "<\\/script")
