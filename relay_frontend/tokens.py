"""Tokens: the arrays that predictors read, made from an operator graph.

NAR-Former V2 (Yi et al., NeurIPS 2023), section 3.3: a one-hot operator type, the position encoding
f_PE of each attribute and of the output shape, and the static features of the whole network. Their
other forms (table 5 and beyond) are settings of :class:`TokenConfig`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from relay_frontend import native, vocabulary
from relay_frontend.costs import transcendentals
from relay_frontend.errors import InputError
from relay_frontend.fusion import fuse, read_elsewhere
from relay_frontend.graph import Operator, OpGraph
from relay_frontend.native import NativeOpGraph
from relay_frontend.tiling import largest_divisor, stalls, tile

_GIGA = 1e9
_LARGEST = float(np.finfo(np.float32).max)

OpType = Literal["one-hot", "position"]
Encoding = Literal["position", "real", "logarithm"]
StaticEncoding = Literal["position", "logarithm"]

NUM_COSTS = 8
NUM_STATIC_VALUES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenConfig:
    """How an operator graph is encoded.

    A row of a node holds, in this order: its type; its values (attribute slots, extents of the
    output, extents of the first input, divisors of these extents), all of them once for each of
    ``values``; its position; its costs. A number is encoded in one of three ways: ``position`` is
    f_PE, ``real`` the number itself, ``logarithm`` log(1 + x), odd for what is negative.

    Args:
        frequencies: frequencies of f_PE, each giving a sine and a cosine.
        shape_dims: leading output dimensions that are encoded; missing ones count as 0.
        vocabulary: version of the vocabulary; operators that are newer count as their category.
        node_position: whether to append f_PE of the node's own position, as the paper's text has
            it (its public latency code leaves it out, and so does the default).
        operators: those that count as themselves; the others count as their category, as newer ones
            do. Empty for all of the vocabulary. A predictor that names those of its training
            networks meets an operator that it does not know as something that it does.
        op_type: ``one-hot``, or ``position``: f_PE of the type's index (table 5, row 2).
        values: encodings of the values, at least one; row 1 of table 5 is ``("real",)``.
        costs: whether to append the logarithms of the node's FLOPs, transcendental functions, FLOPs
            over the results that a vector holds (the vector operations, so to speak), such
            operations that could be done while these wait for each other (0 without a bound of
            rows; :mod:`relay_frontend.tiling`), bytes of parameters, bytes read, bytes written, and
            FLOPs per byte moved.
        fused: whether what is read from and written for operators of the same kernel
            (:func:`relay_frontend.fusion.fuse`) is left out of the bytes, and out of the FLOPs per
            byte.
        input_dims: leading dimensions of the first data operand that are encoded, see
            :func:`first_input_shape`.
        divisors: bounds; of each of these extents, the largest divisor that is not above the bound
            is encoded too. Compilers tile loops by them, so that 36 channels may take less time
            than 37. The first bound is that of channels, the second that of rows: TOPI's schedules
            of x86 convolutions split channels by the largest divisor that fits into a vector
            register (16 float32 in AVX-512) and unroll rows by the largest below 32
            (``_fallback_schedule`` of ``topi.x86``).
        static: encoding of the static features: f_PE of the batch size and of billions of FLOPs,
            parameters and bytes, or the logarithms of the plain counts.

    Raises:
        InputError: a setting is none of those named here.
    """

    frequencies: int = 5
    shape_dims: int = 4
    vocabulary: int = vocabulary.VERSION
    operators: tuple[str, ...] = ()
    node_position: bool = False
    op_type: OpType = "one-hot"
    values: tuple[Encoding, ...] = ("position",)
    costs: bool = False
    fused: bool = False
    input_dims: int = 0
    divisors: tuple[int, ...] = ()
    static: StaticEncoding = "position"

    def __post_init__(self) -> None:
        for name in ("operators", "values", "divisors"):  # lists where they come from JSON
            object.__setattr__(self, name, tuple(getattr(self, name)))
        _check_choice("op_type", [self.op_type], get_args(OpType))
        _check_choice("values", self.values, get_args(Encoding))
        _check_choice("static", [self.static], get_args(StaticEncoding))
        _check_choice("vocabulary", [self.vocabulary], tuple(vocabulary.SIZES))
        for name, least in (("frequencies", 1), ("shape_dims", 0), ("input_dims", 0)):
            if getattr(self, name) < least:
                raise InputError(f"tokens: {name} is {getattr(self, name)}, expected >= {least}")
        if unknown := sorted(set(self.operators) - set(vocabulary.OPERATORS)):
            raise InputError(f"tokens: operators is {unknown}, which the vocabulary lacks")
        if len(self.divisors) > 2 or min(self.divisors, default=2) < 2:
            raise InputError(
                f"tokens: divisors is {self.divisors}, expected a bound of channels and one of "
                "rows, 2 or more, or none"
            )

    def name(self, op: str) -> str:
        """The operator that ``op`` counts as: itself, or its category."""
        named = not self.operators or op in self.operators
        return op if named else vocabulary.OPERATORS[op].category

    @property
    def num_values(self) -> int:
        """Numbers of a node that are encoded by each of ``values``."""
        extents = self.shape_dims + self.input_dims
        return vocabulary.NUM_ATTRIBUTE_SLOTS + extents * (1 + len(self.divisors))

    @property
    def num_features(self) -> int:
        """Width of a node's row; 152 with the paper's vocabulary of 32 operators."""
        encoded = 2 * self.frequencies
        size = vocabulary.SIZES[self.vocabulary]
        return (
            (encoded if self.op_type == "position" else size)
            + self.num_values * sum(encoded if e == "position" else 1 for e in self.values)
            + (encoded if self.node_position else 0)
            + (NUM_COSTS if self.costs else 0)
        )

    @property
    def num_static(self) -> int:
        """Width of the static features; 40 by default."""
        return NUM_STATIC_VALUES * (2 * self.frequencies if self.static == "position" else 1)


def _check_choice(name: str, chosen: Sequence[object], allowed: tuple[object, ...]) -> None:
    unknown = [choice for choice in chosen if choice not in allowed]
    if unknown or not chosen or len(set(chosen)) < len(chosen):
        expected = ", ".join(map(repr, allowed))
        raise InputError(f"tokens: {name} is {chosen}, expected of each at most one: {expected}")


@dataclass(frozen=True, eq=False, slots=True)
class GraphTokens:
    """One network as arrays.

    Args:
        node_features: ``[num_nodes, num_features]`` float32, one row per operator.
        edge_index: ``[2, num_edges]`` int64, row 0 the source and row 1 the destination; both
            directions of every edge, each once, no self loops, sorted by destination. Nodes are in
            topological order: an edge with source < destination runs along the data flow.
        static_features: ``[num_static]`` float32, of the network as a whole.
    """

    node_features: np.ndarray
    edge_index: np.ndarray
    static_features: np.ndarray

    @property
    def num_nodes(self) -> int:
        """Number of operators."""
        return len(self.node_features)


def position_encoding(values: np.ndarray, frequencies: int) -> np.ndarray:
    """f_PE ("trans"): ``[sin(x / 10000^(j/d)), cos(x / 10000^(j/d))]`` for j = 0..d-1.

    Args:
        values: ``[...]`` real numbers.
        frequencies: d.

    Returns:
        ``[..., 2 d]`` float64, all sines before all cosines.
    """
    # By the C library and not by numpy's own sine, so that the native encoder gives the same bits.
    # Few values are distinct; no negative zero, which would count as equal to zero.
    distinct, positions = np.unique(np.asarray(values, dtype=np.float64) + 0.0, return_inverse=True)
    scales = [10000.0 ** (j / frequencies) for j in range(frequencies)]
    table = np.empty((len(distinct), 2 * frequencies))
    for row, value in zip(table, distinct.tolist(), strict=True):
        angles = [value / scale for scale in scales]
        row[:] = [*map(math.sin, angles), *map(math.cos, angles)]
    return table[positions.reshape(np.shape(values))]


def logarithm(values: np.ndarray) -> np.ndarray:
    """``sign(x) log(1 + |x|)`` of ``[...]`` real numbers as ``[...]`` float64."""
    # By the C library, as the native encoder does; numpy's own differs in the last bits.
    flat = (np.asarray(values, dtype=np.float64) + 0.0).ravel().tolist()
    logarithms = [math.copysign(math.log1p(abs(x)), x) for x in flat]
    return np.array(logarithms, dtype=np.float64).reshape(np.shape(values))


def undirected_edges(edges: Sequence[tuple[int, int]]) -> np.ndarray:
    """Both directions of ``edges`` as ``[2, num_edges]`` int64, sorted by destination, source."""
    pairs = {pair for a, b in edges if a != b for pair in ((a, b), (b, a))}
    ordered = sorted(pairs, key=lambda pair: (pair[1], pair[0]))
    return np.array(ordered, dtype=np.int64).reshape(-1, 2).T.copy()


def first_input_shape(graph: OpGraph, operator: Operator) -> tuple[int, ...]:
    """Shape of the first data operand of an ``operator`` of ``graph``.

    It is that of the producing operator or of the graph's input; constants do not count. An
    operator that reads constants alone has the shape of a scalar.
    """
    if not operator.inputs:
        return ()
    producer = operator.inputs[0]
    return graph.operators[producer].shape if producer >= 0 else graph.inputs[-1 - producer].shape


def tokenize(graph: OpGraph, config: TokenConfig | None = None) -> GraphTokens:
    """Encode ``graph`` as :class:`GraphTokens`; the default is the paper's latency setting."""
    config = config or TokenConfig()
    if isinstance(graph, NativeOpGraph):
        return GraphTokens(*graph.native.tokens(_native_config(config)))
    values = _values(graph, config)
    parts = [_types(graph, config)]
    parts += [_encoded(values, encoding, config.frequencies) for encoding in config.values]
    if config.node_position:
        parts.append(position_encoding(np.arange(len(graph)), config.frequencies))
    if config.costs:
        parts.append(logarithm(_costs(graph, config)))
    return GraphTokens(
        node_features=np.concatenate(parts, axis=1).astype(np.float32),
        edge_index=undirected_edges(graph.edges),
        static_features=_static_features(graph, config),
    )


def _native_config(config: TokenConfig) -> Any:
    assert native.module is not None
    return native.module.TokenConfig(
        frequencies=config.frequencies,
        shape_dims=config.shape_dims,
        input_dims=config.input_dims,
        divisors=list(config.divisors),
        vocabulary_size=vocabulary.SIZES[config.vocabulary],
        one_hot_type=config.op_type == "one-hot",
        operators=[vocabulary.index(op) for op in config.operators],
        node_position=config.node_position,
        costs=config.costs,
        fused=config.fused,
        values=list(config.values),
        static=config.static,
    )


def _types(graph: OpGraph, config: TokenConfig) -> np.ndarray:
    """``[num_nodes, type width]``."""
    indices = np.array(
        [vocabulary.index(config.name(o.op), config.vocabulary) for o in graph], dtype=np.int64
    )
    if config.op_type == "position":
        return position_encoding(indices, config.frequencies)
    one_hot = np.zeros((len(indices), vocabulary.SIZES[config.vocabulary]))
    one_hot[np.arange(len(indices)), indices] = 1.0
    return one_hot


def _values(graph: OpGraph, config: TokenConfig) -> np.ndarray:
    """``[num_nodes, num_values]``: attribute slots, extents, divisors of the extents."""
    rows = []
    for o in graph:
        extents = _dims(o.shape, config.shape_dims)
        if config.input_dims:
            extents += _dims(first_input_shape(graph, o), config.input_dims)
        divisors = [largest_divisor(d, bound) for bound in config.divisors for d in extents]
        slots = vocabulary.attribute_slots(config.name(o.op), o.attrs, config.vocabulary)
        rows.append([*slots, *extents, *divisors])
    return np.array(rows, dtype=np.float64).reshape(len(rows), config.num_values)


def _dims(shape: tuple[int, ...], count: int) -> list[int]:
    return [*shape[:count], *[0] * (count - len(shape))]


def _encoded(values: np.ndarray, encoding: Encoding, frequencies: int) -> np.ndarray:
    """``[num_nodes, num_values]`` as ``[num_nodes, num_values * width]``."""
    if encoding == "real":
        return np.clip(values + 0.0, -_LARGEST, _LARGEST)
    if encoding == "logarithm":
        return logarithm(values)
    encoded = position_encoding(values, frequencies)
    return encoded.reshape(len(values), values.shape[1] * 2 * frequencies)


def _costs(graph: OpGraph, config: TokenConfig) -> np.ndarray:
    """``[num_nodes, 8]``, see :class:`TokenConfig`."""
    traffic = [(o.read_bytes, o.write_bytes) for o in graph]
    if config.fused:
        traffic = _between_kernels(graph)
    bounds = (*config.divisors, 1, 1)[:2]
    rows = []
    for o, (read, written) in zip(graph, traffic, strict=True):
        moved = o.param_bytes + read + written
        vector, unrolled = tile(o, *bounds)
        operations = float(o.flops) / vector  # as in C++
        waiting = stalls(operations, unrolled) if config.divisors[1:] else 0.0
        intensity = float(o.flops) / float(moved) if moved else 0.0
        compute = (o.flops, transcendentals(o), operations, waiting)
        rows.append((*compute, o.param_bytes, read, written, intensity))
    return np.array(rows, dtype=np.float64).reshape(len(rows), NUM_COSTS)


def _between_kernels(graph: OpGraph) -> list[tuple[int, int]]:
    """Bytes that each operator reads from other kernels, and writes for them.

    A kernel of reshapes alone moves nothing.
    """
    kernels = fuse(graph).tolist()
    leaving = read_elsewhere(graph, kernels)
    moving = {kernel for kernel, o in zip(kernels, graph, strict=True) if o.op != "reshape"}
    types = [*(o.type for o in graph), *reversed(graph.inputs)]  # of operand -1 the first input's
    traffic = []
    for position, (kernel, o) in enumerate(zip(kernels, graph, strict=True)):
        read = sum(types[i].num_bytes for i in o.inputs if i < 0 or kernels[i] != kernel)
        written = o.write_bytes if position in leaving else 0
        traffic.append((read, written) if kernel in moving else (0, 0))
    return traffic


def _static_features(graph: OpGraph, config: TokenConfig) -> np.ndarray:
    parameters = graph.param_bytes / 4  # the paper counts parameters, our costs count bytes
    counts = np.array([graph.flops, parameters, graph.memory_bytes], dtype=np.float64)
    if config.static == "logarithm":
        return logarithm(np.array([graph.batch_size, *counts])).astype(np.float32)
    values = np.array([graph.batch_size, *(counts / _GIGA)])
    return position_encoding(values, config.frequencies).ravel().astype(np.float32)
