"""What a comparison finds, network by network; plain values that its tables and report are made of.

A *view* is one answer to how long a network takes: that of a predictor, the sum of its own measured
kernels, its roofline, or its measured latency.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from tvm_costmodel import registry

MEASURED = "measured"
MEASURED_KERNELS = "measured-kernels"
ROOFLINE = "roofline"

_NAMES = {
    registry.NAR_FORMER_V2: "NAR-Former V2",
    registry.KERNEL_SUM: "kernel-sum",
    registry.BLEND: "blend of both",
    MEASURED_KERNELS: "measured kernels",
    ROOFLINE: "roofline",
    MEASURED: "measured",
}

KernelOrigin = Literal["compiler", "database", "guess"]
"""Who said which kernels a network has: the compiler, asked now; a build that a database remembers;
or fusion rules, without a compiler."""


def view_name(view: str) -> str:
    """The name of a view for people."""
    return _NAMES.get(view, view)


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """One predictor's answer for one network.

    Args:
        latency_ms: the estimate.
        time_ms: wall time from the ONNX model in memory to the estimate; None where not taken.
        kernels: where the kernels are from that it adds up; None where it asks for none.
        is_known: whether its checkpoint was trained on a network of this name; None where the
            checkpoint does not list them.
    """

    latency_ms: float
    time_ms: float | None = None
    kernels: KernelOrigin | None = None
    is_known: bool | None = None

    @property
    def needs_build(self) -> bool:
        """Whether the network has to pass a compiler first, even where a database remembers it."""
        return self.kernels in {"compiler", "database"}


@dataclass(frozen=True, kw_only=True)
class Part:
    """Equal kernels of a network, as far as all views can tell them apart.

    Args:
        kind: operators that they fuse, or in words what else it is.
        shape: of their result; empty where they have none, or several.
        calls: how many there are.
        latency_ms: what they add, by view; a view that does not tell has none.
    """

    kind: str
    shape: tuple[int, ...]
    calls: int
    latency_ms: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One network on one platform; latencies in ms, None where not to be had.

    Args:
        network: its name.
        family: what kind of network it is.
        platform: full name.
        operators: of its operator graph.
        kernels: calls of fused kernels in one inference; None where no predictor asked for them.
        predictions: by predictor.
        measured_ms: measured latency.
        noise: of that label, relative; see :class:`measure.records.Latency`.
        measuring_s: what its timing rounds took, and its build where that was recorded.
        measured_kernels_ms: the sum of its own measured kernels, each alone.
        roofline_ms: the least that its kernels' FLOPs and bytes take at the platform's peak.
        parts: what its latency is made of in the views that tell, the largest first.
        unknown_ops: operators outside of the vocabulary.
    """

    network: str
    family: str
    platform: str
    operators: int
    kernels: int | None
    predictions: Mapping[str, Prediction]
    measured_ms: float | None = None
    noise: float | None = None
    measuring_s: float | None = None
    measured_kernels_ms: float | None = None
    roofline_ms: float | None = None
    parts: tuple[Part, ...] = ()
    unknown_ops: tuple[str, ...] = ()

    def latency_ms(self, view: str) -> float | None:
        """The latency in a view; None where it has none."""
        if view == MEASURED:
            return self.measured_ms
        if view == MEASURED_KERNELS:
            return self.measured_kernels_ms
        if view == ROOFLINE:
            return self.roofline_ms
        prediction = self.predictions.get(view)
        return None if prediction is None else prediction.latency_ms

    def error_percent(self, view: str) -> float | None:
        """(latency in the view - measured) / measured in %; None where there is none of the two."""
        latency_ms = self.latency_ms(view)
        if latency_ms is None or self.measured_ms is None:
            return None
        return 100 * (latency_ms / self.measured_ms - 1)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """All rows, and what is to be known when reading them.

    Args:
        rows: platform by platform, in the order in which the networks were given.
        notes: sentences on a platform, by its name.
    """

    rows: tuple[Row, ...]
    notes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def platforms(self) -> list[str]:
        """Their names, in the order of the rows."""
        return list(dict.fromkeys(row.platform for row in self.rows))

    def on(self, platform: str) -> list[Row]:
        """The rows of a platform."""
        return [row for row in self.rows if row.platform == platform]


def views(rows: list[Row]) -> list[str]:
    """The views that any of ``rows`` has, predictors first, without the measured latency."""
    names = dict.fromkeys(name for row in rows for name in row.predictions)
    bounds = (MEASURED_KERNELS, ROOFLINE)
    return [*names, *(b for b in bounds if any(row.latency_ms(b) is not None for row in rows))]
