"""The graph layers that the baselines take from PyTorch Geometric, an optional dependency."""

from __future__ import annotations

from relay_frontend.errors import MissingDependencyError

try:
    from torch_geometric.nn import (
        GCNConv,
        SAGEConv,
        global_add_pool,
        global_max_pool,
        global_mean_pool,
    )
    from torch_geometric.utils import to_dense_batch
except ImportError as error:
    raise MissingDependencyError(
        "the graph networks among the baselines need PyTorch and PyTorch Geometric: "
        f"pip install 'tvm-costmodel[train]' ({error})"
    ) from error

__all__ = [
    "GCNConv",
    "SAGEConv",
    "global_add_pool",
    "global_max_pool",
    "global_mean_pool",
    "to_dense_batch",
]
