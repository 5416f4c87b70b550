"""Inverted residual blocks (Sandler et al., 2018), of which the mobile families are made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

from measure.zoo.builder import NetworkBuilder, Value, round_width
from measure.zoo.sampling import draw_kernel, vary_depth, vary_width


@dataclass(frozen=True, kw_only=True)
class InvertedResiduals:
    """One stage of inverted residual blocks; activations are named as in ``builder.ACTIVATIONS``.

    Args:
        expansion: hidden channels of a block per input channel; 1 leaves the expansion out.
        width: output channels of each block.
        depth: number of blocks.
        stride: stride of the first block.
        kernel: kernel size of the depthwise convolutions.
        squeeze: channels between the two layers of the squeeze-excite on the hidden channels, per
            input channel of the block; 0 leaves the squeeze-excite out.
        activation: after the first two convolutions.
        squeeze_activation: between the two layers of the squeeze-excite.
        gate: activation that ends the squeeze-excite.
    """

    expansion: float
    width: int
    depth: int
    stride: int
    kernel: int = 3
    squeeze: float = 0.0
    activation: str = "relu6"
    squeeze_activation: str = "relu"
    gate: str = "sigmoid"


def append_stages(net: NetworkBuilder, x: Value, stages: Sequence[InvertedResiduals]) -> Value:
    """The blocks of all ``stages`` on ``x``."""
    for stage in stages:
        for i in range(stage.depth):
            x = _block(net, x, stage, stride=stage.stride if i == 0 else 1)
    return x


def vary_stage(
    rng: Random, stage: InvertedResiduals, width: float, max_expansion: int = 6
) -> InvertedResiduals:
    """A stage like ``stage`` whose widths are about ``width`` times as large."""
    return replace(
        stage,
        expansion=rng.randint(1, max_expansion),
        width=vary_width(rng, stage.width * width),
        depth=vary_depth(rng, stage.depth),
        kernel=draw_kernel(rng),
    )


def _block(net: NetworkBuilder, x: Value, stage: InvertedResiduals, *, stride: int) -> Value:
    hidden = round_width(x.channels * stage.expansion)
    y = x
    if stage.expansion != 1:
        y = net.activation(net.conv_bn(y, hidden, 1), stage.activation)
    y = net.conv_bn(y, hidden, stage.kernel, stride=stride, groups=hidden)
    y = net.activation(y, stage.activation)
    if stage.squeeze:
        y = _squeeze_excite(net, y, round_width(x.channels * stage.squeeze), stage)
    y = net.conv_bn(y, stage.width, 1)
    return net.add(x, y) if y.shape == x.shape else y


def _squeeze_excite(net: NetworkBuilder, x: Value, width: int, stage: InvertedResiduals) -> Value:
    """Scale each channel by what two layers make of all channels' means (Hu et al., 2018)."""
    y = net.conv(net.global_average_pool(x), width, 1, bias=True)
    y = net.conv(net.activation(y, stage.squeeze_activation), x.channels, 1, bias=True)
    return net.multiply(x, net.activation(y, stage.gate))
