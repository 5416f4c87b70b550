"""Cost models by platform, loaded once for a process, and the functions of modules."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, TypeAlias

import tvm

from relay_frontend.errors import NetworkError
from tvm_costmodel.cost_model import CostModel

PlatformOrModel: TypeAlias = "str | CostModel"


def cost_model(platform: PlatformOrModel) -> CostModel:
    """The cost model that is given, or that of the platform that is named.

    Raises:
        UnknownPlatformError: there is none.
        CheckpointError: its checkpoint is damaged.
    """
    return platform if isinstance(platform, CostModel) else _load(platform)


@lru_cache(maxsize=8)
def _load(platform: str) -> CostModel:
    return CostModel.load(platform)


def copy_of(mod: tvm.IRModule) -> tvm.IRModule:
    """A module with the same functions, which can be changed."""
    if hasattr(mod, "clone"):
        return mod.clone()
    functions = dict(mod.functions_items())
    return tvm.IRModule(functions, mod.type_definitions, mod.attrs, mod.global_infos)


def as_main(mod: tvm.IRModule, function: str) -> tvm.IRModule:
    """``mod`` with one of its functions in the place of ``main``.

    Raises:
        NetworkError: it has no such function.
    """
    functions: dict[str, Any] = {str(v.name_hint): v for v in mod.get_global_vars()}
    if function not in functions:
        known = ", ".join(sorted(functions)) or "none"
        raise NetworkError(f"the module has no function {function!r}; its functions are: {known}")
    if function == "main":
        return mod
    renamed = copy_of(mod)
    main = functions.get("main", tvm.ir.GlobalVar("main"))
    body = mod[functions[function]]
    if body.attrs and "global_symbol" in body.attrs:
        body = body.with_attr("global_symbol", "main")
    renamed.update_func(main, body)
    return renamed
