"""Where two views disagree most, and which kernels make the difference."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from tvm_costmodel.comparison.parts import NOT_FOUND
from tvm_costmodel.comparison.records import MEASURED_KERNELS, Part, Row

_PARTS = 3


@dataclass(frozen=True, kw_only=True)
class Disagreement:
    """A network on which two views disagree.

    Args:
        row: its position among the rows.
        ratio: of the first view's latency to the second's.
        closer: the view that is nearer to the measured latency; None where it was not measured.
        parts: those that make most of the difference.
    """

    row: int
    ratio: float
    closer: str | None
    parts: tuple[Part, ...]


@dataclass(frozen=True, kw_only=True)
class KindTotal:
    """All kernels of one kind, over all networks: what they add in each view that tells, in ms."""

    kind: str
    calls: int
    latency_ms: dict[str, float]


def disagreeing_pair(rows: Sequence[Row]) -> tuple[str, str] | None:
    """The first two predictors; with an only one, it and the measured kernels."""
    names = list(dict.fromkeys(name for row in rows for name in row.predictions))
    if len(names) > 1:
        return names[0], names[1]
    if names and any(row.measured_kernels_ms is not None for row in rows):
        return names[0], MEASURED_KERNELS
    return None


def disagreements(
    rows: Sequence[Row], pair: tuple[str, str], count: int, of_a_family: int
) -> list[Disagreement]:
    """The networks on which the views of ``pair`` disagree most, by their ratio.

    Args:
        rows: of one platform.
        pair: the views.
        count: of networks, at most.
        of_a_family: so many at most, that one family does not hide all others.
    """
    found = []
    for position, row in enumerate(rows):
        a, b = (row.latency_ms(view) for view in pair)
        if a and b:
            found.append((abs(math.log(a / b)), position, a / b))
    found.sort(key=lambda item: (-item[0], item[1]))
    chosen: list[tuple[int, float]] = []
    taken: Counter[str] = Counter()
    for _, position, ratio in found:
        family = rows[position].family
        if taken[family] < of_a_family and len(chosen) < count:
            taken[family] += 1
            chosen.append((position, ratio))
    return [
        Disagreement(
            row=position,
            ratio=ratio,
            closer=_closer(rows[position], pair),
            parts=_different(rows[position].parts, pair),
        )
        for position, ratio in chosen
    ]


def kind_totals(rows: Sequence[Row], pair: tuple[str, str], count: int) -> list[KindTotal]:
    """The ``count`` kinds of kernels on which the views of ``pair`` disagree most, in ms."""
    calls: dict[str, int] = defaultdict(int)
    times: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    difference: dict[str, float] = defaultdict(float)
    for row in rows:
        for part in row.parts:
            if part.kind == NOT_FOUND or not all(view in part.latency_ms for view in pair):
                continue
            calls[part.kind] += part.calls
            difference[part.kind] += _difference(part, pair)
            for view, ms in part.latency_ms.items():
                times[part.kind][view].append(ms)
    chosen = sorted(difference, key=lambda kind: (-difference[kind], kind))[:count]
    return [
        KindTotal(
            kind=kind,
            calls=calls[kind],
            latency_ms={view: math.fsum(values) for view, values in times[kind].items()},
        )
        for kind in chosen
    ]


def _closer(row: Row, pair: tuple[str, str]) -> str | None:
    errors = [row.error_percent(view) for view in pair]
    if errors[0] is None or errors[1] is None:
        return None
    return pair[0] if abs(errors[0]) <= abs(errors[1]) else pair[1]


def _different(parts: Sequence[Part], pair: tuple[str, str]) -> tuple[Part, ...]:
    told = [part for part in parts if all(view in part.latency_ms for view in pair)]
    return tuple(sorted(told, key=lambda part: -_difference(part, pair))[:_PARTS])


def _difference(part: Part, pair: tuple[str, str]) -> float:
    return abs(part.latency_ms[pair[0]] - part.latency_ms[pair[1]])
