"""Attention over sequences of different lengths, padded to one (Vaswani et al., NeurIPS 2017).

Shape suffixes: G graphs, L positions of the longest sequence, Q queries, D width.
"""

# ruff: noqa: N803, N806 (shape suffixes)
from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional

from relay_frontend.errors import InputError


@dataclass(frozen=True, kw_only=True)
class AttentionConfig:
    """Shape of the blocks of a Transformer.

    Args:
        width: features of a position.
        heads: of the attention; divides ``width``.
        expansion: hidden over outer width of the feed-forward network.
        dropout: share of the units that a training step leaves out, of attention's output and of
            the feed-forward network's hidden layer.

    Raises:
        InputError: the heads do not divide the width.
    """

    width: int = 192
    heads: int = 6
    expansion: int = 4
    dropout: float = 0.1

    def __post_init__(self) -> None:
        if self.width < 1 or self.heads < 1 or self.width % self.heads:
            raise InputError(f"heads ({self.heads}) must divide the width ({self.width})")


class Attention(nn.Module):
    """Multi-head attention; ``[G, Q, D]`` to ``[G, Q, D]``.

    Scores are never kept: dropout is on the output, not on them, so that memory grows with L and
    not with its square.

    Args:
        config: its shape.
        learned_query: whether queries are parameters, which need no projection.
    """

    def __init__(self, config: AttentionConfig, *, learned_query: bool = False) -> None:
        super().__init__()
        width = config.width
        self.heads = config.heads
        self.query = nn.Identity() if learned_query else nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.output = nn.Linear(width, width)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, query_GQD: Tensor, memory_GLD: Tensor, mask_GL: Tensor | None) -> Tensor:
        """Let queries read a memory.

        Args:
            query_GQD: who asks.
            memory_GLD: what is read.
            mask_GL: True where the memory holds something; None where it does everywhere.
        """
        query, key, value = (
            layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer, x in (
                (self.query, query_GQD),
                (self.key, memory_GLD),
                (self.value, memory_GLD),
            )
        )
        mask = None if mask_GL is None else mask_GL[:, None, None, :]
        read = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        result_GQD: Tensor = self.dropout(self.output(read.transpose(1, 2).flatten(2)))
        return result_GQD


class FeedForward(nn.Module):
    """``x + W_2 ReLU(W_1 LN(x))``; ``[..., D]`` to ``[..., D]``."""

    def __init__(self, config: AttentionConfig) -> None:
        super().__init__()
        width, hidden = config.width, config.width * config.expansion
        self.layers = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, hidden),
            nn.ReLU(),
            nn.Dropout(config.dropout),
            nn.Linear(hidden, width),
        )

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = x + self.layers(x)
        return result


class SelfAttentionBlock(nn.Module):
    """Equations 1 and 2 of NAR-Former V2's paper: attention, then feed-forward, norms first."""

    def __init__(self, config: AttentionConfig) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(config.width)
        self.attention = Attention(config)
        self.feed_forward = FeedForward(config)

    def forward(self, x_GLD: Tensor, mask_GL: Tensor) -> Tensor:
        normed_GLD = self.norm(x_GLD)
        x_GLD = x_GLD + self.attention(normed_GLD, normed_GLD, mask_GL)
        result_GLD: Tensor = self.feed_forward(x_GLD)
        return result_GLD
