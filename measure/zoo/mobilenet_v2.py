"""MobileNetV2 (Sandler et al., "Inverted Residuals and Linear Bottlenecks", 2018)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from random import Random

from measure.zoo.builder import write_network
from measure.zoo.inverted_residual import InvertedResiduals
from measure.zoo.mobile import MobileConfig, mobile_layers, sample_mobile

_STAGES = (
    InvertedResiduals(expansion=1, width=16, depth=1, stride=1),
    InvertedResiduals(expansion=6, width=24, depth=2, stride=2),
    InvertedResiduals(expansion=6, width=32, depth=3, stride=2),
    InvertedResiduals(expansion=6, width=64, depth=4, stride=2),
    InvertedResiduals(expansion=6, width=96, depth=3, stride=1),
    InvertedResiduals(expansion=6, width=160, depth=3, stride=2),
    InvertedResiduals(expansion=6, width=320, depth=1, stride=1),
)


@dataclass(frozen=True, kw_only=True)
class MobileNetV2Config(MobileConfig):
    """One MobileNetV2; the defaults are the original network (table 2 of the paper)."""

    stages: tuple[InvertedResiduals, ...] = _STAGES
    activation: str = "relu6"


def sample_config(rng: Random) -> MobileNetV2Config:
    """Draw a MobileNetV2; its cost is not bounded."""
    return sample_mobile(rng, MobileNetV2Config(), stem_strides=(1, 2, 2))


layers = mobile_layers


build = partial(write_network, layers, name="mobilenet_v2")
