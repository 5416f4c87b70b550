"""Networks to measure: five families, drawn from seeds, as ONNX without weights.

They vary what decides latency, as the data sets of NNLQP (Liu et al., 2022) and nn-Meter (Zhang et
al., 2021) do: kernel sizes, widths, depths, expansions and image sizes. Small ones can be measured
in seconds even where a compiler emits naive loops; large ones are of the size that people deploy.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random
from typing import Any, Generic, TypeVar

from onnx import ModelProto

from measure.zoo import mobilenet_v2, nasbench201, resnet, squeezenet, vgg
from measure.zoo.builder import NetworkBuilder, Value
from relay_frontend.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Size:
    """How large sampled networks are.

    Args:
        min_flops: least cost of convolutions and dense layers, a multiply-add counted as two.
        max_flops: highest cost.
        scales: factors of the image size that a family draws.
    """

    min_flops: float
    max_flops: float
    scales: tuple[int, ...]


SIZES: dict[str, Size] = {
    "small": Size(min_flops=5e6, max_flops=300e6, scales=(1,)),
    "large": Size(min_flops=300e6, max_flops=10e9, scales=(2, 3, 4)),
}

MIN_NODES = 15
MAX_NODES = 150
"""Number of ONNX nodes of a sampled network, without those that stand for parameters."""

_CANDIDATES = 8

_ConfigT = TypeVar("_ConfigT")


class UnknownFamilyError(InputError):
    """There is no family of that name in the zoo."""


@dataclass(frozen=True, kw_only=True)
class Family(Generic[_ConfigT]):
    """One kind of network.

    Args:
        name: its key in :data:`FAMILIES`.
        sample_config: draws a configuration, of any cost.
        layers: the layers of a configuration, and the logits.
    """

    name: str
    sample_config: Callable[[Random], _ConfigT]
    layers: Callable[[_ConfigT], tuple[NetworkBuilder, Value]]


@dataclass(frozen=True, kw_only=True)
class ZooNetwork:
    """A sampled network.

    Args:
        name: family and seed, also the name of the ONNX graph.
        family: key of :data:`FAMILIES`.
        seed: what it was drawn from.
        model: weightless ONNX, input ``input`` float32 ``[1, 3, size, size]``, output ``logits``.
    """

    name: str
    family: str
    seed: int
    model: ModelProto


FAMILIES: dict[str, Family[Any]] = {
    family.name: family
    for family in (
        Family(name="resnet", sample_config=resnet.sample_config, layers=resnet.layers),
        Family(name="vgg", sample_config=vgg.sample_config, layers=vgg.layers),
        Family(
            name="mobilenet_v2",
            sample_config=mobilenet_v2.sample_config,
            layers=mobilenet_v2.layers,
        ),
        Family(name="squeezenet", sample_config=squeezenet.sample_config, layers=squeezenet.layers),
        Family(
            name="nasbench201", sample_config=nasbench201.sample_config, layers=nasbench201.layers
        ),
    )
}


def sample(family: str, seed: int, size: str = "small") -> ZooNetwork:
    """The network of ``family`` that belongs to ``seed``: the same bytes in every process.

    Costs are spread evenly on a logarithmic scale between the limits of ``size``: of a few networks
    within the limits the nearest to a cost drawn beforehand is taken.

    Raises:
        UnknownFamilyError: ``family`` is not in :data:`FAMILIES`.
        InputError: ``size`` is not in :data:`SIZES`.
    """
    if family not in FAMILIES:
        raise UnknownFamilyError(
            f"unknown network family {family!r}: choose one of {', '.join(sorted(FAMILIES))}"
        )
    if size not in SIZES:
        raise InputError(f"unknown network size {size!r}: choose one of {', '.join(SIZES)}")
    limits = SIZES[size]
    prefix = family if size == "small" else f"{family}-{size}"
    rng = Random(f"{prefix.replace('-', '/')}/{seed}")
    wanted = rng.uniform(math.log(limits.min_flops), math.log(limits.max_flops))
    candidates = [_sample_within(limits, FAMILIES[family], rng) for _ in range(_CANDIDATES)]
    net, logits = min(candidates, key=lambda c: abs(math.log(c[0].flops) - wanted))
    name = f"{prefix}-{seed:05d}"
    return ZooNetwork(name=name, family=family, seed=seed, model=net.model(name, logits))


def _sample_within(limits: Size, family: Family[Any], rng: Random) -> tuple[NetworkBuilder, Value]:
    while True:
        config = family.sample_config(rng)
        if limits.scales != (1,):
            config = replace(config, input_size=config.input_size * rng.choice(limits.scales))
        net, logits = family.layers(config)
        affordable = limits.min_flops <= net.flops <= limits.max_flops
        if affordable and MIN_NODES <= net.num_nodes <= MAX_NODES:
            return net, logits
