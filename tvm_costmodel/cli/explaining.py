"""What ``estimate --explain`` prints: an explanation as tables, or whole as JSON."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from relay_frontend.errors import InputError
from tvm_costmodel.explanation import Contributions, Explanation, Grounds, KernelShare
from tvm_costmodel.rendering import Format, print_rows

_ROWS = 10  # of kernels, before the rest is summed up


def check_format(format_: Format) -> None:
    """See that an explanation can be printed like that.

    Raises:
        InputError: CSV, which is one table.
    """
    if format_ is Format.csv:
        raise InputError("an explanation has several tables: choose --format table or json")


def print_explanation(explanation: Explanation, format_: Format, title: str) -> None:
    """Print it: as JSON all of it; as tables equal kernels as one, the largest of them by name."""
    if format_ is Format.json:
        print_rows([asdict(explanation)], format_)
        return
    estimates = (explanation.measured, explanation.estimate)
    print_rows([asdict(e) for e in estimates if e is not None], format_, title=title)
    if explanation.contributions is not None:
        _print_contributions(explanation.contributions, format_)
    else:
        print(f"\n{explanation.missing}.")
    _print_grounds(explanation.grounds, format_)


def _print_contributions(contributions: Contributions, format_: Format) -> None:
    alike: dict[Any, list[KernelShare]] = defaultdict(list)
    for kernel in contributions.kernels:
        alike[kernel.kind, kernel.shape, kernel.flops, kernel.bytes].append(kernel)
    calls = sorted(alike.values(), key=lambda calls: -sum(call.latency_ms for call in calls))
    shown = _ROWS if len(calls) > _ROWS + 1 else len(calls)
    rows = [_row(same[0].kind, same[0].shape, same) for same in calls[:shown]]
    if rest := calls[shown:]:
        rows.append(_row(f"{len(rest)} others", (), [call for same in rest for call in same]))
    print_rows(rows, format_, title="\nkernels that it comes from")
    types = [
        {"operator": t.type, "kernels": t.count, "ms": t.latency_ms, "%": t.percent}
        for t in contributions.types
    ]
    print_rows(types, format_, title="\noperators, with what is fused into them")


def _row(kind: str, shape: tuple[int, ...], calls: Sequence[KernelShare]) -> dict[str, Any]:
    return {
        "kernel": kind,
        "output": shape,
        "calls": len(calls),
        "ms": sum(call.latency_ms for call in calls),
        "%": sum(call.percent for call in calls),
        "FLOPs": sum(call.flops for call in calls),
        "bytes": sum(call.bytes for call in calls),
    }


def _print_grounds(grounds: Grounds, format_: Format) -> None:
    known = bool(grounds.nearest)
    rows = [
        {
            "family": family.family,
            **({"nearest networks": family.near, "distance": family.distance} if known else {}),
            "known networks": family.known,
            "error on held-out ones %": family.error_percent,
        }
        for family in grounds.families
        if family.near != 0
    ]
    title = "known families that it rests on" if known else "families that it was trained on"
    if rows:
        print_rows(rows, format_, title=f"\n{title}")
    print(f"\n{grounds.verdict}.")
