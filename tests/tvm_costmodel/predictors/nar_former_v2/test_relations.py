"""Relations are the masks that products of adjacency matrices give."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("hypothesis")

from hypothesis import given, settings
from hypothesis import strategies as st

from relay_frontend.errors import InputError
from tests.tvm_costmodel.graphs import random_tokens
from tvm_costmodel.predictors.nar_former_v2.relations import RELATIONS, IntArray, kernel


def mask(edges: IntArray, num_nodes: int) -> np.ndarray:
    """``[destination, source]``."""
    found = np.zeros((num_nodes, num_nodes), dtype=bool)
    found[edges[1], edges[0]] = True
    return found


@settings(deadline=None, max_examples=50, derandomize=True)
@given(
    num_nodes=st.integers(0, 15),
    seed=st.integers(0, 2**32 - 1),
    density=st.sampled_from([0.0, 0.2, 1.0]),
)
def test_relations_are_products_of_the_adjacency_matrix(
    num_nodes: int, seed: int, density: float
) -> None:
    edges = random_tokens(num_nodes, seed, edge_probability=density).edge_index
    groups = np.random.default_rng(seed).integers(0, 4, num_nodes)
    both = mask(edges, num_nodes)
    a = np.tril(both)  # from earlier to later nodes
    off_diagonal = ~np.eye(num_nodes, dtype=bool)
    expected = {
        "undirected": both,
        "forward": a,
        "backward": a.T,
        "siblings": ((a.T @ a) | (a @ a.T)) & off_diagonal,
        "kernel": (groups[:, None] == groups[None, :]) & off_diagonal,
    }
    assert expected.keys() == RELATIONS.keys()
    for name, relation in RELATIONS.items():
        found = relation(edges, groups)
        assert found.dtype == np.int64
        np.testing.assert_array_equal(mask(found, num_nodes), expected[name], err_msg=name)
        assert found.shape == (2, expected[name].sum())
        by_destination = np.lexsort((found[0], found[1]))
        np.testing.assert_array_equal(by_destination, np.arange(found.shape[1]), err_msg=name)


def test_kernels_must_be_known() -> None:
    with pytest.raises(InputError, match="needs the kernel of each node"):
        kernel(random_tokens(3, 0).edge_index)
