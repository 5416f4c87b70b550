"""Comparisons that are made up, for tests of what is made of them."""

from __future__ import annotations

import numpy as np

from tvm_costmodel.comparison import Comparison, Part, Prediction, Row
from tvm_costmodel.comparison.parts import largest

PLATFORM = "testium-1c/tvm-relay/llvm/t1/float32"
LEARNED, KERNEL_SUM, KERNELS = "nar-former-v2", "kernel-sum", "measured-kernels"


def part(kind: str, shape: tuple[int, ...], calls: int, *latency_ms: float) -> Part:
    return Part(
        kind=kind,
        shape=shape,
        calls=calls,
        latency_ms=dict(zip((LEARNED, KERNEL_SUM, KERNELS), latency_ms, strict=False)),
    )


def row(
    name: str, family: str, learned: float, kernel_sum: float, measured: float | None, *parts: Part
) -> Row:
    """A row whose measured kernels take 2 % more than the network, and its roofline half of it."""
    return Row(
        network=name,
        family=family,
        platform=PLATFORM,
        operators=10 * len(name),
        kernels=7,
        predictions={
            LEARNED: Prediction(latency_ms=learned, time_ms=5.0, is_known=False),
            KERNEL_SUM: Prediction(
                latency_ms=kernel_sum, time_ms=800.0, kernels="compiler", is_known=family == "vgg"
            ),
        },
        measured_ms=measured,
        noise=None if measured is None else 0.01 * len(family),
        measuring_s=None if measured is None else 3.0,
        measured_kernels_ms=None if measured is None else 1.02 * measured,
        roofline_ms=None if measured is None else 0.5 * measured,
        parts=parts,
    )


def small() -> Comparison:
    """Six networks of three families, one of them not measured, two of the same name."""
    conv, dense = ("conv2d_add_relu", (1, 64, 56, 56)), ("dense_add", (1, 1000))
    attention = ("attention", (1, 8, 196, 64))
    return Comparison(
        rows=(
            row("vgg-0", "vgg", 10.5, 9.0, 10.0, part(*conv, 8, 9.0, 8.0, 8.7),
                part(*dense, 1, 1.5, 1.0, 1.5)),
            row("vgg-0", "vgg", 21.0, 24.0, 20.0, part(*conv, 8, 20.0, 23.0, 19.0)),
            row("vit-0", "vit", 90.0, 33.0, 30.0, part(*attention, 12, 80.0, 25.0, 24.0),
                part(*dense, 1, 10.0, 8.0, 6.6)),
            row("vit-1", "vit", 4.1, 4.4, 4.0, part(*attention, 6, 4.1, 4.4, 4.08)),
            row('mine <&> "</script>"', "file", 7.0, 8.0, 7.5),
            row("other", "file", 3.0, 2.0, None, part(*dense, 2, 3.0, 2.0)),
        ),
        notes={PLATFORM: ("A sentence on the platform.",)},
    )  # fmt: skip


def synthetic(count: int) -> Comparison:
    """So many networks with as many parts as real ones have, the same in every process."""
    rng = np.random.default_rng(0)
    rows = []
    for i in range(count):
        measured = float(np.exp(rng.normal(2, 1.5)))
        times = measured * rng.dirichlet(np.ones(30), 3).T
        parts = [
            part("conv2d_add_relu", (1, 8 * i + j, 28, 28), j + 1, *t) for j, t in enumerate(times)
        ]
        errors = np.exp(rng.normal(0, 0.1, 2))
        family = f"family{i % 15}"
        name = f"{family}-standard-{i:05d}"
        rows.append(row(name, family, measured * errors[0], measured * errors[1], measured, *parts))
    assert all(len(largest(r.parts, 12)) == 13 for r in rows)
    return Comparison(rows=tuple(rows))
