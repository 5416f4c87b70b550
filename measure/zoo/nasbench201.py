"""Networks of NAS-Bench-201 (Dong and Yang, 2020): one skeleton, 15625 cells."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from random import Random

from measure.zoo.builder import NetworkBuilder, Value, write_network
from measure.zoo.sampling import draw_batch

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
"""What an edge of a cell may be, in the order of the benchmark."""

EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
"""Source and target node of each edge, in the order of the benchmark's architecture strings."""

_OUTPUT_NODE = 3


@dataclass(frozen=True, kw_only=True)
class NASBench201Config:
    """One network; the defaults are the benchmark's skeleton.

    Args:
        cell: operation of each edge of ``EDGES``; its output must hang on its input.
        cells_per_stage: cells in each of the three stages (N).
        width: channels of the first stage (C); each later stage doubles them.
        input_size: height and width of the image.
        batch: images per inference.
        num_classes: size of the output.
        eager: whether every edge is computed, as frameworks without a compiler do: ``none``
            multiplies by zero, and what leads nowhere is there too. A cell may then be any.
    """

    cell: tuple[str, ...]
    cells_per_stage: int = 5
    width: int = 16
    input_size: int = 32
    batch: int = 1
    num_classes: int = 10
    eager: bool = False


def sample_config(rng: Random) -> NASBench201Config:
    """Draw a network whose cell passes its input on; its cost is not bounded."""
    cell: tuple[str, ...] = ()
    while not live_edges(cell):
        cell = tuple(rng.choice(OPERATIONS) for _ in EDGES)
    return NASBench201Config(
        cell=cell,
        cells_per_stage=rng.randint(1, 5),
        width=rng.randrange(8, 65, 8),
        input_size=rng.choice((16, 32, 32, 48, 64, 80, 96)),
        batch=draw_batch(rng),
        num_classes=rng.choice((10, 100, 120)),
    )


def live_edges(cell: tuple[str, ...]) -> list[tuple[int, int, str]]:
    """Source, target and operation of the edges that lie on a path from input to output.

    Others are constant or unused: the benchmark computes them, a compiler would not.
    """
    edges = [
        (source, target, operation)
        for (source, target), operation in zip(EDGES, cell, strict=False)
        if operation != "none"
    ]
    reached = {0}
    for source, target, _ in sorted(edges):
        if source in reached:
            reached.add(target)
    needed = {_OUTPUT_NODE}
    for source, target, _ in sorted(edges, reverse=True):
        if target in needed:
            needed.add(source)
    return [edge for edge in edges if edge[0] in reached and edge[1] in needed]


def all_edges(cell: tuple[str, ...]) -> list[tuple[int, int, str]]:
    """Source, target and operation of every edge."""
    edges = zip(EDGES, cell, strict=True)
    return [(source, target, operation) for (source, target), operation in edges]


def layers(config: NASBench201Config) -> tuple[NetworkBuilder, Value]:
    """The layers of ``config`` and the logits."""
    net = NetworkBuilder.for_images(batch=config.batch, input_size=config.input_size)
    edges = all_edges(config.cell) if config.eager else live_edges(config.cell)
    x = net.conv_bn(net.input, config.width, 3)
    for stage in range(3):
        if stage > 0:
            x = _reduction_block(net, x, config.width * 2**stage)
        for _ in range(config.cells_per_stage):
            x = _cell(net, x, edges)
    return net, net.classifier(net.relu(net.batch_norm(x)), config.num_classes)


build = partial(write_network, layers, name="nasbench201")


def _cell(net: NetworkBuilder, x: Value, edges: list[tuple[int, int, str]]) -> Value:
    nodes = {0: x}
    for source, target, operation in edges:
        y = _operation(net, nodes[source], operation)
        nodes[target] = net.add(nodes[target], y) if target in nodes else y
    return nodes[_OUTPUT_NODE]


def _operation(net: NetworkBuilder, x: Value, operation: str) -> Value:
    if operation == "none":
        return net.apply("Mul", [x, net.constant(0.0)], x.shape, kind="none")
    if operation == "skip_connect":
        return x
    if operation == "avg_pool_3x3":
        return net.average_pool(x, 3, 1, padding=1)
    return _relu_conv_bn(net, x, x.channels, 1 if operation == "nor_conv_1x1" else 3)


def _reduction_block(net: NetworkBuilder, x: Value, channels: int) -> Value:
    """The residual block between stages: it halves the image and doubles the channels."""
    y = _relu_conv_bn(net, x, channels, 3, stride=2)
    y = _relu_conv_bn(net, y, channels, 3)
    shortcut = net.conv(net.average_pool(x, 2, 2), channels, 1)
    return net.add(shortcut, y)


def _relu_conv_bn(
    net: NetworkBuilder, x: Value, channels: int, kernel: int, *, stride: int = 1
) -> Value:
    return net.conv_bn(net.relu(x), channels, kernel, stride=stride)
