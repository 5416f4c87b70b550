"""Random tokens of random graphs for the tests of the predictor."""

from __future__ import annotations

import numpy as np

from relay_frontend.tokens import GraphTokens, undirected_edges
from tvm_costmodel.predictors.nar_former_v2.config import NarFormerV2Config

SMALL = NarFormerV2Config(num_features=12, num_static=6, width=16, ffn_groups=4, ffn_expansion=2)
"""A model that is quick to build and to train."""


def random_tokens(
    num_nodes: int,
    seed: int,
    *,
    edge_probability: float = 0.3,
    config: NarFormerV2Config = SMALL,
) -> GraphTokens:
    """A graph of ``num_nodes`` with features in [-1, 1], as position encodings are."""
    rng = np.random.default_rng(seed)
    below_diagonal = np.tril(rng.random((num_nodes, num_nodes)) < edge_probability, k=-1)
    pairs = [(int(a), int(b)) for a, b in np.argwhere(below_diagonal)]
    return tokens_with_edges(num_nodes, pairs, seed, config=config)


def tokens_with_edges(
    num_nodes: int,
    pairs: list[tuple[int, int]],
    seed: int = 0,
    *,
    config: NarFormerV2Config = SMALL,
) -> GraphTokens:
    """A graph with the given edges and random features."""
    rng = np.random.default_rng([seed, 1])
    shape = (num_nodes, config.num_features)
    return GraphTokens(
        node_features=rng.uniform(-1, 1, shape).astype(np.float32),
        edge_index=undirected_edges(pairs),
        static_features=rng.uniform(-1, 1, config.num_static).astype(np.float32),
    )
