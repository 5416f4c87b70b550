"""What the families made of inverted residual blocks alone have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import TypeVar

from measure.zoo.builder import NetworkBuilder, Value, round_width
from measure.zoo.inverted_residual import InvertedResiduals, append_stages, vary_stage
from measure.zoo.sampling import draw_batch, draw_image_size, draw_kernel, draw_num_classes


@dataclass(frozen=True, kw_only=True)
class MobileConfig:
    """A convolution, inverted residual blocks, a 1x1 convolution and a classifier.

    Args:
        stages: the inverted residual blocks.
        activation: after the first and the last convolution, as in ``builder.ACTIVATIONS``.
        stem_width: channels of the first convolution.
        stem_kernel: kernel size of the first convolution.
        stem_stride: stride of the first convolution.
        head_width: channels of the last 1x1 convolution.
        input_size: height and width of the image.
        batch: images per inference.
        num_classes: size of the output.
    """

    stages: tuple[InvertedResiduals, ...]
    activation: str
    stem_width: int = 32
    stem_kernel: int = 3
    stem_stride: int = 2
    head_width: int = 1280
    input_size: int = 224
    batch: int = 1
    num_classes: int = 1000


_ConfigT = TypeVar("_ConfigT", bound=MobileConfig)


def sample_mobile(
    rng: Random,
    default: _ConfigT,
    vary: Callable[[Random, InvertedResiduals, float], InvertedResiduals] = vary_stage,
    stem_strides: Sequence[int] = (),
) -> _ConfigT:
    """Draw a network like ``default``; its cost is not bounded.

    Args:
        rng: what to draw from.
        default: the network as published.
        vary: draws a stage like another whose widths are about so many times as large.
        stem_strides: of which one is drawn; without any the stride stays.
    """
    multiplier = rng.uniform(0.4, 2.0)
    depth = rng.randint(4, len(default.stages))
    stages = tuple(vary(rng, stage, multiplier) for stage in default.stages[:depth])
    return type(default)(
        stages=stages,
        activation=default.activation,
        stem_width=round_width(32 * multiplier),
        stem_kernel=draw_kernel(rng),
        stem_stride=rng.choice(stem_strides) if stem_strides else default.stem_stride,
        head_width=round_width(stages[-1].width * rng.uniform(2, 4)),
        input_size=draw_image_size(rng),
        batch=draw_batch(rng),
        num_classes=draw_num_classes(rng),
    )


def mobile_layers(config: MobileConfig) -> tuple[NetworkBuilder, Value]:
    """The layers of ``config`` and the logits."""
    net = NetworkBuilder.for_images(batch=config.batch, input_size=config.input_size)
    x = net.conv_bn(net.input, config.stem_width, config.stem_kernel, stride=config.stem_stride)
    x = append_stages(net, net.activation(x, config.activation), config.stages)
    x = net.activation(net.conv_bn(x, config.head_width, 1), config.activation)
    return net, net.classifier(x, config.num_classes)
