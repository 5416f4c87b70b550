"""Write what kernel-sum is off kernel by kernel, and what sums are off networks, as Markdown.

    .venv/bin/python tools/kernel_errors.py 'data/v1[kernels=true]' tvm-relay > kernels.md

In domain, as ``tvm-costmodel evaluate --protocol in-domain`` divides the networks, one fit. Beside
the errors stands what equal kernels of different networks differ by, in their measured times: no
predictor that sees a kernel alone can tell them apart. So stand the errors against the median of
equal kernels, which is a better label than the time of one call, where enough of them were timed.
"""

from __future__ import annotations

import itertools
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from relay_frontend.kernel import Kernel
from tvm_costmodel.datasets import open_dataset
from tvm_costmodel.evaluation.conditions import conditions
from tvm_costmodel.evaluation.protocols import InDomain, describe
from tvm_costmodel.predictors.base import FloatArray, Network
from tvm_costmodel.predictors.configurations import kernel_kind
from tvm_costmodel.predictors.kernel_sum import KernelSum

_BOUNDS_MS = (0.0, 0.01, 0.1, 1.0, float("inf"))
_KINDS = 12
_MANY = 5
"""Calls of equal kernels whose median is taken for what such a kernel takes."""


def lines(data: str, platform: str) -> Iterator[str]:
    """The lines of the page."""
    dataset = open_dataset(data, [platform])
    split = InDomain().splits(dataset)[0]
    learned, tested = dataset.subset(split.train), dataset.subset(split.test)
    predictor = KernelSum()
    predictor.fit(learned.inputs, learned.targets)
    kernels, times = calls(tested.inputs)
    predicted = predictor.predict_kernels(kernels)
    known = medians(*calls(learned.inputs), kernels)
    settled = medians(*calls(dataset.inputs), kernels, at_least=_MANY)
    yield (
        f"{len(kernels):,} kernel calls of {len(tested)} tested networks, learned from those of "
        f"{len(learned)}; errors in %. *By time*: each call counts as much as it takes. *Equal*: "
        "the median time of equal kernels (kind, types, FLOPs) of learned networks, where there is "
        "any, as the prediction. *Against medians*: the error against the median time of equal "
        f"kernels of all networks, tested ones too, where there are {_MANY} or more calls of them."
    )
    yield from kernel_table(kernels, times, predicted, known, settled)
    yield ""
    yield "What the sum of measured kernels, each alone, is of the latency of its network:"
    yield from sum_table(dataset.inputs, dataset.targets)
    yield ""
    facts = conditions()
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    yield (
        f"Platform `{dataset.platforms[0]}`, data set `{dataset.name}` (digest "
        f"`{dataset.digest[:12]}`), {describe(InDomain())}, part 1, seed 0; run on "
        f"{facts['cores']} cores of {facts['cpu']}, {versions}."
    )


def calls(networks: Sequence[Network]) -> tuple[list[Kernel], FloatArray]:
    """All kernel calls and their measured times in ms, ``[num_kernels]``."""
    kernels = [kernel for network in networks for kernel in network.kernels or ()]
    return kernels, np.concatenate([network.kernel_ms for network in networks])


def medians(
    kernels: Sequence[Kernel], times: FloatArray, wanted: Sequence[Kernel], at_least: int = 1
) -> FloatArray:
    """The median time of the kernels that are equal to each of ``wanted``; NaN where are fewer."""
    known = defaultdict(list)
    for kernel, time in zip(kernels, times, strict=True):
        known[_unnamed(kernel)].append(time)
    found = {kernel: np.median(equal) for kernel, equal in known.items() if len(equal) >= at_least}
    return np.array([found.get(_unnamed(kernel), np.nan) for kernel in wanted])


def _unnamed(kernel: Kernel) -> Kernel:
    return replace(kernel, name="", operators=())


def kernel_table(
    kernels: Sequence[Kernel],
    times: FloatArray,
    predicted: FloatArray,
    known: FloatArray,
    settled: FloatArray,
) -> Iterator[str]:
    """All calls, calls by how long they take, and the kinds that take the most time."""
    kinds = np.array([kernel_kind(kernel) or "layout" for kernel in kernels])
    by_time = sorted(set(kinds.tolist()), key=lambda kind: -times[kinds == kind].sum())
    groups = {"all": np.ones(len(times), dtype=bool)}
    for low, high in itertools.pairwise(_BOUNDS_MS):
        name = f"{low:g} to {high:g} ms" if np.isfinite(high) else f"from {low:g} ms on"
        groups[name] = (times >= low) & (times < high)
    groups |= {f"`{kind}`": kinds == kind for kind in by_time[:_KINDS]}
    yield ""
    columns = "calls | share of time | MAPE | median | by time"
    others = "MAPE | median | calls"
    yield f"| kernels | {columns} | equal: {others} | against medians: {others} |"
    yield "|---" * 12 + "|"
    for name, chosen in groups.items():
        error = 100 * np.abs(predicted / times - 1)[chosen]
        share = 100 * times[chosen].sum() / times.sum()
        weighted = np.average(error, weights=times[chosen])
        equal = _figures((known / times)[chosen])
        against = _figures((predicted / settled)[chosen])
        yield (
            f"| {name} | {chosen.sum():,} | {share:.0f} | {error.mean():.1f} | "
            f"{np.median(error):.1f} | {weighted:.1f} | {equal} | {against} |"
        )


def _figures(ratios: FloatArray) -> str:
    """Mean and median error in %, and how many there are, of those that are known."""
    error = 100 * np.abs(ratios[np.isfinite(ratios)] - 1)
    there = f"{error.mean():.1f} | {np.median(error):.1f}" if len(error) else "- | -"
    return f"{there} | {len(error):,}"


def sum_table(networks: Sequence[Network], latencies: FloatArray) -> Iterator[str]:
    """By family: median of sum over latency, and the mean absolute error of the sum."""
    ratio = np.array([n.kernel_ms.sum() for n in networks if n.kernel_ms is not None]) / latencies
    families = np.array([network.family for network in networks])
    yield ""
    yield "| family | networks | sum over latency, median | MAPE % |"
    yield "|---|---|---|---|"
    for name in ("all", *sorted(set(families.tolist()))):
        own = ratio[families == name] if name != "all" else ratio
        yield f"| {name} | {len(own)} | {np.median(own):.3f} | {100 * np.abs(own - 1).mean():.1f} |"


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: kernel_errors.py DATA PLATFORM")
    print("\n".join(lines(*sys.argv[1:])))
