"""NNLP, the predictor of NNLQP (Liu et al., ICPP 2022), for one platform or for several.

Two GraphSAGE layers (Hamilton et al., NeurIPS 2017) with mean aggregation and L2-normalized output
over the undirected operator graph, the sum over the nodes, and three fully connected layers on that
sum and the static features (batch size, FLOPs, parameters, memory access). A platform has a head of
its own behind the shared layers. Operators are one-hot types with attributes and output shape as
real numbers; the public code brings these to one range by constants of its data set, here their
mean and deviation on the training data do. As in the public code, static features are in billions
and pass a layer of their own, and dropout of 0.05 follows every activation.

Shape suffixes: N nodes, E directed edges, G graphs, C node features, S static features, D width,
P platforms.
"""

# ruff: noqa: N806 (shape suffixes)
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from relay_frontend import vocabulary
from relay_frontend.errors import InputError
from relay_frontend.graph import OpGraph
from relay_frontend.tokens import TokenConfig, tokenize
from tvm_costmodel.learning.graphs import Graph, GraphBatch, GraphStore
from tvm_costmodel.learning.scales import Standardize
from tvm_costmodel.learning.torch_predictor import TorchPredictor
from tvm_costmodel.predictors.base import FloatArray, Network, Progress, silent
from tvm_costmodel.predictors.geometric import SAGEConv, global_add_pool
from tvm_costmodel.predictors.outputs import LatencyOutput

_GIGA = 1e9
_NUM_STATIC = 4


@dataclass(frozen=True, kw_only=True)
class NnlpConfig:
    """Shape of the network; the defaults are the public code's.

    Args:
        width: features of a node after the first layer, and units of the other layers.
        num_layers: GraphSAGE layers.
        dropout: share of the units that a training step leaves out.
        tokens: encoding of the operators; its types must be one-hot.
        platforms: those with a head, in the order of the heads; fitting sets them.
    """

    width: int = 512
    num_layers: int = 2
    dropout: float = 0.05
    tokens: TokenConfig = field(default_factory=lambda: TokenConfig(values=("real",)))
    platforms: tuple[str, ...] = ()


class Nnlp(TorchPredictor[Network]):
    """NNLP; knows the platforms of the networks that it was fitted on."""

    name: ClassVar[str] = "nnlp"
    config_type = NnlpConfig
    config: NnlpConfig

    def fit(
        self,
        inputs: Sequence[Network],
        targets: FloatArray,
        *,
        validation: tuple[Sequence[Network], FloatArray] | None = None,
        progress: Progress = silent,
    ) -> None:
        """Learn the latencies of networks on all platforms that occur, one head for each.

        Raises:
            InputError: see :meth:`Predictor.fit`; a platform occurs in ``validation`` alone.
        """
        platforms = tuple(sorted({network.platform for network in inputs}))
        self.config = replace(self.config, platforms=platforms)
        super().fit(inputs, targets, validation=validation, progress=progress)

    def encode(self, inputs: Sequence[Network]) -> list[Graph]:
        return [self._encode(network) for network in inputs]

    def make_model(self) -> nn.Module:
        return _Nnlp(self.config)

    def calibrate(self, model: nn.Module, store: GraphStore, targets: FloatArray) -> None:
        assert isinstance(model, _Nnlp)
        whole = store.batch(torch.arange(len(store)))
        model.standardize.calibrate(whole.node_features_NC[:, model.num_types :])
        model.output.calibrate(targets, whole.domain_G)

    def _encode(self, network: Network) -> Graph:
        platforms = self.config.platforms
        if network.platform not in platforms:
            raise InputError(
                f"nnlp has no head for platform {network.platform!r} of network {network.name!r}: "
                f"it was fitted on {', '.join(platforms)}"
            )
        tokens = tokenize(network.graph, self.config.tokens)
        return Graph(
            node_features=tokens.node_features,
            edge_index=tokens.edge_index,
            static_features=_static_features(network.graph),
            domain=platforms.index(network.platform),
        )


class _Nnlp(nn.Module):
    def __init__(self, config: NnlpConfig) -> None:
        super().__init__()
        width, tokens = config.width, config.tokens
        self.num_types = vocabulary.SIZES[tokens.vocabulary]
        self.standardize = Standardize(tokens.num_features - self.num_types)
        features = [tokens.num_features] + [width] * (config.num_layers - 1)
        self.layers = nn.ModuleList(SAGEConv(size, width, normalize=True) for size in features)
        self.static = nn.Linear(_NUM_STATIC, width)
        self.activation = nn.Sequential(nn.ReLU(), nn.Dropout(config.dropout))
        self.heads = nn.ModuleList(
            nn.Sequential(
                nn.Linear(2 * width, width),
                nn.ReLU(),
                nn.Dropout(config.dropout),
                nn.Linear(width, width),
                nn.ReLU(),
                nn.Dropout(config.dropout),
                nn.Linear(width, 1),
            )
            for _ in config.platforms
        )
        self.output = LatencyOutput(len(config.platforms))

    def forward(self, batch: GraphBatch) -> Tensor:
        """Predicted latencies in ms on the platforms of the graphs, ``[G]``."""
        types_NC, values_NC = batch.node_features_NC.tensor_split([self.num_types], dim=1)
        h_ND = torch.cat([types_NC, self.standardize(values_NC)], dim=1)
        for layer in self.layers:
            h_ND = self.activation(layer(h_ND, batch.edge_index_2E))
        sum_GD = global_add_pool(h_ND, batch.graph_index_N, batch.num_graphs)
        static_GD = self.activation(self.static(batch.static_features_GS))
        z_GD = torch.cat([sum_GD, static_GD], dim=1)
        all_GP = torch.cat([head(z_GD) for head in self.heads], dim=1)
        own_G = all_GP.gather(1, batch.domain_G.unsqueeze(1)).squeeze(1)
        latency_G: Tensor = self.output(own_G, batch.domain_G)
        return latency_G


def _static_features(graph: OpGraph) -> np.ndarray:
    """Batch size, and billions of FLOPs, of parameters (of 4 bytes) and of bytes moved, ``[4]``."""
    costs = [graph.flops / _GIGA, graph.param_bytes / 4 / _GIGA, graph.memory_bytes / _GIGA]
    return np.array([graph.batch_size, *costs], dtype=np.float32)
