"""MobileNetV2 (Sandler et al., "Inverted Residuals and Linear Bottlenecks", 2018)."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from onnx import ModelProto

from measure.zoo.builder import NetworkBuilder, Value, round_width
from measure.zoo.inverted_residual import InvertedResiduals, append_stages, vary_stage
from measure.zoo.sampling import draw_batch, draw_image_size, draw_kernel, draw_num_classes

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
class MobileNetV2Config:
    """One MobileNetV2; the defaults are the original network (table 2 of the paper).

    Args:
        stem_width: channels of the first convolution.
        stem_kernel: kernel size of the first convolution.
        stem_stride: stride of the first convolution.
        stages: the inverted residual blocks.
        head_width: channels of the last 1x1 convolution.
        input_size: height and width of the image.
        batch: images per inference.
        num_classes: size of the output.
    """

    stem_width: int = 32
    stem_kernel: int = 3
    stem_stride: int = 2
    stages: tuple[InvertedResiduals, ...] = _STAGES
    head_width: int = 1280
    input_size: int = 224
    batch: int = 1
    num_classes: int = 1000


def sample_config(rng: Random) -> MobileNetV2Config:
    """Draw a MobileNetV2; its cost is not bounded."""
    multiplier = rng.uniform(0.4, 2.0)
    stages = tuple(
        vary_stage(rng, stage, multiplier) for stage in _STAGES[: rng.randint(4, len(_STAGES))]
    )
    return MobileNetV2Config(
        stem_width=round_width(32 * multiplier),
        stem_kernel=draw_kernel(rng),
        stem_stride=rng.choice((1, 2, 2)),
        stages=stages,
        head_width=round_width(stages[-1].width * rng.uniform(2, 4)),
        input_size=draw_image_size(rng),
        batch=draw_batch(rng),
        num_classes=draw_num_classes(rng),
    )


def layers(config: MobileNetV2Config) -> tuple[NetworkBuilder, Value]:
    """The layers of ``config`` and the logits."""
    net = NetworkBuilder.for_images(batch=config.batch, input_size=config.input_size)
    x = net.conv_bn(net.input, config.stem_width, config.stem_kernel, stride=config.stem_stride)
    x = append_stages(net, net.relu6(x), config.stages)
    x = net.relu6(net.conv_bn(x, config.head_width, 1))
    return net, net.classifier(x, config.num_classes)


def build(config: MobileNetV2Config, name: str = "mobilenet_v2") -> ModelProto:
    """``config`` as a weightless ONNX network."""
    net, logits = layers(config)
    return net.model(name, logits)
