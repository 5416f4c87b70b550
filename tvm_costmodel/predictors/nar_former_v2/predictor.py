"""NAR-Former V2 as predictors: of the latency of networks, and of the accuracy of cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from relay_frontend.cells import Cell, isomorphic_copies, tokenize_cell
from relay_frontend.errors import InputError
from relay_frontend.fusion import fuse
from relay_frontend.tokens import GraphTokens, tokenize
from tvm_costmodel.learning.graphs import Graph, GraphBatch, GraphStore, IntArray
from tvm_costmodel.learning.losses import Objective, RankingAndConsistency
from tvm_costmodel.learning.torch_predictor import TorchPredictor
from tvm_costmodel.learning.trainer import TrainingConfig
from tvm_costmodel.predictors.base import FloatArray, Network, Progress, silent
from tvm_costmodel.predictors.matching import MeasuredShares, measured_shares
from tvm_costmodel.predictors.nar_former_v2.attribution import LatencyAndKernels, measured_rows
from tvm_costmodel.predictors.nar_former_v2.config import (
    AccuracyNarFormerV2Config,
    LatencyNarFormerV2Config,
    Relation,
)
from tvm_costmodel.predictors.nar_former_v2.dropout import OperatorDropout
from tvm_costmodel.predictors.nar_former_v2.latency import CostPrior, prior_costs
from tvm_costmodel.predictors.nar_former_v2.model import NarFormerV2
from tvm_costmodel.predictors.nar_former_v2.presets import ACCURACY_PRESETS, LATENCY_PRESETS
from tvm_costmodel.predictors.nar_former_v2.relations import RELATIONS


class LatencyNarFormerV2(TorchPredictor[Network]):
    """Latencies of whole networks in ms."""

    name = "nar-former-v2"
    config_type = LatencyNarFormerV2Config
    presets = LATENCY_PRESETS
    config: LatencyNarFormerV2Config

    def __init__(
        self,
        config: LatencyNarFormerV2Config | None = None,
        training: TrainingConfig | None = None,
    ) -> None:
        super().__init__(config, training)
        self.config = _sized(self.config)
        # What kernels take, of each training network; known while fitting alone.
        self._groups: list[IntArray] = []
        self._measured: list[MeasuredShares] = []

    def fit(
        self,
        inputs: Sequence[Network],
        targets: FloatArray,
        *,
        validation: tuple[Sequence[Network], FloatArray] | None = None,
        progress: Progress = silent,
    ) -> None:
        """Learn the latencies of networks on all platforms that occur, which share the model.

        Raises:
            InputError: see :meth:`Predictor.fit`; a platform occurs in ``validation`` alone.
        """
        platforms = sorted({network.platform for network in inputs})
        several = tuple(platforms) if len(platforms) > 1 else ()
        tokens = self.config.tokens
        if self.config.operator_dropout:
            met = {operator.op for network in inputs for operator in network.graph}
            tokens = replace(tokens, operators=tuple(sorted(met)))
        self.config = _sized(replace(self.config, platforms=several, tokens=tokens))
        if self._looks_at_kernels:
            self._groups = [fuse(network.graph) for network in inputs]
            self._measured = list(map(measured_shares, inputs, self._groups))
        super().fit(inputs, targets, validation=validation, progress=progress)
        self._groups, self._measured = [], []

    def encode(self, inputs: Sequence[Network]) -> list[Graph]:
        """See :meth:`TorchPredictor.encode`.

        Raises:
            InputError: a network of a platform that the predictor does not know.
        """
        relations = self.config.model.relations
        grouped = "kernel" in relations or self._learns_contributions
        return [
            as_graph(
                tokenize(network.graph, self.config.tokens),
                relations,
                group_index=fuse(network.graph) if grouped else None,
                domain=self._domain(network),
            )
            for network in inputs
        ]

    def make_model(self) -> nn.Module:
        """See :meth:`TorchPredictor.make_model`."""
        return NarFormerV2(self.config.model)

    def calibrate(self, model: nn.Module, store: GraphStore, targets: FloatArray) -> None:
        """See :meth:`TorchPredictor.calibrate`."""
        assert isinstance(model, NarFormerV2)
        nodes = None
        if self.config.operator_dropout:
            # Dropped operators alone have the type of a category: unseen, it would mean nothing.
            generator = torch.Generator().manual_seed(self.training.seed)
            whole = store.batch(torch.arange(len(store)))
            nodes = self._dropout(whole, generator).node_features_NC
        model.calibrate(store, targets, nodes)
        if isinstance(prior := getattr(model.readout, "prior", None), CostPrior):
            costs = prior_costs(store.node_features.double()).numpy()
            prior.calibrate(*measured_rows(costs, self._groups, self._measured, targets))

    @property
    def _learns_contributions(self) -> bool:
        """Whether fitting minimizes more of contributions than the error of their sum."""
        return self.config.kernel_weight > 0 or self.config.shrinkage > 0

    @property
    def _looks_at_kernels(self) -> bool:
        """Whether fitting needs to know what kernels take."""
        return self._learns_contributions or self.config.model.prior != "none"

    def objective(self, inputs: Sequence[Network]) -> Objective:
        """The configured loss of each latency, and of the kernels where they have a weight."""
        config = self.config
        objective = super().objective(inputs)
        if self._learns_contributions:
            objective = LatencyAndKernels(
                self.training.loss, config.kernel_weight, self._measured, config.shrinkage
            )
        return self._dropout.before(objective) if config.operator_dropout else objective

    @property
    def _dropout(self) -> OperatorDropout:
        return OperatorDropout(self.config.tokens, self.config.operator_dropout)

    def contributions(self, network: Network) -> FloatArray:
        """What each operator of ``network`` adds to its latency in ms, ``[num_nodes]``.

        Raises:
            NotFittedError: fit or load comes first.
            InputError: the readout is not ``contributions``.
        """
        model = self.model
        assert isinstance(model, NarFormerV2)
        batch = GraphBatch.from_graphs(self.encode([network])).to(model.scale.device)
        with torch.no_grad():
            return model.contributions(batch).double().cpu().numpy()

    def _domain(self, network: Network) -> int:
        platforms = self.config.platforms
        if not platforms:
            return 0
        if network.platform not in platforms:
            raise InputError(
                f"network {network.name!r} is for platform {network.platform!r}, but the predictor "
                f"knows {', '.join(platforms)}"
            )
        return platforms.index(network.platform)


def _sized(config: LatencyNarFormerV2Config) -> LatencyNarFormerV2Config:
    """``config`` with a model of the sizes that its tokens and platforms ask for."""
    model = replace(
        config.model,
        num_features=config.tokens.num_features,
        num_static=config.tokens.num_static,
        num_domains=max(1, len(config.platforms)),
    )
    return replace(config, model=model)


def as_graph(
    tokens: GraphTokens,
    relations: Sequence[Relation] = ("undirected",),
    *,
    group_index: IntArray | None = None,
    domain: int = 0,
) -> Graph:
    """``tokens`` with the edge lists of ``relations``."""
    return Graph(
        tokens.node_features,
        tokens.edge_index,
        tokens.static_features,
        group_index=group_index,
        domain=domain,
        relations={
            name: RELATIONS[name](tokens.edge_index, group_index)
            for name in relations
            if name != "undirected"
        },
    )


class AccuracyNarFormerV2(TorchPredictor[Cell]):
    """Accuracies of networks made of a cell, 0 to 1."""

    name = "nar-former-v2"
    task = "accuracy"
    config_type = AccuracyNarFormerV2Config
    presets = ACCURACY_PRESETS
    config: AccuracyNarFormerV2Config
    default_training: ClassVar[TrainingConfig] = TrainingConfig(
        epochs=1000, batch_size=8, learning_rate=1e-4, loss="squared"
    )

    def __init__(
        self,
        config: AccuracyNarFormerV2Config | None = None,
        training: TrainingConfig | None = None,
    ) -> None:
        super().__init__(config, training)
        model = replace(self.config.model, num_features=self.config.tokens.num_features)
        self.config = replace(self.config, model=model)

    def encode(self, inputs: Sequence[Cell]) -> list[Graph]:
        """See :meth:`TorchPredictor.encode`."""
        config = self.config
        return [as_graph(tokenize_cell(c, config.tokens), config.model.relations) for c in inputs]

    def make_model(self) -> nn.Module:
        """See :meth:`TorchPredictor.make_model`."""
        return NarFormerV2(self.config.model)

    def calibrate(self, model: nn.Module, store: GraphStore, targets: FloatArray) -> None:
        """See :meth:`TorchPredictor.calibrate`."""
        assert isinstance(model, NarFormerV2)
        model.calibrate(store, targets)

    def objective(self, inputs: Sequence[Cell]) -> Objective:
        """MSE + 0.1 SR + 0.5 AC."""
        if not self.config.copies:
            return super().objective(inputs)
        rng = np.random.default_rng(self.training.seed)
        copies = isomorphic_copies(inputs, self.config.copies, rng)
        return RankingAndConsistency(self.training.loss, self.encode(copies), len(inputs))
