"""ShuffleNetV2 (Ma et al., "Practical Guidelines for Efficient CNN Architecture Design", 2018)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from random import Random

from measure.zoo import transformer
from measure.zoo.builder import NetworkBuilder, Value, write_network
from measure.zoo.sampling import draw_batch, draw_kernel, draw_num_classes, vary_width


@dataclass(frozen=True, kw_only=True)
class ShuffleNetV2Config:
    """One ShuffleNetV2; the defaults are the network 1x.

    Args:
        stem_width: channels of the first convolution, which halves the image.
        stem_pool: whether a 3x3 max pool halves the image after the first convolution.
        depths: units of each stage; the first of a stage halves the image.
        widths: channels of each stage, multiples of ``groups`` and of 2.
        kernels: size of each stage's depthwise kernels.
        groups: of channels that a unit shuffles.
        head_width: channels of the last convolution.
        input_size: height and width of the image.
        batch: images per inference.
        num_classes: size of the output.
    """

    stem_width: int = 24
    stem_pool: bool = True
    depths: tuple[int, ...] = (4, 8, 4)
    widths: tuple[int, ...] = (116, 232, 464)
    kernels: tuple[int, ...] = (3, 3, 3)
    groups: int = 2
    head_width: int = 1024
    input_size: int = 224
    batch: int = 1
    num_classes: int = 1000


def sample_config(rng: Random) -> ShuffleNetV2Config:
    """Draw a ShuffleNetV2; its cost is not bounded."""
    num_stages = rng.choice((2, 3, 3))
    base = rng.uniform(40, 320)
    return ShuffleNetV2Config(
        stem_width=rng.choice((16, 24, 32, 48)),
        stem_pool=rng.random() < 0.5,
        depths=tuple(rng.randint(1, 4) for _ in range(num_stages)),
        widths=tuple(vary_width(rng, base * 2**i) for i in range(num_stages)),
        kernels=tuple(draw_kernel(rng) for _ in range(num_stages)),
        groups=rng.choice((2, 2, 4)),
        head_width=rng.choice((256, 512, 1024, 2048)),
        input_size=rng.choice((64, 96, 128, 160, 192, 224)),
        batch=draw_batch(rng),
        num_classes=draw_num_classes(rng),
    )


def layers(config: ShuffleNetV2Config) -> tuple[NetworkBuilder, Value]:
    """The layers of ``config`` and the logits."""
    net = NetworkBuilder.for_images(batch=config.batch, input_size=config.input_size)
    x = net.relu(net.conv_bn(net.input, config.stem_width, 3, stride=2))
    if config.stem_pool:
        x = net.max_pool(x, 3, 2, padding=1)
    for depth, width, kernel in zip(config.depths, config.widths, config.kernels, strict=True):
        for i in range(depth):
            unit = _halving_unit(net, x, width, kernel) if i == 0 else _unit(net, x, kernel)
            x = _shuffle(net, net.concat(unit), config.groups)
    x = net.relu(net.conv_bn(x, config.head_width, 1))
    return net, net.classifier(x, config.num_classes)


build = partial(write_network, layers, name="shufflenet_v2")


def _unit(net: NetworkBuilder, x: Value, kernel: int) -> list[Value]:
    """One half of the channels as they are, and a branch on the other."""
    half = x.channels // 2
    kept, other = (_channels(net, x, begin, begin + half) for begin in (0, half))
    return [kept, _branch(net, other, half, kernel, stride=1)]


def _halving_unit(net: NetworkBuilder, x: Value, width: int, kernel: int) -> list[Value]:
    """Two branches on all channels."""
    y = net.conv_bn(x, x.channels, kernel, stride=2, groups=x.channels)
    y = net.relu(net.conv_bn(y, width // 2, 1))
    return [y, _branch(net, x, width // 2, kernel, stride=2)]


def _branch(net: NetworkBuilder, x: Value, width: int, kernel: int, *, stride: int) -> Value:
    y = net.relu(net.conv_bn(x, width, 1))
    y = net.conv_bn(y, width, kernel, stride=stride, groups=width)
    return net.relu(net.conv_bn(y, width, 1))


def _channels(net: NetworkBuilder, x: Value, begin: int, end: int) -> Value:
    ranges = [net.constant([value], "int64") for value in (begin, end, 1)]
    return net.apply("Slice", [x, *ranges], (x.shape[0], end - begin, x.size, x.size))


def _shuffle(net: NetworkBuilder, x: Value, groups: int) -> Value:
    """Interleave the channels of the groups."""
    batch, channels, height, width = x.shape
    shape = (batch, groups, channels // groups, height, width)
    y = transformer.transpose(net, transformer.reshape(net, x, shape), (0, 2, 1, 3, 4))
    return transformer.reshape(net, y, x.shape)
