"""From networks to operator graphs, tokens and kernels; imports TVM only when asked for.

>>> from relay_frontend import load, tokenize
>>> graph = load("model.onnx")             # or a Relay or Relax IRModule
>>> tokens = tokenize(graph)
"""

from __future__ import annotations

import os
from collections.abc import Collection
from typing import Any

from onnx import ModelProto

from relay_frontend.errors import NetworkError
from relay_frontend.graph import OpGraph
from relay_frontend.onnx import Shapes, read_onnx
from relay_frontend.tokens import GraphTokens, TokenConfig, tokenize

__all__ = ["GraphTokens", "OpGraph", "TokenConfig", "load", "tokenize"]


def load(
    network: Any, shapes: Shapes | None = None, params: Collection[str] | None = None
) -> OpGraph:
    """The operator graph of a network, whatever it came as.

    Args:
        network: an ONNX model, its bytes or the path of its file; a Relay or Relax ``IRModule``.
        shapes: static shapes of ONNX inputs that have symbolic dimensions.
        params: names of a module's unbound parameters, such as the keys of the mapping that an
            importer returns beside the module.

    Raises:
        NetworkError: it is none of these, or malformed.
        DynamicShapeError: a dimension is symbolic.
    """
    if isinstance(network, (ModelProto, bytes, str, os.PathLike)):
        return read_onnx(network, shapes)
    generation = module_generation(network)
    if generation == "relay":
        from relay_frontend.relay import read_relay  # noqa: PLC0415 (imports TVM)

        return read_relay(network, params)
    if generation == "relax":
        from relay_frontend.relax import read_relax  # noqa: PLC0415 (imports TVM)

        return read_relax(network, params)
    raise NetworkError(
        f"cannot read a network from {type(network).__name__}: expected an ONNX model, its bytes, "
        "a path, or a Relay or Relax IRModule"
    )


def module_generation(network: Any) -> str | None:
    """``relay`` or ``relax`` for an ``IRModule`` of TVM, by its functions; else None."""
    if type(network).__name__ != "IRModule" or not type(network).__module__.startswith("tvm."):
        return None
    kinds = {type(function).__module__.split(".")[1] for function in network.functions.values()}
    return next((kind for kind in ("relay", "relax") if kind in kinds), "relax")
