"""One call of a Relay operator, as the converters see it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from relay_frontend.graph import TensorType
from relay_frontend.nodes import Node, outside_vocabulary


class RelayNode:
    """One output of one Relay call as the converters see it.

    ``first`` is the node of the call's first output where this is a further one.
    """

    __slots__ = ("expr", "first", "inputs", "name", "position", "source", "type")

    def __init__(
        self,
        name: str,
        source: str,
        expr: Any,
        inputs: list[Node],
        type_: TensorType,
        position: int = 0,
        first: Node | None = None,
    ) -> None:
        self.name = name
        self.source = source
        self.expr = expr
        self.inputs = inputs
        self.type = type_
        self.position = position
        self.first = first

    @property
    def attrs(self) -> Any:
        """Attributes of the call; reading them is slow, so only where they count."""
        return self.expr.attrs

    @property
    def rank(self) -> int:
        """Number of dimensions of the first operand."""
        return len(self.inputs[0].type.shape)

    def node(self, op: str, inputs: Sequence[Node] | None = None, **attrs: Any) -> Node:
        operands = self.inputs if inputs is None else inputs
        return Node(op, self.type, operands, attrs, source=self.source)

    def unknown(self) -> Node:
        return outside_vocabulary(self.name, self.type, self.inputs, self.source)

    def ints(self, name: str) -> tuple[int, ...]:
        """An attribute of several integers, of which Relay keeps a single one as such."""
        value = getattr(self.attrs, name)
        return tuple(int(v) for v in value) if _is_sequence(value) else (int(value),)

    def axis(self, name: str = "axis", rank: int | None = None) -> int:
        return int(getattr(self.attrs, name)) % (self.rank if rank is None else rank)


def _is_sequence(value: Any) -> bool:
    return hasattr(value, "__len__") and not isinstance(value, str)


Converter = Callable[[RelayNode], Node]
