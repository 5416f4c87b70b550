"""Operators that count as their category, at random while learning, so that new ones may later.

Shape suffixes: N nodes of all graphs, R those that are dropped, G graphs, C features, T operators
of the vocabulary.
"""

# ruff: noqa: N803, N806 (shape suffixes)
from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from relay_frontend import vocabulary
from relay_frontend.tokens import TokenConfig
from tvm_costmodel.learning.graphs import GraphBatch
from tvm_costmodel.learning.losses import Objective


class OperatorDropout:
    """Makes some operators of a batch known by their category alone.

    Of each graph, each operator is dropped with a probability, wherever it occurs: its token gets
    the type of its category and no attributes, as :func:`relay_frontend.tokens.tokenize` writes it
    for an operator that a configuration does not name. A predictor that learned so has an answer
    for operators that no training network has.

    Args:
        tokens: the encoding of the batches, with one-hot types.
        probability: of each operator in each graph.
    """

    def __init__(self, tokens: TokenConfig, probability: float) -> None:
        self._probability = probability
        names = list(vocabulary.OPERATORS)[: vocabulary.SIZES[tokens.vocabulary]]
        categories = [vocabulary.index(vocabulary.OPERATORS[name].category) for name in names]
        self._category_T = torch.tensor(categories)
        self._blank_C = _blank(tokens)

    def __call__(self, batch: GraphBatch, generator: torch.Generator) -> GraphBatch:
        """``batch`` without what is dropped."""
        tokens_NC = batch.node_features_NC
        device, size = tokens_NC.device, len(self._category_T)
        drawn_GT = torch.rand(batch.num_graphs, size, generator=generator) < self._probability
        type_N = tokens_NC[:, :size].argmax(dim=1)
        drop_R = drawn_GT.to(device)[batch.graph_index_N, type_N].nonzero().squeeze(1)
        category_R = self._category_T.to(device)[type_N[drop_R]]
        types_RT = functional.one_hot(category_R, size).to(tokens_NC.dtype)
        rest_RC, blank_C = tokens_NC[drop_R, size:], self._blank_C.to(device)
        rest_RC = torch.where(blank_C.isnan(), rest_RC, blank_C)
        dropped_RC = torch.cat([types_RT, rest_RC], dim=1)
        return replace(batch, node_features_NC=tokens_NC.index_copy(0, drop_R, dropped_RC))

    def before(self, objective: Objective) -> Objective:
        """``objective`` of batches without what is dropped."""

        def of_dropped(
            model: nn.Module,
            batch: GraphBatch,
            y_G: Tensor,
            index_G: Tensor,
            generator: torch.Generator,
        ) -> Tensor:
            return objective(model, self(batch, generator), y_G, index_G, generator)

        return of_dropped


def _blank(tokens: TokenConfig) -> Tensor:
    """What stands behind the type of an operator without attributes; not a number elsewhere."""
    parts = []
    for encoding in tokens.values:
        zero = [0.0] * tokens.frequencies + [1.0] * tokens.frequencies
        blank = torch.tensor(zero if encoding == "position" else [0.0])
        others = torch.full(
            (tokens.num_values - vocabulary.NUM_ATTRIBUTE_SLOTS, len(blank)), torch.nan
        )
        parts += [blank.repeat(vocabulary.NUM_ATTRIBUTE_SLOTS), others.ravel()]
    values = torch.cat(parts)
    left = tokens.num_features - vocabulary.SIZES[tokens.vocabulary] - len(values)
    return torch.cat([values, torch.full((left,), torch.nan)])
