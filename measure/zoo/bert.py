"""BERT (Devlin et al., "BERT: Pre-training of Deep Bidirectional Transformers", 2019).

One input, the token ids: sequences are of full length, so without a mask, and of one segment.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from random import Random

from measure.zoo import transformer
from measure.zoo.builder import NetworkBuilder, Value, write_network
from measure.zoo.sampling import draw_batch

_EPSILON = 1e-12


@dataclass(frozen=True, kw_only=True)
class BERTConfig:
    """One encoder with a classifier on the pooled first token; the defaults are BERT-base.

    Args:
        vocabulary: number of different tokens.
        width: features of a token, a multiple of ``heads``.
        depth: encoder blocks.
        heads: of each attention.
        expansion: features inside a block's dense layers, as a multiple of ``width``.
        pooler: dense layer and tanh between the first token and the classifier.
        input_size: tokens of a sequence.
        batch: sequences per inference.
        num_classes: size of the output.
    """

    vocabulary: int = 30522
    width: int = 768
    depth: int = 12
    heads: int = 12
    expansion: int = 4
    pooler: bool = True
    input_size: int = 512
    batch: int = 1
    num_classes: int = 2


def sample_config(rng: Random) -> BERTConfig:
    """Draw an encoder; its cost is not bounded."""
    heads = rng.choice((2, 3, 4, 6, 8, 12))
    return BERTConfig(
        vocabulary=rng.choice((1000, 2000, 4000, 8000)),
        width=heads * rng.choice((16, 32, 48, 64)),
        depth=rng.randint(2, 8),
        heads=heads,
        expansion=rng.choice((2, 3, 4, 4)),
        pooler=rng.random() < 0.7,
        input_size=rng.choice((16, 24, 32, 48, 64, 96, 128, 192)),
        batch=draw_batch(rng),
        num_classes=rng.choice((2, 5, 20)),
    )


def layers(config: BERTConfig) -> tuple[NetworkBuilder, Value]:
    """The layers of ``config`` and the logits."""
    net = NetworkBuilder((config.batch, config.input_size), "int64")
    x = _embed(net, config)
    for _ in range(config.depth):
        y = transformer.attention(net, x, config.heads, joined=False)
        x = transformer.layer_norm(net, net.add(y, x), epsilon=_EPSILON)
        y = transformer.mlp(net, x, config.expansion)
        x = transformer.layer_norm(net, net.add(y, x), epsilon=_EPSILON)
    x = transformer.first_position(net, x)
    if config.pooler:
        x = net.apply("Tanh", [net.gemm(x, config.width)], x.shape)
    return net, net.gemm(x, config.num_classes)


build = partial(write_network, layers, name="bert")


def _embed(net: NetworkBuilder, config: BERTConfig) -> Value:
    """Normalized sum of the vectors of token and position, ``[batch, positions, width]``."""
    shape = (config.batch, config.input_size, config.width)
    words = net.parameter((config.vocabulary, config.width))
    x = net.apply("Gather", [words, net.input], shape, axis=0)
    x = net.apply("Add", [x, net.parameter((1, config.input_size, config.width))], shape)
    return transformer.layer_norm(net, x, epsilon=_EPSILON)
