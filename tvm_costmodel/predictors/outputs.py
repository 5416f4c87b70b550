"""How the number that a baseline's network ends in becomes a latency or an accuracy.

Shape suffixes: G graphs.
"""

# ruff: noqa: N803 (shape suffixes)
from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from tvm_costmodel.learning.scales import output_scale
from tvm_costmodel.predictors.base import FloatArray

_EDGE = 1e-3  # accuracies are kept so far from 0 and 1 where their logits are taken


class LatencyOutput(nn.Module):
    """``-logsigmoid(x)`` in units of a scale: positive, and linear where it is large.

    The head of NNLQP (Liu et al., ICPP 2022), which its baselines share here.
    """

    scale: Tensor

    def __init__(self, num_platforms: int = 1) -> None:
        super().__init__()
        self.register_buffer("scale", torch.ones(num_platforms))

    def calibrate(self, targets: FloatArray, domain_G: Tensor) -> None:
        """Take each platform's unit from its latencies, ``[num_graphs]`` in ms."""
        for platform in range(len(self.scale)):
            own = targets[domain_G.cpu().numpy() == platform]
            self.scale[platform] = output_scale(own if len(own) else targets)

    def forward(self, x_G: Tensor, domain_G: Tensor | None = None) -> Tensor:
        """Latencies in ms, ``[G]``; without ``domain_G`` in the unit of the first platform."""
        unit = self.scale[0] if domain_G is None else self.scale[domain_G]
        return -functional.logsigmoid(x_G) * unit


class AccuracyOutput(nn.Module):
    """``sigmoid(mean + deviation x)``: between 0 and 1, and the training set's average at first.

    Mean and deviation are those of the logits of the training targets, which lie in a small part
    of the range, so that a network need not spend its first epochs on getting there.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("deviation", torch.ones(()))

    def calibrate(self, targets: FloatArray) -> None:
        """Take mean and deviation from accuracies, ``[num_graphs]``."""
        inside = np.clip(targets, _EDGE, 1 - _EDGE)
        logits = np.log(inside / (1 - inside))
        self.mean.fill_(float(logits.mean()))
        self.deviation.fill_(max(float(logits.std()), _EDGE))

    def forward(self, x_G: Tensor) -> Tensor:
        """Accuracies, ``[G]``."""
        return torch.sigmoid(self.mean + self.deviation * x_G)
