"""How a compiler tiles the loops of an operator, as far as extents decide it.

The rules are those of TOPI's default schedules of x86 (``topi.x86``), which a network gets that was
not tuned: the vectors that a schedule makes, and the results that it computes in an unrolled loop
beside each other, are divisors of extents. So 36 channels may take less time than 37, and a product
of 196 rows half of what one of 197 takes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from relay_frontend.graph import Operator
from relay_frontend.operators import OPERATORS

_OVER_IMAGES = ("convolution", "transposed_convolution", "window")  # rules of costs
_PRODUCT_ROWS = 8  # tile_y of _default_dense_pack_config: the largest power of two up to it
_IN_FLIGHT = 4  # cycles that a multiply-add takes until the next one may add to its result
_IN_MEMORY = 2  # results that a schedule which keeps them in memory is as quick with


def largest_divisor(extent: int, bound: int) -> int:
    """The largest divisor of ``extent`` that is not above ``bound``; 0 of the extent 0."""
    return next((d for d in range(min(extent, bound), 0, -1) if extent % d == 0), 0)


def tile(operator: Operator, lanes: int, rows: int) -> tuple[int, int]:
    """The results that one vector holds, and the vectors that are computed beside each other.

    A convolution or a window over NCHW has vectors of channels, the largest divisor up to
    ``lanes``, and an unrolled loop over the width, the largest divisor up to ``rows``; one of a
    1 x 1 window unrolls over the height too. A grouped convolution, which a depthwise one is not,
    has vectors within a group and unrolls over the width alone; but while it adds up a window, its
    results lie in memory (``group_conv2d_nchw.x86`` computes them apart from what it writes), so
    that it is as slow as if two were computed beside each other. A product with a constant matrix
    packs its columns up to two vectors wide, and makes no vectors where these are not full; of its
    rows, batch and sequence together, it unrolls a power of two. A product of two computed tensors,
    and so an attention, is not packed: by TVM 0.16 with AVX-512 it reaches 2 to 5 GFLOP/s where the
    former reaches 100, as if it made vectors of two. Anything else has vectors in its last
    dimension, and no result that waits for another.

    Args:
        operator: any.
        lanes: numbers that a vector register holds; 1 for no vectors.
        rows: bound of what is unrolled; 1 for nothing.

    Returns:
        Two numbers of 1 or more.
    """
    rule = OPERATORS[operator.op].cost.partition("*")[0]
    shape = operator.shape
    if operator.op in ("attention", "matmul"):
        return tile_of_matmul(lanes)
    if operator.op == "dense":
        return tile_of_product((0, *shape)[-1], math.prod(shape[:-1]), lanes, rows)
    if rule in _OVER_IMAGES:
        channels, *image = shape[1:]
        if operator.op.endswith("nhwc"):
            *image, channels = shape[1:]
        groups = operator.attrs.get("groups", 1)
        assert isinstance(groups, int)
        pointwise = operator.attrs.get("kernel_size", ()) == (1, 1)
        return tile_of_image(channels, groups, image, lanes, rows, pointwise=pointwise)
    return _divisor((0, *shape)[-1], lanes), rows


def tile_of_matmul(lanes: int) -> tuple[int, int]:
    """:func:`tile` of a product of two computed tensors."""
    return min(2, lanes), 1


def tile_of_product(columns: int, height: int, lanes: int, rows: int) -> tuple[int, int]:
    """:func:`tile` of a product with a constant matrix, ``[height, columns]``."""
    packed = largest_divisor(columns, 2 * lanes)
    if packed % lanes:
        return 1, rows
    unrolled = math.gcd(height, _PRODUCT_ROWS)
    return lanes, min(unrolled * max(1, packed // lanes), rows)


def tile_of_image(
    channels: int, groups: int, image: Sequence[int], lanes: int, rows: int, *, pointwise: bool
) -> tuple[int, int]:
    """:func:`tile` of a convolution or a window whose result has ``channels`` of an ``image``.

    Args:
        channels: of the result.
        groups: that do not see each other's channels; 1 for all in one.
        image: height and width of the result; for a sequence its length.
        lanes: as of :func:`tile`.
        rows: as of :func:`tile`.
        pointwise: whether the window is 1 x 1.
    """
    unrolled = _divisor(image[-1], rows)
    if 1 < groups < channels:
        unrolled = unrolled if pointwise else min(unrolled, _IN_MEMORY)
        return _divisor(channels // groups, lanes), unrolled
    if pointwise:
        unrolled *= _divisor(image[0], rows // unrolled)
    return _divisor(channels, lanes), unrolled


def stalls(operations: float, rows: int) -> float:
    """Vector operations that could be done while ``operations`` wait for each other's results.

    Args:
        operations: that add to results.
        rows: results that are computed beside each other.
    """
    return operations * (max(rows, _IN_FLIGHT) / rows - 1)


def _divisor(extent: int, bound: int) -> int:
    return max(1, largest_divisor(extent, bound))
