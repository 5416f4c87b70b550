"""SqueezeNet (Iandola et al., "AlexNet-level accuracy with 50x fewer parameters", 2016)."""

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


@dataclass(frozen=True, kw_only=True)
class Fire:
    """One fire module: a 1x1 squeeze, then 1x1 and kxk expansions side by side.

    Args:
        squeeze: channels of the squeeze convolution.
        expand_1x1: channels of the 1x1 expansion.
        expand_kxk: channels of the kxk expansion.
        kernel: k.
        pool: whether a 3x3 max pool halves the image before the module.
    """

    squeeze: int
    expand_1x1: int
    expand_kxk: int
    kernel: int = 3
    pool: bool = False


_FIRES = (
    Fire(squeeze=16, expand_1x1=64, expand_kxk=64, pool=True),
    Fire(squeeze=16, expand_1x1=64, expand_kxk=64),
    Fire(squeeze=32, expand_1x1=128, expand_kxk=128, pool=True),
    Fire(squeeze=32, expand_1x1=128, expand_kxk=128),
    Fire(squeeze=48, expand_1x1=192, expand_kxk=192, pool=True),
    Fire(squeeze=48, expand_1x1=192, expand_kxk=192),
    Fire(squeeze=64, expand_1x1=256, expand_kxk=256),
    Fire(squeeze=64, expand_1x1=256, expand_kxk=256),
)


@dataclass(frozen=True, kw_only=True)
class SqueezeNetConfig:
    """One SqueezeNet; the defaults are version 1.1.

    Args:
        stem_width: channels of the first convolution.
        stem_kernel: kernel size of the first convolution.
        stem_stride: stride of the first convolution.
        fires: the fire modules.
        input_size: height and width of the image.
        batch: images per inference.
        num_classes: size of the output, and channels of the last convolution.
    """

    stem_width: int = 64
    stem_kernel: int = 3
    stem_stride: int = 2
    fires: tuple[Fire, ...] = _FIRES
    input_size: int = 224
    batch: int = 1
    num_classes: int = 1000


def sample_config(rng: Random) -> SqueezeNetConfig:
    """Draw a SqueezeNet; its cost is not bounded."""
    multiplier = rng.uniform(0.4, 2.0)
    return SqueezeNetConfig(
        stem_width=vary_width(rng, 64 * multiplier),
        stem_kernel=draw_kernel(rng),
        stem_stride=rng.choice((1, 2)),
        fires=tuple(
            _sample_fire(rng, fire, multiplier) for fire in _FIRES[: rng.randint(4, len(_FIRES))]
        ),
        input_size=draw_image_size(rng),
        batch=draw_batch(rng),
        num_classes=draw_num_classes(rng),
    )


def layers(config: SqueezeNetConfig) -> tuple[NetworkBuilder, Value]:
    """The layers of ``config`` and the logits."""
    net = NetworkBuilder.for_images(batch=config.batch, input_size=config.input_size)
    x = _conv_relu(net, net.input, config.stem_width, config.stem_kernel, config.stem_stride)
    for fire in config.fires:
        if fire.pool:
            x = net.max_pool(x, 3, 2)
        x = _conv_relu(net, x, fire.squeeze, 1)
        x = net.concat(
            [
                _conv_relu(net, x, fire.expand_1x1, 1),
                _conv_relu(net, x, fire.expand_kxk, fire.kernel),
            ]
        )
    x = _conv_relu(net, x, config.num_classes, 1)
    return net, net.flatten(net.global_average_pool(x))


build = partial(write_network, layers, name="squeezenet")


def _sample_fire(rng: Random, fire: Fire, multiplier: float) -> Fire:
    expand = 2 * fire.expand_1x1 * multiplier * rng.uniform(0.7, 1.3)
    share_1x1 = rng.uniform(0.3, 0.7)
    return Fire(
        squeeze=round_width(expand * rng.uniform(0.1, 0.3)),
        expand_1x1=round_width(expand * share_1x1),
        expand_kxk=round_width(expand * (1 - share_1x1)),
        kernel=rng.choice((3, 3, 5)),
        pool=fire.pool,
    )


def _conv_relu(net: NetworkBuilder, x: Value, channels: int, kernel: int, stride: int = 1) -> Value:
    return net.relu(net.conv(x, channels, kernel, stride=stride, bias=True))
