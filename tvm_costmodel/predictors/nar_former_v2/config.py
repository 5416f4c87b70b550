"""The configuration of NAR-Former V2: every switch that the paper or its ablations have.

Without torch, so that a process that only estimates can read a checkpoint.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args, get_type_hints

from relay_frontend.cells import CellTokenConfig
from relay_frontend.errors import InputError
from relay_frontend.tokens import TokenConfig

Relation = Literal["undirected", "forward", "backward", "siblings", "kernel"]

PRIOR_COSTS = ("flops", "functions", "operations", "stalls", "bytes", "kernels")
"""What the prior ``costs`` has a rate for, in the order of its rates."""


@dataclass(frozen=True, kw_only=True)
class NarFormerV2Config:
    """Shape of a NAR-Former V2; the defaults are the paper's for latency.

    Args:
        num_features: values per node of the tokens (C).
        num_static: values of the static features.
        num_domains: platforms that share the model; with several, an embedding of the platform is
            added to the nodes after the first block and in the head.
        width: features per node after the first block (D).
        num_blocks: Transformer blocks.
        input_norm: of the features of nodes and graphs: none, a ``layer`` norm, or ``standardize``
            by mean and deviation of the training data.
        embed: whether a linear layer with a ReLU brings the tokens to the width before the first
            block, whose attention then costs what that of the others does. The paper has none.
        enhance: whether a node's degree gates its features (TAEnhance, equation 11).
        attention: ``graph`` (equation 9), ``global`` (S without A, table 6) or ``mean`` (every
            neighbour alike, equation 3).
        relations: which pairs of nodes see each other; each relation has its own attention and
            aggregate matrix, and they are summed. ``undirected``: a tensor flows from one to the
            other; ``forward`` and ``backward``: along and against the data flow; ``siblings``:
            they share a producer or a consumer (NN-Former, CVPR 2025); ``kernel``: they are fused
            into one kernel.
        normalize: ``l2`` (equation 6), ``layer`` or none, before the feed-forward network.
        activation: whether a ReLU follows that norm, as in the authors' public code.
        dropout: probability after that norm; 0.05 in the public code.
        ffn: ``grouped`` (equation 7), ``plain``: one group (equation 2), or none (equation 4).
        ffn_groups: groups of the grouped feed-forward network; divides ``width``.
        ffn_expansion: hidden over outer width of the feed-forward network.
        group_norm: whether the LayerNorm before it sees each group by itself, as in the public
            code.
        branch_scale: initial value of a learned scale per channel on the feed-forward branch;
            None leaves the scale out, as the paper's text does. The public code starts it at 1e-4,
            which keeps the sum over the nodes, and with it the first steps, small.
        readout: ``pooled``: nodes are summed, the static features join them, the head answers;
            ``contributions``: the head answers for each node, and the answers are summed;
            ``hierarchical``: the means over the nodes after each block are weighted and summed,
            the head answers.
        prior: what the head's answer for a node is a multiple of (``contributions`` alone):
            ``none``, so that it is the contribution itself, or what the node would take by its
            ``costs``, at rates that fit the training data best. The head then learns how far a node
            falls short of these rates, which differs less from operator to operator, and from
            family to family, than times do. Reads the costs at the end of the tokens.
        static: whether the static features are read (``pooled`` alone).
        output: how the head's number becomes positive: ``softplus``, which is the paper's
            -logsigmoid (equation 12), or ``exp``, for targets that span decades.

    Raises:
        InputError: a value is out of its range, or the groups do not divide the width.
    """

    num_features: int = 152
    num_static: int = 40
    num_domains: int = 1
    width: int = 512
    num_blocks: int = 2
    input_norm: Literal["none", "layer", "standardize"] = "none"
    embed: bool = False
    enhance: bool = True
    attention: Literal["graph", "global", "mean"] = "graph"
    relations: tuple[Relation, ...] = ("undirected",)
    normalize: Literal["l2", "layer", "none"] = "l2"
    activation: bool = False
    dropout: float = 0.0
    ffn: Literal["grouped", "plain", "none"] = "grouped"
    ffn_groups: int = 8
    ffn_expansion: int = 4
    group_norm: bool = False
    branch_scale: float | None = None
    readout: Literal["pooled", "contributions", "hierarchical"] = "pooled"
    prior: Literal["none", "costs"] = "none"
    static: bool = True
    output: Literal["softplus", "exp"] = "softplus"

    def __post_init__(self) -> None:
        _check_choices(self)
        for name in _POSITIVE:
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise InputError(f"NarFormerV2Config.{name} must be positive, got {value}")
        if not 0 <= self.dropout < 1:
            raise InputError(f"NarFormerV2Config.dropout must be 0 to below 1, got {self.dropout}")
        if self.num_static < 0 or (self.reads_static and self.num_static == 0):
            raise InputError(
                f"NarFormerV2Config.num_static is {self.num_static}: where there are no static "
                "features, set static to False"
            )
        if self.width % self.ffn_groups:
            raise InputError(
                f"NarFormerV2Config.ffn_groups ({self.ffn_groups}) must divide width ({self.width})"
            )
        if self.prior != "none" and self.readout != "contributions":
            raise InputError(
                f"NarFormerV2Config.prior is {self.prior!r}, but the readout {self.readout!r} does "
                "not tell what a node contributes: choose the readout 'contributions'"
            )
        if not self.relations or len(set(self.relations)) < len(self.relations):
            raise InputError(
                f"NarFormerV2Config.relations must be distinct and at least one: {self.relations}"
            )

    @property
    def reads_static(self) -> bool:
        """Whether the static features have a say."""
        return self.static and self.readout == "pooled"

    @property
    def block_features(self) -> list[int]:
        """Features per node that enter each block."""
        first = self.width if self.embed else self.num_features
        return [first] + [self.width] * (self.num_blocks - 1)

    @property
    def groups(self) -> int:
        """Groups of the feed-forward network that there is."""
        return self.ffn_groups if self.ffn == "grouped" else 1


@dataclass(frozen=True, kw_only=True)
class LatencyNarFormerV2Config:
    """A NAR-Former V2 that predicts the latency of whole networks.

    Args:
        tokens: how networks are encoded.
        model: its switches; its sizes are those of ``tokens`` and ``platforms``.
        platforms: names of the platforms that share the model, in the order of their embeddings;
            empty for one, whatever its name. Fitting on several sets them.
        kernel_weight: weight of the times of measured kernels beside the latencies in what fitting
            minimizes; only with the readout ``contributions``. Networks whose kernels were not
            timed are learned by their latencies alone.
        shrinkage: weight of how far contributions are from the prior, as squared logarithms of
            their ratio, mean over the operators. Only the sum of a kernel's operators is ever
            measured: without it an activation may take the time of its convolution, and is then
            dear where it stands alone.
        operator_dropout: probability with which an operator counts as its category in a graph while
            learning. Fitting then names the operators of the training networks in ``tokens``, so
            that others count as their category too.

    Raises:
        InputError: a value is out of its range, or the tokens or the model lack what it needs.
    """

    tokens: TokenConfig = field(default_factory=TokenConfig)
    model: NarFormerV2Config = field(default_factory=NarFormerV2Config)
    platforms: tuple[str, ...] = ()
    kernel_weight: float = 0.0
    shrinkage: float = 0.0
    operator_dropout: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.operator_dropout < 1:
            raise InputError(f"operator_dropout must be 0 to below 1, got {self.operator_dropout}")
        if self.operator_dropout and self.tokens.op_type != "one-hot":
            raise InputError("operator_dropout needs tokens whose op_type is one-hot")
        for name in ("kernel_weight", "shrinkage"):
            weight = getattr(self, name)
            if not (math.isfinite(weight) and weight >= 0):
                raise InputError(f"{name} must be 0 or more, got {weight}")
        if self.shrinkage and self.model.prior == "none":
            raise InputError(
                f"shrinkage is {self.shrinkage}, but there is no prior to keep contributions near: "
                "choose the prior 'costs'"
            )
        if self.kernel_weight and self.model.readout != "contributions":
            raise InputError(
                f"kernel_weight is {self.kernel_weight}, but the readout {self.model.readout!r} "
                "does not tell what a kernel contributes: choose the readout 'contributions'"
            )
        if self.model.prior == "costs" and not self.tokens.costs:
            raise InputError("prior 'costs' reads the costs of operators: set costs of the tokens")


@dataclass(frozen=True, kw_only=True)
class AccuracyNarFormerV2Config:
    """A NAR-Former V2 that predicts the accuracy of cells; the defaults are the paper's.

    Args:
        tokens: how cells are encoded.
        model: its switches; ``num_features`` is that of ``tokens``.
        copies: isomorphic copies of each training cell, of which every step draws one for the
            architecture consistency loss; with 0, every cell is learned by itself.

    Raises:
        InputError: the model has a prior, but cells have no costs.
    """

    tokens: CellTokenConfig = field(default_factory=CellTokenConfig)
    model: NarFormerV2Config = field(
        default_factory=lambda: NarFormerV2Config(
            num_static=0, static=False, num_blocks=6, readout="hierarchical"
        )
    )
    copies: int = 8

    def __post_init__(self) -> None:
        if self.model.prior != "none":
            raise InputError(f"prior {self.model.prior!r} reads costs, which cells do not have")


_POSITIVE = (
    *("num_features", "num_domains", "width", "num_blocks", "ffn_groups", "ffn_expansion"),
    "branch_scale",
)


def _check_choices(config: NarFormerV2Config) -> None:
    hints: dict[str, Any] = get_type_hints(NarFormerV2Config)
    for item in fields(config):
        allowed = get_args(hints[item.name])
        if item.name == "relations":
            chosen, allowed = config.relations, get_args(allowed[0])
        elif all(isinstance(value, str) for value in allowed) and allowed:
            chosen = (getattr(config, item.name),)
        else:
            continue
        for value in chosen:
            if value not in allowed:
                raise InputError(
                    f"NarFormerV2Config.{item.name} is {value!r}: choose from {', '.join(allowed)}"
                )
