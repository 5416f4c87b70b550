"""The model of "A learned performance model for TPUs" (Kaufman et al., MLSys 2021), summed up.

A kernel is a graph of its operators: an encoding of each of them, GraphSAGE layers (sum over the
neighbours, of a layer of their own; L2-normalized) within the kernel, a reduction to one vector,
and fully connected layers that end in the logarithm of its time. The reduction is *column-wise*,
mean and maximum of each feature over the nodes, one of the two simple ones of the paper (the other
sums a number per node); its LSTM and Transformer, which read the nodes as a sequence, are left out:
kernels here have few operators. Types are one-hot where the paper has an embedding of opcodes,
which is the same in front of a linear layer; sizes are logarithms; edges count in both directions.

The paper learns from measured kernels. As NNLQP and NAR-Former V2 compare it, the times of all
kernels of a network are summed and the whole is learned from latencies of networks. Kernels are
guessed by fusion rules (:mod:`relay_frontend.fusion`).

Shape suffixes: N nodes, E directed edges, G graphs, C node features, D width, K kernels.
"""

# ruff: noqa: N806 (shape suffixes)
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from relay_frontend import vocabulary
from relay_frontend.fusion import fuse
from relay_frontend.tokens import TokenConfig, tokenize
from tvm_costmodel.learning.graphs import Graph, GraphBatch, GraphStore
from tvm_costmodel.learning.scales import Standardize
from tvm_costmodel.learning.torch_predictor import TorchPredictor
from tvm_costmodel.learning.trainer import TrainingConfig
from tvm_costmodel.predictors.base import FloatArray, Network
from tvm_costmodel.predictors.geometric import SAGEConv, global_max_pool, global_mean_pool

_LARGEST_LOG = 20.0  # of a kernel's time over the average one; exp() stays finite in a sum


@dataclass(frozen=True, kw_only=True)
class TpuConfig:
    """Shape of the network.

    Args:
        width: features of a node and units of a layer; the paper searched over it, this is ours.
        num_layers: GraphSAGE layers.
        tokens: encoding of the operators; its types must be one-hot.
    """

    width: int = 256
    num_layers: int = 3
    tokens: TokenConfig = field(
        default_factory=lambda: TokenConfig(
            values=("logarithm",), costs=True, input_dims=4, static="logarithm"
        )
    )


class Tpu(TorchPredictor[Network]):
    """A network over the operators of each kernel, summed over the kernels."""

    name: ClassVar[str] = "tpu"
    config_type = TpuConfig
    default_training = TrainingConfig(loss="log-squared")
    config: TpuConfig

    def encode(self, inputs: Sequence[Network]) -> list[Graph]:
        return [self._encode(network) for network in inputs]

    def make_model(self) -> nn.Module:
        return _KernelNetwork(self.config)

    def calibrate(self, model: nn.Module, store: GraphStore, targets: FloatArray) -> None:
        assert isinstance(model, _KernelNetwork)
        whole = store.batch(torch.arange(len(store)))
        assert whole.group_graph_K is not None
        model.standardize.calibrate(whole.node_features_NC[:, model.num_types :])
        kernels_G = torch.bincount(whole.group_graph_K, minlength=len(store)).cpu().numpy()
        model.log_unit.fill_(float(np.mean(np.log(targets / kernels_G))))

    def _encode(self, network: Network) -> Graph:
        tokens = tokenize(network.graph, self.config.tokens)
        return Graph(
            node_features=tokens.node_features,
            edge_index=tokens.edge_index,
            static_features=np.zeros(0, dtype=np.float32),
            group_index=fuse(network.graph),
        )


class _KernelNetwork(nn.Module):
    log_unit: Tensor

    def __init__(self, config: TpuConfig) -> None:
        super().__init__()
        width, tokens = config.width, config.tokens
        self.num_types = vocabulary.SIZES[tokens.vocabulary]
        self.standardize = Standardize(tokens.num_features - self.num_types)
        self.first = nn.Linear(tokens.num_features, width)
        self.layers = nn.ModuleList(
            SAGEConv(width, width, aggr="sum", project=True, normalize=True)
            for _ in range(config.num_layers)
        )
        self.last = nn.Sequential(nn.Linear(2 * width, width), nn.ReLU(), nn.Linear(width, 1))
        self.register_buffer("log_unit", torch.zeros(()))

    def forward(self, batch: GraphBatch) -> Tensor:
        """Predicted latencies in ms, ``[G]``."""
        group_N, graph_K = batch.group_index_N, batch.group_graph_K
        assert group_N is not None
        assert graph_K is not None
        source_E, target_E = batch.edge_index_2E
        inside_2E = batch.edge_index_2E[:, group_N[source_E] == group_N[target_E]]
        types_NC, values_NC = batch.node_features_NC.tensor_split([self.num_types], dim=1)
        x_NC = torch.cat([types_NC, self.standardize(values_NC)], dim=1)
        h_ND = functional.relu(self.first(x_NC))
        for layer in self.layers:
            h_ND = layer(h_ND, inside_2E)
        count = len(graph_K)
        mean_KD = global_mean_pool(h_ND, group_N, count)
        max_KD = global_max_pool(h_ND, group_N, count)
        log_K = self.last(torch.cat([mean_KD, max_KD], dim=1)).squeeze(1)
        time_K = torch.exp(log_K.clamp(-_LARGEST_LOG, _LARGEST_LOG) + self.log_unit)
        return time_K.new_zeros(batch.num_graphs).index_add(0, graph_K, time_K)
