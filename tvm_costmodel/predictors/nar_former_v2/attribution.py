"""Learning from measured kernels what each kernel of a network contributes to its latency.

A latency says nothing of where it comes from; a network whose kernels were timed has tens of labels
more. The kernels of a build do not say which operators they are made of. They are found again by
what does not depend on layout: FLOPs and the number of elements of the result.

Shape suffixes: N nodes of all graphs, G graphs, K kernels of all graphs.
"""

# ruff: noqa: N803, N806 (shape suffixes)
from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from relay_frontend.fusion import kernels_of
from relay_frontend.kernel import NO_KERNEL, Kernel
from tvm_costmodel.learning.graphs import GraphBatch, IntArray, Ragged
from tvm_costmodel.learning.losses import LOSSES, LossName
from tvm_costmodel.predictors.base import FloatArray, Network
from tvm_costmodel.predictors.nar_former_v2.latency import sum_over_graphs
from tvm_costmodel.predictors.nar_former_v2.model import NarFormerV2

_CHANGE_OF_LAYOUT = "layout_transform"


class LatencyAndKernels:
    """The loss of each latency, and ``weight`` times how far the kernels are from their shares.

    The latter is, of a graph, the sum over what was measured of ``share (ŷ / y - 1)²``, where y is
    the measured share of some kernels times the latency of the graph, and ŷ the sum of the
    contributions of their operators. A kernel counts by its time, and a graph without measured
    kernels does not.

    Args:
        loss: of each latency.
        weight: of the kernels.
        measured: of each training graph, see :func:`measured_shares`.
    """

    def __init__(self, loss: LossName, weight: float, measured: Sequence[MeasuredShares]) -> None:
        self._loss = LOSSES[loss]
        self._weight = weight
        self._parts = [
            np.stack([shares.parts, shares.shares], axis=1).astype(np.float32)
            for shares in measured
        ]
        self._measured: Ragged | None = None

    def __call__(
        self,
        model: nn.Module,
        batch: GraphBatch,
        y_G: Tensor,
        index_G: Tensor,
        _: torch.Generator,
    ) -> Tensor:
        if self._measured is None or self._measured.device != y_G.device:
            self._measured = Ragged(self._parts, y_G.device)
        measured_K2, graph_K = self._measured.take(index_G)
        part_K, share_K = measured_K2.unbind(dim=1)
        sizes_G = torch.bincount(graph_K, minlength=len(y_G))
        part_K = part_K.long() + (sizes_G.cumsum(0) - sizes_G)[graph_K]
        contribution_N: Tensor = cast(NarFormerV2, model).contributions(batch).float()
        latency_loss = self._loss(sum_over_graphs(contribution_N, batch), y_G)
        assert batch.group_index_N is not None  # encoded with them where kernels have a weight
        part_N = part_K.index_select(0, batch.group_index_N)
        y_hat_K = torch.zeros_like(share_K).index_add(0, part_N, contribution_N)
        y_K = torch.where(share_K > 0, share_K * y_G[graph_K], 1.0)
        error_K = share_K * (y_hat_K / y_K - 1).square()
        return latency_loss + self._weight * error_K.sum() / len(y_G)


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
    operator joined or left. What runs between two that were found is shared by the kernels between
    them, such as the products and the softmax of an attention; a change of layout counts to the
    kernel that runs after it, which asked for it.

    Args:
        network: with the times of its kernels, or without.
        groups: the kernel of each operator, numbered from 0.
    """
    guessed = kernels_of(network.graph, groups)
    found = MeasuredShares(np.arange(len(guessed)), np.zeros(len(guessed)))
    if not network.kernels or network.kernel_ms is None:
        return found
    owners, is_exact = _owners(guessed, network.kernels)
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
            if before >= 0 and not is_exact[before]:
                found.shares[before] += times[[p for p in run if p not in changes]].sum()
        if after < len(guessed):
            found.shares[after] += times[position]
        before, run = after, []
    return found


def measured_rows(
    values_NK: FloatArray,
    groups: Sequence[IntArray],
    measured: Sequence[MeasuredShares],
    targets: FloatArray,
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """What was measured of some networks, part by part, or as a whole where no kernel was.

    Args:
        values_NK: of all operators of all networks, to be summed.
        groups: of each network, the kernel of each operator.
        measured: of each network.
        targets: latencies of the networks, ``[G]``.

    Returns:
        The sums ``[R, K]``, what they take ``[R]``, and their shares in their networks ``[R]``.
    """
    sums: list[FloatArray] = []
    times: list[FloatArray] = []
    weights: list[FloatArray] = []
    start = 0
    for group, shares, target in zip(groups, measured, targets, strict=True):
        values = values_NK[start : start + len(group)]
        start += len(group)
        known = np.flatnonzero(shares.shares)
        if not len(known):
            sums.append(values.sum(axis=0, keepdims=True))
            times.append(np.array([target]))
            weights.append(np.ones(1))
            continue
        parts = np.zeros((len(shares.parts), values.shape[1]))
        np.add.at(parts, shares.parts[group], values)
        sums.append(parts[known])
        times.append(shares.shares[known] * target)
        weights.append(shares.shares[known])
    return np.concatenate(sums), np.concatenate(times), np.concatenate(weights)


def _owners(
    guessed: Sequence[Kernel], measured: Sequence[Kernel]
) -> tuple[IntArray, npt.NDArray[np.bool_]]:
    """The guessed kernel of each measured one or -1, and which of the former are exactly alike."""
    owners = np.full(len(measured), -1)
    is_exact = np.zeros(len(guessed), dtype=bool)
    free = np.ones(len(guessed), dtype=bool)
    for key in (_exactly, _nearly):
        numbers_of = _positions(guessed, free, key)
        positions_of = _positions(measured, owners < 0, key)
        for alike in numbers_of.keys() & positions_of.keys():
            numbers, positions = numbers_of[alike], positions_of[alike]
            if len(numbers) == len(positions):
                owners[positions] = numbers
                free[numbers] = False
                is_exact[numbers] = key is _exactly
    return owners, is_exact


def _exactly(kernel: Kernel) -> tuple[int, int]:
    """FLOPs and elements of the results, which no layout changes."""
    return kernel.flops, sum(math.prod(result.shape) for result in kernel.results)


def _nearly(kernel: Kernel) -> tuple[int, int]:
    """The same for a kernel that an element-wise operator joined, or left for another kernel."""
    flops, elements = _exactly(kernel)
    return round(20 * math.log10(1 + flops)), elements


def _positions(
    kernels: Sequence[Kernel], chosen: npt.NDArray[np.bool_], key: Callable[[Kernel], Hashable]
) -> dict[Hashable, list[int]]:
    """Where the chosen ones among ``kernels`` are, by ``key``, in their order."""
    positions: dict[Hashable, list[int]] = defaultdict(list)
    for position in np.flatnonzero(chosen).tolist():
        kernel = kernels[position]
        if kernel.name != NO_KERNEL and kernel.kind != _CHANGE_OF_LAYOUT:
            positions[key(kernel)].append(position)
    return positions
