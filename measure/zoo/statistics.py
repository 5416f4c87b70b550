"""What the sampled networks of a family are like: operators, costs, sizes."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from measure.zoo import sample
from relay_frontend import load
from relay_frontend.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Least, median and greatest of some numbers."""

    least: float
    median: float
    most: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """The spread of ``values``, of which there is at least one."""
        ordered = sorted(values)
        return cls(least=ordered[0], median=statistics.median(ordered), most=ordered[-1])


@dataclass(frozen=True, kw_only=True)
class FamilyStatistics:
    """Of the networks of one family and size that belong to the seeds from 0 on.

    Args:
        family: key of :data:`measure.zoo.FAMILIES`.
        size: key of :data:`measure.zoo.SIZES`.
        networks: number of seeds.
        distinct: number of different networks, told by their digests.
        operators: operators of a network, in canonical form.
        flops: floating-point operations of one inference, a multiply-add counted as two.
        parameters: elements of all parameters, if each is a float32.
        batches: leading dimensions of the input, each once.
        kinds: share of each operator of the vocabulary in all operators, the most frequent first.
        unknown: names of operators outside of the vocabulary.
    """

    family: str
    size: str
    networks: int
    distinct: int
    operators: Spread
    flops: Spread
    parameters: Spread
    batches: tuple[int, ...]
    kinds: Mapping[str, float]
    unknown: tuple[str, ...]


def family_statistics(family: str, count: int, size: str = "standard") -> FamilyStatistics:
    """Statistics of ``count`` networks of ``family``.

    Raises:
        UnknownFamilyError: there is no such family.
        InputError: ``count`` is less than one, or there is no such size.
    """
    if count < 1:
        raise InputError(f"statistics of {count} networks: expected at least one")
    graphs = [load(sample(family, seed, size).model) for seed in range(count)]
    kinds = Counter(operator.op for graph in graphs for operator in graph)
    return FamilyStatistics(
        family=family,
        size=size,
        networks=count,
        distinct=len({graph.digest for graph in graphs}),
        operators=Spread.of(len(graph) for graph in graphs),
        flops=Spread.of(graph.flops for graph in graphs),
        parameters=Spread.of(graph.param_bytes / 4 for graph in graphs),
        batches=tuple(sorted({graph.batch_size for graph in graphs})),
        kinds={op: number / kinds.total() for op, number in kinds.most_common()},
        unknown=tuple(sorted({op for graph in graphs for op in graph.unknown_ops})),
    )
