"""VGG (Simonyan and Zisserman, "Very Deep Convolutional Networks", 2014)."""

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


@dataclass(frozen=True, kw_only=True)
class VGGConfig:
    """One VGG network.

    Args:
        batch_norm: batch normalization after each convolution, which then has no bias.
        depths: convolutions of each stage; a 2x2 max pool ends each stage.
        widths: channels of each stage.
        kernels: kernel size of each stage.
        dense_widths: units of the dense layers before the classifier.
        input_size: height and width of the image, at least ``2**len(depths)``.
        batch: images per inference.
        num_classes: size of the output.
    """

    batch_norm: bool = False
    depths: tuple[int, ...] = (2, 2, 3, 3, 3)
    widths: tuple[int, ...] = (64, 128, 256, 512, 512)
    kernels: tuple[int, ...] = (3, 3, 3, 3, 3)
    dense_widths: tuple[int, ...] = (4096, 4096)
    input_size: int = 224
    batch: int = 1
    num_classes: int = 1000


def sample_config(rng: Random) -> VGGConfig:
    """Draw a VGG network; its cost is not bounded."""
    num_stages = rng.choice((3, 4, 5))
    base = rng.randrange(4, 65, 4)
    # The last two stages are of one width in the original, too.
    doublings = [min(i, 3) for i in range(num_stages)]
    return VGGConfig(
        batch_norm=rng.random() < 0.5,
        depths=tuple(rng.randint(1, 4) for _ in doublings),
        widths=tuple(vary_width(rng, base * 2**i) for i in doublings),
        kernels=tuple(draw_kernel(rng) for _ in doublings),
        dense_widths=tuple(rng.randrange(128, 2049, 64) for _ in range(rng.choice((1, 2)))),
        input_size=draw_image_size(rng),
        batch=draw_batch(rng),
        num_classes=draw_num_classes(rng),
    )


def layers(config: VGGConfig) -> tuple[NetworkBuilder, Value]:
    """The layers of ``config`` and the logits."""
    net = NetworkBuilder.for_images(batch=config.batch, input_size=config.input_size)
    x = net.input
    for depth, width, kernel in zip(config.depths, config.widths, config.kernels, strict=True):
        for _ in range(depth):
            x = net.conv(x, width, kernel, bias=not config.batch_norm)
            x = net.relu(net.batch_norm(x) if config.batch_norm else x)
        x = net.max_pool(x, 2, 2)
    x = net.flatten(x)
    for width in config.dense_widths:
        x = net.relu(net.gemm(x, width))
    return net, net.gemm(x, config.num_classes)


build = partial(write_network, layers, name="vgg")
