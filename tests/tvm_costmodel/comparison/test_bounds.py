"""The roofline, and the peak that it is made of."""

from __future__ import annotations

import numpy as np
import pytest

from relay_frontend.graph import TensorType
from relay_frontend.kernel import NO_KERNEL, Kernel
from tvm_costmodel.comparison.bounds import Peak, best_reached, roofline_ms


def kernel(kind: str, flops: int, elements: int, name: str = "fused") -> Kernel:
    """One that reads as much as it writes."""
    tensor = TensorType((elements,))
    return Kernel(name=name, kind=kind, arguments=(tensor,), results=(tensor,), flops=flops)


CONV = kernel("nn_conv2d", 1_000_000, 1000)
RELU = kernel("nn_relu", 1000, 1000)


def test_the_peak_is_the_best_of_each_kind_of_work():
    peak = best_reached([(CONV, 0.5), (CONV, 1.0), (RELU, 0.001)])
    assert peak == Peak(flops_per_ms=2_000_000, bytes_per_ms=8_000_000, kernels=3)


@pytest.mark.parametrize(
    "other",
    [
        kernel("reshape", 0, 10**9, NO_KERNEL),
        kernel("take_add", 10**9, 10**9),
        kernel("strided_slice", 10**9, 10**9),
    ],
)
def test_kernels_that_do_not_work_on_all_of_their_arguments_show_no_peak(other):
    assert best_reached([(CONV, 1.0), (other, 0.001)]) == best_reached([(CONV, 1.0)])


def test_without_timed_kernels_there_is_no_peak():
    assert best_reached([]) is None
    assert best_reached([(CONV, 0.0)]) is None


def test_a_kernel_takes_what_the_scarcer_of_both_takes():
    peak = Peak(flops_per_ms=1e6, bytes_per_ms=1e6, kernels=1)
    assert roofline_ms([CONV], peak) == 1.0
    assert roofline_ms([RELU], peak) == 0.008
    assert roofline_ms([kernel("take", 0, 1000)], peak) == 0.004
    assert roofline_ms([kernel("reshape", 0, 1000, NO_KERNEL)], peak) == 0.0


def test_the_roofline_is_a_lower_bound_of_the_kernels_that_it_was_made_from():
    rng = np.random.default_rng(0)
    kernels = [kernel("x", int(f), int(n)) for f, n in rng.integers(1, 10**6, (50, 2))]
    times = rng.uniform(0.01, 1, 50)
    peak = best_reached(zip(kernels, times.tolist(), strict=True))
    assert peak is not None
    assert all(
        roofline_ms([k], peak) <= ms * (1 + 1e-12) for k, ms in zip(kernels, times, strict=True)
    )
