"""What tiles operators get, and what they do not depend on."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay_frontend.graph import Operator, TensorType
from relay_frontend.tiling import largest_divisor, stalls, tile


def operator(op: str, *shape: int, **attrs: Any) -> Operator:
    return Operator(op=op, inputs=(-1,), type=TensorType(shape), attrs=attrs)


@given(extent=st.integers(0, 2000), bound=st.integers(2, 64))
def test_the_largest_divisor_is_that_of_topis_schedules(extent, bound):
    divisor = largest_divisor(extent, bound)
    if extent == 0:
        assert divisor == 0
        return
    # As ``_fallback_schedule`` of topi.x86 counts down to it.
    assert divisor == max(d for d in range(1, bound + 1) if extent % d == 0)


@pytest.mark.parametrize(
    ("op", "shape", "expected"),
    [
        ("conv2d", (1, 36, 14, 28), (12, 28)),
        ("conv2d", (1, 37, 47, 47), (1, 1)),
        ("max_pool2d", (1, 64, 14, 62), (16, 31)),
        ("conv2d_nhwc", (1, 14, 28, 36), (12, 28)),
        ("dense", (196, 768), (16, 8)),  # 4 rows of two vectors
        ("dense", (1, 197, 768), (16, 2)),
        ("dense", (8, 197, 16), (16, 8)),
        ("dense", (4, 7, 7, 48), (1, 31)),  # 24 columns at a time are one vector and a half
        ("matmul", (12, 64, 64), (2, 1)),
        ("attention", (1, 12, 64, 64), (2, 1)),
        ("relu", (1, 64, 14, 28), (14, 31)),
        ("relu", (), (1, 31)),
    ],
)
def test_operators_are_tiled_as_topis_schedules_do(op, shape, expected):
    assert tile(operator(op, *shape), 16, 31) == expected


@pytest.mark.parametrize(
    ("groups", "expected"), [(1, (16, 7)), (4, (8, 2)), (8, (4, 2)), (16, (2, 2)), (32, (16, 7))]
)
def test_a_grouped_convolution_is_tiled_within_groups_unless_it_is_depthwise(groups, expected):
    assert tile(operator("conv2d", 1, 32, 7, 7, groups=groups), 16, 31) == expected


def test_a_grouped_convolution_without_a_window_keeps_its_results_in_registers():
    pointwise = operator("conv2d", 1, 32, 7, 14, groups=4, kernel_size=(1, 1))
    assert tile(pointwise, 16, 31) == (8, 14)


@pytest.mark.parametrize(
    ("image", "expected"), [((14, 14), 28), ((7, 7), 7), ((4, 4), 16), ((47, 47), 1), ((1, 1), 1)]
)
def test_a_window_of_one_unrolls_over_the_height_too(image, expected):
    pointwise = operator("conv2d", 1, 32, *image, groups=1, kernel_size=(1, 1))
    assert tile(pointwise, 16, 31) == (16, expected)


@given(
    op=st.sampled_from(["conv2d", "dense", "matmul", "add", "layer_norm"]),
    shape=st.lists(st.integers(0, 300), min_size=4, max_size=4),
)
def test_without_bounds_nothing_is_tiled(op, shape):
    assert tile(operator(op, *shape), 1, 1) == (1, 1)


@given(rows=st.lists(st.integers(1, 40), min_size=3, max_size=3), columns=st.integers(1, 300))
def test_a_product_does_not_depend_on_how_its_rows_are_laid_out(rows, columns):
    a, b, c = rows
    nested, flat = operator("dense", a, b, c, columns), operator("dense", a * b * c, columns)
    assert tile(nested, 16, 31) == tile(flat, 16, 31)


@pytest.mark.parametrize(("rows", "expected"), [(1, 3), (2, 1), (4, 0), (28, 0)])
def test_operations_wait_where_few_results_are_computed_beside_each_other(rows, expected):
    assert stalls(10.0, rows) == pytest.approx(10.0 * expected)
