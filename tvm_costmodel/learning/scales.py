"""Scales that come from the training data and stay with the weights, as buffers."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

_LEAST_DEVIATION = 0.25


class Standardize(nn.Module):
    """Each feature less its mean and over its standard deviation on the training data."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(num_features))
        self.register_buffer("deviation", torch.ones(num_features))

    def calibrate(self, values: Tensor) -> None:
        """Take mean and deviation from ``values``, ``[num_rows, num_features]``.

        A feature that never varies becomes 0 for whatever value: its weights learn nothing, and an
        operator that is first met after training must not meet weights that were drawn at random.
        A rare one, such as the type of an operator that few networks have, is stretched by no more
        than 4.
        """
        rows = values.double()
        deviation = rows.std(dim=0, correction=0)
        self.mean.copy_(rows.mean(dim=0))
        stretched = deviation.clamp(min=_LEAST_DEVIATION)
        self.deviation.copy_(torch.where(deviation > 1e-6, stretched, torch.inf))

    def forward(self, x: Tensor) -> Tensor:
        """Standardized ``x``, ``[..., num_features]``."""
        return (x - self.mean) / self.deviation


def output_scale(targets: npt.ArrayLike) -> float:
    """The unit of a positive output such as ``-logsigmoid``: the first percentile of the targets.

    A fresh head answers about 0.7 for every network. The ratio loss is lopsided: a prediction 100
    times too high costs 10^4, one of 0 costs 1. Were the scale in the middle of targets that span
    decades, the first steps would push every prediction down into the flat tail of
    ``-logsigmoid``, where the gradient vanishes and the loss stays at 1. From below almost all
    targets the first steps push up, along its linear part; the percentile, unlike the minimum, does
    not hang on a single target.
    """
    return float(np.percentile(np.asarray(targets, dtype=np.float64), 1))
