"""Layers of transformers, in the parts in which PyTorch exports them.

Tensors are ``[batch, positions, features]`` unless a layer says otherwise; the weights of a dense
layer are ``[inputs, units]``, as ``MatMul`` wants them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from measure.zoo.builder import NetworkBuilder, Value

_QUERY_KEY_VALUE = 3


def patches(net: NetworkBuilder, x: Value, channels: int, patch: int) -> Value:
    """Convolution of an image's patches without overlap, ``[batch, channels, rows, columns]``."""
    size = x.size // patch
    weight = (channels, x.channels, patch, patch)
    net.flops += 2 * x.shape[0] * size * size * math.prod(weight)
    return net.apply(
        "Conv",
        [x, net.parameter(weight), net.parameter((channels,))],
        (x.shape[0], channels, size, size),
        dilations=[1, 1],
        group=1,
        kernel_shape=[patch, patch],
        pads=[0, 0, 0, 0],
        strides=[patch, patch],
    )


def dense(net: NetworkBuilder, x: Value, units: int) -> Value:
    """Dense layer with bias along the last dimension."""
    product = matmul(net, x, net.parameter((x.shape[-1], units)), units)
    return net.apply("Add", [net.parameter((units,)), product], product.shape)


def layer_norm(net: NetworkBuilder, x: Value, *, epsilon: float = 1e-6) -> Value:
    """Layer normalization along the last dimension."""
    parameters = [net.parameter(x.shape[-1:]) for _ in ("scale", "bias")]
    return net.apply(
        "LayerNormalization",
        [x, *parameters],
        x.shape,
        kind="layer_norm",
        axis=-1,
        epsilon=epsilon,
    )


def gelu(net: NetworkBuilder, x: Value) -> Value:
    """GELU, exactly: x (1 + erf(x / sqrt 2)) / 2."""
    scaled = net.apply("Div", [x, net.constant(math.sqrt(2))], x.shape)
    erf = net.apply("Erf", [scaled], x.shape)
    shifted = net.apply("Add", [erf, net.constant(1.0)], x.shape)
    return net.apply("Mul", [net.apply("Mul", [x, shifted], x.shape), net.constant(0.5)], x.shape)


def mlp(net: NetworkBuilder, x: Value, expansion: int) -> Value:
    """Two dense layers with GELU between them, ``expansion`` times as wide inside."""
    return dense(net, gelu(net, dense(net, x, expansion * x.shape[-1])), x.shape[-1])


def attention(net: NetworkBuilder, x: Value, heads: int, *, joined: bool) -> Value:
    """Multi-head self-attention and its output projection.

    Args:
        net: the network.
        x: ``[batch, positions, features]``.
        heads: a divisor of the features.
        joined: whether one dense layer makes queries, keys and values, which are then cut apart.
    """
    query, key, value = _joined_heads(net, x, heads) if joined else _heads(net, x, heads)
    positions, features = query.shape[-2:]
    scores = matmul(net, query, transpose(net, key, (0, 1, 3, 2)), positions)
    scores = net.apply("Mul", [scores, net.constant(features**-0.5)], scores.shape)
    weights = net.apply("Softmax", [scores], scores.shape, axis=-1)
    mixed = transpose(net, matmul(net, weights, value, features), (0, 2, 1, 3))
    return dense(net, reshape(net, mixed, x.shape), x.shape[-1])


def first_position(net: NetworkBuilder, x: Value) -> Value:
    """Features of the first position, ``[batch, features]``."""
    return _take(net, x, 0, axis=1)


def matmul(net: NetworkBuilder, a: Value, b: Value | str, columns: int) -> Value:
    """Matrix product, ``[..., rows, columns]``."""
    shape = (*a.shape[:-1], columns)
    net.flops += 2 * math.prod(shape) * a.shape[-1]
    return net.apply("MatMul", [a, b], shape)


def reshape(net: NetworkBuilder, x: Value, shape: Sequence[int]) -> Value:
    """The elements of ``x`` in another shape."""
    return net.apply("Reshape", [x, net.constant(shape, "int64")], shape)


def transpose(net: NetworkBuilder, x: Value, axes: Sequence[int]) -> Value:
    """The dimensions of ``x`` in another order."""
    return net.apply("Transpose", [x], [x.shape[axis] for axis in axes], perm=list(axes))


def _heads(net: NetworkBuilder, x: Value, heads: int) -> list[Value]:
    """Query, key and value, each from a dense layer, ``[batch, heads, positions, features]``."""
    batch, positions, width = x.shape
    shape = (batch, positions, heads, width // heads)
    return [
        transpose(net, reshape(net, dense(net, x, width), shape), (0, 2, 1, 3))
        for _ in range(_QUERY_KEY_VALUE)
    ]


def _joined_heads(net: NetworkBuilder, x: Value, heads: int) -> list[Value]:
    """Query, key and value from one dense layer, ``[batch, heads, positions, features]``."""
    batch, positions, width = x.shape
    joined = dense(net, x, _QUERY_KEY_VALUE * width)
    shape = (batch, positions, _QUERY_KEY_VALUE, heads, width // heads)
    joined = transpose(net, reshape(net, joined, shape), (2, 0, 3, 1, 4))
    return [_take(net, joined, index, axis=0) for index in range(_QUERY_KEY_VALUE)]


def _take(net: NetworkBuilder, x: Value, index: int, *, axis: int) -> Value:
    shape = (*x.shape[:axis], *x.shape[axis + 1 :])
    return net.apply("Gather", [x, net.constant(index, "int64")], shape, axis=axis)
