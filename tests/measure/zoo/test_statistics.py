"""Statistics of families."""

from __future__ import annotations

import statistics

import pytest

from measure.zoo import UnknownFamilyError, sample
from measure.zoo.statistics import Spread, family_statistics
from relay_frontend import load
from relay_frontend.errors import InputError


def test_statistics_are_those_of_the_networks_of_the_first_seeds() -> None:
    found = family_statistics("vgg", 5, "small")
    graphs = [load(sample("vgg", seed, "small").model) for seed in range(5)]
    counts = [len(graph) for graph in graphs]
    assert found.operators == Spread(
        least=min(counts), median=statistics.median(counts), most=max(counts)
    )
    assert found.flops.most == max(graph.flops for graph in graphs)
    assert found.parameters.least == min(graph.param_bytes for graph in graphs) / 4
    assert (found.networks, found.distinct, found.unknown) == (5, 5, ())
    convolutions = sum(o.op == "conv2d" for graph in graphs for o in graph)
    assert found.kinds["conv2d"] == pytest.approx(convolutions / sum(counts))
    assert sum(found.kinds.values()) == pytest.approx(1)
    shares = list(found.kinds.values())
    assert shares == sorted(shares, reverse=True)


def test_no_networks_have_no_statistics() -> None:
    with pytest.raises(InputError, match="expected at least one"):
        family_statistics("vgg", 0)


def test_unknown_family_is_refused() -> None:
    with pytest.raises(UnknownFamilyError, match="lenet"):
        family_statistics("lenet", 1)
