"""Rows for people and for programs: every listing prints as a table, JSON lines or CSV."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Sequence
from enum import Enum
from typing import Any

from rich.console import Console
from rich.table import Table


class Format(str, Enum):
    """How a listing is printed."""

    table = "table"
    json = "json"
    csv = "csv"


def print_rows(rows: Sequence[dict[str, Any]], format_: Format, title: str = "") -> None:
    """Print ``rows``, which have the same keys, to standard output."""
    if format_ is Format.json:
        for row in rows:
            print(json.dumps(row))
    elif format_ is Format.csv:
        writer = csv.DictWriter(sys.stdout, fieldnames=list(rows[0]) if rows else [])
        writer.writeheader()
        writer.writerows({name: _field(value) for name, value in row.items()} for row in rows)
    else:
        # Names such as kernel-sum[kernels=guess] would be taken for tags.
        console = Console(markup=False)
        if not console.is_terminal:
            console.width = 140
        console.print(_table(rows, title) if rows else f"{title}\nnothing to list".strip())


def _field(value: Any) -> Any:
    return " ".join(map(str, value)) if isinstance(value, (list, tuple)) else value


def _table(rows: Sequence[dict[str, Any]], title: str) -> Table:
    table = Table(title=title or None, title_justify="left")
    for name in rows[0]:
        numeric = all(isinstance(row[name], (int, float, type(None))) for row in rows)
        table.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(_cell(value) for value in row.values()))
    return table


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    return str(value)
