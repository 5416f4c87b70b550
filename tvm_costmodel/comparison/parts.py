"""What a network's latency is made of in several views, told of the same kernels.

The learned predictor speaks of operators, kernel-sum and measurements of the kernels that a
compiler made. They meet at the kernels that fusion rules give, by which both are known
(:mod:`tvm_costmodel.predictors.matching`); of several it may be known only what they take
together.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from relay_frontend.fusion import fuse
from relay_frontend.graph import OpGraph
from relay_frontend.kernel import Kernel
from tvm_costmodel.comparison.records import Part
from tvm_costmodel.predictors.base import FloatArray, Network
from tvm_costmodel.predictors.configurations import guess_kernels, kernel_kind
from tvm_costmodel.predictors.matching import measured_shares

NOT_FOUND = "kernels without a match"
OTHERS = "others"

_LONGEST_KIND = 48


def parts_of(
    graph: OpGraph,
    operators_ms: Mapping[str, FloatArray],
    kernels_ms: Mapping[str, tuple[Sequence[Kernel], FloatArray]],
    guessed_ms: Mapping[str, FloatArray] | None = None,
) -> tuple[Part, ...]:
    """The parts of a network, equal ones as one, the largest first.

    Args:
        graph: the network.
        operators_ms: by view, what each operator adds, ``[num_operators]``.
        kernels_ms: by view, a build's kernel calls and what each adds, ``[num_kernels]``.
        guessed_ms: by view, what each kernel adds that fusion gives, ``[num_fused]``.
    """
    groups = fuse(graph)
    fused = guess_kernels(graph)
    owners = np.arange(len(fused), dtype=np.int64)
    times: dict[str, FloatArray] = {}
    missed: dict[str, float] = {}
    for view, (kernels, kernel_ms) in kernels_ms.items():
        network = _with_kernels(graph, kernels, kernel_ms)
        found = measured_shares(network, groups)
        total = float(kernel_ms.sum())
        times[view] = found.shares * total
        missed[view] = total * (1 - float(found.shares.sum()))
        owners = _joined(owners, found.parts)
    for view, operator_ms in operators_ms.items():
        sums = np.bincount(groups, weights=operator_ms, minlength=len(fused))
        times[view] = sums.astype(np.float64)
    times.update(guessed_ms or {})
    parts = _alike(fused, owners, times)
    if any(abs(ms) > 1e-6 for ms in missed.values()):
        parts.append(Part(kind=NOT_FOUND, shape=(), calls=0, latency_ms=missed))
    return tuple(sorted(parts, key=lambda part: -max(part.latency_ms.values(), default=0.0)))


def largest(parts: Sequence[Part], count: int) -> tuple[Part, ...]:
    """The ``count`` first of ``parts``, and the rest as one."""
    shown, rest = parts[:count], parts[count:]
    if not rest:
        return tuple(shown)
    times: dict[str, list[float]] = defaultdict(list)
    for part in rest:
        for view, ms in part.latency_ms.items():
            times[view].append(ms)
    sums = {view: math.fsum(values) for view, values in times.items()}
    calls = sum(part.calls for part in rest)
    return (*shown, Part(kind=OTHERS, shape=(), calls=calls, latency_ms=sums))


def _with_kernels(graph: OpGraph, kernels: Sequence[Kernel], times: FloatArray) -> Network:
    return Network(
        name="", family="", platform="", graph=graph, kernels=tuple(kernels), kernel_ms=times
    )


def _joined(owners: npt.NDArray[np.int64], parts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The parts into which the union of two divisions falls, each known by its first kernel."""
    result = owners.copy()
    for kernel, part in enumerate(parts.tolist()):
        low, high = sorted((int(result[kernel]), int(result[part])))
        result[result == high] = low
    return result


def _alike(
    fused: Sequence[Kernel], owners: npt.NDArray[np.int64], times: Mapping[str, FloatArray]
) -> list[Part]:
    """Parts of equal kind, shape and FLOPs as one."""
    members: dict[int, list[int]] = defaultdict(list)
    for kernel, owner in enumerate(owners.tolist()):
        members[owner].append(kernel)
    alike: dict[tuple[str, tuple[int, ...], int], list[list[int]]] = defaultdict(list)
    for part in members.values():
        main = max((fused[k] for k in part), key=lambda k: (k.flops, k.read_bytes + k.write_bytes))
        shape = main.results[0].shape if main.results else ()
        flops = sum(fused[k].flops for k in part)
        alike[_kind(main, len(part)), shape, flops].append(part)
    return [
        Part(
            kind=kind,
            shape=shape,
            calls=len(parts),
            latency_ms={
                view: math.fsum(values[k] for part in parts for k in part)
                for view, values in times.items()
            },
        )
        for (kind, shape, _), parts in alike.items()
    ]


def _kind(main: Kernel, count: int) -> str:
    kind = kernel_kind(main)
    if len(kind) > _LONGEST_KIND:
        kind = kind[: _LONGEST_KIND - 1] + "…"
    return kind if count == 1 else f"{kind} and {count - 1} more"
