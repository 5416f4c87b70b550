"""One call of a Relax module, its attributes and typed operands, as the converters see it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from relay_frontend.graph import TensorType
from relay_frontend.nodes import Node, SourceOperator


class RelaxCall(SourceOperator):
    """What a converter needs to know of a call.

    Args:
        name: the operator without ``relax.``, or the name of a function of TIR.
        source: the variable that the call is bound to.
        args: its arguments, as Relax has them.
        attrs: its attributes, as Relax has them; their fields are integers and strings.
        inputs: its operands that are tensors, those in tuples one after the other.
        types: types of its results.
    """

    __slots__ = ("args", "attrs", "inputs", "name", "source", "types")

    def __init__(
        self,
        name: str,
        source: str,
        args: Sequence[Any],
        attrs: Any,
        inputs: list[Node],
        types: Sequence[TensorType],
    ) -> None:
        self.name = name
        self.source = source
        self.args = args
        self.attrs = attrs
        self.inputs = inputs
        self.types = types

    @property
    def type(self) -> TensorType:
        """Type of the first result."""
        return self.types[0]

    def ints(self, name: str) -> tuple[int, ...]:
        """An attribute of several integers."""
        return tuple(int(v) for v in getattr(self.attrs, name))


Converter = Callable[[RelaxCall], Node]
