"""NAR-Former (Yi et al., CVPR 2023), version 1: global attention over tokens of operators.

A token holds f_PE of the operator, of its own position, and the sum of f_PE of the positions that
it reads from; a further token holds the number of nodes. Six Transformer blocks, then multi-stage
fusion: 4, 2 and 1 learned queries gather what the stage before them holds. Accuracies end in a
sigmoid and are learned with the losses of sequence ranking (SR) and of architecture consistency
(AC); latencies pass fully connected layers together with the static features.

Where the text is silent the public code is followed: widths, norms first, ReLU. It adds a token for
the end and averages weights over the steps (EMA), which are left out; it drops attention scores,
where here the output of attention is dropped, which saves the memory of the scores; and its tokens
are as wide as the model, where here a linear layer brings those of whole networks to that width.

Shape suffixes: N nodes, G graphs, L positions of the longest sequence, Q queries, C token features,
S static features, D width.
"""

# ruff: noqa: N803, N806 (shape suffixes)
from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from relay_frontend.cells import (
    Cell,
    CellTokenConfig,
    isomorphic_copies,
    nerf_encoding,
    tokenize_cell,
)
from relay_frontend.tokens import TokenConfig, position_encoding, tokenize
from tvm_costmodel.learning.graphs import Graph, GraphBatch, GraphStore
from tvm_costmodel.learning.losses import Objective, RankingAndConsistency
from tvm_costmodel.learning.torch_predictor import TorchPredictor
from tvm_costmodel.learning.trainer import TrainingConfig
from tvm_costmodel.predictors.attention import (
    Attention,
    AttentionConfig,
    FeedForward,
    SelfAttentionBlock,
)
from tvm_costmodel.predictors.base import FloatArray, InputT, Network
from tvm_costmodel.predictors.geometric import to_dense_batch
from tvm_costmodel.predictors.outputs import AccuracyOutput, LatencyOutput

_QUERIES = (4, 2, 1)
_HEAD_LAYERS = 4  # of latencies; each is half as wide as the one before it
_MOST_SCORES = 1 << 22  # of one head and one block, computed at a time where nothing is learned
_DEPTH_BASE = 10000.0

Encoding = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class LatencyNarFormerConfig:
    """Shape of the network for latencies; the defaults are the public code's.

    Args:
        blocks: shape of the Transformer blocks.
        num_blocks: before the fusion.
        tokens: encoding of operators and static features.
        position_frequencies: of the positions, which are encoded as ``tokens`` encode values.
    """

    blocks: AttentionConfig = field(default_factory=AttentionConfig)
    num_blocks: int = 6
    tokens: TokenConfig = field(default_factory=lambda: TokenConfig(op_type="position"))
    position_frequencies: int = 32


@dataclass(frozen=True, kw_only=True)
class AccuracyNarFormerConfig:
    """Shape of the network for accuracies, and its training's; the defaults are the public code's.

    Args:
        blocks: shape of the Transformer blocks.
        num_blocks: before the fusion.
        tokens: encoding of cells; positions read from are encoded alike.
        copies: relabelled copies of each cell for the AC loss; a step draws one of them.
    """

    blocks: AttentionConfig = field(default_factory=AttentionConfig)
    num_blocks: int = 6
    tokens: CellTokenConfig = field(default_factory=CellTokenConfig)
    copies: int = 8


class _NarFormer(TorchPredictor[InputT]):
    """What latencies and accuracies have in common."""

    name: ClassVar[str] = "nar-former"

    @abstractmethod
    def encode_one(self, one: InputT) -> Graph:
        """The tokens of one input, without the token of its number of nodes."""

    def encode(self, inputs: Sequence[InputT]) -> list[Graph]:
        return [self.encode_one(one) for one in inputs]


class LatencyNarFormer(_NarFormer[Network]):
    """NAR-Former for the latency of whole networks."""

    config_type = LatencyNarFormerConfig
    default_training = TrainingConfig(weight_decay=0.01)
    config: LatencyNarFormerConfig

    def encode_one(self, one: Network) -> Graph:
        tokens = tokenize(one.graph, self.config.tokens)
        count, frequencies = tokens.num_nodes, self.config.position_frequencies
        encoded = position_encoding(np.arange(-1, count), frequencies)
        return Graph(
            node_features=_tokens(tokens.node_features, encoded, one.graph.edges),
            edge_index=tokens.edge_index,
            static_features=tokens.static_features,
        )

    def make_model(self) -> nn.Module:
        config = self.config
        features = config.tokens.num_features + 4 * config.position_frequencies
        head = _LatencyHead(config.blocks, config.tokens.num_static)
        return _Transformer(features, config.blocks, config.num_blocks, head)

    def calibrate(self, model: nn.Module, store: GraphStore, targets: FloatArray) -> None:
        assert isinstance(model, _Transformer)
        assert isinstance(model.head, _LatencyHead)
        model.head.output.calibrate(targets, torch.zeros(len(store)))


class AccuracyNarFormer(_NarFormer[Cell]):
    """NAR-Former for the accuracy of cells."""

    task: ClassVar[str] = "accuracy"
    config_type = AccuracyNarFormerConfig
    default_training = TrainingConfig(
        epochs=4000, batch_size=128, learning_rate=1e-4, weight_decay=0.01, loss="squared"
    )
    config: AccuracyNarFormerConfig

    def encode_one(self, one: Cell) -> Graph:
        tokens = tokenize_cell(one, self.config.tokens)
        encoded = _nerf_from_minus_one(one.num_nodes, self.config.tokens.frequencies)
        own = tokens.node_features  # holds the label and the position already
        sources = _sources(encoded, one.edges).astype(np.float32)
        return Graph(
            node_features=np.concatenate([own, sources], axis=1),
            edge_index=tokens.edge_index,
            static_features=tokens.static_features,
        )

    def make_model(self) -> nn.Module:
        config = self.config
        features = config.tokens.num_features + 2 * config.tokens.frequencies
        return _Transformer(
            features, config.blocks, config.num_blocks, _AccuracyHead(config.blocks)
        )

    def calibrate(self, model: nn.Module, _store: GraphStore, targets: FloatArray) -> None:
        assert isinstance(model, _Transformer)
        assert isinstance(model.head, _AccuracyHead)
        model.head.output.calibrate(targets)

    def objective(self, inputs: Sequence[Cell]) -> Objective:
        rng = np.random.default_rng(self.training.seed)
        copies = isomorphic_copies(inputs, self.config.copies, rng)
        return RankingAndConsistency(self.training.loss, self.encode(copies), len(inputs))


class _Transformer(nn.Module):
    def __init__(
        self, features: int, blocks: AttentionConfig, num_blocks: int, head: nn.Module
    ) -> None:
        super().__init__()
        same = features == blocks.width
        self.project = nn.Identity() if same else nn.Linear(features, blocks.width)
        self.depth = _DepthToken(blocks.width)
        self.blocks = nn.ModuleList(SelfAttentionBlock(blocks) for _ in range(num_blocks))
        self.fusion = _Fusion(blocks)
        self.norm = nn.LayerNorm(blocks.width)
        self.head = head

    def forward(self, batch: GraphBatch) -> Tensor:
        """Predictions, ``[G]``."""
        tokens_ND = self.project(batch.node_features_NC)
        x_GLD, mask_GL = to_dense_batch(tokens_ND, batch.graph_index_N, batch_size=batch.num_graphs)
        # Memory of the scores bounds how many long networks can be read at a time.
        size = len(x_GLD) if self.training else max(1, _MOST_SCORES // x_GLD.shape[1] ** 2)
        parts = zip(x_GLD.split(size), mask_GL.split(size), strict=True)
        fused_GD = torch.cat([self._fuse(x, mask) for x, mask in parts])
        prediction_G: Tensor = self.head(self.norm(fused_GD), batch.static_features_GS)
        return prediction_G

    def _fuse(self, x_GLD: Tensor, mask_GL: Tensor) -> Tensor:
        """One vector for each sequence, ``[G, D]``."""
        depth_G1D = self.depth(mask_GL.sum(dim=1)).unsqueeze(1)
        x_GLD = torch.cat([depth_G1D, x_GLD], dim=1)
        mask_GL = torch.cat([mask_GL.new_ones(len(mask_GL), 1), mask_GL], dim=1)
        for block in self.blocks:
            x_GLD = block(x_GLD, mask_GL)
        fused_GD: Tensor = self.fusion(x_GLD, mask_GL)
        return fused_GD


class _DepthToken(nn.Module):
    """ReLU of a linear map of f_PE ("trans") of the number of nodes; ``[G]`` to ``[G, D]``."""

    frequencies: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        half = (width + 1) // 2
        frequencies = _DEPTH_BASE ** (-torch.arange(half) / half)
        self.register_buffer("frequencies", frequencies, persistent=False)
        self.linear = nn.Linear(2 * half, width)

    def forward(self, num_nodes_G: Tensor) -> Tensor:
        angles = num_nodes_G.unsqueeze(1) * self.frequencies
        encoded = torch.cat([angles.sin(), angles.cos()], dim=1)
        return torch.relu(self.linear(encoded))


class _Fusion(nn.Module):
    """Multi-stage fusion; ``[G, L, D]`` to ``[G, D]``.

    Each stage's learned queries read the memory. From the second stage on they read it through the
    eyes of the stage before, whose queries have gathered from it first.
    """

    def __init__(self, config: AttentionConfig) -> None:
        super().__init__()
        self.queries = nn.ParameterList(torch.randn(1, q, config.width) for q in _QUERIES)
        self.stages = nn.ModuleList(_Read(config, learned_query=True) for _ in _QUERIES)
        self.norms = nn.ModuleList(nn.LayerNorm(config.width) for _ in _QUERIES[1:])
        self.gatherers = nn.ModuleList(_Read(config) for _ in _QUERIES[1:])

    def forward(self, memory_GLD: Tensor, mask_GL: Tensor) -> Tensor:
        count = len(memory_GLD)
        x_GQD = self.stages[0](self.queries[0].expand(count, -1, -1), memory_GLD, mask_GL)
        later = zip(self.queries, self.stages, strict=True)
        next(later)
        for (query, stage), norm, gather in zip(later, self.norms, self.gatherers, strict=True):
            gathered_GQD = gather(norm(x_GQD), memory_GLD, mask_GL)
            x_GQD = stage(query.expand(count, -1, -1), gathered_GQD, None)
        fused_GD: Tensor = x_GQD.squeeze(1)
        return fused_GD


class _Read(nn.Module):
    """Attention to a memory without a residual, then feed-forward."""

    def __init__(self, config: AttentionConfig, *, learned_query: bool = False) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(config.width)
        self.attention = Attention(config, learned_query=learned_query)
        self.feed_forward = FeedForward(config)

    def forward(self, query_GQD: Tensor, memory_GLD: Tensor, mask_GL: Tensor | None) -> Tensor:
        read_GQD = self.attention(query_GQD, self.norm(memory_GLD), mask_GL)
        result_GQD: Tensor = self.feed_forward(read_GQD)
        return result_GQD


class _LatencyHead(nn.Module):
    def __init__(self, config: AttentionConfig, num_static: int) -> None:
        super().__init__()
        widths = [max(1, config.width // 2**i) for i in range(_HEAD_LAYERS)]
        layers: list[nn.Module] = []
        for inputs, outputs in zip([config.width + num_static, *widths], widths, strict=False):
            layers += [nn.Linear(inputs, outputs), nn.ReLU(), nn.Dropout(config.dropout)]
        self.layers = nn.Sequential(*layers, nn.Linear(widths[-1], 1))
        self.output = LatencyOutput()

    def forward(self, x_GD: Tensor, static_GS: Tensor) -> Tensor:
        z_G = self.layers(torch.cat([x_GD, static_GS], dim=1)).squeeze(1)
        latency_G: Tensor = self.output(z_G)
        return latency_G


class _AccuracyHead(nn.Module):
    def __init__(self, config: AttentionConfig) -> None:
        super().__init__()
        self.linear = nn.Linear(config.width, 1)
        self.output = AccuracyOutput()

    def forward(self, x_GD: Tensor, _static_GS: Tensor) -> Tensor:
        accuracy_G: Tensor = self.output(self.linear(x_GD).squeeze(1))
        return accuracy_G


def _tokens(
    operators: npt.NDArray[np.float32], encoded: Encoding, edges: Sequence[tuple[int, int]]
) -> npt.NDArray[np.float32]:
    """Operators, own positions and positions read from, ``[num_nodes, C]``."""
    positions = [encoded[1:], _sources(encoded, edges)]
    return np.concatenate([operators, *positions], axis=1).astype(np.float32)


def _sources(encoded: Encoding, edges: Sequence[tuple[int, int]]) -> Encoding:
    """The sum of f_PE of the positions that each node reads from, of -1 where it reads from none.

    Args:
        encoded: f_PE of -1, 0, 1, ..., the last position: ``[1 + num_nodes, width]``.
        edges: (source, destination) of each edge.
    """
    sums: Any = np.zeros_like(encoded[1:])
    pairs = np.array(edges, dtype=np.int64).reshape(-1, 2)
    np.add.at(sums, pairs[:, 1], encoded[1 + pairs[:, 0]])
    first = np.ones(len(sums), dtype=bool)
    first[pairs[:, 1]] = False
    sums[first] = encoded[0]
    result: Encoding = sums
    return result


@lru_cache(maxsize=32)
def _nerf_from_minus_one(count: int, frequencies: int) -> Encoding:
    """f_PE ("nerf") of -1, 0, ..., count - 1; sines are odd, cosines even."""
    table = nerf_encoding(max(count, 2), frequencies)
    minus_one = np.concatenate([-table[1, :frequencies], table[1, frequencies:]])
    return np.vstack([minus_one, table[:count]])
