"""Static shapes for a Relax module that was imported with symbolic ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import tvm
from tvm import relax

from relay_frontend.errors import NetworkError
from relay_frontend.relax.reader import main_function


def bind_shapes(module: tvm.IRModule, shapes: Mapping[str, Sequence[int]]) -> tvm.IRModule:
    """``module`` with the symbolic dimensions of ``main``'s parameters bound to static shapes.

    Args:
        module: its ``main`` takes tensors whose dimensions are integers or single variables.
        shapes: static shapes by parameter name; parameters that share a variable share its value.

    Raises:
        NetworkError: there is no ``main`` or no such parameter, or its type contradicts the shape.
    """
    params = {str(param.name): param for param in main_function(module).params}
    extents: dict[Any, int] = {}
    for name, shape in shapes.items():
        if name not in params:
            raise NetworkError(f"no input named {name!r}; the inputs are {', '.join(params)}")
        dims = getattr(getattr(params[name].ty, "shape", None), "values", None)
        if dims is None or len(dims) != len(shape):
            raise NetworkError(f"{name!r} has the type {params[name].ty}, not {len(shape)} extents")
        for axis, (dim, extent) in enumerate(zip(dims, shape, strict=True)):
            known = int(dim.value) if isinstance(dim, tvm.tirx.IntImm) else extents.get(dim)
            if known not in (None, int(extent)):
                raise NetworkError(f"{name!r}: dimension {axis} is {known}, not {extent}")
            if isinstance(dim, tvm.tirx.Var):
                extents[dim] = int(extent)
    return relax.transform.BindSymbolicVars(extents, "main")(module) if extents else module
