"""MnasNet (Tan et al., "Platform-Aware Neural Architecture Search for Mobile", 2018)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from random import Random

from measure.zoo.builder import write_network
from measure.zoo.inverted_residual import InvertedResiduals, vary_stage
from measure.zoo.mobile import MobileConfig, mobile_layers, sample_mobile

_SQUEEZE = 0.25

_stage = partial(InvertedResiduals, activation="relu")

_STAGES = (
    _stage(expansion=1, width=16, depth=1, stride=1),
    _stage(expansion=6, width=24, depth=2, stride=2),
    _stage(expansion=3, width=40, depth=3, stride=2, kernel=5, squeeze=_SQUEEZE),
    _stage(expansion=6, width=80, depth=4, stride=2),
    _stage(expansion=6, width=112, depth=2, stride=1, squeeze=_SQUEEZE),
    _stage(expansion=6, width=160, depth=3, stride=2, kernel=5, squeeze=_SQUEEZE),
    _stage(expansion=6, width=320, depth=1, stride=1),
)


@dataclass(frozen=True, kw_only=True)
class MnasNetConfig(MobileConfig):
    """One MnasNet; the defaults are MnasNet-A1 (figure 7 of the paper).

    The first stage is a separable convolution.
    """

    stages: tuple[InvertedResiduals, ...] = _STAGES
    activation: str = "relu"


def sample_config(rng: Random) -> MnasNetConfig:
    """Draw a MnasNet of its search space: one kind of block per stage; its cost is not bounded."""
    return sample_mobile(rng, MnasNetConfig(), _vary_stage)


layers = mobile_layers


build = partial(write_network, layers, name="mnasnet")


def _vary_stage(rng: Random, stage: InvertedResiduals, width: float) -> InvertedResiduals:
    drawn = vary_stage(rng, stage, width)
    return replace(drawn, squeeze=rng.choice((0.0, 0.0, _SQUEEZE)))
