"""EfficientNet (Tan and Le, "Rethinking Model Scaling for Convolutional Neural Networks", 2019)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from random import Random

from onnx import ModelProto

from measure.zoo.builder import NetworkBuilder, Value, round_width
from measure.zoo.inverted_residual import InvertedResiduals, append_stages, vary_stage
from measure.zoo.sampling import draw_batch, draw_image_size, draw_kernel, draw_num_classes

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
class EfficientNetConfig:
    """One EfficientNet; the defaults are B0 (table 1 of the paper).

    Args:
        stem_width: channels of the first convolution.
        stem_kernel: kernel size of the first convolution.
        stages: the inverted residual blocks.
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


def sample_config(rng: Random) -> EfficientNetConfig:
    """Draw an EfficientNet; its cost is not bounded."""
    multiplier = rng.uniform(0.4, 2.0)
    stages = tuple(
        vary_stage(rng, stage, multiplier) for stage in _STAGES[: rng.randint(4, len(_STAGES))]
    )
    return EfficientNetConfig(
        stem_width=round_width(32 * multiplier),
        stem_kernel=draw_kernel(rng),
        stages=stages,
        head_width=round_width(stages[-1].width * rng.uniform(2, 4)),
        input_size=draw_image_size(rng),
        batch=draw_batch(rng),
        num_classes=draw_num_classes(rng),
    )


def layers(config: EfficientNetConfig) -> tuple[NetworkBuilder, Value]:
    """The layers of ``config`` and the logits."""
    net = NetworkBuilder.for_images(batch=config.batch, input_size=config.input_size)
    x = net.swish(net.conv_bn(net.input, config.stem_width, config.stem_kernel, stride=2))
    x = append_stages(net, x, config.stages)
    x = net.swish(net.conv_bn(x, config.head_width, 1))
    return net, net.classifier(x, config.num_classes)


def build(config: EfficientNetConfig, name: str = "efficientnet") -> ModelProto:
    """``config`` as a weightless ONNX network."""
    net, logits = layers(config)
    return net.model(name, logits)
