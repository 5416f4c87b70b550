"""Batches of random graphs for the tests of torch modules."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import nn

from relay_frontend.tokens import GraphTokens
from tvm_costmodel.learning.graphs import GraphBatch
from tvm_costmodel.predictors.nar_former_v2.config import NarFormerV2Config
from tvm_costmodel.predictors.nar_former_v2.model import NarFormerV2
from tvm_costmodel.predictors.nar_former_v2.predictor import as_graph


def seeded_model(config: NarFormerV2Config, seed: int = 0) -> NarFormerV2:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return NarFormerV2(config)


def weights_of(model: nn.Module) -> dict[str, np.ndarray]:
    return {name: w.detach().numpy().copy() for name, w in model.state_dict().items()}


def batch_of(*graphs: GraphTokens) -> GraphBatch:
    return GraphBatch.from_graphs([as_graph(tokens) for tokens in graphs])


def in_double(batch: GraphBatch) -> GraphBatch:
    return replace(
        batch,
        node_features_NC=batch.node_features_NC.double(),
        static_features_GS=batch.static_features_GS.double(),
    )


def adjacency_of(tokens: GraphTokens) -> torch.Tensor:
    adjacency = torch.zeros(tokens.num_nodes, tokens.num_nodes, dtype=torch.float64)
    adjacency[tokens.edge_index[1], tokens.edge_index[0]] = 1.0
    return adjacency
