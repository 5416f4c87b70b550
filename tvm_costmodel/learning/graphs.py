"""Graphs as predictors learn from them, and many graphs as one whose adjacency is block-diagonal.

A training set is laid out once, all nodes of all graphs in one array and all edges in another; a
batch is cut out of it by index arithmetic, on the device that holds it.

Shape suffixes: N nodes, E directed edges, G graphs, C node features, S static features, K groups.
"""

# ruff: noqa: N803, N806, N815 (shape suffixes)
from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from relay_frontend.errors import InputError

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False, slots=True)
class Graph:
    """One input of a predictor as arrays.

    Args:
        node_features: ``[num_nodes, C]`` float32.
        edge_index: ``[2, num_edges]`` int64, sources and destinations, both directions of every
            edge, sorted by destination.
        static_features: ``[S]`` float32, of the graph as a whole.
        group_index: ``[num_nodes]`` int64, the kernel that each node belongs to.
        domain: index of the platform.
        relations: further edge lists ``[2, num_pairs]`` by name, sorted by destination.
    """

    node_features: npt.NDArray[np.float32]
    edge_index: IntArray
    static_features: npt.NDArray[np.float32]
    group_index: IntArray | None = None
    domain: int = 0
    relations: Mapping[str, IntArray] = field(default_factory=dict)

    @property
    def num_nodes(self) -> int:
        """Number of nodes."""
        return len(self.node_features)


@dataclass(frozen=True, eq=False, kw_only=True)
class GraphBatch:
    """Several graphs as one, the nodes of the first graph first.

    Args:
        node_features_NC: as of the graphs.
        edge_index_2E: sources and destinations, sorted by destination.
        static_features_GS: as of the graphs.
        graph_index_N: the graph of each node, ascending.
        group_index_N: the group of each node, distinct across the batch; None where the graphs have
            no groups.
        group_graph_K: the graph of each group; None where the graphs have no groups.
        domain_G: the platform of each graph.
        relations: further edge lists by name, as ``edge_index_2E``.
    """

    node_features_NC: Tensor
    edge_index_2E: Tensor
    static_features_GS: Tensor
    graph_index_N: Tensor
    group_index_N: Tensor | None
    group_graph_K: Tensor | None
    domain_G: Tensor
    relations: Mapping[str, Tensor]

    @property
    def num_graphs(self) -> int:
        """Number of graphs (G)."""
        return len(self.domain_G)

    @classmethod
    def from_graphs(cls, graphs: Sequence[Graph]) -> GraphBatch:
        """All ``graphs`` (at least one), in their order, on the CPU."""
        return GraphStore(graphs).batch(torch.arange(len(graphs)))

    def to(self, device: torch.device | str) -> GraphBatch:
        """The same batch on ``device``."""
        group_index_N, group_graph_K = self.group_index_N, self.group_graph_K
        return GraphBatch(
            node_features_NC=self.node_features_NC.to(device),
            edge_index_2E=self.edge_index_2E.to(device),
            static_features_GS=self.static_features_GS.to(device),
            graph_index_N=self.graph_index_N.to(device),
            group_index_N=None if group_index_N is None else group_index_N.to(device),
            group_graph_K=None if group_graph_K is None else group_graph_K.to(device),
            domain_G=self.domain_G.to(device),
            relations={name: edges.to(device) for name, edges in self.relations.items()},
        )


class Ragged:
    """Rows of all graphs, one graph after the other: ``values`` ``[num_rows, ...]``."""

    def __init__(self, parts: Sequence[npt.NDArray[np.generic]], device: torch.device) -> None:
        sizes = np.array([len(part) for part in parts], dtype=np.int64)
        self.values = torch.from_numpy(np.concatenate(parts)).to(device)
        self.sizes_G = torch.from_numpy(sizes).to(device)
        self.starts_G = torch.from_numpy(np.cumsum(sizes) - sizes).to(device)

    @property
    def device(self) -> torch.device:
        """That holds the rows."""
        return self.values.device

    def take(self, index_G: Tensor) -> tuple[Tensor, Tensor]:
        """The rows of the chosen graphs, and the position in ``index_G`` that each belongs to."""
        rows, owner = self.rows(index_G)
        return self.values.index_select(0, rows), owner

    def rows(self, index_G: Tensor) -> tuple[Tensor, Tensor]:
        """Where the rows are in ``values``, and the position in ``index_G`` of each."""
        sizes_G = self.sizes_G[index_G]
        owner = torch.repeat_interleave(sizes_G)
        shift_G = self.starts_G[index_G] - (sizes_G.cumsum(0) - sizes_G)
        return torch.arange(len(owner), device=owner.device) + shift_G[owner], owner


class GraphStore:
    """Graphs laid out in flat arrays, from which batches are cut.

    Args:
        graphs: at least one, all with equally many features and equal relations.
        device: that holds the arrays and makes the batches.

    Raises:
        InputError: there is no graph, or the graphs differ in what they have.
    """

    def __init__(self, graphs: Sequence[Graph], device: torch.device | str = "cpu") -> None:
        _check_alike(graphs)
        device = torch.device(device)
        self._nodes = Ragged([g.node_features for g in graphs], device)
        self._edges = {
            name: Ragged([_edges(g, name).T for g in graphs], device)
            for name in (_EDGES, *graphs[0].relations)
        }
        self._static_GS = torch.from_numpy(np.stack([g.static_features for g in graphs])).to(device)
        self._domain_G = torch.tensor([g.domain for g in graphs], device=device)
        self._group_N: Tensor | None = None
        if graphs[0].group_index is not None:
            groups = [np.unique(_groups(g), return_inverse=True)[1] for g in graphs]
            self._group_N = torch.from_numpy(np.concatenate(groups)).to(device)
            counts = [int(g.max(initial=-1)) + 1 for g in groups]
            self._num_groups_G = torch.tensor(counts, device=device)

    def __len__(self) -> int:
        return len(self._domain_G)

    @property
    def device(self) -> torch.device:
        """That holds the graphs."""
        return self._domain_G.device

    @property
    def node_features(self) -> Tensor:
        """Those of all graphs, ``[num_nodes, C]``."""
        return self._nodes.values

    @property
    def static_features(self) -> Tensor:
        """Those of all graphs, ``[num_graphs, S]``."""
        return self._static_GS

    @property
    def num_nodes(self) -> Tensor:
        """Nodes of each graph, ``[num_graphs]``."""
        return self._nodes.sizes_G

    def digest(self) -> str:
        """SHA-256 of all arrays, as hex."""
        ragged = {"nodes": self._nodes, **self._edges}
        groups = [] if self._group_N is None else [self._group_N]
        content = hashlib.sha256(" ".join(ragged).encode())
        flat = (part for rows in ragged.values() for part in (rows.sizes_G, rows.values))
        for values in (*flat, *groups, self._static_GS, self._domain_G):
            content.update(values.cpu().numpy().tobytes())
        return content.hexdigest()

    def batch(self, index_G: Tensor) -> GraphBatch:
        """The graphs of these positions, in this order."""
        index_G = index_G.to(self.device)
        rows_N, graph_index_N = self._nodes.rows(index_G)
        sizes_G = self._nodes.sizes_G[index_G]
        offset_G = sizes_G.cumsum(0) - sizes_G
        edges = {
            name: self._edge_index(part, index_G, offset_G) for name, part in self._edges.items()
        }
        group_index_N, group_graph_K = self._grouping(index_G, rows_N, graph_index_N)
        return GraphBatch(
            node_features_NC=self._nodes.values.index_select(0, rows_N),
            edge_index_2E=edges.pop(_EDGES),
            static_features_GS=self._static_GS[index_G],
            graph_index_N=graph_index_N,
            group_index_N=group_index_N,
            group_graph_K=group_graph_K,
            domain_G=self._domain_G[index_G],
            relations=edges,
        )

    @staticmethod
    def _edge_index(edges: Ragged, index_G: Tensor, offset_G: Tensor) -> Tensor:
        edges_E2, owner_E = edges.take(index_G)
        return (edges_E2 + offset_G[owner_E].unsqueeze(1)).T.contiguous()

    def _grouping(
        self, index_G: Tensor, rows_N: Tensor, graph_index_N: Tensor
    ) -> tuple[Tensor | None, Tensor | None]:
        if self._group_N is None:
            return None, None
        counts_G = self._num_groups_G[index_G]
        offset_G = counts_G.cumsum(0) - counts_G
        group_index_N = self._group_N.index_select(0, rows_N) + offset_G[graph_index_N]
        return group_index_N, torch.repeat_interleave(counts_G)


_EDGES = ""  # the key of edge_index among the relations


def _edges(graph: Graph, name: str) -> IntArray:
    return graph.relations[name] if name else graph.edge_index


def _groups(graph: Graph) -> IntArray:
    assert graph.group_index is not None
    return graph.group_index


def _check_alike(graphs: Sequence[Graph]) -> None:
    if not graphs:
        raise InputError("a batch needs at least one graph, got none")
    expected = _layout(graphs[0])
    for index, graph in enumerate(graphs):
        if (found := _layout(graph)) != expected:
            raise InputError(
                f"graph {index} has {found}, but graph 0 has {expected}: encode all graphs of a "
                "batch with one configuration"
            )


def _layout(graph: Graph) -> dict[str, object]:
    return {
        "node features": graph.node_features.shape[-1],
        "static features": graph.static_features.shape[-1],
        "groups": graph.group_index is not None,
        "relations": sorted(graph.relations),
    }
