"""What the latency of a network is beside the times of its kernels alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass

import numpy as np

from tvm_costmodel.predictors.base import FloatArray
from tvm_costmodel.predictors.rates import fit_rates_robustly


@dataclass(frozen=True)
class Overheads:
    """A latency as a linear function of the sum of kernels and of their number.

    Args:
        factor: of the times of kernels that ran alone, whose data lay elsewhere in the caches.
        call_ms: of each call.
        network_ms: of each run of a network.
    """

    factor: float = 1.0
    call_ms: float = 0.0
    network_ms: float = 0.0

    @classmethod
    def fit(cls, kernels_ms: Sequence[FloatArray], latencies_ms: FloatArray) -> Overheads:
        """Those with the least absolute relative errors; none is negative.

        Args:
            kernels_ms: times of the kernels of each network, ``[num_kernels]``.
            latencies_ms: of the networks, ``[num_networks]``.
        """
        costs = np.array([(times.sum(), len(times), 1.0) for times in kernels_ms])
        return cls(*fit_rates_robustly(costs, latencies_ms).tolist())

    def contributions(self, times_ms: FloatArray) -> FloatArray:
        """What each call adds to the latency of a network in ms, ``[num_kernels]``.

        Args:
            times_ms: of all its kernels alone, ``[num_kernels]``.
        """
        factor, call_ms, network_ms = astuple(self)
        added: FloatArray = factor * times_ms + call_ms + network_ms / max(len(times_ms), 1)
        return added
