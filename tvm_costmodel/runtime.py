"""The whole-network predictor in plain numpy, for processes without torch.

The model itself, with the paper's equations, is :mod:`tvm_costmodel.nar_former_v2`; this module
computes the same numbers from the same weights. Its configuration lives here, so that reading a
checkpoint needs numpy alone.

Shape suffixes: N nodes, E directed edges, C features that enter a block, D width, K groups.
"""

# ruff: noqa: N803, N806 (shape suffixes)
from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from relay_frontend.errors import InputError
from relay_frontend.tokens import GraphTokens

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]

_LAYER_NORM_EPSILON = 1e-5  # torch.nn.LayerNorm's default
_L2_NORM_EPSILON = 1e-12  # torch.nn.functional.normalize's default
_ONE = np.float32(1.0)
_LARGEST_EXPONENT = np.float32(88.0)  # exp() of more overflows float32


@dataclass(frozen=True, kw_only=True)
class NarFormerV2Config:
    """Shape of a NAR-Former V2 that predicts latency; the defaults are the paper's.

    Args:
        num_features: values per node of the tokens.
        num_static: values of the static features.
        width: features per node after the first block (D).
        num_blocks: Transformer blocks.
        ffn_groups: groups of the grouped feed-forward network; divides ``width``.
        ffn_expansion: hidden over outer width of the feed-forward network.
        branch_scale: initial value of a learned scale per channel on the feed-forward branch;
            None leaves the scale out, as the paper's text does. The authors' public code starts it
            at 1e-4, which keeps the sum over the nodes, and with it the first steps, small.
        latency_scale: ms that one unit of the head's output stands for; training sets it.

    Raises:
        InputError: a value is not positive, or the groups do not divide the width.
    """

    num_features: int = 152
    num_static: int = 40
    width: int = 512
    num_blocks: int = 2
    ffn_groups: int = 8
    ffn_expansion: int = 4
    branch_scale: float | None = None
    latency_scale: float = 1.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is None and field.name == "branch_scale":
                continue
            if not (math.isfinite(value) and value > 0):
                raise InputError(f"NarFormerV2Config.{field.name} must be positive, got {value}")
        if self.width % self.ffn_groups:
            raise InputError(
                f"NarFormerV2Config.ffn_groups ({self.ffn_groups}) must divide width ({self.width})"
            )


def weight_shapes(config: NarFormerV2Config) -> dict[str, tuple[int, ...]]:
    """Name and shape of every weight, as in the torch model's ``state_dict``."""
    width, groups = config.width, config.ffn_groups
    group, hidden_group = width // groups, width * config.ffn_expansion // groups
    shapes: dict[str, tuple[int, ...]] = {}

    def linear(name: str, inputs: int, outputs: int, *, bias: bool = True) -> None:
        shapes[f"{name}.weight"] = (outputs, inputs)
        if bias:
            shapes[f"{name}.bias"] = (outputs,)

    for index in range(config.num_blocks):
        block = f"blocks.{index}"
        features = config.num_features if index == 0 else width
        linear(f"{block}.degree_gate", 1, features)
        linear(f"{block}.query", features, features)
        linear(f"{block}.aggregate", features, width)
        linear(f"{block}.root", features, width, bias=False)
        shapes[f"{block}.norm.weight"] = shapes[f"{block}.norm.bias"] = (width,)
        shapes[f"{block}.ffn_up.weight"] = (groups, group, hidden_group)
        shapes[f"{block}.ffn_up.bias"] = (groups, 1, hidden_group)
        shapes[f"{block}.ffn_down.weight"] = (groups, hidden_group, group)
        shapes[f"{block}.ffn_down.bias"] = (groups, 1, group)
        if config.branch_scale is not None:
            shapes[f"{block}.branch_scale"] = (width,)
    linear("static", config.num_static, width)
    linear("fc1", 2 * width, width)
    linear("fc2", width, width)
    linear("fc3", width, 1)
    return shapes


def check_weights(
    weights: Mapping[str, npt.NDArray[np.generic]], config: NarFormerV2Config
) -> None:
    """See that ``weights`` are those of ``config``, no fewer and no more.

    Raises:
        InputError: a weight is missing, unexpected, or has another shape.
    """
    expected = weight_shapes(config)
    for name in sorted(expected.keys() | weights.keys()):
        if name not in weights:
            raise InputError(f"weight {name!r} is missing; {config} needs it")
        if name not in expected:
            raise InputError(f"weight {name!r} is unknown; {config} has none of that name")
        if weights[name].shape != expected[name]:
            raise InputError(
                f"weight {name!r} has shape {weights[name].shape}, but {config} "
                f"needs {expected[name]}"
            )


class NumpyPredictor:
    """NAR-Former V2 for latency, forward pass only. Immutable, so threads may share it.

    Args:
        weights: the model's weights by name, see :func:`weight_shapes`.
        config: the model's configuration.

    Raises:
        InputError: the weights do not fit the configuration.
    """

    def __init__(
        self, weights: Mapping[str, npt.NDArray[np.generic]], config: NarFormerV2Config
    ) -> None:
        check_weights(weights, config)
        self.config = config
        arrays = {name: np.ascontiguousarray(w, dtype=np.float32) for name, w in weights.items()}
        self._blocks = [_Block(arrays, f"blocks.{index}.") for index in range(config.num_blocks)]
        self._static, self._fc1, self._fc2, self._fc3 = (
            _Linear(arrays, name) for name in ("static", "fc1", "fc2", "fc3")
        )

    def predict(self, graphs: Sequence[GraphTokens]) -> FloatArray:
        """Predicted latencies in ms, ``[num_graphs]``, in the order of ``graphs``.

        Raises:
            InputError: tokens of another width than the model's.
        """
        return np.array([self._predict_one(graph) for graph in graphs], dtype=np.float32)

    def _predict_one(self, graph: GraphTokens) -> float:
        self._check_tokens(graph)
        degree_N = np.bincount(graph.edge_index[1], minlength=graph.num_nodes)
        degree_N1 = degree_N[:, None].astype(np.float32)
        h_NC = graph.node_features
        for block in self._blocks:
            h_NC = block(h_NC, graph.edge_index, degree_N1)
        static_D = _relu(self._static(graph.static_features))
        z_D = _relu(self._fc1(np.concatenate([h_NC.sum(axis=0), static_D])))
        logit_1 = self._fc3(_relu(self._fc2(z_D)))
        return float(np.logaddexp(0.0, -logit_1[0])) * self.config.latency_scale

    def _check_tokens(self, graph: GraphTokens) -> None:
        found = (graph.node_features.shape[-1], graph.static_features.shape[-1])
        expected = (self.config.num_features, self.config.num_static)
        if found != expected:
            raise InputError(
                f"tokens have {found[0]} node and {found[1]} static features, but the predictor "
                f"was trained on {expected[0]} and {expected[1]}; tokenize with the checkpoint's "
                "token configuration"
            )


class _Linear:
    """``x W^T + b``, with W turned once."""

    def __init__(self, arrays: Mapping[str, FloatArray], name: str) -> None:
        self._weight = np.ascontiguousarray(arrays[f"{name}.weight"].T)
        self._bias = arrays.get(f"{name}.bias", np.float32(0.0))

    def __call__(self, x: FloatArray) -> FloatArray:
        y: FloatArray = x @ self._weight + self._bias
        return y


class _Block:
    """One graph-aided Transformer block, equations 5-11."""

    def __init__(self, arrays: Mapping[str, FloatArray], prefix: str) -> None:
        self._degree_gate, self._query, self._aggregate, self._root = (
            _Linear(arrays, prefix + name) for name in ("degree_gate", "query", "aggregate", "root")
        )
        self._norm_weight, self._norm_bias = (
            arrays[f"{prefix}norm.weight"],
            arrays[f"{prefix}norm.bias"],
        )
        self._up_weight, self._up_bias = (
            arrays[f"{prefix}ffn_up.weight"],
            arrays[f"{prefix}ffn_up.bias"],
        )
        self._down_weight, self._down_bias = (
            arrays[f"{prefix}ffn_down.weight"],
            arrays[f"{prefix}ffn_down.bias"],
        )
        self._branch_scale = arrays.get(f"{prefix}branch_scale", _ONE)

    def __call__(
        self, h_NC: FloatArray, edge_index_2E: IntArray, degree_N1: FloatArray
    ) -> FloatArray:
        h_NC = _sigmoid(self._degree_gate(degree_N1)) * h_NC
        aggregate_NC = _graph_attention(_sigmoid(self._query(h_NC)), h_NC, edge_index_2E)
        h_ND = self._aggregate(aggregate_NC) + self._root(h_NC)
        h_ND /= np.maximum(np.linalg.norm(h_ND, axis=-1, keepdims=True), _L2_NORM_EPSILON)
        return self._branch_scale * self._feed_forward(h_ND) + h_ND

    def _feed_forward(self, h_ND: FloatArray) -> FloatArray:
        centred = h_ND - h_ND.mean(axis=-1, keepdims=True)
        variance = (centred * centred).mean(axis=-1, keepdims=True)
        x_ND = (
            centred / np.sqrt(variance + _LAYER_NORM_EPSILON) * self._norm_weight + self._norm_bias
        )
        groups, group, _ = self._up_weight.shape
        x_KN = x_ND.reshape(-1, groups, group).swapaxes(0, 1)
        y_KN = _relu(x_KN @ self._up_weight + self._up_bias) @ self._down_weight + self._down_bias
        y_ND: FloatArray = y_KN.swapaxes(0, 1).reshape(h_ND.shape)
        return y_ND


def _graph_attention(x_NC: FloatArray, h_NC: FloatArray, edge_index_2E: IntArray) -> FloatArray:
    """Norm(S) H of equations 9 and 10, over runs of equal destinations; 0 without neighbours."""
    source_E, target_E = edge_index_2E
    starts = np.flatnonzero(np.diff(target_E, prepend=-1))
    score_E = np.einsum("ec,ec->e", x_NC[source_E], x_NC[target_E])
    totals = np.add.reduceat(score_E, starts)
    weight_E = score_E / np.repeat(totals, np.diff(starts, append=len(target_E)))
    out_NC = np.zeros_like(h_NC)
    out_NC[target_E[starts]] = np.add.reduceat(weight_E[:, None] * h_NC[source_E], starts, axis=0)
    return out_NC


def _sigmoid(x: FloatArray) -> FloatArray:
    return _ONE / (_ONE + np.exp(np.minimum(-x, _LARGEST_EXPONENT)))


def _relu(x: FloatArray) -> FloatArray:
    return np.maximum(x, np.float32(0.0))
