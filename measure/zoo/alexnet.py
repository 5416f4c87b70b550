"""AlexNet (Krizhevsky et al., "ImageNet Classification with Deep Convolutional Networks", 2012)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from random import Random

from measure.zoo.builder import NetworkBuilder, Value, write_network
from measure.zoo.sampling import (
    draw_batch,
    draw_image_size,
    draw_kernel,
    draw_num_classes,
    vary_width,
)

_MIN_POOLED = 3


@dataclass(frozen=True, kw_only=True)
class AlexNetConfig:
    """One AlexNet; the defaults are the original network.

    Args:
        stem_stride: stride of the first convolution.
        widths: channels of each convolution.
        kernels: kernel size of each convolution.
        groups: groups of each convolution; they divide its width and the one before.
        lrn: whether local response normalization follows the first two convolutions.
        dense_widths: units of the dense layers before the classifier.
        input_size: height and width of the image.
        batch: images per inference.
        num_classes: size of the output.
    """

    stem_stride: int = 4
    widths: tuple[int, ...] = (96, 256, 384, 384, 256)
    kernels: tuple[int, ...] = (11, 5, 3, 3, 3)
    groups: tuple[int, ...] = (1, 2, 1, 2, 2)
    lrn: bool = True
    dense_widths: tuple[int, ...] = (4096, 4096)
    input_size: int = 224
    batch: int = 1
    num_classes: int = 1000


def sample_config(rng: Random) -> AlexNetConfig:
    """Draw an AlexNet; its cost is not bounded."""
    multiplier = rng.uniform(0.4, 2.0)
    defaults = AlexNetConfig()
    widths = defaults.widths + (256,) * rng.randint(0, 2)
    grouped = rng.choice((1, 1, 2))
    return AlexNetConfig(
        stem_stride=rng.choice((2, 4)),
        widths=tuple(vary_width(rng, width * multiplier, 8) for width in widths),
        kernels=(rng.choice((7, 9, 11)), *(draw_kernel(rng) for _ in widths[1:])),
        groups=(1, *(rng.choice((1, grouped)) for _ in widths[1:])),
        lrn=rng.random() < 0.5,
        dense_widths=tuple(rng.randrange(512, 3073, 256) for _ in range(rng.choice((1, 2)))),
        input_size=draw_image_size(rng),
        batch=draw_batch(rng),
        num_classes=draw_num_classes(rng),
    )


def layers(config: AlexNetConfig) -> tuple[NetworkBuilder, Value]:
    """The layers of ``config`` and the logits."""
    net = NetworkBuilder.for_images(batch=config.batch, input_size=config.input_size)
    x = net.input
    last = len(config.widths) - 1
    rows = zip(config.widths, config.kernels, config.groups, strict=True)
    for i, (width, kernel, groups) in enumerate(rows):
        stride = config.stem_stride if i == 0 else 1
        x = net.relu(net.conv(x, width, kernel, stride=stride, groups=groups, bias=True))
        if config.lrn and i < 2:
            x = net.lrn(x)
        if i in (0, 1, last) and x.size >= _MIN_POOLED:
            x = net.max_pool(x, 3, 2)
    x = net.flatten(x)
    for units in config.dense_widths:
        x = net.relu(net.gemm(x, units))
    return net, net.gemm(x, config.num_classes)


build = partial(write_network, layers, name="alexnet")
