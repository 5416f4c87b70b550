"""MobileNetV3 (Howard et al., "Searching for MobileNetV3", 2019)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from random import Random

from measure.zoo.builder import NetworkBuilder, Value, round_width, write_network
from measure.zoo.inverted_residual import InvertedResiduals, append_stages, vary_stage
from measure.zoo.sampling import draw_batch, draw_image_size, draw_kernel, draw_num_classes

_SQUEEZE = 0.25
"""Channels between the layers of a squeeze-excite, per hidden channel of the block."""

_stage = partial(InvertedResiduals, gate="hard_sigmoid")

_STAGES = (
    _stage(expansion=1, width=16, depth=1, stride=1, activation="relu"),
    _stage(expansion=4, width=24, depth=1, stride=2, activation="relu"),
    _stage(expansion=3, width=24, depth=1, stride=1, activation="relu"),
    _stage(
        expansion=3, width=40, depth=3, stride=2, kernel=5, squeeze=3 * _SQUEEZE, activation="relu"
    ),
    _stage(expansion=6, width=80, depth=1, stride=2, activation="hard_swish"),
    _stage(expansion=2.5, width=80, depth=1, stride=1, activation="hard_swish"),
    _stage(expansion=2.3, width=80, depth=2, stride=1, activation="hard_swish"),
    _stage(
        expansion=6, width=112, depth=2, stride=1, squeeze=6 * _SQUEEZE, activation="hard_swish"
    ),
    _stage(
        expansion=6,
        width=160,
        depth=3,
        stride=2,
        kernel=5,
        squeeze=6 * _SQUEEZE,
        activation="hard_swish",
    ),
)


@dataclass(frozen=True, kw_only=True)
class MobileNetV3Config:
    """One MobileNetV3; the defaults are the large network (table 1 of the paper).

    Args:
        stem_width: channels of the first convolution.
        stem_kernel: kernel size of the first convolution.
        stages: the inverted residual blocks.
        head_width: channels of the last 1x1 convolution.
        dense_width: units of the dense layer before the classifier.
        input_size: height and width of the image.
        batch: images per inference.
        num_classes: size of the output.
    """

    stem_width: int = 16
    stem_kernel: int = 3
    stages: tuple[InvertedResiduals, ...] = _STAGES
    head_width: int = 960
    dense_width: int = 1280
    input_size: int = 224
    batch: int = 1
    num_classes: int = 1000


def sample_config(rng: Random) -> MobileNetV3Config:
    """Draw a MobileNetV3; its cost is not bounded."""
    multiplier = rng.uniform(0.5, 2.5)
    stages = tuple(
        _sample_stage(rng, stage, multiplier) for stage in _STAGES[: rng.randint(5, len(_STAGES))]
    )
    return MobileNetV3Config(
        stem_width=round_width(16 * multiplier),
        stem_kernel=draw_kernel(rng),
        stages=stages,
        head_width=round_width(stages[-1].width * rng.uniform(3, 6)),
        dense_width=rng.randrange(256, 1537, 128),
        input_size=draw_image_size(rng),
        batch=draw_batch(rng),
        num_classes=draw_num_classes(rng),
    )


def layers(config: MobileNetV3Config) -> tuple[NetworkBuilder, Value]:
    """The layers of ``config`` and the logits."""
    net = NetworkBuilder.for_images(batch=config.batch, input_size=config.input_size)
    x = net.conv_bn(net.input, config.stem_width, config.stem_kernel, stride=2)
    x = append_stages(net, net.activation(x, "hard_swish"), config.stages)
    x = net.activation(net.conv_bn(x, config.head_width, 1), "hard_swish")
    x = net.gemm(net.flatten(net.global_average_pool(x)), config.dense_width)
    return net, net.gemm(net.activation(x, "hard_swish"), config.num_classes)


build = partial(write_network, layers, name="mobilenet_v3")


def _sample_stage(rng: Random, stage: InvertedResiduals, width: float) -> InvertedResiduals:
    drawn = vary_stage(rng, stage, width)
    squeezed = rng.random() < 0.5
    return replace(drawn, squeeze=_SQUEEZE * drawn.expansion if squeezed else 0.0)
