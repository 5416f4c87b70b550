"""Nodes that blocks over a graph cannot tell apart, so that each kind of them is computed once.

After a block two nodes have equal states if they had equal ones before it and their neighbours had
the same states, equally often (Weisfeiler and Leman's refinement). Networks repeat their cells, and
those of one search space repeat each other's: of 64 networks of NAS-Bench-201 the first block of
two has to compute an eighth of the nodes, the second a third.

Shape suffixes: N nodes, E directed edges, U kinds of nodes ahead of a block, R kinds after it.
"""

# ruff: noqa: N803, N806 (shape suffixes)
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]
HashArray = npt.NDArray[np.uint64]


@dataclass(frozen=True, eq=False, slots=True)
class Layer:
    """What one block has to compute.

    Args:
        own: the row of the block's input that each row of its output comes from, ``[R]``.
        edges: of each relation the rows of the input that are seen and the rows of the output that
            see them, ``[2, E]``, sorted by the latter.
    """

    own: IntArray
    edges: tuple[IntArray, ...]


@dataclass(frozen=True, eq=False, slots=True)
class Plan:
    """How the states of all nodes are computed from those of their kinds.

    Args:
        first: a node of each kind, whose features are the input of the first block, ``[U]``.
        layers: one for each block.
        last: the row of each node in the output of the last block, ``[N]``.
    """

    first: IntArray
    layers: tuple[Layer, ...]
    last: IntArray


def every_node(num_nodes: int, relations: Sequence[IntArray], num_blocks: int) -> Plan:
    """The plan that computes each node by itself."""
    nodes = np.arange(num_nodes)
    return Plan(nodes, (Layer(nodes, tuple(relations)),) * num_blocks, nodes)


def kinds_of_nodes(
    features: npt.NDArray[np.float32],
    degree: IntArray,
    relations: Sequence[IntArray],
    num_blocks: int,
) -> Plan:
    """The plan that computes nodes of one kind once.

    Kinds beyond the features are told apart by 64-bit hashes: that two of a million different ones
    are taken for one has a probability of 3e-8.

    Args:
        features: of the nodes, ``[N, F]``.
        degree: what blocks know of a node besides, ``[N]``.
        relations: which nodes see each other, ``[2, E]`` each, sources and destinations, sorted by
            destination.
        num_blocks: how many blocks follow each other.
    """
    rows: dict[bytes, int] = {}
    same = np.array([rows.setdefault(row, len(rows)) for row in map(bytes, features)], np.uint64)
    hash_N = _mix(same, 0) + _mix(degree.astype(np.uint64), 1)
    first, kind_N = _kinds(hash_N)
    layers, last = [], kind_N
    for _ in range(num_blocks):
        seen_N = [_neighbours(hash_N, edges) for edges in relations]
        for salt, hashes in enumerate(seen_N, start=2):
            hash_N = _mix(hash_N + hashes, salt)
        shown, kind_N = _kinds(hash_N)
        is_shown = np.zeros(len(hash_N), dtype=bool)
        is_shown[shown] = True
        kept = [edges[:, is_shown[edges[1]]] for edges in relations]
        edges = tuple(np.stack([last[source_E], kind_N[target_E]]) for source_E, target_E in kept)
        layers.append(Layer(last[shown], edges))
        last = kind_N
    return Plan(first, tuple(layers), last)


def _kinds(hash_N: HashArray) -> tuple[IntArray, IntArray]:
    """The first node of each kind, ascending, and the kind of each node, numbered by these."""
    _, first, kind_N = np.unique(hash_N, return_index=True, return_inverse=True)
    order = np.argsort(first)
    number = np.empty_like(order)
    number[order] = np.arange(len(order))
    return first[order], number[kind_N]


def _neighbours(hash_N: HashArray, edges_2E: IntArray) -> HashArray:
    """Hashes of what each node sees, whatever the order."""
    source_E, target_E = edges_2E
    seen_N = np.zeros_like(hash_N)
    starts = np.flatnonzero(np.diff(target_E, prepend=-1))
    if len(starts):
        seen_N[target_E[starts]] = np.add.reduceat(_mix(hash_N, 1)[source_E], starts)
    return seen_N


def _mix(hashes: HashArray, salt: int) -> HashArray:
    """The finalizer of SplitMix64, another one for each salt."""
    h = hashes + np.uint64((salt + 1) * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF)
    h = (h ^ (h >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    h = (h ^ (h >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: HashArray = h ^ (h >> np.uint64(31))
    return mixed
