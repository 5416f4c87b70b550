"""Where an estimate comes from: kernels by operator, and the known networks that it rests on."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from relay_frontend.fusion import kernels_of
from relay_frontend.graph import Operator, OpGraph
from relay_frontend.kernel import Kernel
from tvm_costmodel.estimates import Estimate
from tvm_costmodel.familiarity import KnownNetworks, Neighbour, profile
from tvm_costmodel.predictors.configurations import kernel_kind

_NEAREST = 10
_UNLIKE = 1.5  # times the usual distance; 99 % of the networks kept from training were nearer

UNKNOWN_NETWORKS = (
    "The checkpoint does not list the networks that it was trained on, so it is not known how near "
    "they are. Checkpoints that `tvm-costmodel train` writes now do: train it again"
)

ShareT = TypeVar("ShareT", "KernelShare", "TypeShare")


# --- What the latency is made of ----------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class KernelShare:
    """What one call of a kernel adds to the estimate.

    Args:
        kind: the operators that are fused into it, joined by ``_``.
        shape: of its first output.
        latency_ms: what it adds.
        percent: of the estimate.
        flops: floating-point operations.
        bytes: read and written.
        operators: their positions in the operator graph; empty where the compiler named the
            kernel, which does not tell.
    """

    kind: str
    shape: tuple[int, ...]
    latency_ms: float
    percent: float
    flops: int
    bytes: int
    operators: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class TypeShare:
    """What all operators of one type add to the estimate, with what is fused into them.

    Args:
        type: name of the operator that is the most work in its kernel (``conv2d``); of a kernel
            that a compiler named, its kind without what differs between compilers
            (``conv2d_add_relu``).
        count: kernels of the type.
        latency_ms: what they add together.
        percent: of the estimate.
    """

    type: str
    count: int
    latency_ms: float
    percent: float


@dataclass(frozen=True, kw_only=True)
class Contributions:
    """An estimate taken apart, twice; both sum to it.

    Args:
        kernels: each call of a kernel, the largest share first.
        types: the same by type, the largest share first.
    """

    kernels: tuple[KernelShare, ...]
    types: tuple[TypeShare, ...]


def of_operators(
    graph: OpGraph, groups: npt.NDArray[np.int64], latency_ms: npt.ArrayLike
) -> Contributions:
    """The contributions of the kernels that the operators of ``graph`` are fused into.

    What is fused runs as one loop, and is measured as one: how a predictor divides the time of a
    kernel among its operators says nothing, so that it is not told.

    Args:
        graph: the network.
        groups: the kernel of each operator, as :func:`relay_frontend.fusion.fuse` numbers them.
        latency_ms: what each operator adds, ``[num_nodes]``.
    """
    kernels = kernels_of(graph, groups)
    times = np.bincount(groups, weights=np.asarray(latency_ms, dtype=np.float64))
    types = [_principal([graph.operators[i] for i in kernel.operators]) for kernel in kernels]
    return _contributions(kernels, types, times.tolist())


def of_kernels(kernels: Sequence[Kernel], latency_ms: npt.ArrayLike) -> Contributions:
    """The contributions of ``kernels``, which add their times in ms, ``[num_kernels]``."""
    times = np.asarray(latency_ms, dtype=np.float64)
    return _contributions(kernels, [kernel_kind(kernel) for kernel in kernels], times.tolist())


def _principal(operators: Sequence[Operator]) -> str:
    """The one of most FLOPs; where none has any, of most bytes."""
    return max(operators, key=lambda o: (o.flops, o.read_bytes + o.param_bytes + o.write_bytes)).op


def _contributions(
    kernels: Sequence[Kernel], types: Sequence[str], times: Sequence[float]
) -> Contributions:
    total = math.fsum(times)
    to_percent = 100 / total if total else 0.0  # a model that has collapsed adds nothing
    shares = [
        KernelShare(
            kind=kernel.kind,
            shape=kernel.results[0].shape if kernel.results else (),
            latency_ms=time,
            percent=time * to_percent,
            flops=kernel.flops,
            bytes=kernel.read_bytes + kernel.write_bytes,
            operators=kernel.operators,
        )
        for kernel, time in zip(kernels, times, strict=True)
    ]
    by_type: dict[str, list[float]] = defaultdict(list)
    for type_, time in zip(types, times, strict=True):
        by_type[type_].append(time)
    sums = [
        TypeShare(
            type=type_,
            count=len(parts),
            latency_ms=math.fsum(parts),
            percent=math.fsum(parts) * to_percent,
        )
        for type_, parts in by_type.items()
    ]
    return Contributions(kernels=_largest_first(shares), types=_largest_first(sums))


def _largest_first(shares: Sequence[ShareT]) -> tuple[ShareT, ...]:
    return tuple(sorted(shares, key=lambda share: -share.latency_ms))


# --- What it rests on ---------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class FamilyGrounds:
    """A family of networks that a checkpoint was trained on.

    Args:
        family: its name.
        known: how many of its networks the checkpoint was trained on.
        near: how many of the nearest known networks are of it; None where that is not known.
        distance: to the nearest network of it, 1 being usual; None where that is not known.
        error_percent: mean error on networks of it that were kept from training; None where the
            checkpoint does not say.
    """

    family: str
    known: int
    near: int | None
    distance: float | None
    error_percent: float | None


@dataclass(frozen=True, kw_only=True)
class Grounds:
    """The known networks that an estimate rests on.

    Args:
        verdict: in words, how near they are.
        families: all that the checkpoint was trained on, those with most of the nearest networks
            first.
        nearest: the ten nearest networks, the nearest first; none where they are not known.
        unseen_error_percent: mean error on families that were kept from training altogether; None
            where the checkpoint does not say.
    """

    verdict: str
    families: tuple[FamilyGrounds, ...]
    nearest: tuple[Neighbour, ...]
    unseen_error_percent: float | None


def grounds(graph: OpGraph, known: KnownNetworks | None, description: Mapping[str, Any]) -> Grounds:
    """What an estimate for ``graph`` rests on.

    Args:
        graph: the network.
        known: what its checkpoint was trained on; None where that is not listed.
        description: ``training_data`` and ``metrics`` of the checkpoint.
    """
    metrics, data = description["metrics"], description["training_data"]
    errors = metrics.get("in_domain_by_family", {})
    unseen = metrics.get("out_of_family", {}).get("mape")
    counts: Mapping[str, int] = data.get("families", {})
    nearest: tuple[Neighbour, ...] = ()
    distances: dict[str, float] = {}
    if known is not None:
        values = profile(graph)
        nearest, counts = known.nearest(values, _NEAREST), Counter(known.families)
        for family, distance in zip(known.families, known.distances(values).tolist(), strict=True):
            distances[family] = min(distance, distances.get(family, distance))
    near = Counter(neighbour.family for neighbour in nearest)
    families = [
        FamilyGrounds(
            family=family,
            known=count,
            near=None if known is None else near[family],
            distance=distances.get(family),
            error_percent=errors.get(family, {}).get("mape"),
        )
        for family, count in counts.items()
    ]
    return Grounds(
        verdict=_verdict(nearest, unseen) if nearest else UNKNOWN_NETWORKS,
        families=tuple(sorted(families, key=lambda f: (-(f.near or 0), f.distance or 0, f.family))),
        nearest=nearest,
        unseen_error_percent=unseen,
    )


def _verdict(nearest: Sequence[Neighbour], unseen_error: float | None) -> str:
    name, distance = nearest[0].name, nearest[0].distance
    if distance == 0:
        return f"The checkpoint was trained on a network that looks the same, {name}"
    usual = "the usual distance, within which 95 % of the known networks have another one"
    if distance <= 1:
        return (
            "It is like networks that the checkpoint was trained on: "
            f"{name} is nearest, at {distance:.2f} of {usual}"
        )
    unlike = "unlike everything that" if distance > _UNLIKE else "rather unlike what"
    told = (
        f"It is {unlike} the checkpoint was trained on: {name} is nearest, at {distance:.2f} times "
        f"{usual}"
    )
    if unseen_error is None:
        return told
    return f"{told}. The mean error on families that it had not seen was {unseen_error:.0f} %"


# --- Both ---------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """An estimate, what it is made of, and what it rests on.

    Args:
        estimate: of the predictor; all else explains it.
        measured: the measurement, where the network was measured on the platform.
        contributions: what adds up to the estimate; None where the predictor does not tell.
        missing: why there are no contributions, and what to do; None where there are.
        grounds: the known networks that it rests on.
    """

    estimate: Estimate
    measured: Estimate | None
    contributions: Contributions | None
    missing: str | None
    grounds: Grounds
