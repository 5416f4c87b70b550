"""DenseNet (Huang et al., "Densely Connected Convolutional Networks", 2017)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from random import Random

from measure.zoo.builder import NetworkBuilder, Value, write_network
from measure.zoo.sampling import draw_batch, draw_image_size, draw_kernel, draw_num_classes


@dataclass(frozen=True, kw_only=True)
class DenseNetConfig:
    """One DenseNet; the defaults are DenseNet-121.

    Args:
        stem_width: channels of the first convolution.
        stem_kernel: kernel size of the first convolution, which halves the image.
        stem_pool: whether a 3x3 max pool halves the image after the first convolution.
        depths: layers of each block; a transition that halves the image joins two blocks.
        kernels: kernel size of each block.
        growth: channels that a layer adds.
        expansion: channels between a layer's two convolutions, as a multiple of ``growth``.
        compression: share of the channels that a transition keeps.
        input_size: height and width of the image.
        batch: images per inference.
        num_classes: size of the output.
    """

    stem_width: int = 64
    stem_kernel: int = 7
    stem_pool: bool = True
    depths: tuple[int, ...] = (6, 12, 24, 16)
    kernels: tuple[int, ...] = (3, 3, 3, 3)
    growth: int = 32
    expansion: int = 4
    compression: float = 0.5
    input_size: int = 224
    batch: int = 1
    num_classes: int = 1000


def sample_config(rng: Random) -> DenseNetConfig:
    """Draw a DenseNet; its cost is not bounded."""
    growth = rng.randrange(8, 49, 4)
    num_blocks = rng.choice((2, 3, 3, 4))
    return DenseNetConfig(
        stem_width=2 * growth,
        stem_kernel=rng.choice((3, 5, 7)),
        stem_pool=rng.random() < 0.5,
        depths=tuple(rng.randint(2, 6) for _ in range(num_blocks)),
        kernels=tuple(draw_kernel(rng) for _ in range(num_blocks)),
        growth=growth,
        expansion=rng.choice((2, 3, 4, 4)),
        compression=rng.choice((0.5, 0.5, 0.75, 1.0)),
        input_size=draw_image_size(rng),
        batch=draw_batch(rng),
        num_classes=draw_num_classes(rng),
    )


def layers(config: DenseNetConfig) -> tuple[NetworkBuilder, Value]:
    """The layers of ``config`` and the logits."""
    net = NetworkBuilder.for_images(batch=config.batch, input_size=config.input_size)
    x = net.relu(net.conv_bn(net.input, config.stem_width, config.stem_kernel, stride=2))
    if config.stem_pool:
        x = net.max_pool(x, 3, 2, padding=1)
    for block, (depth, kernel) in enumerate(zip(config.depths, config.kernels, strict=True)):
        if block > 0:
            x = _bn_relu_conv(net, x, int(x.channels * config.compression), 1)
            x = net.average_pool(x, 2, 2)
        x = _dense_block(net, x, depth, kernel, config)
    return net, net.classifier(net.relu(net.batch_norm(x)), config.num_classes)


build = partial(write_network, layers, name="densenet")


def _dense_block(
    net: NetworkBuilder, x: Value, depth: int, kernel: int, config: DenseNetConfig
) -> Value:
    """Layers that each read all that came before, and the whole of it."""
    features = [x]
    for _ in range(depth):
        y = _bn_relu_conv(net, x, config.expansion * config.growth, 1)
        features.append(_bn_relu_conv(net, y, config.growth, kernel))
        x = net.concat(features)
    return x


def _bn_relu_conv(net: NetworkBuilder, x: Value, channels: int, kernel: int) -> Value:
    return net.conv(net.relu(net.batch_norm(x)), channels, kernel)
