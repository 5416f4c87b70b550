"""Calls of Relax, most of them such as no importer writes, and constants that modules compute."""

# ruff: noqa: PLW0108 (there may be no Relax when this is imported)

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

try:
    from tvm import relax, tirx
    from tvm.relax import op
except ImportError:  # an interpreter without Relax: its tests do not run
    op = relax = tirx = None


def _conv(x, kernel, **attrs):
    return op.nn.conv2d(x, relax.const(np.zeros(kernel, np.float32)), **attrs)


def _positions(*shape):
    return relax.const(np.zeros(shape, np.int64), "int64")


CALLS: dict[str, Callable[[Any], Any]] = {
    "adaptive pool to one": lambda x: op.nn.adaptive_avg_pool2d(x, (1, 1)),
    "adaptive pool": lambda x: op.nn.adaptive_avg_pool2d(x, (3, 4)),
    "adaptive pool, uneven": lambda x: op.nn.adaptive_avg_pool2d(x, (4, 4)),
    "adaptive pool, channels last": lambda x: op.nn.adaptive_avg_pool2d(x, 2, layout="NHWC"),
    "argmax": lambda x: op.argmax(x, axis=-1, keepdims=True),
    "argmin of all": lambda x: op.argmin(x),
    "argmin of all, keepdims": lambda x: op.argmin(x, keepdims=True),
    "attention": lambda x: op.nn.attention(x, x, x),
    "attention with bias": lambda x: op.nn.attention(
        x, x, x, bias=op.matmul(op.permute_dims(x, [0, 2, 1, 3]), op.permute_dims(x, [0, 2, 3, 1]))
    ),
    "attention, causal": lambda x: op.nn.attention(x, x, x, causal_mask="TopLeft"),
    "attention, window": lambda x: op.nn.attention(x, x, x, causal_mask="TopLeft", window_size=2),
    "avg pool": lambda x: op.nn.avg_pool2d(x, (2, 3), count_include_pad=True),
    "broadcast": lambda x: op.broadcast_to(x, (3, 2, 4, 6, 8)),
    "cast": lambda x: op.astype(x, "float16"),
    "clip": lambda x: op.clip(x, -1, 2.5),
    "conv": lambda x: _conv(x, (4, 4, 3, 3), padding=(1, 2), strides=2),
    "conv, channels last": lambda x: _conv(
        x, (4, 3, 3, 8), data_layout="NHWC", kernel_layout="OHWI"
    ),
    "cumsum": lambda x: op.cumsum(x, axis=-1),
    "cumsum of all": lambda x: op.cumsum(x),
    "cumsum, exclusive": lambda x: op.cumsum(x, axis=1, exclusive=True),
    "dropout": lambda x: op.nn.dropout(x),
    "einsum": lambda x: op.einsum((x, x), "abcd,abed->abce"),
    "expand dims": lambda x: op.expand_dims(x, [0, -1]),
    "flip": lambda x: op.flip(x, axis=-1),
    "full like": lambda x: op.add(x, op.zeros_like(x)),
    "gelu": lambda x: op.nn.gelu(x),
    "gelu by tanh": lambda x: op.nn.gelu_tanh(x),
    "gather elements": lambda x: op.gather_elements(x, _positions(2, 4, 6, 1), axis=-1),
    "gather nd": lambda x: op.gather_nd(x, _positions(3, 2)),
    "gather nd, batched": lambda x: op.gather_nd(x, _positions(2, 1), batch_dims=1),
    "index": lambda x: op.index_tensor(x, [_positions(3)]),
    "index twice": lambda x: op.index_tensor(x, [_positions(3), _positions(3)]),
    "leaky relu": lambda x: op.nn.leakyrelu(x, 0.2),
    "log softmax": lambda x: op.nn.log_softmax(x, axis=-1),
    "max pool": lambda x: op.nn.max_pool2d(x, (2, 2), strides=(2, 2), ceil_mode=True),
    "max pool, dilated": lambda x: op.nn.max_pool2d(x, (2, 2), dilation=2),
    "max pool, channels last": lambda x: op.nn.max_pool2d(x, (2, 2), layout="NHWC"),
    "mean of all": lambda x: op.mean(x),
    "mean": lambda x: op.mean(x, axis=[-1, 1], keepdims=True),
    "one hot": lambda x: op.one_hot(
        op.argmax(x, axis=1), tirx.FloatImm("float32", 1), tirx.FloatImm("float32", 0), 5, -1
    ),
    "pad": lambda x: op.nn.pad(x, (0, 0, 0, 0, 1, 2, 3, 4), pad_value=-1.5),
    "pad, mirrored": lambda x: op.nn.pad(x, (0, 0, 0, 0, 1, 2, 3, 4), "reflect"),
    "pad, circular": lambda x: op.nn.pad(x, (0, 0, 0, 0, 1, 2, 3, 4), "circular"),
    "pixel shuffle": lambda x: op.nn.pixel_shuffle(x, 2),
    "prod": lambda x: op.prod(x, axis=2),
    "repeat": lambda x: op.repeat(x, 3, axis=-2),
    "repeat of all": lambda x: op.repeat(x, 2),
    "resize": lambda x: op.image.resize2d(x, (12, 16), method="cubic"),
    "resize, channels last": lambda x: op.image.resize2d(x, (8, 12), layout="NHWC"),
    "slice": lambda x: op.strided_slice(x, [-1, 1], [7, -1], [-9, 3], [-2, 1]),
    "slice without steps": lambda x: op.strided_slice(x, [2], [-4], [100]),
    "softmax": lambda x: op.nn.softmax(x, axis=1),
    "split": lambda x: op.split(x, 3, axis=2),
    "split at": lambda x: op.split(x, [1, 3], axis=-1),
    "squeeze": lambda x: op.squeeze(op.sum(x, axis=1, keepdims=True), 1),
    "stack": lambda x: op.stack([x, op.exp(x)], axis=-1),
    "take": lambda x: op.take(x, _positions(3, 2), axis=-2),
    "take of all": lambda x: op.take(op.flatten(x), _positions(3)),
    "tile": lambda x: op.tile(x, (2, 1, 1, 3)),
    "top k": lambda x: op.topk(x, k=3, axis=-1),
    "top k, positions": lambda x: op.topk(x, k=2, axis=1, ret_type="indices"),
    "top k, smallest": lambda x: op.topk(x, k=2, ret_type="values", largest=False),
    "transpose": lambda x: op.permute_dims(x),
    "transpose, axes": lambda x: op.permute_dims(x, [0, -1, 1, 2]),
    "triangle": lambda x: op.tril(x, 1),
    "triangle, upper": lambda x: op.triu(x, -1),
    "unknown": lambda x: op.collapse_sum_to(x, (4, 6, 8)),
    "unknown, of constants": lambda x: op.add(x, op.hamming_window(8, True, 0.5, 0.5, "float32")),
    "variance": lambda x: op.variance(x, axis=-1),
}
"""One operator on a float32 tensor of [2, 4, 6, 8] each."""


def _floats(*values, dtype="float32"):
    return relax.const(np.array(values, dtype), dtype)


def _ints(*values, dtype="int64"):
    return relax.const(np.array(values, dtype), dtype)


def _grid(*shape, dtype="int64"):
    return relax.const(np.arange(np.prod(shape)).reshape(shape).astype(dtype), dtype)


CONSTANTS: dict[str, Callable[[], Any]] = {
    "add": lambda: op.add(_ints(1, 2), _ints(3, -4)),
    "add, broadcast": lambda: op.add(_grid(2, 3), _grid(3)),
    "add, reals": lambda: op.add(_floats(0.1, 1e-8), _floats(0.2, 1.0)),
    "add, halves": lambda: op.add(
        _floats(0.1, 2049.0, dtype="float16"), _floats(0.2, 1.0, dtype="float16")
    ),
    "add, overflow": lambda: op.add(_ints(127, dtype="int8"), _ints(2, dtype="int8")),
    "arange": lambda: op.arange(5, 17, 3, "int64"),
    "arange, reals": lambda: op.arange(0.5, 2.5, 0.5, "float32"),
    "cast to integers": lambda: op.astype(_floats(1.7, -1.7, 0.0), "int32"),
    "cast to halves": lambda: op.astype(_floats(0.1, 1e-7, 3e-8, 65519.0), "float16"),
    "cast to booleans": lambda: op.astype(_floats(0.0, 0.5), "bool"),
    "cast to bytes": lambda: op.astype(_ints(255, 257, -1), "uint8"),
    "broadcast": lambda: op.broadcast_to(_ints(3), (2, 2)),
    "concat": lambda: op.concat([_grid(2, 1), _grid(2, 2)], axis=-1),
    "divide": lambda: op.divide(_floats(1.0, -1.0), _floats(3.0, 7.0)),
    "divide integers": lambda: op.divide(_ints(7, -7, 6), _ints(2, 2, 3)),
    "equal": lambda: op.equal(_ints(1, 2), _ints(1, 3)),
    "expand": lambda: op.expand_dims(_ints(1, 2), 0),
    "floor divide": lambda: op.floor_divide(_ints(7, -7, 6), _ints(2, 2, 3)),
    "full": lambda: op.full((2, 2), relax.const(2.5, "float32")),
    "full like": lambda: op.full_like(_floats(1.0, 2.0), relax.const(2.5, "float32")),
    "greater": lambda: op.greater(_floats(1.0, 3.0), _floats(2.0, 2.0)),
    "greater or equal": lambda: op.greater_equal(_ints(1, 2), _ints(2, 2)),
    "is nan": lambda: op.isnan(_floats(np.nan, 1.0)),
    "less": lambda: op.less(_ints(-1, 3), _ints(0, 0)),
    "less or equal": lambda: op.less_equal(_floats(np.nan, 2.0), _floats(2.0, 2.0)),
    "logic": lambda: op.logical_or(
        op.logical_and(_ints(1, 0, dtype="bool"), _ints(1, 1, dtype="bool")),
        op.logical_not(_ints(1, 0, dtype="bool")),
    ),
    "maximum": lambda: op.maximum(_ints(-1, 5), _ints(0, 3)),
    "minimum": lambda: op.minimum(_floats(-1.0, 5.0), _floats(0.0, 3.0)),
    "multiply": lambda: op.multiply(_floats(0.1, 3.0), _floats(0.3, 1e-3)),
    "negative": lambda: op.negative(_ints(-3, 4)),
    "ones": lambda: op.ones((3,), "int64"),
    "permute": lambda: op.permute_dims(_grid(2, 3, 2), [2, 0, 1]),
    "permute all": lambda: op.permute_dims(_grid(2, 3)),
    "power": lambda: op.power(_ints(2, -3), _ints(5, 3)),
    "prod": lambda: op.prod(op.add(_grid(2, 3), _ints(1)), axis=[1], keepdims=True),
    "prod of all": lambda: op.prod(op.add(_grid(2, 2), _ints(1))),
    "reciprocal root": lambda: op.rsqrt(_floats(2.0, 3.0)),
    "reshape": lambda: op.reshape(_grid(2, 3), (3, 2)),
    "root": lambda: op.sqrt(_floats(2.0, 64.0)),
    "shape": lambda: op.shape_to_tensor(op.shape_of(_grid(2, 3))),
    "slice": lambda: op.strided_slice(_grid(4, 3), [0, 1], [-1, 0], [-4, 2], [-2, 1]),
    "slice to nothing more": lambda: op.strided_slice(_grid(5), [0], [3], [100]),
    "squeeze": lambda: op.squeeze(_grid(1, 3), 0),
    "stack": lambda: op.stack([_grid(2, 2), _grid(2, 2)], axis=1),
    "subtract": lambda: op.subtract(_ints(3, dtype="uint8"), _ints(5, dtype="uint8")),
    "take": lambda: op.take(_grid(3, 4), _ints(2, -1), axis=1),
    "take of all": lambda: op.take(_grid(4), _ints(3, 0)),
    "where": lambda: op.where(_ints(1, 0, dtype="bool"), _floats(1.5, 2.5), _floats(3.5, 4.5)),
    "where, broadcast": lambda: op.where(
        op.less(_grid(2, 2), _ints(2)), op.add(_grid(2, 2), _ints(4)), _grid(2, 2)
    ),
    "zeros": lambda: op.zeros((2,), "float32"),
}
"""Small constants that are computed when they are read."""
