"""The canonical form of a network: typed operators in topological order, with their edges.

An :class:`OpGraph` is what every front end produces and what tokens, digests and costs are made
from. It knows nothing of weights, of names, or of the framework that the network came from.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

AttrValue = bool | int | float | str | tuple[int, ...]

_DIGEST_VERSION = "opgraph-1"


def itemsize(dtype: str) -> int:
    """Bytes of one element of ``dtype`` (``bool`` counts one byte, ``bfloat16`` two)."""
    return 2 if dtype == "bfloat16" else np.dtype(dtype).itemsize


@dataclass(frozen=True, slots=True)
class TensorType:
    """Shape and element type of a tensor; every dimension is known."""

    shape: tuple[int, ...]
    dtype: str = "float32"

    @property
    def num_elements(self) -> int:
        """Number of elements; 1 for a scalar."""
        return math.prod(self.shape)

    @property
    def num_bytes(self) -> int:
        """Size in bytes when stored densely."""
        return self.num_elements * itemsize(self.dtype)

    def __str__(self) -> str:
        return f"{self.dtype}[{', '.join(map(str, self.shape))}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """One operator of a network.

    Args:
        op: canonical name from the vocabulary, or a category for an operator outside of it.
        attrs: canonical attributes; only those that the vocabulary names for ``op``.
        inputs: producers of its data operands, in order: ``i >= 0`` is operator ``i`` of the graph,
            ``-1 - k`` is graph input ``k``. Constants and parameters are not listed.
        type: shape and dtype of its output.
        flops: floating-point operations, a multiply-add counted as two.
        param_bytes: bytes of the constants that it reads.
        read_bytes: bytes of the data operands that it reads.
        write_bytes: bytes of its output.
        source: name of the operator in the network it came from; for messages only.
    """

    op: str
    attrs: Mapping[str, AttrValue] = field(default_factory=dict)
    inputs: tuple[int, ...] = ()
    type: TensorType
    flops: int = 0
    param_bytes: int = 0
    read_bytes: int = 0
    write_bytes: int = 0
    source: str = field(default="", compare=False)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the output."""
        return self.type.shape

    @property
    def dtype(self) -> str:
        """Element type of the output."""
        return self.type.dtype


@dataclass(frozen=True, eq=False)
class OpGraph:
    """A network in canonical form; equal to another one with the same content.

    Args:
        inputs: types of the network's inputs, in order.
        operators: all operators, each after its producers, in the depth-first order from the
            outputs that makes equal networks equal node for node.
        outputs: indices of the operators (or inputs, see :class:`Operator`) that are returned.
        unknown_ops: source names of the operators outside of the vocabulary, sorted.
    """

    inputs: tuple[TensorType, ...]
    operators: tuple[Operator, ...]
    outputs: tuple[int, ...]
    unknown_ops: tuple[str, ...] = ()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, OpGraph):
            return NotImplemented
        return self._content() == other._content()

    def __hash__(self) -> int:
        return hash(self.digest)

    def _content(self) -> tuple[object, ...]:
        return self.inputs, self.operators, self.outputs, self.unknown_ops

    def __len__(self) -> int:
        return len(self.operators)

    def __iter__(self) -> Iterator[Operator]:
        return iter(self.operators)

    @cached_property
    def ops(self) -> frozenset[str]:
        """Names of the operators that occur."""
        return frozenset(operator.op for operator in self.operators)

    @cached_property
    def edges(self) -> tuple[tuple[int, int], ...]:
        """Producer-consumer pairs between operators, sorted, each pair once."""
        return tuple(
            sorted(
                {
                    (producer, consumer)
                    for consumer, operator in enumerate(self.operators)
                    for producer in operator.inputs
                    if producer >= 0
                }
            )
        )

    @cached_property
    def batch_size(self) -> int:
        """Leading dimension of the first input; 1 for a network whose inputs are scalars."""
        return next((t.shape[0] for t in self.inputs if t.shape), 1)

    @cached_property
    def flops(self) -> int:
        """Floating-point operations of one inference."""
        return sum(operator.flops for operator in self.operators)

    @cached_property
    def param_bytes(self) -> int:
        """Bytes of all parameters, counted where they are read."""
        return sum(operator.param_bytes for operator in self.operators)

    @cached_property
    def memory_bytes(self) -> int:
        """Bytes read and written by all operators, each taken alone."""
        return sum(o.read_bytes + o.param_bytes + o.write_bytes for o in self.operators)

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the canonical content, as hex: without weights, names and costs.

        Equal across processes, Python versions and front ends; the key of the database. Of
        operators outside of the vocabulary it also has :attr:`unknown_ops`, under the names of
        their framework. Which of them stands where, and with what attributes, is not told apart.
        """
        content: dict[str, object] = {
            "version": _DIGEST_VERSION,
            "inputs": [str(t) for t in self.inputs],
            "operators": [
                [o.op, _canonical_attrs(o.attrs), list(o.inputs), str(o.type)]
                for o in self.operators
            ],
            "outputs": list(self.outputs),
        }
        if self.unknown_ops:
            content["unknown"] = list(self.unknown_ops)
        text = json.dumps(content, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """The whole graph as plain JSON values."""
        return {
            "digest": self.digest,
            "inputs": [{"shape": list(t.shape), "dtype": t.dtype} for t in self.inputs],
            "operators": [
                {
                    "op": o.op,
                    "attrs": {
                        k: list(v) if isinstance(v, tuple) else v for k, v in o.attrs.items()
                    },
                    "inputs": list(o.inputs),
                    "shape": list(o.shape),
                    "dtype": o.dtype,
                    "flops": o.flops,
                    "param_bytes": o.param_bytes,
                    "read_bytes": o.read_bytes,
                    "write_bytes": o.write_bytes,
                    "source": o.source,
                }
                for o in self.operators
            ],
            "outputs": list(self.outputs),
            "edges": [list(edge) for edge in self.edges],
            "unknown_ops": list(self.unknown_ops),
        }


def _canonical_attrs(attrs: Mapping[str, AttrValue]) -> dict[str, object]:
    """Attributes sorted by name, floats as short decimals: front ends differ in the 8th digit."""
    return {
        name: f"{value:.6g}" if isinstance(value, float) else value
        for name, value in sorted(attrs.items())
    }
