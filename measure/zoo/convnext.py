"""ConvNeXt (Liu et al., "A ConvNet for the 2020s", 2022)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from random import Random

from measure.zoo import transformer
from measure.zoo.builder import NetworkBuilder, Value, write_network
from measure.zoo.sampling import draw_batch, draw_num_classes, vary_width

_CHANNELS_LAST = (0, 2, 3, 1)
_CHANNELS_FIRST = (0, 3, 1, 2)


@dataclass(frozen=True, kw_only=True)
class ConvNeXtConfig:
    """One ConvNeXt; the defaults are ConvNeXt-T.

    Args:
        stem_patch: height and width of the patches that the first convolution takes.
        depths: blocks of each stage; every stage but the first halves the image.
        widths: channels of each stage.
        kernels: size of each stage's depthwise kernels.
        expansion: channels inside a block's dense layers, as a multiple of the stage's width.
        input_size: height and width of the image.
        batch: images per inference.
        num_classes: size of the output.
    """

    stem_patch: int = 4
    depths: tuple[int, ...] = (3, 3, 9, 3)
    widths: tuple[int, ...] = (96, 192, 384, 768)
    kernels: tuple[int, ...] = (7, 7, 7, 7)
    expansion: int = 4
    input_size: int = 224
    batch: int = 1
    num_classes: int = 1000


def sample_config(rng: Random) -> ConvNeXtConfig:
    """Draw a ConvNeXt; its cost is not bounded."""
    num_stages = rng.choice((2, 3, 3, 4))
    base = rng.choice((32, 40, 48, 64, 80, 96))
    stem_patch = rng.choice((2, 4, 4))
    return ConvNeXtConfig(
        stem_patch=stem_patch,
        depths=tuple(rng.choice((1, 2, 2, 3)) for _ in range(num_stages)),
        widths=tuple(vary_width(rng, base * 2**i, 32) for i in range(num_stages)),
        kernels=tuple(rng.choice((3, 5, 7, 7, 9)) for _ in range(num_stages)),
        expansion=rng.choice((2, 3, 4, 4)),
        input_size=stem_patch * rng.choice((8, 12, 16, 24, 32, 40)),
        batch=draw_batch(rng),
        num_classes=draw_num_classes(rng),
    )


def layers(config: ConvNeXtConfig) -> tuple[NetworkBuilder, Value]:
    """The layers of ``config`` and the logits."""
    net = NetworkBuilder.for_images(batch=config.batch, input_size=config.input_size)
    x = net.input
    stages = zip(config.depths, config.widths, config.kernels, strict=True)
    for stage, (depth, width, kernel) in enumerate(stages):
        if stage == 0:
            x = _channel_norm(net, transformer.patches(net, x, width, config.stem_patch))
        else:
            x = transformer.patches(net, _channel_norm(net, x), width, 2)
        for _ in range(depth):
            x = _block(net, x, kernel, config.expansion)
    x = transformer.layer_norm(net, net.flatten(net.global_average_pool(x)))
    return net, net.gemm(x, config.num_classes)


build = partial(write_network, layers, name="convnext")


def _block(net: NetworkBuilder, x: Value, kernel: int, expansion: int) -> Value:
    y = net.conv(x, x.channels, kernel, groups=x.channels, bias=True)
    y = transformer.layer_norm(net, transformer.transpose(net, y, _CHANNELS_LAST))
    y = transformer.mlp(net, y, expansion)
    y = net.apply("Mul", [net.parameter((x.channels,)), y], y.shape)
    return net.add(x, transformer.transpose(net, y, _CHANNELS_FIRST))


def _channel_norm(net: NetworkBuilder, x: Value) -> Value:
    """Layer normalization along the channels of an image."""
    y = transformer.layer_norm(net, transformer.transpose(net, x, _CHANNELS_LAST))
    return transformer.transpose(net, y, _CHANNELS_FIRST)
