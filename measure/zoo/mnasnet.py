"""MnasNet (Tan et al., "Platform-Aware Neural Architecture Search for Mobile", 2018)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from random import Random

from onnx import ModelProto

from measure.zoo.builder import NetworkBuilder, Value, round_width
from measure.zoo.inverted_residual import InvertedResiduals, append_stages, vary_stage
from measure.zoo.sampling import draw_batch, draw_image_size, draw_kernel, draw_num_classes

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
class MnasNetConfig:
    """One MnasNet; the defaults are MnasNet-A1 (figure 7 of the paper).

    Args:
        stem_width: channels of the first convolution.
        stem_kernel: kernel size of the first convolution.
        stages: the inverted residual blocks; the first one is a separable convolution.
        head_width: channels of the last 1x1 convolution.
        input_size: height and width of the image.
        batch: images per inference.
        num_classes: size of the output.
    """

    stem_width: int = 32
    stem_kernel: int = 3
    stages: tuple[InvertedResiduals, ...] = _STAGES
    head_width: int = 1280
    input_size: int = 224
    batch: int = 1
    num_classes: int = 1000


def sample_config(rng: Random) -> MnasNetConfig:
    """Draw a MnasNet of its search space: one kind of block per stage; its cost is not bounded."""
    multiplier = rng.uniform(0.4, 2.0)
    stages = tuple(
        _sample_stage(rng, stage, multiplier) for stage in _STAGES[: rng.randint(4, len(_STAGES))]
    )
    return MnasNetConfig(
        stem_width=round_width(32 * multiplier),
        stem_kernel=draw_kernel(rng),
        stages=stages,
        head_width=round_width(stages[-1].width * rng.uniform(2, 4)),
        input_size=draw_image_size(rng),
        batch=draw_batch(rng),
        num_classes=draw_num_classes(rng),
    )


def layers(config: MnasNetConfig) -> tuple[NetworkBuilder, Value]:
    """The layers of ``config`` and the logits."""
    net = NetworkBuilder.for_images(batch=config.batch, input_size=config.input_size)
    x = net.relu(net.conv_bn(net.input, config.stem_width, config.stem_kernel, stride=2))
    x = append_stages(net, x, config.stages)
    x = net.relu(net.conv_bn(x, config.head_width, 1))
    return net, net.classifier(x, config.num_classes)


def build(config: MnasNetConfig, name: str = "mnasnet") -> ModelProto:
    """``config`` as a weightless ONNX network."""
    net, logits = layers(config)
    return net.model(name, logits)


def _sample_stage(rng: Random, stage: InvertedResiduals, width: float) -> InvertedResiduals:
    drawn = vary_stage(rng, stage, width)
    return replace(drawn, squeeze=rng.choice((0.0, 0.0, _SQUEEZE)))
