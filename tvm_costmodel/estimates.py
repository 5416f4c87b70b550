"""What the cost model answers: a latency with its interval, and where it comes from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A latency of one inference of the whole batch.

    Args:
        latency_ms: the estimate.
        low_ms: lower end of the interval that held 80 % of the networks kept from training; of a
            measurement, the least label of a round, or what 80 % of the samples of an only round
            lie within.
        high_ms: its upper end. Networks unlike all of them may well lie outside.
        source: ``nar-former-v2``, ``kernel-sum`` or ``measured``.
        platform: name of the platform that it is for.
        checkpoint: what made it: predictor, training set and version, or the timing protocol.
        digest: of the network's operator graph.
        unknown_ops: operators outside of the vocabulary, which make the estimate less certain.
        unlearned_ops: operators of the vocabulary that no training network has; they are estimated
            as others of their category, which is less certain too.
    """

    latency_ms: float
    low_ms: float
    high_ms: float
    source: str
    platform: str
    checkpoint: str
    digest: str
    unknown_ops: tuple[str, ...] = ()
    unlearned_ops: tuple[str, ...] = ()
