"""The mutable form between a front end and an :class:`OpGraph`: nodes that point at their operands.

A reader turns each operator of its framework into a :class:`Node` with a canonical name and
attributes, constants included; :mod:`relay_frontend.canonical.canonicalize` does the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from relay_frontend.graph import AttrValue, TensorType
from relay_frontend.operators import OPERATORS

__all__ = [
    "CONSTANT",
    "INPUT",
    "MAX_INLINED",
    "SMALL",
    "Network",
    "Node",
    "Rewrite",
    "SourceOperator",
    "constant",
    "outside_vocabulary",
    "replace",
    "topological",
]

INPUT = "input"
CONSTANT = "constant"

SMALL = 64
"""Constants up to this number of elements keep their value: bounds, pads, scales."""

MAX_INLINED = 100_000
"""Calls of a module's functions: nested ones can double the operators at every level."""


@dataclass(eq=False, slots=True)
class Node:
    """An operator, a graph input or a constant, before canonicalization.

    Args:
        op: canonical operator name, ``input``, ``constant``, or the framework's own name for an
            operator outside of the vocabulary.
        type: type of the output.
        inputs: operands, data and constants alike.
        attrs: canonical attributes.
        source: name of the operator in the network, for messages.
        value: content of a constant where a rewrite may need it (bounds, pads, axes).
        origins: what it was made of, where :mod:`relay_frontend.canonical.provenance` traces it.
    """

    op: str
    type: TensorType
    inputs: Sequence[Node] = ()
    attrs: dict[str, AttrValue] = field(default_factory=dict)
    source: str = ""
    value: np.ndarray | None = None
    origins: frozenset[int] = frozenset()

    @property
    def is_constant(self) -> bool:
        """Whether the value does not depend on the graph inputs."""
        return self.op == CONSTANT

    @property
    def data_inputs(self) -> list[Node]:
        """The operands that are computed at run time."""
        return [node for node in self.inputs if not node.is_constant]


Rewrite = Callable[[Node], "Node | None"]
"""A rule that gives a node in place of another one, or ``None`` where it does not apply."""


@dataclass(frozen=True, slots=True)
class Network:
    """What a reader returns: inputs in order, outputs in order."""

    inputs: Sequence[Node]
    outputs: Sequence[Node]


def constant(type_: TensorType, value: np.ndarray | None = None) -> Node:
    """A constant, with its value where that is known and :data:`SMALL`."""
    return Node(CONSTANT, type_, value=value)


def outside_vocabulary(
    operator: str, type_: TensorType, inputs: Sequence[Node], source: str
) -> Node:
    """A node that keeps the framework's own name, since the vocabulary cannot express it."""
    clashes = operator in OPERATORS
    return Node(f"other.{operator}" if clashes else operator, type_, inputs, source=source)


class SourceOperator:
    """One operator of a framework as converters see it; each reader adds what its framework has.

    Args:
        name: the framework's name for it.
        source: its name in the network, for messages.
        inputs: its operands that are tensors, constants included.
    """

    __slots__ = ()
    name: str
    source: str
    inputs: list[Node]

    @property
    def type(self) -> TensorType:
        """Type of the result, or of the first one."""
        raise NotImplementedError

    @property
    def rank(self) -> int:
        """Number of dimensions of the first operand."""
        return len(self.inputs[0].type.shape)

    def node(self, op: str, inputs: Sequence[Node] | None = None, **attrs: AttrValue) -> Node:
        """A node of the result's type that reads ``inputs``, or all operands."""
        operands = self.inputs if inputs is None else inputs
        return Node(op, self.type, operands, attrs, source=self.source)

    def unknown(self) -> Node:
        """The node under the framework's own name: the vocabulary cannot express it."""
        return outside_vocabulary(self.name, self.type, self.inputs, self.source)


def topological(outputs: Iterable[Node]) -> list[Node]:
    """All nodes that the outputs depend on, operands first, depth-first in operand order."""
    order: list[Node] = []
    done: set[int] = set()
    stack: list[tuple[Node, bool]] = [(node, False) for node in reversed(list(outputs))]
    while stack:
        node, operands_done = stack.pop()
        if id(node) in done:
            continue
        if operands_done:
            done.add(id(node))
            order.append(node)
            continue
        stack.append((node, True))
        stack.extend(
            (operand, False) for operand in reversed(node.inputs) if id(operand) not in done
        )
    return order
