"""The native core, where it was built: the same graphs, kernels and tokens as Python makes.

``module`` is the extension module, or ``None`` where no compiler was present at installation or
where the environment variable ``TVM_COSTMODEL_NATIVE`` is ``0``. Readers ask :func:`attempt` first
and go on in Python where it has no answer, which includes all that is wrong with a network: the
messages for users are written in Python only.
"""

from __future__ import annotations

import importlib
import os
import warnings
from functools import cached_property
from types import ModuleType
from typing import Any

from relay_frontend import vocabulary
from relay_frontend.canonical.patterns import COMMUTATIVE, PATTERNS
from relay_frontend.costs import TRANSCENDENTALS
from relay_frontend.fusion_patterns import PATTERN_OF
from relay_frontend.graph import Operator, OpGraph, TensorType, itemsize
from relay_frontend.operators import OPERATORS, OperatorSpec

_NAMES = tuple(OPERATORS)
_DTYPES = (
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "bfloat16", "float32", "float64", "complex64", "complex128"),
)


def extension(name: str) -> ModuleType | None:
    """The extension module ``name``, or ``None`` where it was not built or is turned off."""
    if os.environ.get("TVM_COSTMODEL_NATIVE") == "0":
        return None
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        return None
    except ImportError as error:
        warnings.warn(f"{name} does not load, Python is used: {error}", stacklevel=2)
        return None


def _load() -> ModuleType | None:
    """The extension module, which knows the vocabulary from then on."""
    native = extension("relay_frontend._native")
    if native is None:
        return None
    native.configure(
        operators=[_row(name, spec) for name, spec in OPERATORS.items()],
        dtypes=[(name, itemsize(name)) for name in _DTYPES],
        categories=list(vocabulary.CATEGORY_OF.items()),
        onnx=list(vocabulary.plain_operators("onnx").items()),
        relay=list(vocabulary.plain_operators("relay").items()),
        relax=list(vocabulary.plain_operators("relax").items()),
        patterns=PATTERNS,
        commutative=sorted(COMMUTATIVE),
    )
    return native


def _row(name: str, spec: OperatorSpec) -> tuple[Any, ...]:
    costs = spec.cost, spec.category, TRANSCENDENTALS.get(name, 0)
    return name, spec.attrs, spec.slots, *costs, PATTERN_OF[name]


module = _load()


def attempt(reader: str, *arguments: Any) -> OpGraph | None:
    """The graph that the native ``reader`` makes of ``arguments``.

    Returns:
        ``None`` where there is no native core, no such reader in it, or something in the network
        that it does not know; the Python reader then reads the network, or says what is wrong.
    """
    read = getattr(module, reader, None)
    if module is None or read is None:
        return None
    try:
        return NativeOpGraph(read(*arguments))
    except module.Unsupported:
        return None


class NativeOpGraph(OpGraph):
    """An operator graph that lies in native memory; Python objects are made of what is asked for.

    Args:
        native: the ``Graph`` of the extension module.
    """

    native: Any

    def __init__(self, native: Any) -> None:
        object.__setattr__(self, "native", native)

    def __reduce__(self) -> tuple[type[OpGraph], tuple[object, ...]]:
        return OpGraph, self._content()

    def __len__(self) -> int:
        return len(self.native)

    @cached_property
    def inputs(self) -> tuple[TensorType, ...]:
        return tuple(TensorType(*type_) for type_ in self.native.inputs())

    @cached_property
    def operators(self) -> tuple[Operator, ...]:
        return tuple(_operator(*values) for values in self.native.operators())

    @cached_property
    def ops(self) -> frozenset[str]:
        return frozenset(_NAMES[index] for index in self.native.ops())

    @cached_property
    def batch_size(self) -> int:
        return int(self.native.batch_size)

    @cached_property
    def outputs(self) -> tuple[int, ...]:
        outputs: tuple[int, ...] = self.native.outputs()
        return outputs

    @cached_property
    def unknown_ops(self) -> tuple[str, ...]:
        unknown: tuple[str, ...] = self.native.unknown_ops()
        return unknown

    @cached_property
    def flops(self) -> int:
        return int(self.native.flops)

    @cached_property
    def param_bytes(self) -> int:
        return int(self.native.param_bytes)

    @cached_property
    def memory_bytes(self) -> int:
        return int(self.native.memory_bytes)

    @cached_property
    def digest(self) -> str:
        return str(self.native.digest)


def _operator(
    index: int,
    attrs: tuple[Any, ...],
    inputs: tuple[int, ...],
    type_: tuple[tuple[int, ...], str],
    flops: int,
    param_bytes: int,
    read_bytes: int,
    write_bytes: int,
    source: str,
) -> Operator:
    op = _NAMES[index]
    return Operator(
        op=op,
        attrs=dict(zip(OPERATORS[op].attrs, attrs, strict=True)),
        inputs=inputs,
        type=TensorType(*type_),
        flops=flops,
        param_bytes=param_bytes,
        read_bytes=read_bytes,
        write_bytes=write_bytes,
        source=source,
    )
