"""Which pairs of nodes see each other, as edge lists; without torch.

Every list is ``[2, num_pairs]`` int64, sources and destinations, sorted by destination and then by
source, each pair once. Nodes are in topological order, so that an edge whose source comes before
its destination runs along the data flow.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from relay_frontend.errors import InputError
from tvm_costmodel.predictors.nar_former_v2.config import Relation

IntArray = npt.NDArray[np.int64]


def forward(edge_index: IntArray, _group_index: IntArray | None = None) -> IntArray:
    """From producers to consumers: A."""
    return edge_index[:, edge_index[0] < edge_index[1]]


def backward(edge_index: IntArray, _group_index: IntArray | None = None) -> IntArray:
    """From consumers to producers: A^T."""
    return edge_index[:, edge_index[0] > edge_index[1]]


def siblings(edge_index: IntArray, _group_index: IntArray | None = None) -> IntArray:
    """Nodes that share a producer or a consumer: A A^T and A^T A without their diagonals.

    NN-Former (Xu et al., CVPR 2025), where the two are masks of their own.
    """
    producers, consumers = forward(edge_index)
    pairs = [_pairs(producers, consumers), _pairs(consumers, producers)]
    return _ordered(np.concatenate(pairs, axis=1))


def kernel(_edge_index: IntArray, group_index: IntArray | None = None) -> IntArray:
    """Nodes of one kernel.

    Raises:
        InputError: the kernels are not known.
    """
    if group_index is None:
        raise InputError("the relation 'kernel' needs the kernel of each node (group_index)")
    return _ordered(_pairs(group_index, np.arange(len(group_index))))


RELATIONS: dict[Relation, Callable[[IntArray, IntArray | None], IntArray]] = {
    "undirected": lambda edge_index, _group_index: edge_index,
    "forward": forward,
    "backward": backward,
    "siblings": siblings,
    "kernel": kernel,
}


def _pairs(keys: IntArray, members: IntArray) -> IntArray:
    """All ordered pairs of two different ``members`` with equal ``keys``, ``[2, num_pairs]``."""
    order = np.argsort(keys, kind="stable")
    members = members[order]
    _, starts, sizes = np.unique(keys[order], return_index=True, return_counts=True)
    per_member = np.repeat(sizes, sizes)
    within = np.arange(per_member.sum()) - np.repeat(np.cumsum(per_member) - per_member, per_member)
    left = np.repeat(members, per_member)
    right = members[np.repeat(np.repeat(starts, sizes), per_member) + within]
    different = left != right
    return np.stack([left[different], right[different]]).astype(np.int64)


def _ordered(pairs: IntArray) -> IntArray:
    """``pairs`` sorted by destination and source, each once."""
    return np.unique(pairs[::-1], axis=1)[::-1].copy()
