"""NAR-Former V2 for latency in plain numpy, for processes without torch.

The model itself, with the paper's equations, is :mod:`tvm_costmodel.predictors.nar_former_v2`; this
module computes the same numbers from the same weights, and so does :mod:`tvm_costmodel.native`,
faster.

Shape suffixes: G graphs, N nodes, U and R kinds of nodes before and after a block
(:mod:`tvm_costmodel.equal_nodes`), E directed edges, C features that enter a block, D width, K
groups, or costs of a prior.
"""

# ruff: noqa: N803, N806 (shape suffixes)
from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from relay_frontend.errors import InputError
from relay_frontend.tokens import NUM_COSTS, GraphTokens
from tvm_costmodel.equal_nodes import Layer, every_node, kinds_of_nodes
from tvm_costmodel.predictors.nar_former_v2.config import NarFormerV2Config
from tvm_costmodel.predictors.nar_former_v2.relations import RELATIONS
from tvm_costmodel.weights import check_supported, check_weights

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]
Arrays = Mapping[str, FloatArray]
Function = Callable[[FloatArray], FloatArray]
T = TypeVar("T")

_NORM_EPSILON = np.float32(1e-5)  # torch.nn.LayerNorm's and GroupNorm's default
_L2_NORM_EPSILON = np.float32(1e-12)  # torch.nn.functional.normalize's default
_ONE = np.float32(1.0)
_NODES_AT_ONCE = 8192  # more share no more, and leave the caches
_LARGEST_EXPONENT = np.float32(88.0)  # exp() of more overflows float32


# --- The model ----------------------------------------------------------------------------------


class Runtime(ABC):
    """NAR-Former V2 for latency, forward pass only. Immutable, so threads may share it.

    Args:
        weights: the model's weights by name, see :func:`tvm_costmodel.weights.weight_shapes`.
        config: the model's configuration.

    Raises:
        CheckpointError: a switch of the configuration needs torch.
        InputError: the weights do not fit the configuration.
    """

    def __init__(
        self, weights: Mapping[str, npt.NDArray[np.generic]], config: NarFormerV2Config
    ) -> None:
        check_supported(config)
        check_weights(weights, config)
        self.config = config
        self._prepare({n: np.asarray(w, dtype=np.float32, order="C") for n, w in weights.items()})

    def predict(
        self, graphs: Sequence[GraphTokens], kernels: Sequence[IntArray] | None = None
    ) -> FloatArray:
        """Predicted latencies in ms, ``[num_graphs]``, in the order of ``graphs``.

        Networks are computed together, as one graph of which each is a part; what else is in
        ``graphs`` changes no more than the rounding of float32.

        Args:
            graphs: tokens of networks.
            kernels: the kernel of each operator (:func:`relay_frontend.fusion.fuse`) of each
                network; asked for where ``config.relations`` have ``kernel``.

        Raises:
            InputError: tokens of another width than the model's, or kernels are asked for.
        """
        for graph in graphs:
            self._check_tokens(graph)
        if kernels is not None and len(kernels) != len(graphs):
            raise InputError(f"kernels of {len(kernels)} networks for {len(graphs)} networks")
        return self._predict(graphs, self._asked(kernels))

    def contributions(self, graph: GraphTokens, kernels: IntArray | None = None) -> FloatArray:
        """What each operator adds to the latency in ms, ``[num_nodes]``; none is negative.

        Raises:
            InputError: as :meth:`predict`, or the readout is not ``contributions``.
        """
        if self.config.readout != "contributions":
            raise InputError(
                f"readout {self.config.readout!r} does not sum over nodes: train one with the "
                "readout 'contributions' to see what each of them contributes"
            )
        self._check_tokens(graph)
        return self._contributions(graph, self._asked(kernels))

    @abstractmethod
    def _prepare(self, arrays: Arrays) -> None:
        """Take the weights over."""

    @abstractmethod
    def _predict(
        self, graphs: Sequence[GraphTokens], kernels: Sequence[IntArray] | None
    ) -> FloatArray:
        """As :meth:`predict`; kernels are there where they are asked for, and only there."""

    @abstractmethod
    def _contributions(self, graph: GraphTokens, kernels: IntArray | None) -> FloatArray:
        """As :meth:`contributions`; kernels are there where they are asked for, and only there."""

    def _asked(self, kernels: T | None) -> T | None:
        if "kernel" not in self.config.relations:
            return None
        if kernels is None:
            raise InputError("the relation 'kernel' needs the kernel of each node (group_index)")
        return kernels

    def _check_tokens(self, graph: GraphTokens) -> None:
        found = (graph.node_features.shape[-1], graph.static_features.shape[-1])
        expected = (self.config.num_features, self.config.num_static)
        if found != expected:
            raise InputError(
                f"tokens have {found[0]} node and {found[1]} static features, but the predictor "
                f"was trained on {expected[0]} and {expected[1]}; tokenize with the checkpoint's "
                "token configuration"
            )


class NumpyPredictor(Runtime):
    """The runtime in plain numpy."""

    def _prepare(self, arrays: Arrays) -> None:
        config = self.config
        self._scale = float(arrays["scale"])
        self._input_norm = _NORMS[config.input_norm](arrays, "input_norm")
        self._embed = _Linear(arrays, "embed") if config.embed else None
        self._blocks = [
            _Block(arrays, f"blocks.{index}.", config) for index in range(config.num_blocks)
        ]
        self._head = _Head(arrays, _OUTPUTS[config.output])
        self._rates = arrays.get("readout.prior.rates")
        if config.reads_static:
            self._static_norm = _NORMS[config.input_norm](arrays, "static_norm")
            self._static = _Linear(arrays, "readout.static")

    def _predict(
        self, graphs: Sequence[GraphTokens], kernels: Sequence[IntArray] | None
    ) -> FloatArray:
        parts = [
            self._predict_batch(graphs[part], None if kernels is None else kernels[part])
            for part in _parts([graph.num_nodes for graph in graphs])
        ]
        return np.concatenate([np.empty(0, dtype=np.float32), *parts])

    def _contributions(self, graph: GraphTokens, kernels: IntArray | None) -> FloatArray:
        return self._node_parts(graph, kernels, once=False)

    def _node_parts(
        self, graph: GraphTokens, kernels: IntArray | None, *, once: bool
    ) -> FloatArray:
        nodes = self._nodes(graph, kernels, once=once)
        parts_N = (self._head(nodes.states) * np.float32(self._scale))[nodes.rows]
        return parts_N if self._rates is None else parts_N * _prior(graph, self._rates)

    def _predict_batch(
        self, graphs: Sequence[GraphTokens], kernels: Sequence[IntArray] | None
    ) -> FloatArray:
        """Latencies in ms, ``[G]``."""
        sizes = [graph.num_nodes for graph in graphs]
        whole, kernels_N = _join(graphs, kernels)
        once = len(graphs) > 1
        if self.config.readout == "contributions":
            return _sums(self._node_parts(whole, kernels_N, once=once), sizes)
        nodes = self._nodes(whole, kernels_N, once=once)
        z_GD = _sums(nodes.states[nodes.rows], sizes)
        if self.config.reads_static:
            static_GS = np.stack([graph.static_features for graph in graphs])
            static_GD = _relu(self._static(self._static_norm(static_GS)))
            z_GD = np.concatenate([z_GD, static_GD], axis=1)
        return self._head(z_GD) * np.float32(self._scale)

    def _nodes(self, graph: GraphTokens, kernels: IntArray | None, *, once: bool) -> _Nodes:
        """The nodes after the last block; ``once`` where many of them are alike."""
        relations = [RELATIONS[name](graph.edge_index, kernels) for name in self.config.relations]
        degree_N = np.bincount(graph.edge_index[1], minlength=graph.num_nodes)
        num_blocks = len(self._blocks)
        if once:
            plan = kinds_of_nodes(graph.node_features, degree_N, relations, num_blocks)
        else:
            plan = every_node(graph.num_nodes, relations, num_blocks)
        h = self._input_norm(graph.node_features[plan.first])
        degree_U1 = degree_N[plan.first, None].astype(np.float32)
        if self._embed is not None:
            h = _relu(self._embed(h))
        for block, layer in zip(self._blocks, plan.layers, strict=True):
            h = block(h, layer, degree_U1)
            degree_U1 = degree_U1[layer.own]
        return _Nodes(h, plan.last)


class _Nodes(NamedTuple):
    """States of kinds of nodes, ``[R, D]``, and the row of each node, ``[N]``."""

    states: FloatArray
    rows: IntArray


class _Linear:
    """``x W^T + b``, with W turned once."""

    def __init__(self, arrays: Arrays, name: str) -> None:
        self._weight = np.ascontiguousarray(arrays[f"{name}.weight"].T)
        self._bias = arrays.get(f"{name}.bias", np.float32(0.0))

    def __call__(self, x: FloatArray) -> FloatArray:
        y: FloatArray = x @ self._weight + self._bias
        return y


class _Block:
    """One graph-aided Transformer block, equations 5-11."""

    def __init__(self, arrays: Arrays, prefix: str, config: NarFormerV2Config) -> None:
        gate = f"{prefix}enhance.degree_gate"
        self._degree_gate = _Linear(arrays, gate) if config.enhance else None
        indices = range(len(config.relations))
        self._relations = [_Relation(arrays, f"{prefix}relations.{index}") for index in indices]
        self._root = _Linear(arrays, f"{prefix}root")
        self._normalize = _NORMS[config.normalize](arrays, f"{prefix}normalize")
        self._activation = _relu if config.activation else _identity
        self._ffn: Function = _identity
        if config.ffn != "none":
            self._ffn = _FeedForward(arrays, f"{prefix}ffn", config)

    def __call__(self, h_UC: FloatArray, layer: Layer, degree_U1: FloatArray) -> FloatArray:
        if self._degree_gate is not None:
            h_UC = _sigmoid(self._degree_gate(degree_U1)) * h_UC
        z_RD = self._root(h_UC)[layer.own]
        for relation, edges_2E in zip(self._relations, layer.edges, strict=True):
            z_RD += relation(h_UC, layer.own, edges_2E)
        return self._ffn(self._activation(self._normalize(z_RD)))


class _Relation:
    """W_a (Norm(S) H) + b_a over one relation; without a query every neighbour is alike."""

    def __init__(self, arrays: Arrays, name: str) -> None:
        query = f"{name}.attention.query"
        self._query = _Linear(arrays, query) if f"{query}.weight" in arrays else None
        self._aggregate = _Linear(arrays, f"{name}.aggregate")

    def __call__(self, h_UC: FloatArray, own_R: IntArray, edges_2E: IntArray) -> FloatArray:
        source_E, target_E = edges_2E
        if self._query is None:
            score_E = np.ones(len(target_E), dtype=np.float32)
        else:
            x_UC = _sigmoid(self._query(h_UC))
            score_E = np.einsum("ec,ec->e", x_UC[source_E], x_UC[own_R[target_E]])
        return self._aggregate(_weighted_mean(h_UC, score_E, edges_2E, len(own_R)))


class _FeedForward:
    """GFFN(LN(H)) + H, equation 7."""

    def __init__(self, arrays: Arrays, name: str, config: NarFormerV2Config) -> None:
        groups = config.groups if config.group_norm else 1
        self._norm = _group_norm(arrays, f"{name}.norm", groups)
        self._up_weight, self._up_bias = arrays[f"{name}.up.weight"], arrays[f"{name}.up.bias"]
        self._down_weight = arrays[f"{name}.down.weight"]
        self._down_bias = arrays[f"{name}.down.bias"]
        self._branch_scale = arrays.get(f"{name}.branch_scale", _ONE)

    def __call__(self, h_ND: FloatArray) -> FloatArray:
        groups, group, _ = self._up_weight.shape
        x_KN = self._norm(h_ND).reshape(-1, groups, group).swapaxes(0, 1)
        y_KN = _relu(x_KN @ self._up_weight + self._up_bias) @ self._down_weight + self._down_bias
        y_ND: FloatArray = y_KN.swapaxes(0, 1).reshape(h_ND.shape)
        return self._branch_scale * y_ND + h_ND


class _Head:
    """Equation 12, ``[R, inputs]`` to ``[R]``."""

    def __init__(self, arrays: Arrays, output: Function) -> None:
        self._fc1, self._fc2, self._fc3 = (
            _Linear(arrays, f"readout.head.{name}") for name in ("fc1", "fc2", "fc3")
        )
        self._output = output

    def __call__(self, h: FloatArray) -> FloatArray:
        z_R1 = self._fc3(_relu(self._fc2(_relu(self._fc1(h)))))
        return self._output(z_R1[:, 0])


def _parts(sizes: Sequence[int]) -> Iterator[slice]:
    """Runs of graphs of these sizes that are computed together."""
    start, nodes = 0, 0
    for position, size in enumerate(sizes):
        if position > start and nodes + size > _NODES_AT_ONCE:
            yield slice(start, position)
            start, nodes = position, 0
        nodes += size
    if start < len(sizes):
        yield slice(start, len(sizes))


def _join(
    graphs: Sequence[GraphTokens], kernels: Sequence[IntArray] | None
) -> tuple[GraphTokens, IntArray | None]:
    """The graphs as one that is not connected, and its kernels; the static features are moot."""
    if len(graphs) == 1:
        return graphs[0], None if kernels is None else kernels[0]
    starts = np.cumsum([0, *(graph.num_nodes for graph in graphs[:-1])])
    edges = [graph.edge_index + start for graph, start in zip(graphs, starts, strict=True)]
    whole = GraphTokens(
        node_features=np.concatenate([graph.node_features for graph in graphs]),
        edge_index=np.concatenate(edges, axis=1),
        static_features=graphs[0].static_features,
    )
    if kernels is None:
        return whole, None
    # A network has no more kernels than nodes, so that those of different ones stay apart.
    return whole, np.concatenate([k + start for k, start in zip(kernels, starts, strict=True)])


def _sums(rows: FloatArray, sizes: Sequence[int]) -> FloatArray:
    """Sums over runs of ``sizes`` rows; 0 of none."""
    sums = np.zeros((len(sizes), *rows.shape[1:]), dtype=rows.dtype)
    filled = np.flatnonzero(sizes)
    starts = np.cumsum([0, *sizes[:-1]])[filled]
    if len(filled):
        sums[filled] = np.add.reduceat(rows, starts, axis=0)
    return sums


def _prior(graph: GraphTokens, rates_K: FloatArray) -> FloatArray:
    """What nodes would take at one rate for each of their costs, in ms, ``[N]``."""
    costs_NK = np.expm1(graph.node_features[:, -NUM_COSTS:])
    *compute, parameters_N, read_N, written_N, _ = costs_NK.T
    writes_N = (written_N > 0).astype(np.float32)
    priced_NK = np.stack([*compute, parameters_N + read_N + written_N, writes_N], axis=1)
    prior_N: FloatArray = priced_NK @ rates_K
    return prior_N


def _weighted_mean(
    h_UC: FloatArray, score_E: FloatArray, edges_2E: IntArray, num_rows: int
) -> FloatArray:
    """Norm(S) H over runs of equal destinations, ``[num_rows, C]``; 0 without neighbours."""
    source_E, target_E = edges_2E
    out_RC = np.zeros((num_rows, h_UC.shape[1]), dtype=h_UC.dtype)
    starts = np.flatnonzero(np.diff(target_E, prepend=-1))
    if len(starts) == 0:
        return out_RC
    totals = np.add.reduceat(score_E, starts)
    weight_E = score_E / np.repeat(totals, np.diff(starts, append=len(target_E)))
    out_RC[target_E[starts]] = np.add.reduceat(weight_E[:, None] * h_UC[source_E], starts, axis=0)
    return out_RC


def _identity(x: FloatArray) -> FloatArray:
    return x


def _relu(x: FloatArray) -> FloatArray:
    return np.maximum(x, np.float32(0.0))


def _sigmoid(x: FloatArray) -> FloatArray:
    return _ONE / (_ONE + np.exp(np.minimum(-x, _LARGEST_EXPONENT)))


def _negative_logsigmoid(z: FloatArray) -> FloatArray:
    return np.logaddexp(np.float32(0.0), -z)


def _l2(h: FloatArray) -> FloatArray:
    length = np.sqrt(np.square(h).sum(axis=-1, keepdims=True))
    normed: FloatArray = h / np.maximum(length, _L2_NORM_EPSILON)
    return normed


def _group_norm(arrays: Arrays, name: str, groups: int = 1) -> Function:
    weight, bias = arrays[f"{name}.weight"], arrays[f"{name}.bias"]

    def norm(h: FloatArray) -> FloatArray:
        x = h.reshape(*h.shape[:-1], groups, h.shape[-1] // groups)
        centred = x - x.mean(axis=-1, keepdims=True)
        variance = (centred * centred).mean(axis=-1, keepdims=True)
        normed: FloatArray = (centred / np.sqrt(variance + _NORM_EPSILON)).reshape(h.shape)
        return normed * weight + bias

    return norm


def _standardize(arrays: Arrays, name: str) -> Function:
    mean, deviation = arrays[f"{name}.mean"], arrays[f"{name}.deviation"]
    return lambda x: (x - mean) / deviation


_NORMS: dict[str, Callable[[Arrays, str], Function]] = {
    "none": lambda _arrays, _name: _identity,
    "l2": lambda _arrays, _name: _l2,
    "layer": _group_norm,
    "standardize": _standardize,
}

_OUTPUTS: dict[str, Function] = {"softplus": _negative_logsigmoid, "exp": np.exp}
