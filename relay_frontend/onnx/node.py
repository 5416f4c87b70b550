"""One ONNX node, its attributes and typed operands, as the converters see it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx

from relay_frontend.errors import NetworkError
from relay_frontend.graph import TensorType
from relay_frontend.nodes import Node, SourceOperator

_ATTRIBUTE_FIELDS: dict[int, str] = {
    onnx.AttributeProto.FLOAT: "f",
    onnx.AttributeProto.INT: "i",
    onnx.AttributeProto.STRING: "s",
    onnx.AttributeProto.TENSOR: "t",
    onnx.AttributeProto.SPARSE_TENSOR: "sparse_tensor",
    onnx.AttributeProto.FLOATS: "floats",
    onnx.AttributeProto.INTS: "ints",
    onnx.AttributeProto.STRINGS: "strings",
    onnx.AttributeProto.TENSORS: "tensors",
}
_DEFAULT_DOMAINS = ("", "ai.onnx")


def is_default_domain(domain: str) -> bool:
    """Whether it is that of ONNX's own operators."""
    return domain in _DEFAULT_DOMAINS


def source_name(proto: onnx.NodeProto) -> str:
    """What a message calls a node: its name, else that of its first result."""
    return str(proto.name or next((name for name in proto.output if name), proto.op_type))


class OnnxNode(SourceOperator):
    """What a converter needs to know of an ONNX node.

    Args:
        proto: the node.
        operands: one for each of its inputs; None where an optional one is not given.
        opset: version of the default domain.
        type: type of its first result that has a name.
        position: which of the results ``type`` belongs to.
    """

    __slots__ = ("attrs", "inputs", "name", "operands", "opset", "position", "source", "type")
    type: TensorType

    def __init__(
        self,
        proto: onnx.NodeProto,
        operands: Sequence[Node | None],
        opset: int,
        type_: TensorType,
        position: int,
    ) -> None:
        default = is_default_domain(proto.domain)
        self.name: str = proto.op_type if default else f"{proto.domain}.{proto.op_type}"
        self.source = source_name(proto)
        self.attrs: dict[str, Any] = {
            a.name: getattr(a, _ATTRIBUTE_FIELDS[a.type]) for a in proto.attribute
        }
        self.operands = operands
        self.inputs = [operand for operand in operands if operand is not None]
        self.opset = opset
        self.type = type_
        self.position = position

    def operand(self, position: int) -> Node | None:
        """An operand, or None where it is not given."""
        return self.operands[position] if position < len(self.operands) else None

    def required(self, position: int) -> Node:
        """An operand that the operator cannot do without."""
        operand = self.operand(position)
        if operand is None:
            raise NetworkError(f"{self.name} {self.source!r} lacks its operand {position}")
        return operand

    @property
    def data(self) -> Node:
        """The first operand."""
        return self.required(0)

    @property
    def rank(self) -> int:
        """Number of dimensions of the first operand."""
        return len(self.data.type.shape)

    def step(
        self, op: str, shape: Sequence[int], inputs: Sequence[Node], dtype: str = "", **attrs: Any
    ) -> Node:
        """A node for one of the steps that make up the operator."""
        type_ = TensorType(tuple(shape), dtype or inputs[0].type.dtype)
        return Node(op, type_, inputs, attrs, source=self.source)

    def has(self, name: str) -> bool:
        """Whether the attribute is given."""
        return name in self.attrs

    def integer(self, name: str, default: int) -> int:
        """An integer attribute."""
        return int(self.attrs.get(name, default))

    def real(self, name: str, default: float) -> float:
        """A float attribute."""
        return float(self.attrs.get(name, default))

    def text(self, name: str, default: str) -> str:
        """A string attribute."""
        value = self.attrs.get(name)
        return default if value is None else str(value.decode())

    def ints(self, name: str, default: Sequence[int]) -> tuple[int, ...]:
        """An attribute of several integers."""
        return tuple(int(v) for v in self.attrs.get(name, default))

    def axis(self, default: int, name: str = "axis") -> int:
        """A dimension of the first operand, counted from the first."""
        return self.integer(name, default) % self.rank

    def is_given(self, position: int, attr: str = "") -> bool:
        """Whether there is an operand, or the attribute that stood for it in old opsets."""
        return attr in self.attrs or self.operand(position) is not None

    def value(self, position: int, attr: str = "") -> np.ndarray | None:
        """A value from an attribute of old opsets or a constant operand of newer ones.

        None where it is not given, or not known before the network runs.
        """
        if attr and attr in self.attrs:
            value = self.attrs[attr]
            return np.asarray(value, None if len(np.shape(value)) == 0 or value else np.int64)
        operand = self.operand(position)
        return None if operand is None else operand.value

    def int_values(self, position: int, attr: str = "") -> tuple[int, ...] | None:
        """The same as integers.

        Raises:
            ValueError: it holds other numbers.
        """
        value = self.value(position, attr)
        if value is None:
            return None
        if value.dtype.kind not in "iu":
            raise ValueError(f"operand {position} holds {value.dtype}, not integers")
        return tuple(int(v) for v in value.reshape(-1))


Converter = Callable[[OnnxNode], Node]
