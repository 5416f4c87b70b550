"""Cells of NAS benchmarks: small graphs of labels, and the tokens that predictors read of them.

NAR-Former V2 (Yi et al., NeurIPS 2023), section 3.3: a node of a cell is f_PE of its label and f_PE
of its position. Both benchmarks fit: NAS-Bench-101 (Ying et al., ICML 2019) has its operators on
nodes, NAS-Bench-201 (Dong and Yang, ICLR 2020) on edges, which become nodes here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from relay_frontend.errors import InputError
from relay_frontend.tokens import GraphTokens, undirected_edges

INPUT = "input"
OUTPUT = "output"

NAS_BENCH_101 = (INPUT, "conv1x1-bn-relu", "conv3x3-bn-relu", "maxpool3x3", OUTPUT)
"""Labels of NAS-Bench-101, named as the benchmark does."""
NAS_BENCH_201 = (
    *(INPUT, "none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3"),
    OUTPUT,
)
"""Labels of NAS-Bench-201, named as the benchmark does."""

# (destination, source) of each operator of a NAS-Bench-201 cell, between its four tensors.
_NAS_BENCH_201_EDGES = ((1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2))


@dataclass(frozen=True, slots=True)
class Cell:
    """A directed acyclic graph of labelled nodes; equal to another one with equal numbering.

    Args:
        operators: label of each node in topological order: first ``input``, last ``output``, each
            of them once.
        edges: (source, destination) of each edge, in any order; source < destination.

    Raises:
        InputError: the nodes are in another order, or an edge occurs twice or leads nowhere.
    """

    operators: tuple[str, ...]
    edges: tuple[tuple[int, int], ...]

    def __post_init__(self) -> None:
        operators = tuple(self.operators)
        edges = tuple(sorted((int(a), int(b)) for a, b in self.edges))
        object.__setattr__(self, "operators", operators)
        object.__setattr__(self, "edges", edges)
        if operators[:1] != (INPUT,) or operators[-1:] != (OUTPUT,):
            raise InputError(f"cell {operators}: expected {INPUT!r} first and {OUTPUT!r} last")
        if {INPUT, OUTPUT} & set(operators[1:-1]):
            raise InputError(f"cell {operators}: expected one {INPUT!r} and one {OUTPUT!r}")
        for a, b in edges:
            if not 0 <= a < b < len(operators):
                raise InputError(
                    f"cell {operators}: edge {(a, b)}, expected 0 <= source < destination < "
                    f"{len(operators)}: number the nodes in topological order"
                )
        if len(set(edges)) < len(edges):
            raise InputError(f"cell {operators}: an edge occurs twice in {edges}")

    @property
    def num_nodes(self) -> int:
        """Number of nodes, input and output included."""
        return len(self.operators)

    @classmethod
    def from_nas_bench_101(
        cls, operators: Sequence[str], matrix: Sequence[Sequence[int]] | np.ndarray
    ) -> Cell:
        """A cell from the benchmark's own pair of labels and adjacency matrix.

        Args:
            operators: labels of the nodes, ``input`` and ``output`` included.
            matrix: ``[num_nodes, num_nodes]``, upper triangular; 1 at (source, destination).

        Raises:
            InputError: shapes disagree, or see the class.
        """
        adjacency = np.asarray(matrix)
        if adjacency.shape != (len(operators), len(operators)):
            raise InputError(
                f"cell {tuple(operators)}: adjacency matrix of shape {adjacency.shape}, expected "
                f"{(len(operators), len(operators))}"
            )
        sources, destinations = np.nonzero(adjacency)
        edges = zip(sources.tolist(), destinations.tolist(), strict=True)
        return cls(tuple(operators), tuple(edges))

    @classmethod
    def from_nas_bench_201(cls, operators: Sequence[str]) -> Cell:
        """A cell from the operators of its six edges: eight nodes.

        Args:
            operators: in the benchmark's order (1<-0), (2<-0), (2<-1), (3<-0), (3<-1), (3<-2) of
                edges between its tensors. One operator feeds another where the tensor that it adds
                to is the one that the other reads; tensor 0 is the input, tensor 3 the output.

        Raises:
            InputError: there are not six.
        """
        if len(operators) != len(_NAS_BENCH_201_EDGES):
            raise InputError(
                f"NAS-Bench-201 cell {tuple(operators)}: {len(operators)} operators, expected six"
            )
        ends = [(0, -1), *_NAS_BENCH_201_EDGES, (-1, 3)]  # of all nodes: (writes, reads)
        edges = [
            (a, b)
            for a, (written, _) in enumerate(ends)
            for b, (_, read) in enumerate(ends)
            if written == read >= 0
        ]
        return cls((INPUT, *operators, OUTPUT), tuple(edges))


def relabel(cell: Cell, order: Sequence[int]) -> Cell:
    """An isomorphic copy with its nodes in another order.

    Args:
        cell: the cell.
        order: its nodes in their new order, a topological one.

    Raises:
        InputError: it is no permutation of the nodes, or not topological.
    """
    if sorted(order) != list(range(cell.num_nodes)):
        raise InputError(
            f"order {tuple(order)} of a cell: expected each of its {cell.num_nodes} nodes once"
        )
    position = {old: new for new, old in enumerate(order)}
    return Cell(
        tuple(cell.operators[old] for old in order),
        tuple((position[a], position[b]) for a, b in cell.edges),
    )


def random_order(cell: Cell, rng: np.random.Generator) -> tuple[int, ...]:
    """A random topological order of the nodes for :func:`relabel`; each of them can come up."""
    last = cell.num_nodes - 1
    users: list[list[int]] = [[] for _ in cell.operators]
    waiting = [0] * cell.num_nodes
    for a, b in cell.edges:
        users[a].append(b)
        waiting[b] += 1
    waiting[0] += 1  # taken first, before other nodes that wait for nothing
    ready = [node for node in range(last) if not waiting[node]]
    order = [0]
    while True:
        for user in users[order[-1]]:
            waiting[user] -= 1
            if not waiting[user] and user != last:
                ready.append(user)
        if not ready:
            return (*order, last)
        order.append(ready.pop(int(rng.integers(len(ready)))))


def isomorphic_copies(cells: Iterable[Cell], count: int, rng: np.random.Generator) -> list[Cell]:
    """``count`` copies of each cell in turn, their nodes in random orders."""
    return [relabel(cell, random_order(cell, rng)) for cell in cells for _ in range(count)]


# --- Tokens -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class CellTokenConfig:
    """How a cell is encoded.

    Args:
        frequencies: frequencies of f_PE, each giving a sine and a cosine.
        labels: all labels that occur; the position of a label among them is the number that is
            encoded.

    Raises:
        InputError: no frequency, or labels that are not distinct.
    """

    frequencies: int = 32
    labels: tuple[str, ...] = NAS_BENCH_201

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", tuple(self.labels))  # a list where it comes from JSON
        if self.frequencies < 1:
            raise InputError(f"cell tokens: {self.frequencies} frequencies, expected at least 1")
        if len(set(self.labels)) < len(self.labels):
            raise InputError(f"cell tokens: a label occurs twice in {self.labels}")

    @property
    def num_features(self) -> int:
        """Width of a node's row; 128 by default."""
        return 4 * self.frequencies


def nerf_encoding(count: int, frequencies: int) -> np.ndarray:
    """f_PE ("nerf") of the integers below ``count``: ``[sin(pi x f), cos(pi x f)]``.

    The d frequencies f are spaced linearly from 1 to 2^(d-1). Angles are reduced to one turn in
    integers, since x f of the public code's float32 has no digits left for the angle.

    Args:
        count: how many integers.
        frequencies: d.

    Returns:
        ``[count, 2 d]`` float64, all sines before all cosines.
    """
    steps = max(frequencies - 1, 1)
    numerators = [steps + j * (2 ** (frequencies - 1) - 1) for j in range(frequencies)]
    table = np.empty((count, 2 * frequencies))
    for x in range(count):
        angles = [math.pi * (x * f % (2 * steps) / steps) for f in numerators]
        table[x] = [*map(math.sin, angles), *map(math.cos, angles)]
    return table


@lru_cache(maxsize=32)
def _table(count: int, frequencies: int) -> np.ndarray:
    return nerf_encoding(count, frequencies).astype(np.float32)


def tokenize_cell(cell: Cell, config: CellTokenConfig | None = None) -> GraphTokens:
    """Encode ``cell``: f_PE of each node's label, then of its position; no static features.

    Raises:
        InputError: the configuration lacks a label of the cell.
    """
    config = config or CellTokenConfig()
    index = {label: i for i, label in enumerate(config.labels)}
    unknown = sorted({label for label in cell.operators if label not in index})
    if unknown:
        raise InputError(f"cell {cell.operators}: labels {unknown} are not among {config.labels}")
    labels = _table(len(index), config.frequencies)[[index[label] for label in cell.operators]]
    positions = _table(cell.num_nodes, config.frequencies)
    return GraphTokens(
        node_features=np.concatenate([labels, positions], axis=1),
        edge_index=undirected_edges(cell.edges),
        static_features=np.zeros(0, dtype=np.float32),
    )
