"""The words and tables of a report, which are there without scripts too."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from html import escape
from typing import Any

from tvm_costmodel.comparison.records import MEASURED, MEASURED_KERNELS, ROOFLINE, view_name
from tvm_costmodel.comparison.report.styles import color_of

_NONE = "–"


def section(number: int, platform: dict[str, Any], charts: Collection[str]) -> str:
    """The section of one platform.

    Args:
        number: of the platform, for the names of elements.
        platform: its data, as ``report_data`` has them.
        charts: names of the charts that there are.
    """
    page = _Section(number, platform, charts)
    parts = [
        page.head(),
        page.scatter(),
        page.errors(),
        page.families(),
        page.ranks(),
        page.network(),
        page.disagreements(),
        page.cost(),
        page.table(),
    ]
    return (
        f'<section class="platform" id="platform-{number}" data-number="{number}" '
        f'aria-labelledby="platform-{number}-name">\n'
        + "\n".join(filter(None, parts))
        + "</section>"
    )


class _Section:
    def __init__(self, number: int, platform: dict[str, Any], charts: Collection[str]) -> None:
        self._id = f"platform-{number}"
        self._number = number
        self._platform = platform
        self._charts = charts
        self._names = {view["view"]: view["name"] for view in platform["views"]}
        self._predictors = [v["view"] for v in platform["views"] if v["predicts"]]

    def head(self) -> str:
        platform = self._platform
        noise = platform["noise"]
        told = [f"{platform['networks']:,} networks, {platform['measured']:,} of them measured"]
        if noise:
            told.append(
                f"label noise {100 * noise['median']:.2g} % (median), "
                f"{100 * noise['p90']:.2g} % (90 % of the networks are below)"
            )
        cards = "".join(self._card(entry) for entry in platform["summary"])
        notes = "".join(f"<li>{escape(note)}</li>" for note in platform["notes"])
        return (
            f'<h2 id="{self._id}-name">{escape(platform["platform"])}</h2>\n'
            f'<p class="lead">{escape("; ".join(told))}.</p>\n<div class="cards">{cards}</div>\n'
            + (f'<ul class="notes">{notes}</ul>\n' if notes else "")
        )

    def scatter(self) -> str:
        if "scatter" not in self._charts:
            return (
                "<p>None of these networks was measured on the platform: there is nothing to "
                "compare the estimates with but each other.</p>"
            )
        return self._part(
            "Predicted against measured",
            "Each point is a network; hover over it for its name, click it to see its kernels "
            "below. On the line an estimate is right; between the dashed lines it is within 10 %. "
            "The band is label noise: nine of ten labels are that near to their second round.",
            self._figure("scatter", "Predicted against measured latency, one panel for each view"),
        )

    def errors(self) -> str:
        if "within" not in self._charts:
            return ""
        return self._part(
            "How errors are distributed",
            "Left: errors with their sign, positive where the estimate is too long. Right: the "
            "share of networks whose error is at most so large; higher is better.",
            '<div class="pair">'
            + self._figure("histogram", "Histogram of signed errors for each view")
            + self._figure("within", "Share of networks within an error, for each view")
            + "</div>",
        )

    def families(self) -> str:
        if "families" not in self._charts:
            return ""
        rows = [
            [
                entry["family"],
                self._names[entry["view"]],
                entry["networks"],
                _number(entry["mape"]),
                _number(entry["acc_10"]),
                _number(entry["kendall_tau"]),
            ]
            for entry in self._platform["families"]
        ]
        head = ["family", "view", "networks", "MAPE %", "Acc(10 %) %", "Kendall's tau"]
        return self._part(
            "By family",
            "Mean error, and the share of networks that are predicted within 10 %.",
            self._figure("families", "Mean error and share within 10 %, by family and view")
            + _details("The same as a table", _table("Quality by family and view", head, rows, 2)),
        )

    def ranks(self) -> str:
        entries = [
            a
            for a in self._platform["agreements"]
            if a["kendall_tau"] is not None and (a["first"] == MEASURED or a["second"] != ROOFLINE)
        ]
        if not entries:
            return ""
        rows = [
            [
                view_name(a["first"]),
                view_name(a["second"]),
                a["networks"],
                _number(a["kendall_tau"]),
                _number(a["spearman"]),
            ]
            for a in entries
        ]
        head = ["view", "and view", "networks", "Kendall's tau", "Spearman's rho"]
        figure = ""
        if "ranks" in self._charts:
            figure = self._figure("ranks", "Rank agreement within each family, for each view")
        return self._part(
            "Which network is faster?",
            "For a search among networks their order is what counts: 1 is the same order, 0 none "
            "in common. Within a family it is harder, since sizes differ less.",
            '<div class="pair">'
            + _table("Rank agreement of two views over all networks", head, rows, 2)
            + figure
            + "</div>",
        )

    def network(self) -> str:
        if "parts" not in self._charts:
            return ""
        options: dict[str, list[str]] = {}
        for position, row in enumerate(self._platform["rows"]):
            option = f'<option value="{position}">{escape(row["network"])}</option>'
            options.setdefault(row["family"], []).append(option)
        groups = "".join(
            f'<optgroup label="{escape(family)}">{"".join(members)}</optgroup>'
            for family, members in options.items()
        )
        name = f"{self._id}-network"
        return self._part(
            "One network, kernel by kernel",
            "What its kernels contribute by each view: by the operators that the learned predictor "
            "adds up, by kernel-sum, and as each kernel was measured on its own. Equal kernels are "
            "one group of bars, with the number of calls.",
            f'<p class="choice"><label for="{name}">Network</label> '
            f'<select id="{name}" class="network">{groups}</select></p>'
            '<p class="answer" aria-live="polite"></p>'
            + self._figure("parts", "Contribution of each kernel of the chosen network, by view")
            + '<details class="data"><summary>The same as a table</summary>'
            '<div class="parts-table scroll" role="region" tabindex="0" '
            'aria-label="Contributions as a table"></div></details>',
        )

    def disagreements(self) -> str:
        platform = self._platform
        if not platform["disagreements"]:
            return ""
        first, second = (self._names[view] for view in platform["pair"])
        rows = [self._disagreement(entry) for entry in platform["disagreements"]]
        told = ", ".join(self._names[view] for view in platform["part_views"])
        latencies = [f"{first} ms", f"{second} ms", "ratio", "measured ms", "nearer"]
        head = ["network", "family", *latencies, f"kernels that make the difference: {told}, ms"]
        figure = ""
        if "kinds" in self._charts:
            figure = (
                "<h4>By kind of kernel, over all networks</h4>\n<p>The kinds with the largest "
                "difference in ms; on the line an estimate is right.</p>"
                + self._figure("kinds", "Estimated over measured time by kind of kernel and view")
                + _details("The same as a table", self._kinds())
            )
        return self._part(
            "Where they disagree most, and why",
            f"The networks with the largest ratio between {first} and {second}, two of a family at "
            "most, and of each the kernels that account for most of it: their operators, the shape "
            "of their result, how many calls there are, and what they take in each view.",
            _table("Networks of largest disagreement", head, rows, 1, texts={1, 6, 7}, raw=True)
            + figure,
        )

    def cost(self) -> str:
        rows = [
            [
                self._names[s["view"]],
                _number(s["mape"]),
                _number(s["time_ms"]),
                "yes" if s["needs_build"] else "no",
                _NONE if s["speed_up"] is None else f"{s['speed_up']:,.0f} ×",
            ]
            for s in self._platform["summary"]
            if s["view"] in self._predictors
        ]
        if self._platform["measuring_ms"]:
            noise = self._platform["noise"]
            rows.append(
                [
                    view_name(MEASURED),
                    _NONE if noise is None else f"{100 * noise['mean']:.3g} (label noise)",
                    _number(self._platform["measuring_ms"]),
                    "yes",
                    "1 ×",
                ]
            )
        head = ["view", "mean error %", "time, median ms", "needs a build", "speed-up"]
        figure = ""
        if "cost" in self._charts:
            figure = self._figure("cost", "Time of one estimate against its mean error")
        return self._part(
            "What an estimate costs",
            "Wall time from the ONNX model in memory to the estimate. Where kernels are those of a "
            "build that a database remembers, the compiler's time is not in it, and a new network "
            "has to pay it. Measuring is the build, where a database recorded it, and the timing "
            "rounds; speed-ups are over it.",
            figure + _table("Time of an estimate beside its error", head, rows, 1),
        )

    def table(self) -> str:
        views = [view["view"] for view in self._platform["views"]]
        head = ["network", "family", "operators", "measured ms", "noise %"]
        for view in views:
            head.append(f"{self._names[view]} ms")
            if view != ROOFLINE:
                head.append("error %")
        rows = [self._row(row, views) for row in self._platform["rows"]]
        table = _table("All networks in all views", head, rows, 1, texts={1})
        return self._part(
            "All networks", "", _details(f"Table of {len(rows):,} networks", table, "all")
        )

    def _card(self, entry: dict[str, Any]) -> str:
        view = entry["view"]
        if view == ROOFLINE:
            return ""
        facts = [
            ("within 10 %", entry["acc_10"], " %"),
            ("Kendall's tau", entry["kendall_tau"], ""),
        ]
        if entry["time_ms"] is not None:
            facts.append(("per estimate", entry["time_ms"], " ms"))
        listed = "".join(
            f"<div><dt>{name}</dt><dd>{_number(value)}{unit}</dd></div>"
            for name, value, unit in facts
            if value is not None
        )
        says = "what kernel-sum would say if it knew each kernel"
        what = says if view == MEASURED_KERNELS else _build_words(entry["needs_build"])
        error = _NONE if entry["mape"] is None else f"{entry['mape']:.3g} %"
        return (
            f'<div class="card" style="border-top-color:{color_of(view)}">'
            f"<h3>{escape(self._names[view])}</h3>"
            f'<p class="figure">{error}<span>mean error</span></p>'
            f"<dl>{listed}</dl><p>{escape(what)}</p></div>"
        )

    def _disagreement(self, entry: dict[str, Any]) -> list[str]:
        row = self._platform["rows"][entry["row"]]
        first, second = self._platform["pair"]
        reasons = "".join(f"<li>{_reason(part)}</li>" for part in entry["parts"])
        show = (
            f'<button type="button" class="show" data-row="{entry["row"]}">'
            f"{escape(row['network'])}</button>"
        )
        return [
            show,
            escape(row["family"]),
            _number(row[first]),
            _number(row[second]),
            f"{entry['ratio']:.3g}",
            _number(row[MEASURED]),
            _NONE if entry["closer"] is None else escape(self._names[entry["closer"]]),
            f"<ul>{reasons}</ul>" if reasons else _NONE,
        ]

    def _row(self, row: dict[str, Any], views: Sequence[str]) -> list[Any]:
        measured = row[MEASURED]
        noise = None if row["noise"] is None else 100 * row["noise"]
        cells = [row["network"], row["family"], row["operators"], _number(measured), _number(noise)]
        for view in views:
            cells.append(_number(row[view]))
            if view != ROOFLINE:
                known = row[view] is not None and measured
                cells.append(f"{100 * (row[view] / measured - 1):+.1f}" if known else _NONE)
        return cells

    def _kinds(self) -> str:
        told = self._platform["part_views"]
        rows = [
            [kind["kind"], kind["calls"], *(_number(kind.get(view)) for view in told)]
            for kind in self._platform["kinds"]
        ]
        head = ["kind", "calls", *(f"{self._names[view]} ms" for view in told)]
        return _table("Kinds of kernels, over all networks", head, rows, 1)

    def _figure(self, chart: str, label: str) -> str:
        return (
            f'<figure class="chart scroll" id="{self._id}-{chart}" data-chart="{chart}" '
            f'role="group" tabindex="0" aria-label="{escape(label)}">'
            '<div class="plot"></div></figure>'
        )

    def _part(self, title: str, text: str, content: str) -> str:
        told = f"<p>{escape(text)}</p>\n" if text else ""
        return f'<div class="part"><h3>{escape(title)}</h3>\n{told}{content}</div>\n'


def _build_words(needs_build: bool | None) -> str:
    return "a compiler lists the kernels first" if needs_build else "reads the network alone"


def _reason(part: list[Any]) -> str:
    kind, shape, calls, *times = part
    told = ", ".join(map(_number, times))
    where = f" {escape(shape)}" if shape else ""
    many = f", {calls} calls" if calls > 1 else ""
    return f"<code>{escape(kind)}</code>{where}{many}: <b>{told}</b>"


def _number(value: float | None) -> str:
    if value is None:
        return _NONE
    if isinstance(value, float) and abs(value) < 1000:
        return f"{value:.3g}"
    return f"{value:,.0f}"


def _details(summary: str, content: str, kind: str = "data") -> str:
    return f'<details class="{kind}"><summary>{escape(summary)}</summary>{content}</details>'


def _table(
    caption: str,
    head: Sequence[str],
    rows: Sequence[Sequence[Any]],
    heads: int,
    *,
    texts: Collection[int] = (),
    raw: bool = False,
) -> str:
    """A table.

    Args:
        caption: what it is.
        head: names of its columns.
        rows: of cells.
        heads: so many first columns head their rows.
        texts: further columns that are no numbers.
        raw: whether cells are HTML already.
    """
    left = {*range(heads), *texts}
    columns = "".join(
        f'<th scope="col"{_aligned(i, left)}>{escape(name)}</th>' for i, name in enumerate(head)
    )
    body = "".join(f"<tr>{_cells(row, heads, left, raw=raw)}</tr>\n" for row in rows)
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(caption)}"><table>'
        f"<caption>{escape(caption)}</caption><thead><tr>{columns}</tr></thead>"
        f"<tbody>\n{body}</tbody></table></div>"
    )


def _cells(row: Sequence[Any], heads: int, left: Collection[int], *, raw: bool) -> str:
    cells = []
    for i, value in enumerate(row):
        text = f"{value:,}" if isinstance(value, int) else str(value)
        tag, scope = ("th", ' scope="row"') if i < heads else ("td", "")
        shown = text if raw else escape(text)
        cells.append(f"<{tag}{scope}{_aligned(i, left)}>{shown}</{tag}>")
    return "".join(cells)


def _aligned(column: int, left: Collection[int]) -> str:
    return ' class="text"' if column in left else ""
