"""Anchors: networks that are measured again and again, to see whether the device stays the same.

They are written here and not drawn from the zoo, since they must stay as they are. Each is quick to
build, and takes a few milliseconds on a core of today where the compiler is good, tenths of a
second where it emits naive loops.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from measure.zoo import ZooNetwork
from measure.zoo.builder import NetworkBuilder, Value

_FAMILY = "anchor"


@cache
def anchor_networks() -> tuple[ZooNetwork, ...]:
    """Dense convolutions with skips, depthwise ones, and few large layers."""
    return (
        _network("anchor-residual-160", _residual, 160),
        _network("anchor-depthwise", _depthwise, 64),
        _network("anchor-wide", _wide, 64),
    )


def _network(name: str, layers: Callable[[NetworkBuilder], Value], image_size: int) -> ZooNetwork:
    net = NetworkBuilder.for_images(batch=1, input_size=image_size)
    model = net.model(name, net.classifier(layers(net), 10))
    return ZooNetwork(name=name, family=_FAMILY, seed=0, model=model)


def _residual(net: NetworkBuilder) -> Value:
    x = net.relu(net.conv_bn(net.input, 32, 7, stride=2))
    for width in (32, 64, 128):
        x = net.relu(net.conv_bn(x, width, 3, stride=2))
        for _ in range(2):
            y = net.relu(net.conv_bn(x, width, 3))
            x = net.relu(net.add(net.conv_bn(y, width, 3), x))
    return x


def _depthwise(net: NetworkBuilder) -> Value:
    x = net.relu6(net.conv_bn(net.input, 32, 3, stride=2))
    for width in (32, 64, 64, 128):
        x = net.relu6(net.conv_bn(x, 4 * width, 1))
        x = net.relu6(net.conv_bn(x, 4 * width, 3, groups=4 * width))
        x = net.conv_bn(x, width, 1)
    return net.max_pool(x, 2, 2)


def _wide(net: NetworkBuilder) -> Value:
    x = net.max_pool(net.relu(net.conv(net.input, 64, 5, stride=2, bias=True)), 2, 2)
    x = net.relu(net.conv(x, 256, 3, bias=True))
    return net.relu(net.conv(x, 256, 3, bias=True))
