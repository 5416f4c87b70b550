"""Networks to measure: families, drawn from seeds, as ONNX without weights.

They vary what decides latency, as the data sets of NNLQP (Liu et al., 2022) and nn-Meter (Zhang et
al., 2021) do: kernel sizes, widths, depths, expansions, groups, input sizes and batches. Small ones
can be measured in seconds even where a compiler emits naive loops; standard ones are of the size
that people deploy.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any, Generic, TypeVar

from onnx import ModelProto

from measure.zoo import (
    alexnet,
    bert,
    convnext,
    densenet,
    efficientnet,
    googlenet,
    mnasnet,
    mobilenet_v2,
    mobilenet_v3,
    nasbench201,
    resnet,
    shufflenet_v2,
    squeezenet,
    vgg,
    vit,
)
from measure.zoo.builder import NetworkBuilder, Value
from relay_frontend.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Size:
    """How large sampled networks are.

    Args:
        min_flops: least cost of convolutions and dense layers, a multiply-add counted as two.
        max_flops: highest cost.
        max_nodes: highest number of ONNX nodes, without those that stand for parameters.
        max_parameters: highest number of elements of all weights, which a build holds in memory.
    """

    min_flops: float
    max_flops: float
    max_nodes: int
    max_parameters: float


SIZES: dict[str, Size] = {
    "small": Size(min_flops=5e6, max_flops=300e6, max_nodes=150, max_parameters=20e6),
    "standard": Size(min_flops=100e6, max_flops=8e9, max_nodes=250, max_parameters=80e6),
}

MIN_NODES = 15
"""Least number of ONNX nodes of a sampled network, without those that stand for parameters."""

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
        model: weightless ONNX with the input ``input`` and the output ``logits``.
    """

    name: str
    family: str
    seed: int
    model: ModelProto


FAMILIES: dict[str, Family[Any]] = {
    module.__name__.rpartition(".")[2]: Family(
        name=module.__name__.rpartition(".")[2],
        sample_config=module.sample_config,
        layers=module.layers,
    )
    for module in (
        alexnet,
        vgg,
        resnet,
        googlenet,
        squeezenet,
        mobilenet_v2,
        mobilenet_v3,
        mnasnet,
        efficientnet,
        nasbench201,
        densenet,
        shufflenet_v2,
        convnext,
        vit,
        bert,
    )
}


def check_family(family: str) -> None:
    """Raise UnknownFamilyError unless ``family`` is in :data:`FAMILIES`."""
    if family not in FAMILIES:
        raise UnknownFamilyError(
            f"unknown network family {family!r}: choose one of {', '.join(sorted(FAMILIES))}"
        )


def sample(family: str, seed: int, size: str = "standard") -> ZooNetwork:
    """The network of ``family`` that belongs to ``seed``: the same bytes in every process.

    Costs are spread evenly on a logarithmic scale between the limits of ``size``: of a few networks
    within the limits the nearest to a cost drawn beforehand is taken.

    Raises:
        UnknownFamilyError: ``family`` is not in :data:`FAMILIES`.
        InputError: ``size`` is not in :data:`SIZES`.
    """
    check_family(family)
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
        net, logits = family.layers(family.sample_config(rng))
        if (
            limits.min_flops <= net.flops <= limits.max_flops
            and MIN_NODES <= net.num_nodes <= limits.max_nodes
            and net.num_parameters <= limits.max_parameters
        ):
            return net, logits
