"""Learning from measured kernels what each kernel of a network contributes to its latency.

A latency says nothing of where it comes from; a network whose kernels were timed has tens of labels
more.

Shape suffixes: N nodes of all graphs, G graphs, K kernels of all graphs.
"""

# ruff: noqa: N803, N806 (shape suffixes)
from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from relay_frontend.errors import InputError
from tvm_costmodel.learning.graphs import GraphBatch, IntArray, Ragged
from tvm_costmodel.learning.losses import LOSSES, LossName
from tvm_costmodel.predictors.base import FloatArray
from tvm_costmodel.predictors.matching import MeasuredShares
from tvm_costmodel.predictors.nar_former_v2.latency import sum_over_graphs
from tvm_costmodel.predictors.nar_former_v2.model import NarFormerV2


class LatencyAndKernels:
    """The loss of each latency, and ``weight`` times how far the kernels are from their shares.

    The latter is, of a graph, the sum over what was measured of ``share (ŷ / y - 1)²``, where y is
    the measured share of some kernels times the latency of the graph, and ŷ the sum of the
    contributions of their operators. A kernel counts by its time, and a graph without measured
    kernels does not.

    Args:
        loss: of each latency.
        weight: of the kernels.
        measured: of each training graph, see :mod:`tvm_costmodel.predictors.matching`.
        shrinkage: weight of the squared logarithm of what an operator contributes over its prior,
            mean over the operators. Only the sum of a kernel's operators is known, so that an
            activation could take what its convolution does, and would then be dear alone too.

    Raises:
        InputError: when it is called, the model is one that ``torch.compile`` has made.
    """

    def __init__(
        self,
        loss: LossName,
        weight: float,
        measured: Sequence[MeasuredShares],
        shrinkage: float = 0.0,
    ) -> None:
        self._loss = LOSSES[loss]
        self._weight = weight
        self._shrinkage = shrinkage
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
        if hasattr(model, "_orig_mod"):
            # Torch compiles the forward pass alone, which is not asked here.
            raise InputError(
                "compile=true does nothing where contributions of operators are learned: leave it "
                "out, or learn latencies alone, with kernel_weight=0 and shrinkage=0"
            )
        if self._measured is None or self._measured.device != y_G.device:
            self._measured = Ragged(self._parts, y_G.device)
        measured_K2, graph_K = self._measured.take(index_G)
        part_K, share_K = measured_K2.unbind(dim=1)
        sizes_G = torch.bincount(graph_K, minlength=len(y_G))
        part_K = part_K.long() + (sizes_G.cumsum(0) - sizes_G)[graph_K]
        factor_N, prior_N = cast(NarFormerV2, model).factors(batch)
        contribution_N = factor_N * prior_N
        latency_loss = self._loss(sum_over_graphs(contribution_N, batch), y_G)
        assert batch.group_index_N is not None  # encoded with them where kernels have a weight
        part_N = part_K.index_select(0, batch.group_index_N)
        y_hat_K = torch.zeros_like(share_K).index_add(0, part_N, contribution_N)
        y_K = torch.where(share_K > 0, share_K * y_G[graph_K], 1.0)
        error_K = share_K * (y_hat_K / y_K - 1).square()
        loss = latency_loss + self._weight * error_K.sum() / len(y_G)
        if self._shrinkage:
            loss = loss + self._shrinkage * _squared_logarithm(factor_N, prior_N > 0)
        return loss


def _squared_logarithm(factor_N: Tensor, counts_N: Tensor) -> Tensor:
    """Mean over all nodes, of those that count; a factor below a thousandth counts as that."""
    return torch.where(counts_N, factor_N.clamp(min=1e-3), 1.0).log().square().mean()


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
