"""One call of a Relay operator, as the converters see it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from relay_frontend.graph import TensorType
from relay_frontend.nodes import Node, SourceOperator


class RelayNode(SourceOperator):
    """One output of one Relay call as the converters see it.

    ``first`` is the node of the call's first output where this is a further one.
    """

    __slots__ = ("expr", "first", "inputs", "name", "position", "source", "type")
    type: TensorType

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

    def ints(self, name: str) -> tuple[int, ...]:
        """An attribute of several integers, of which Relay keeps a single one as such."""
        value = getattr(self.attrs, name)
        return tuple(int(v) for v in value) if _is_sequence(value) else (int(value),)

    def axis(self, name: str = "axis", rank: int | None = None) -> int:
        return int(getattr(self.attrs, name)) % (self.rank if rank is None else rank)


def _is_sequence(value: Any) -> bool:
    return hasattr(value, "__len__") and not isinstance(value, str)


Converter = Callable[[RelayNode], Node]
