"""What networks are made of, in several views."""

from __future__ import annotations

import math

import numpy as np
import pytest

from measure.zoo import sample
from relay_frontend.fusion import fuse
from relay_frontend.kernel import NO_KERNEL
from relay_frontend.onnx import read_onnx
from tests.tvm_costmodel.measured import invented_kernels
from tvm_costmodel.comparison.parts import OTHERS, largest, parts_of
from tvm_costmodel.predictors.configurations import guess_kernels


def total(parts, view: str) -> float:
    return math.fsum(part.latency_ms.get(view, 0.0) for part in parts)


@pytest.mark.parametrize("family", ["resnet", "vit", "shufflenet_v2"])
def test_every_view_sums_to_its_estimate(family):
    graph = read_onnx(sample(family, 1, "small").model)
    rng = np.random.default_rng(0)
    operators_ms = rng.uniform(0, 1, len(graph))
    kernels = invented_kernels(graph)
    kernels_ms = rng.uniform(0, 1, len(kernels))
    fused_ms = rng.uniform(0, 1, int(fuse(graph).max()) + 1)
    parts = parts_of(graph, {"a": operators_ms}, {"b": (kernels, kernels_ms)}, {"c": fused_ms})
    sums = [total(parts, view) for view in "abc"]
    assert sums == pytest.approx([operators_ms.sum(), kernels_ms.sum(), fused_ms.sum()])
    order = [max(part.latency_ms.values()) for part in parts]
    assert order == sorted(order, reverse=True)


def test_equal_kernels_are_one_part_with_its_calls():
    graph = read_onnx(sample("vgg", 0, "small").model)
    guessed = guess_kernels(graph)
    parts = parts_of(graph, {}, {}, {"a": np.ones(len(guessed))})
    assert sum(part.calls for part in parts) == len(guessed)
    assert len(parts) < len(guessed)
    assert all(part.latency_ms["a"] == part.calls for part in parts)
    assert len({(part.kind, part.shape) for part in parts}) > 1
    assert any(kernel.name == NO_KERNEL for kernel in guessed)


def test_what_is_not_among_the_largest_is_summed_up():
    graph = read_onnx(sample("resnet", 0, "small").model)
    parts = parts_of(graph, {"a": np.arange(1.0, len(graph) + 1)}, {})
    shown = largest(parts, 3)
    assert shown[:3] == parts[:3]
    assert shown[3].kind == OTHERS
    assert total(shown, "a") == pytest.approx(total(parts, "a"))
    assert largest(parts, len(parts)) == parts
