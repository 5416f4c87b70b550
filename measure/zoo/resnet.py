"""ResNet (He et al., "Deep Residual Learning for Image Recognition", 2015)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from random import Random

from measure.zoo.builder import NetworkBuilder, Value, round_width, write_network
from measure.zoo.sampling import (
    draw_batch,
    draw_image_size,
    draw_kernel,
    draw_num_classes,
    vary_width,
)

_BOTTLENECK_EXPANSION = 4


@dataclass(frozen=True, kw_only=True)
class ResNetConfig:
    """One ResNet.

    Args:
        bottleneck: blocks of 1x1, kxk, 1x1 convolutions in place of two kxk convolutions.
        stem_width: channels of the first convolution.
        stem_kernel: kernel size of the first convolution.
        stem_stride: 1, or 2 to halve the image before the first stage.
        stem_pool: whether a 3x3 max pool halves the image after the first convolution.
        depths: blocks of each stage; every stage but the first halves the image.
        widths: channels of each stage's kxk convolutions.
        kernels: k of each stage.
        groups: groups of the kxk convolutions of bottleneck blocks (Xie et al., 2016).
        input_size: height and width of the image.
        batch: images per inference.
        num_classes: size of the output.
    """

    bottleneck: bool = False
    stem_width: int = 64
    stem_kernel: int = 7
    stem_stride: int = 2
    stem_pool: bool = True
    depths: tuple[int, ...] = (2, 2, 2, 2)
    widths: tuple[int, ...] = (64, 128, 256, 512)
    kernels: tuple[int, ...] = (3, 3, 3, 3)
    groups: int = 1
    input_size: int = 224
    batch: int = 1
    num_classes: int = 1000


def sample_config(rng: Random) -> ResNetConfig:
    """Draw a ResNet; its cost is not bounded."""
    num_stages = rng.choice((2, 3, 3, 4, 4))
    base = rng.randrange(8, 81, 4)
    bottleneck = rng.random() < 0.4
    groups = rng.choice((1, 1, 2, 4, 8)) if bottleneck else 1
    widths = tuple(
        vary_width(rng, base * 2**i / (1 + bottleneck), 4 * groups) for i in range(num_stages)
    )
    return ResNetConfig(
        bottleneck=bottleneck,
        stem_width=round_width(base * rng.choice((0.5, 1, 1, 1.5))),
        stem_kernel=rng.choice((3, 5, 7)),
        stem_stride=rng.choice((1, 2)),
        stem_pool=rng.random() < 0.5,
        depths=tuple(rng.randint(1, 4) for _ in widths),
        widths=widths,
        kernels=tuple(draw_kernel(rng) for _ in widths),
        groups=groups,
        input_size=draw_image_size(rng),
        batch=draw_batch(rng),
        num_classes=draw_num_classes(rng),
    )


def layers(config: ResNetConfig) -> tuple[NetworkBuilder, Value]:
    """The layers of ``config`` and the logits."""
    net = NetworkBuilder.for_images(batch=config.batch, input_size=config.input_size)
    x = net.conv_bn(net.input, config.stem_width, config.stem_kernel, stride=config.stem_stride)
    x = net.relu(x)
    if config.stem_pool:
        x = net.max_pool(x, 3, 2, padding=1)
    stages = zip(config.depths, config.widths, config.kernels, strict=True)
    for stage, (depth, width, kernel) in enumerate(stages):
        for i in range(depth):
            stride = 2 if stage > 0 and i == 0 else 1
            if config.bottleneck:
                x = _bottleneck_block(net, x, width, kernel, stride, config.groups)
            else:
                x = _basic_block(net, x, width, kernel, stride)
    return net, net.classifier(x, config.num_classes)


build = partial(write_network, layers, name="resnet")


def _basic_block(net: NetworkBuilder, x: Value, width: int, kernel: int, stride: int) -> Value:
    y = net.relu(net.conv_bn(x, width, kernel, stride=stride))
    y = net.conv_bn(y, width, kernel)
    return net.relu(net.add(y, _shortcut(net, x, width, stride)))


def _bottleneck_block(
    net: NetworkBuilder, x: Value, width: int, kernel: int, stride: int, groups: int
) -> Value:
    channels = width * _BOTTLENECK_EXPANSION
    y = net.relu(net.conv_bn(x, width, 1))
    y = net.relu(net.conv_bn(y, width, kernel, stride=stride, groups=groups))
    y = net.conv_bn(y, channels, 1)
    return net.relu(net.add(y, _shortcut(net, x, channels, stride)))


def _shortcut(net: NetworkBuilder, x: Value, channels: int, stride: int) -> Value:
    if stride == 1 and x.channels == channels:
        return x
    return net.conv_bn(x, channels, 1, stride=stride)
