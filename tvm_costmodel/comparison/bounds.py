"""The roofline of a network: what its FLOPs and bytes take at the peak of its platform.

Williams, Waterman and Patterson, Roofline, CACM 2009. A kernel takes at least its FLOPs over the
peak of arithmetic, and at least its bytes over the peak of memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from relay_frontend.kernel import NO_KERNEL, Kernel

_PARTIAL = frozenset({"take", "gather", "slice", "split"})
"""Words of kernels that may compute or read a part of their arguments only."""


@dataclass(frozen=True, kw_only=True)
class Peak:
    """The best that any measured kernel of a platform reached, for want of a measured peak.

    The fastest bytes are those of tensors that caches hold, so that the bound holds for them too.

    Args:
        flops_per_ms: floating-point operations in a millisecond.
        bytes_per_ms: bytes read and written in a millisecond.
        kernels: distinct calls that it was found among.
    """

    flops_per_ms: float
    bytes_per_ms: float
    kernels: int


def best_reached(timed: Iterable[tuple[Kernel, float]]) -> Peak | None:
    """The peak that ``timed`` kernels show, each with its time in ms; None where none does."""
    flops = moved = 0.0
    count = 0
    for kernel, ms in timed:
        if ms <= 0 or not _runs(kernel) or _is_partial(kernel):
            continue
        count += 1
        flops = max(flops, kernel.flops / ms)
        moved = max(moved, _bytes(kernel) / ms)
    return Peak(flops_per_ms=flops, bytes_per_ms=moved, kernels=count) if flops and moved else None


def roofline_ms(kernels: Sequence[Kernel], peak: Peak) -> float:
    """The least time in ms that ``kernels`` take one after the other."""
    return sum(_least_ms(kernel, peak) for kernel in kernels if _runs(kernel))


def _least_ms(kernel: Kernel, peak: Peak) -> float:
    if _is_partial(kernel):
        return kernel.write_bytes / peak.bytes_per_ms
    return max(kernel.flops / peak.flops_per_ms, _bytes(kernel) / peak.bytes_per_ms)


def _runs(kernel: Kernel) -> bool:
    return kernel.name != NO_KERNEL


def _is_partial(kernel: Kernel) -> bool:
    return not _PARTIAL.isdisjoint(kernel.kind.split("_"))


def _bytes(kernel: Kernel) -> int:
    return kernel.read_bytes + kernel.write_bytes
