"""Static shapes for a Relay module that was imported with dynamic ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import tvm
from tvm import relay

from relay_frontend.errors import NetworkError
from relay_frontend.relay.calls import main_function


def bind_shapes(module: tvm.IRModule, shapes: Mapping[str, Sequence[int]]) -> tvm.IRModule:
    """``module`` with parameters of ``main`` of the given static shapes; its types are gone.

    Raises:
        NetworkError: there is no ``main`` or no such parameter, or its type contradicts the shape.
    """
    main = main_function(module)
    params = {str(param.name_hint): param for param in main.params}
    bound: dict[relay.Var, relay.Var] = {}
    for name, shape in shapes.items():
        if name not in params:
            raise NetworkError(f"no input named {name!r}; the inputs are {', '.join(params)}")
        type_ = params[name].type_annotation
        dims = list(getattr(type_, "shape", ()))
        statics = [int(dim) if isinstance(dim, tvm.tir.IntImm) else None for dim in dims]
        fits = [known in (None, int(e)) for known, e in zip(statics, shape, strict=False)]
        if len(dims) != len(shape) or not all(fits):
            raise NetworkError(f"{name!r} has the type {type_}, which is not {list(shape)}")
        bound[params[name]] = relay.var(name, shape=tuple(map(int, shape)), dtype=type_.dtype)
    inputs = [bound.get(param, param) for param in main.params]
    updated = tvm.IRModule(module.functions, module.type_definitions)
    body = relay.bind(main.body, bound)
    updated["main"] = relay.Function(inputs, body, None, main.type_params, main.attrs)
    return updated
