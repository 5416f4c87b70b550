"""Which of several variants of a network is the fastest, told before any of them is built."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from relay_frontend import load
from relay_frontend.errors import InputError
from tvm_costmodel.cost_model import CostModel
from tvm_costmodel.estimates import Estimate


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One variant.

    Args:
        name: its key among the variants.
        estimate: of one inference of its whole batch.
        cost_ms: what it is ranked by: the latency, or the latency of one sample of its batch.
        within_error: whether its difference from the best one is within the error of the estimates,
            so that only a measurement can tell. Always of the best one itself.
    """

    name: str
    estimate: Estimate
    cost_ms: float
    within_error: bool


@dataclass(frozen=True)
class Choice:
    """Variants, the fastest first; of equally fast ones the first by name."""

    candidates: tuple[Candidate, ...]

    @property
    def best(self) -> Candidate:
        """The fastest by its estimate."""
        return self.candidates[0]

    @property
    def is_certain(self) -> bool:
        """Whether no other one is within the error."""
        return not self.contenders[1:]

    @property
    def contenders(self) -> tuple[Candidate, ...]:
        """Those that may be the fastest, the best one among them. Measure these."""
        return tuple(candidate for candidate in self.candidates if candidate.within_error)


def choose(
    variants: Mapping[str, Any] | Sequence[Any],
    platform: str | CostModel,
    *,
    shapes: Mapping[str, Sequence[int]] | None = None,
    params: Collection[str] | None = None,
    per_sample: bool = False,
) -> Choice:
    """Rank variants of a network (layouts, sizes, precisions, blocks) without building them.

    An estimate's interval holds 80 % of networks, so its logarithm spans the error upwards and
    downwards. Errors of two estimates count as independent: a difference is within the error where
    it is less than the root of the sum of the squares of the error upwards of the faster one and
    of that downwards of the slower one. That is cautious where variants have much in common, since
    what is wrong of one estimate then is wrong of the other too.

    Args:
        variants: networks as :meth:`CostModel.estimate` takes them, by name; those of a sequence
            are named by their positions.
        platform: name of the platform, or parts of it, or its cost model.
        shapes: as for :meth:`CostModel.estimate`.
        params: as for :meth:`CostModel.estimate`.
        per_sample: whether to compare latencies divided by batch sizes, for variants of different
            ones.

    Raises:
        InputError: there are no variants.
        NetworkError: a variant cannot be read.
        UnknownPlatformError, CheckpointError: see :meth:`CostModel.load`.
    """
    if not isinstance(variants, Mapping):
        variants = {str(position): network for position, network in enumerate(variants)}
    if not variants:
        raise InputError("there are no variants to choose from")
    model = platform if isinstance(platform, CostModel) else CostModel.load(platform)
    found = []
    for name, network in variants.items():
        estimate = model.estimate(network, shapes, params)
        samples = load(network, shapes, params).batch_size if per_sample else 1
        found.append((estimate.latency_ms / samples, name, estimate))
    found.sort(key=lambda row: row[:2])
    fastest = found[0]
    return Choice(
        tuple(
            Candidate(
                name=name,
                estimate=estimate,
                cost_ms=cost,
                within_error=name == fastest[1]
                or math.log(cost / fastest[0]) <= _error(fastest[2], estimate),
            )
            for cost, name, estimate in found
        )
    )


def _error(fast: Estimate, slow: Estimate) -> float:
    """By how much the logarithm of the ratio of two latencies may be wrong."""
    upwards = math.log(fast.high_ms / fast.latency_ms)
    downwards = math.log(slow.latency_ms / slow.low_ms)
    return math.hypot(upwards, downwards)
