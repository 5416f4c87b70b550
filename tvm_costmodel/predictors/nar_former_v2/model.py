"""NAR-Former V2 as a module: tokens, Transformer blocks, a readout (figure 2 of the paper).

Shape suffixes: N nodes of all graphs, G graphs, C features of the tokens, D width, S static
features.
"""

# ruff: noqa: N803, N806 (shape suffixes)
from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from relay_frontend.errors import InputError
from tvm_costmodel.learning.graphs import GraphBatch, GraphStore
from tvm_costmodel.learning.scales import Standardize, output_scale
from tvm_costmodel.predictors.base import FloatArray
from tvm_costmodel.predictors.nar_former_v2.accuracy import HierarchicalReadout
from tvm_costmodel.predictors.nar_former_v2.block import Block
from tvm_costmodel.predictors.nar_former_v2.config import NarFormerV2Config
from tvm_costmodel.predictors.nar_former_v2.head import PlatformEmbedding
from tvm_costmodel.predictors.nar_former_v2.latency import ContributionsReadout, PooledReadout

READOUTS: dict[str, Callable[[NarFormerV2Config], nn.Module]] = {
    "pooled": PooledReadout,
    "contributions": ContributionsReadout,
    "hierarchical": HierarchicalReadout,
}

INPUT_NORMS: dict[str, Callable[[int], nn.Module]] = {
    "none": lambda _size: nn.Identity(),
    "layer": nn.LayerNorm,
    "standardize": Standardize,
}


class NarFormerV2(nn.Module):
    """Maps a ``GraphBatch`` to one positive number per graph, ``[G]``, in units of ``scale``."""

    scale: Tensor

    def __init__(self, config: NarFormerV2Config) -> None:
        super().__init__()
        self.config = config
        self.input_norm = INPUT_NORMS[config.input_norm](config.num_features)
        static_norm = config.input_norm if config.reads_static else "none"
        self.static_norm = INPUT_NORMS[static_norm](config.num_static)
        self.embed = nn.Linear(config.num_features, config.width) if config.embed else None
        self.blocks = nn.ModuleList(Block(size, config) for size in config.block_features)
        self.platform = PlatformEmbedding(config)
        self.readout = READOUTS[config.readout](config)
        self.register_buffer("scale", torch.ones(()))

    def forward(self, batch: GraphBatch) -> Tensor:
        """Predictions, ``[G]``."""
        static_GS = self.static_norm(batch.static_features_GS)
        y_G: Tensor = self.readout(self.layers(batch), batch, static_GS)
        return y_G * self.scale

    def layers(self, batch: GraphBatch) -> list[Tensor]:
        """The nodes after each block, ``[N, D]``."""
        h = self.input_norm(batch.node_features_NC)
        if self.embed is not None:
            h = functional.relu(self.embed(h))
        degree_N1 = node_degrees(h, batch.edge_index_2E)
        layers: list[Tensor] = []
        for block in self.blocks:
            h = block(h, degree_N1, batch)
            if not layers:
                h = self.platform(h, batch.domain_G.index_select(0, batch.graph_index_N))
            layers.append(h)
        return layers

    def contributions(self, batch: GraphBatch) -> Tensor:
        """What each node adds to the prediction of its graph, ``[N]``.

        Raises:
            InputError: the readout is another one.
        """
        factor_N, prior_N = self.factors(batch)
        return factor_N * prior_N

    def factors(self, batch: GraphBatch) -> tuple[Tensor, Tensor]:
        """How often each node contributes its prior, and what that is in ms, ``[N]`` each.

        Without a prior it is the same for all nodes.

        Raises:
            InputError: the readout is another one.
        """
        if not isinstance(self.readout, ContributionsReadout):
            raise InputError(
                f"readout {self.config.readout!r} does not sum over nodes: train one with the "
                "readout 'contributions' to see what each of them contributes"
            )
        factor_N, prior_N = self.readout.factors(self.layers(batch), batch)
        return factor_N, prior_N * self.scale

    @torch.no_grad()
    def calibrate(
        self, store: GraphStore, targets: FloatArray, nodes_NC: Tensor | None = None
    ) -> None:
        """Set the scales that depend on the training data: of the features, and of the latency.

        Args:
            store: the graphs to learn from.
            targets: theirs, ``[num_graphs]``.
            nodes_NC: features of their nodes where learning sees other ones than ``store`` holds.
        """
        for norm, values in (
            (self.input_norm, store.node_features if nodes_NC is None else nodes_NC),
            (self.static_norm, store.static_features),
        ):
            if isinstance(norm, Standardize):
                norm.calibrate(values)
        if self.config.prior != "none":
            return  # its rates are in ms already
        self.scale.fill_(_output_unit(self.config, targets, store.num_nodes.cpu().numpy()))


def node_degrees(h_NC: Tensor, edges_2E: Tensor) -> Tensor:
    """D: how many neighbours each node has, ``[N, 1]``."""
    ones_E = h_NC.new_ones(edges_2E.shape[1])
    return h_NC.new_zeros(len(h_NC)).index_add(0, edges_2E[1], ones_E).unsqueeze(-1)


def _output_unit(config: NarFormerV2Config, targets: FloatArray, num_nodes: FloatArray) -> float:
    """What 1 of the head's output stands for, so that a fresh model is in a good place to learn.

    An accuracy counts as it is; a latency, or what a node contributes to it, in a typical low one.
    ``exp`` has no flat tail to fall into, so it starts in the middle.
    """
    if config.readout == "hierarchical":
        return 1.0
    if config.readout == "contributions":
        targets = targets / np.maximum(num_nodes, 1)
    return float(np.median(targets)) if config.output == "exp" else output_scale(targets)
