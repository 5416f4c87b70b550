"""Configurations with a name.

``paper`` is the text to the letter, with the position of each node in its token. ``reference`` is
what the authors' public code does: ReLU and dropout follow the L2 norm, a learned scale per channel
starts the feed-forward branch small, and its LayerNorm sees each group by itself; its tokens of
whole networks have no positions.

``best`` is what predicts latencies best here; ``docs/results`` has a row for each of its choices
but ``static``, which contributions of operators do not read. A preset says nothing of the training,
which is the paper's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from relay_frontend.tokens import TokenConfig
from tvm_costmodel.predictors.nar_former_v2.config import (
    AccuracyNarFormerV2Config,
    LatencyNarFormerV2Config,
    NarFormerV2Config,
)


def _latency_paper() -> LatencyNarFormerV2Config:
    return LatencyNarFormerV2Config(tokens=TokenConfig(node_position=True))


def _latency_reference() -> LatencyNarFormerV2Config:
    config = LatencyNarFormerV2Config()
    return replace(config, model=_as_in_public_code(config.model))


def _latency_best() -> LatencyNarFormerV2Config:
    return LatencyNarFormerV2Config(
        tokens=TokenConfig(values=("logarithm",), costs=True, input_dims=4, divisors=(16, 31)),
        model=NarFormerV2Config(
            width=64,
            input_norm="standardize",
            embed=True,
            relations=("forward", "backward"),
            normalize="layer",
            readout="contributions",
            prior="costs",
            static=False,
        ),
        kernel_weight=1.0,
        shrinkage=0.05,
        operator_dropout=0.2,
    )


def _accuracy_reference() -> AccuracyNarFormerV2Config:
    config = AccuracyNarFormerV2Config()
    return replace(config, model=_as_in_public_code(config.model))


def _as_in_public_code(model: NarFormerV2Config) -> NarFormerV2Config:
    return replace(model, activation=True, dropout=0.05, group_norm=True, branch_scale=1e-4)


LATENCY_PRESETS: dict[str, Callable[[], LatencyNarFormerV2Config]] = {
    "paper": _latency_paper,
    "reference": _latency_reference,
    "best": _latency_best,
}

ACCURACY_PRESETS: dict[str, Callable[[], AccuracyNarFormerV2Config]] = {
    "paper": AccuracyNarFormerV2Config,
    "reference": _accuracy_reference,
}
