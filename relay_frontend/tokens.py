"""Tokens: the arrays that predictors read, made from an operator graph.

NAR-Former V2 (Yi et al., NeurIPS 2023), section 3.3: a one-hot operator type, the position encoding
f_PE of each attribute and of the output shape, and the static features of the whole network.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from relay_frontend import vocabulary
from relay_frontend.graph import OpGraph
from relay_frontend.native import NativeOpGraph

_GIGA = 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenConfig:
    """How an operator graph is encoded.

    Args:
        frequencies: frequencies per encoded value, each giving a sine and a cosine.
        shape_dims: leading output dimensions that are encoded; missing ones count as 0.
        vocabulary: version of the vocabulary; operators that are newer count as their category.
        node_position: whether to append f_PE of the node's own position, as the paper's text has
            it (its public latency code leaves it out, and so does the default).
    """

    frequencies: int = 5
    shape_dims: int = 4
    vocabulary: int = vocabulary.VERSION
    node_position: bool = False

    @property
    def num_features(self) -> int:
        """Width of a node's row; 152 with the paper's vocabulary of 32 operators."""
        encoded = vocabulary.NUM_ATTRIBUTE_SLOTS + self.shape_dims + int(self.node_position)
        return vocabulary.SIZES[self.vocabulary] + encoded * 2 * self.frequencies

    @property
    def num_static(self) -> int:
        """Width of the static features; 40 by default."""
        return 4 * 2 * self.frequencies


@dataclass(frozen=True, eq=False, slots=True)
class GraphTokens:
    """One network as arrays.

    Args:
        node_features: ``[num_nodes, num_features]`` float32, one row per operator.
        edge_index: ``[2, num_edges]`` int64, row 0 the source and row 1 the destination; both
            directions of every edge, each once, no self loops, sorted by destination.
        static_features: ``[num_static]`` float32, of the network as a whole.
    """

    node_features: np.ndarray
    edge_index: np.ndarray
    static_features: np.ndarray

    @property
    def num_nodes(self) -> int:
        """Number of operators."""
        return len(self.node_features)


def position_encoding(values: np.ndarray, frequencies: int) -> np.ndarray:
    """f_PE ("trans"): ``[sin(x / 10000^(j/d)), cos(x / 10000^(j/d))]`` for j = 0..d-1.

    Args:
        values: ``[...]`` real numbers.
        frequencies: d.

    Returns:
        ``[..., 2 d]`` float64, all sines before all cosines.
    """
    # By the C library and not by numpy's own sine, so that the native encoder gives the same bits.
    # Few values are distinct; no negative zero, which would count as equal to zero.
    distinct, positions = np.unique(np.asarray(values, dtype=np.float64) + 0.0, return_inverse=True)
    scales = [10000.0 ** (j / frequencies) for j in range(frequencies)]
    table = np.empty((len(distinct), 2 * frequencies))
    for row, value in zip(table, distinct.tolist(), strict=True):
        angles = [value / scale for scale in scales]
        row[:] = [*map(math.sin, angles), *map(math.cos, angles)]
    return table[positions.reshape(np.shape(values))]


def undirected_edges(edges: Sequence[tuple[int, int]]) -> np.ndarray:
    """Both directions of ``edges`` as ``[2, num_edges]`` int64, sorted by destination, source."""
    pairs = {pair for a, b in edges if a != b for pair in ((a, b), (b, a))}
    ordered = sorted(pairs, key=lambda pair: (pair[1], pair[0]))
    return np.array(ordered, dtype=np.int64).reshape(-1, 2).T.copy()


def tokenize(graph: OpGraph, config: TokenConfig | None = None) -> GraphTokens:
    """Encode ``graph`` as :class:`GraphTokens`; the default is the paper's latency setting."""
    config = config or TokenConfig()
    version = config.vocabulary
    if isinstance(graph, NativeOpGraph):
        size = vocabulary.SIZES[version]
        return GraphTokens(
            *graph.native.tokens(config.frequencies, config.shape_dims, size, config.node_position)
        )
    num_nodes = len(graph)
    one_hot = np.zeros((num_nodes, vocabulary.SIZES[version]))
    one_hot[np.arange(num_nodes), [vocabulary.index(o.op, version) for o in graph]] = 1.0
    columns = [
        vocabulary.attribute_slots(o.op, o.attrs, version) + _dims(o.shape, config) for o in graph
    ]
    num_columns = vocabulary.NUM_ATTRIBUTE_SLOTS + config.shape_dims
    values = np.array(columns, dtype=np.float64).reshape(num_nodes, num_columns)
    if config.node_position:
        values = np.column_stack([values, np.arange(num_nodes)])
    encoded = position_encoding(values, config.frequencies)
    encoded = encoded.reshape(num_nodes, encoded.shape[1] * encoded.shape[2])
    return GraphTokens(
        node_features=np.concatenate([one_hot, encoded], axis=1).astype(np.float32),
        edge_index=undirected_edges(graph.edges),
        static_features=_static_features(graph, config),
    )


def _dims(shape: tuple[int, ...], config: TokenConfig) -> list[float]:
    dims = [float(d) for d in shape[: config.shape_dims]]
    return dims + [0.0] * (config.shape_dims - len(dims))


def _static_features(graph: OpGraph, config: TokenConfig) -> np.ndarray:
    parameters = graph.param_bytes / 4  # the paper counts parameters, our costs count bytes
    values = [
        graph.batch_size,
        graph.flops / _GIGA,
        parameters / _GIGA,
        graph.memory_bytes / _GIGA,
    ]
    return position_encoding(np.array(values), config.frequencies).ravel().astype(np.float32)
