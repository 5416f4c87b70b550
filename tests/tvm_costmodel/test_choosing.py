"""Variants are ranked by their estimates, and close ones are not told apart."""

from __future__ import annotations

import math

import pytest

pytest.importorskip("hypothesis")

from hypothesis import given
from hypothesis import strategies as st

from measure.zoo import resnet
from relay_frontend.errors import InputError, NetworkError
from tests.networks import conv_bn_relu
from tvm_costmodel import CostModel, Estimate, choose


class Fake(CostModel):
    """Estimates what it is given: a latency and the ends of its interval as factors."""

    def __init__(self) -> None:
        super().__init__("p", "nar-former-v2", None)

    def estimate(self, network, shapes=None, params=None, *, measured=True):
        latency, low, high = network
        return Estimate(
            latency_ms=latency,
            low_ms=latency * low,
            high_ms=latency * high,
            source="nar-former-v2",
            platform="p",
            checkpoint="c",
            digest="d",
        )


intervals = st.tuples(st.floats(0.1, 100), st.floats(0.5, 1), st.floats(1, 2))


@given(variants=st.dictionaries(st.text(max_size=3), intervals, min_size=1), data=st.data())
def test_the_order_of_the_variants_does_not_matter(variants, data):
    shuffled = dict(data.draw(st.permutations(list(variants.items()))))
    choice = choose(variants, Fake())
    assert choose(shuffled, Fake()) == choice
    costs = [candidate.cost_ms for candidate in choice.candidates]
    assert costs == sorted(costs)
    assert choice.best.within_error
    assert choice.is_certain == (len(choice.contenders) == 1)


@given(scale=st.floats(0.01, 100))
def test_what_counts_is_the_ratio(scale):
    variants = {"a": (1.0, 0.9, 1.1), "b": (1.1, 0.9, 1.2), "c": (2.0, 0.9, 1.1)}
    scaled = {name: (latency * scale, *rest) for name, (latency, *rest) in variants.items()}
    choice = choose(scaled, Fake())
    assert [c.name for c in choice.contenders] == ["a", "b"]
    assert not choice.is_certain


def test_the_error_is_that_of_both():
    error = math.exp(math.hypot(math.log(1.1), math.log(1 / 0.9)))
    for factor, within in ((0.999, True), (1.001, False)):
        choice = choose([(1.0, 0.9, 1.1), (error * factor, 0.9, 1.1)], Fake())
        assert [c.name for c in choice.candidates] == ["0", "1"]
        assert choice.candidates[1].within_error is within


def test_sizes_are_ranked():
    sizes = {
        str(size): resnet.build(resnet.ResNetConfig(input_size=size)) for size in (224, 64, 128)
    }
    choice = choose(sizes, "tvm-relay")
    assert [c.name for c in choice.candidates] == ["64", "128", "224"]
    assert choice.best.name == "64"
    assert choice.is_certain


def test_batches_are_compared_by_the_sample():
    batches = {str(batch): resnet.build(resnet.ResNetConfig(batch=batch)) for batch in (2, 4)}
    model = CostModel.load("tvm-relay")
    choice = choose(batches, model, per_sample=True)
    four = next(c for c in choice.candidates if c.name == "4")
    assert four.cost_ms == pytest.approx(four.estimate.latency_ms / 4)
    assert not choice.is_certain
    assert choose(batches, model).best.name == "2"


def test_what_cannot_be_chosen_from_is_refused():
    with pytest.raises(InputError, match="no variants"):
        choose({}, "tvm-relay")
    with pytest.raises(NetworkError, match="not an ONNX model"):
        choose([conv_bn_relu(), b"nothing"], "tvm-relay")
