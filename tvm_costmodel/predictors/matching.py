"""Finding what measured kernels say of the kernels that fusion gives.

The kernels of a build do not say which operators they are made of, and a compiler fuses, splits and
orders them its own way. They are found again by what does not depend on layout: the kind of their
main operator, FLOPs, and the number of elements of the result.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from relay_frontend.fusion import kernels_of
from relay_frontend.kernel import NO_KERNEL, Kernel
from tvm_costmodel.predictors.base import FloatArray, Network

IntArray = npt.NDArray[np.int64]

_CHANGE_OF_LAYOUT = "layout_transform"
_CONVOLUTION, _PRODUCT, _BATCHED, _SOFTMAX = "conv", "dense", "batch_matmul", "softmax"


@dataclass(frozen=True, eq=False, slots=True)
class MeasuredShares:
    """What measured kernels say of the kernels of :func:`relay_frontend.fusion.fuse`.

    Several of those may be known by what they take together.

    Args:
        parts: the part that each kernel belongs to, ``[num_kernels]``: the number of its first
            kernel.
        shares: of each part in the time of all kernels, at the number of its first kernel, 0 to 1;
            0 where nothing is known, and at the other kernels of a part.
    """

    parts: IntArray
    shares: FloatArray


def measured_shares(network: Network, groups: IntArray) -> MeasuredShares:
    """Find the kernels of ``groups`` among the measured ones of ``network``.

    Equal FLOPs and results make equal kernels, and nearly equal ones kernels that an element-wise
    operator joined or left; the products and the softmax of an attention are kernels of their own.
    What runs between two that were found is shared by the kernels between them, such as the parts
    of a normalization; a change of layout counts to the kernel that runs after it, which asked for
    it.

    Args:
        network: with the times of its kernels, or without.
        groups: the kernel of each operator, numbered from 0.
    """
    guessed = kernels_of(network.graph, groups)
    found = MeasuredShares(np.arange(len(guessed)), np.zeros(len(guessed)))
    if not network.kernels or network.kernel_ms is None:
        return found
    owners, is_whole = _owners(guessed, network.kernels)
    times = network.kernel_ms / np.sum(network.kernel_ms)
    free = np.ones(len(guessed), dtype=bool)
    free[owners[owners >= 0]] = False
    before, run = -1, list[int]()
    for position in range(len(owners) + 1):
        after = len(guessed) if position == len(owners) else int(owners[position])
        if after < 0:
            run.append(position)
            continue
        changes = [p for p in run if network.kernels[p].kind == _CHANGE_OF_LAYOUT]
        between = [k for k in range(before + 1, after) if free[k]]
        if between and len(changes) < len(run):
            found.parts[between] = between[0]
            found.shares[between[0]] = times[run].sum()
            free[between] = False
        else:
            if after < len(guessed):
                found.shares[after] += times[changes].sum()
            if before >= 0 and not is_whole[before]:
                found.shares[before] += times[[p for p in run if p not in changes]].sum()
        if after < len(guessed):
            found.shares[after] += times[position]
        before, run = after, []
    return found


@dataclass(frozen=True, eq=False, slots=True)
class _Mark:
    """What a kernel is known by; equal to itself alone.

    Args:
        kernel: its position.
        kind: of its main operator, empty where it is none of those that are told apart.
        flops: its FLOPs.
        elements: of its results.
        whole: whether it is all that the kernel is.
    """

    kernel: int
    kind: str
    flops: int
    elements: int
    whole: bool = True


def _owners(
    guessed: Sequence[Kernel], measured: Sequence[Kernel]
) -> tuple[IntArray, npt.NDArray[np.bool_]]:
    """The guessed kernel of each measured one or -1, and which of the former are wholly found."""
    owners = np.full(len(measured), -1)
    is_whole = np.zeros(len(guessed), dtype=bool)
    expected = [mark for i, kernel in enumerate(guessed) for mark in _expected(i, kernel)]
    seen = [_mark(i, kernel) for i, kernel in enumerate(measured) if _is_computed(kernel)]
    for key in (_exactly, _nearly, _by_kind):
        found = set[_Mark]()
        for mine, its in _pairs(_by(key, expected), _by(key, seen)):
            owners[its.kernel] = mine.kernel
            is_whole[mine.kernel] = mine.whole and key is _exactly
            found.update((mine, its))
        expected = [mark for mark in expected if mark not in found]
        seen = [mark for mark in seen if mark not in found]
    return owners, is_whole


def _expected(position: int, kernel: Kernel) -> list[_Mark]:
    """What shows a guessed kernel among measured ones: an attention by its products and softmax."""
    if "attention" not in kernel.kind or len(kernel.arguments) < 3:
        return [_mark(position, kernel)] if _is_computed(kernel) else []
    query, key, value = (argument.shape for argument in kernel.arguments[:3])
    queries = math.prod(query[:-1])
    scores = queries * key[-2]
    return [
        _Mark(position, _BATCHED, 2 * scores * query[-1], scores, whole=False),
        _Mark(position, _SOFTMAX, 0, scores, whole=False),
        _Mark(position, _BATCHED, 2 * scores * value[-1], queries * value[-1], whole=False),
    ]


def _is_computed(kernel: Kernel) -> bool:
    return kernel.name != NO_KERNEL and kernel.kind != _CHANGE_OF_LAYOUT


def _mark(position: int, kernel: Kernel) -> _Mark:
    elements = sum(math.prod(result.shape) for result in kernel.results)  # which no layout changes
    return _Mark(position, _kind(kernel), kernel.flops, elements)


def _kind(kernel: Kernel) -> str:
    for kind in (_CONVOLUTION, _BATCHED, _SOFTMAX, _PRODUCT):
        if kind in kernel.kind:
            return kind
    if "matmul" not in kernel.kind:
        return ""
    is_batched = len(kernel.arguments) > 1 and len(kernel.arguments[1].shape) > 2
    return _BATCHED if is_batched else _PRODUCT


def _exactly(mark: _Mark) -> Hashable:
    return mark.kind, mark.flops, mark.elements


def _nearly(mark: _Mark) -> Hashable:
    """The same for a kernel that an element-wise operator joined, or left for another kernel."""
    return mark.kind, round(20 * math.log10(1 + mark.flops)), mark.elements


def _by_kind(mark: _Mark) -> Hashable:
    return (mark.kind, mark.elements) if mark.kind else mark


def _by(key: Callable[[_Mark], Hashable], marks: Sequence[_Mark]) -> dict[Hashable, list[_Mark]]:
    alike: dict[Hashable, list[_Mark]] = defaultdict(list)
    for mark in marks:
        alike[key(mark)].append(mark)
    return alike


def _pairs(
    expected: dict[Hashable, list[_Mark]], seen: dict[Hashable, list[_Mark]]
) -> Iterator[tuple[_Mark, _Mark]]:
    """Those with equal keys in their order, where there are as many of them on both sides."""
    for key in expected.keys() & seen.keys():
        if len(expected[key]) == len(seen[key]):
            yield from zip(expected[key], seen[key], strict=True)
