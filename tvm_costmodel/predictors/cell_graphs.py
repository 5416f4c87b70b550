"""Cells as the graphs of the older accuracy predictors: one-hot labels and their edges."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from relay_frontend.cells import Cell
from relay_frontend.errors import InputError


def one_hot_labels(cell: Cell, labels: tuple[str, ...]) -> npt.NDArray[np.float32]:
    """The label of each node, ``[num_nodes, num_labels]``.

    Raises:
        InputError: the cell has a label that is not among ``labels``.
    """
    unknown = sorted(set(cell.operators) - set(labels))
    if unknown:
        raise InputError(f"cell {cell.operators}: labels {unknown} are not among {labels}")
    one_hot = np.zeros((cell.num_nodes, len(labels)), dtype=np.float32)
    one_hot[np.arange(cell.num_nodes), [labels.index(label) for label in cell.operators]] = 1.0
    return one_hot


def laplacian_encoding(cell: Cell, count: int) -> npt.NDArray[np.float32]:
    """Eigenvectors of the normalized Laplacian of the undirected cell, ``[num_nodes, count]``.

    ``I - D^(-1/2) A D^(-1/2)``, of its smallest eigenvalues first and without the first one, which
    tells nothing; 0 where the cell has fewer. An eigenvector is turned so that its entry of largest
    magnitude is positive.
    """
    size = cell.num_nodes
    adjacency = np.zeros((size, size))
    for a, b in cell.edges:
        adjacency[a, b] = adjacency[b, a] = 1.0
    degree = adjacency.sum(axis=1)
    inverse = np.where(degree > 0, 1 / np.sqrt(np.maximum(degree, 1.0)), 0.0)
    _, vectors = np.linalg.eigh(np.eye(size) - inverse[:, None] * adjacency * inverse)
    chosen = vectors[:, 1 : 1 + count]
    largest = np.abs(chosen).argmax(axis=0)
    signs = np.sign(chosen[largest, np.arange(chosen.shape[1])])
    encoding = np.zeros((size, count), dtype=np.float32)
    encoding[:, : chosen.shape[1]] = chosen * signs
    return encoding
