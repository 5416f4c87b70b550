"""EfficientNet (Tan and Le, "Rethinking Model Scaling for Convolutional Neural Networks", 2019)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from random import Random

from measure.zoo.builder import write_network
from measure.zoo.inverted_residual import InvertedResiduals
from measure.zoo.mobile import MobileConfig, mobile_layers, sample_mobile

_stage = partial(InvertedResiduals, squeeze=0.25, activation="swish", squeeze_activation="swish")

_STAGES = (
    _stage(expansion=1, width=16, depth=1, stride=1),
    _stage(expansion=6, width=24, depth=2, stride=2),
    _stage(expansion=6, width=40, depth=2, stride=2, kernel=5),
    _stage(expansion=6, width=80, depth=3, stride=2),
    _stage(expansion=6, width=112, depth=3, stride=1, kernel=5),
    _stage(expansion=6, width=192, depth=4, stride=2, kernel=5),
    _stage(expansion=6, width=320, depth=1, stride=1),
)


@dataclass(frozen=True, kw_only=True)
class EfficientNetConfig(MobileConfig):
    """One EfficientNet; the defaults are B0 (table 1 of the paper)."""

    stages: tuple[InvertedResiduals, ...] = _STAGES
    activation: str = "swish"


def sample_config(rng: Random) -> EfficientNetConfig:
    """Draw an EfficientNet; its cost is not bounded."""
    return sample_mobile(rng, EfficientNetConfig())


layers = mobile_layers


build = partial(write_network, layers, name="efficientnet")
