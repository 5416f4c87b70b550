"""Configurations of tokens that properties are tested with: the paper's, its ablations, and all."""

from __future__ import annotations

from relay_frontend import TokenConfig

CONFIGS = (
    TokenConfig(),
    TokenConfig(vocabulary=1, frequencies=3, shape_dims=2, op_type="position"),
    TokenConfig(
        operators=("conv2d", "relu", "softmax", "add"),
        values=("logarithm",),
        costs=True,
        input_dims=4,
        divisors=(16, 31),
        static="logarithm",
    ),
    TokenConfig(
        vocabulary=1,
        op_type="position",
        values=("logarithm", "position", "real"),
        costs=True,
        input_dims=1,
        shape_dims=0,
    ),
)
"""None of them encodes what depends on the numbering: the position of a node, or its kernel."""
