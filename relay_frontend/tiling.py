"""How a compiler tiles the loops of an operator, as far as extents decide it.

The rules are those of TOPI's default schedules of x86 (``topi.x86``), which a network gets that was
not tuned: the vectors that a schedule makes, and the results that it computes in an unrolled loop
beside each other, are divisors of extents. So 36 channels may take less time than 37, and a product
of 196 rows half of what one of 197 takes.
"""

from __future__ import annotations

import math

from relay_frontend.graph import Operator
from relay_frontend.operators import OPERATORS

_OVER_IMAGES = ("convolution", "transposed_convolution", "window")  # rules of costs
_PRODUCT_ROWS = 8  # tile_y of _default_dense_pack_config: the largest power of two up to it
_IN_FLIGHT = 4  # cycles that a multiply-add takes until the next one may add to its result


def largest_divisor(extent: int, bound: int) -> int:
    """The largest divisor of ``extent`` that is not above ``bound``; 0 of the extent 0."""
    return next((d for d in range(min(extent, bound), 0, -1) if extent % d == 0), 0)


def tile(operator: Operator, lanes: int, rows: int) -> tuple[int, int]:
    """The results that one vector holds, and the vectors that are computed beside each other.

    A convolution or a window over NCHW has vectors of channels, the largest divisor up to
    ``lanes``, and an unrolled loop over the width, the largest divisor up to ``rows``. One by
    channels of groups has vectors within a group, unless it is depthwise; one of a 1 x 1 window
    unrolls over the height too. A product with a constant matrix packs its columns up to two
    vectors wide, and makes no vectors where these are not full; of its rows, batch and sequence
    together, it unrolls a power of two. A product of two computed tensors, and so an attention, is
    not packed: by TVM 0.16 with AVX-512 it reaches 2 to 5 GFLOP/s where the former reaches 100, as
    if it made vectors of two. Anything else has vectors in its last dimension, and no result that
    waits for another.

    Args:
        operator: any.
        lanes: numbers that a vector register holds; 1 for no vectors.
        rows: bound of what is unrolled; 1 for nothing.

    Returns:
        Two numbers of 1 or more.
    """
    rule = OPERATORS[operator.op].cost.partition("*")[0]
    if operator.op in ("attention", "matmul"):
        return min(2, lanes), 1
    if operator.op == "dense":
        return _tile_of_product(operator, lanes, rows)
    if rule in _OVER_IMAGES:
        return _tile_of_image(operator, lanes, rows)
    return _divisor((0, *operator.shape)[-1], lanes), rows


def stalls(operations: float, rows: int) -> float:
    """Vector operations that could be done while ``operations`` wait for each other's results.

    Args:
        operations: that add to results.
        rows: results that are computed beside each other.
    """
    return operations * (max(rows, _IN_FLIGHT) / rows - 1)


def _tile_of_product(operator: Operator, lanes: int, rows: int) -> tuple[int, int]:
    packed = largest_divisor((0, *operator.shape)[-1], 2 * lanes)
    if packed % lanes:
        return 1, rows
    unrolled = math.gcd(math.prod(operator.shape[:-1]), _PRODUCT_ROWS)
    return lanes, min(unrolled * max(1, packed // lanes), rows)


def _tile_of_image(operator: Operator, lanes: int, rows: int) -> tuple[int, int]:
    channels, *image = operator.shape[1:]
    if operator.op.endswith("nhwc"):
        *image, channels = operator.shape[1:]
    groups, window = operator.attrs.get("groups", 1), operator.attrs.get("kernel_size", ())
    assert isinstance(groups, int)
    if 1 < groups < channels:
        channels //= groups
    unrolled = _divisor(image[-1], rows)
    if window == (1, 1):
        unrolled *= _divisor(image[0], rows // unrolled)
    return _divisor(channels, lanes), unrolled


def _divisor(extent: int, bound: int) -> int:
    return max(1, largest_divisor(extent, bound))
