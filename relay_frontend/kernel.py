"""Kernels: the fused functions that a compiler emits for a network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from relay_frontend.graph import TensorType

NO_KERNEL = "__nop"
"""Name of a kernel that only reinterprets a tensor's shape: no code runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """One call of a fused function in a compiled network, without its time.

    Args:
        name: name of the function in the built module; calls of one function share it.
        kind: the operators that it fuses, joined by ``_``: the name without the compiler's prefix
            and without the suffix that keeps names apart (``nn_conv2d_add_nn_relu``).
        arguments: types of the tensors that it reads, data and parameters alike.
        results: types of the tensors that it writes.
        flops: floating-point operations, a multiply-add counted as two.
        operators: the operators of the network that it computes, as positions in its operator
            graph; unknown, hence empty, where a kernel was read from a built network. Not stored.
    """

    name: str
    kind: str
    arguments: tuple[TensorType, ...]
    results: tuple[TensorType, ...]
    flops: int
    operators: tuple[int, ...] = ()

    @property
    def read_bytes(self) -> int:
        """Bytes of all arguments."""
        return sum(t.num_bytes for t in self.arguments)

    @property
    def write_bytes(self) -> int:
        """Bytes of all results."""
        return sum(t.num_bytes for t in self.results)

    def to_dict(self) -> dict[str, Any]:
        """The kernel as plain JSON values, without its operators."""
        return {name: value for name, value in asdict(self).items() if name != "operators"}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Kernel:
        """The inverse of :meth:`to_dict`."""
        arguments, results = (
            tuple(TensorType(tuple(t["shape"]), t["dtype"]) for t in values[key])
            for key in ("arguments", "results")
        )
        return cls(
            name=values["name"],
            kind=values["kind"],
            arguments=arguments,
            results=results,
            flops=values["flops"],
        )
