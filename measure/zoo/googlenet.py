"""GoogLeNet (Szegedy et al., "Going Deeper with Convolutions", 2014)."""

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
class Inception:
    """One inception module: four branches side by side, joined along their channels.

    Args:
        width_1x1: channels of the 1x1 convolution.
        reduce_3x3: channels of the 1x1 convolution before the 3x3 one.
        width_3x3: channels of the 3x3 convolution.
        reduce_large: channels of the 1x1 convolution before the large one.
        width_large: channels of the large convolution.
        pooled: channels of the 1x1 convolution after the 3x3 max pool.
        kernel: kernel size of the large convolution.
        pool: whether a 3x3 max pool halves the image before the module.
    """

    width_1x1: int
    reduce_3x3: int
    width_3x3: int
    reduce_large: int
    width_large: int
    pooled: int
    kernel: int = 5
    pool: bool = False


def _inception(*widths: int, pool: bool = False) -> Inception:
    names = ("width_1x1", "reduce_3x3", "width_3x3", "reduce_large", "width_large", "pooled")
    return Inception(**dict(zip(names, widths, strict=True)), pool=pool)


_MODULES = (
    _inception(64, 96, 128, 16, 32, 32, pool=True),
    _inception(128, 128, 192, 32, 96, 64),
    _inception(192, 96, 208, 16, 48, 64, pool=True),
    _inception(160, 112, 224, 24, 64, 64),
    _inception(128, 128, 256, 24, 64, 64),
    _inception(112, 144, 288, 32, 64, 64),
    _inception(256, 160, 320, 32, 128, 128),
    _inception(256, 160, 320, 32, 128, 128, pool=True),
    _inception(384, 192, 384, 48, 128, 128),
)


@dataclass(frozen=True, kw_only=True)
class GoogLeNetConfig:
    """One GoogLeNet without its auxiliary classifiers; the defaults are table 1 of the paper.

    Args:
        batch_norm: batch normalization after each convolution (as in Inception v2) in place of
            biases and of the two local response normalizations before the first module.
        stem_widths: channels of the three convolutions before the first module.
        stem_kernel: kernel size of the first convolution.
        modules: the inception modules.
        input_size: height and width of the image.
        batch: images per inference.
        num_classes: size of the output.
    """

    batch_norm: bool = False
    stem_widths: tuple[int, int, int] = (64, 64, 192)
    stem_kernel: int = 7
    modules: tuple[Inception, ...] = _MODULES
    input_size: int = 224
    batch: int = 1
    num_classes: int = 1000


def sample_config(rng: Random) -> GoogLeNetConfig:
    """Draw a GoogLeNet; its cost is not bounded."""
    multiplier = rng.uniform(0.4, 1.6)
    stem = vary_width(rng, 64 * multiplier)
    return GoogLeNetConfig(
        batch_norm=rng.random() < 0.5,
        stem_widths=(stem, stem, vary_width(rng, 192 * multiplier)),
        stem_kernel=draw_kernel(rng),
        modules=tuple(
            _sample_module(rng, module, multiplier)
            for module in _MODULES[: rng.randint(2, len(_MODULES))]
        ),
        input_size=draw_image_size(rng),
        batch=draw_batch(rng),
        num_classes=draw_num_classes(rng),
    )


def layers(config: GoogLeNetConfig) -> tuple[NetworkBuilder, Value]:
    """The layers of ``config`` and the logits."""
    net = NetworkBuilder.for_images(batch=config.batch, input_size=config.input_size)
    first, second, third = config.stem_widths
    x = _conv(net, net.input, first, config.stem_kernel, config, stride=2)
    x = net.max_pool(x, 3, 2, padding=1)
    if not config.batch_norm:
        x = net.lrn(x)
    x = _conv(net, _conv(net, x, second, 1, config), third, 3, config)
    if not config.batch_norm:
        x = net.lrn(x)
    for module in config.modules:
        x = _append_module(net, x, module, config)
    return net, net.classifier(x, config.num_classes)


build = partial(write_network, layers, name="googlenet")


def _append_module(
    net: NetworkBuilder, x: Value, module: Inception, config: GoogLeNetConfig
) -> Value:
    if module.pool:
        x = net.max_pool(x, 3, 2, padding=1)
    reduced_3x3 = _conv(net, x, module.reduce_3x3, 1, config)
    reduced_large = _conv(net, x, module.reduce_large, 1, config)
    return net.concat(
        [
            _conv(net, x, module.width_1x1, 1, config),
            _conv(net, reduced_3x3, module.width_3x3, 3, config),
            _conv(net, reduced_large, module.width_large, module.kernel, config),
            _conv(net, net.max_pool(x, 3, 1, padding=1), module.pooled, 1, config),
        ]
    )


def _sample_module(rng: Random, module: Inception, multiplier: float) -> Inception:
    return Inception(
        width_1x1=vary_width(rng, module.width_1x1 * multiplier),
        reduce_3x3=vary_width(rng, module.reduce_3x3 * multiplier),
        width_3x3=vary_width(rng, module.width_3x3 * multiplier),
        reduce_large=vary_width(rng, module.reduce_large * multiplier),
        width_large=vary_width(rng, module.width_large * multiplier),
        pooled=vary_width(rng, module.pooled * multiplier),
        kernel=rng.choice((3, 5, 5, 7)),
        pool=module.pool,
    )


def _conv(
    net: NetworkBuilder,
    x: Value,
    channels: int,
    kernel: int,
    config: GoogLeNetConfig,
    *,
    stride: int = 1,
) -> Value:
    """Convolution and relu."""
    y = net.conv(x, channels, kernel, stride=stride, bias=not config.batch_norm)
    return net.relu(net.batch_norm(y) if config.batch_norm else y)
