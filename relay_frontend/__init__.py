"""From networks to operator graphs, tokens and kernels; imports TVM only when asked for.

>>> from relay_frontend import load, tokenize
>>> graph = load("model.onnx")             # or an IRModule, or a torch module with its inputs
>>> tokens = tokenize(graph)
>>> fused = kernels(module, "llvm")       # of a Relay or Relax IRModule
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from onnx import ModelProto

from relay_frontend.errors import InputError, NetworkError
from relay_frontend.graph import OpGraph
from relay_frontend.kernel import Kernel
from relay_frontend.onnx import Shapes, read_onnx
from relay_frontend.tokens import GraphTokens, TokenConfig, tokenize

__all__ = ["GraphTokens", "Kernel", "OpGraph", "TokenConfig", "kernels", "load", "tokenize"]


def load(
    network: Any,
    shapes: Shapes | None = None,
    params: Collection[str] | None = None,
    example_inputs: Sequence[Any] | None = None,
) -> OpGraph:
    """The operator graph of a network, whatever it came as.

    Args:
        network: an ONNX model, its bytes or the path of its file; a Relay or Relax ``IRModule``; a
            ``torch.nn.Module`` or ``torch.export.ExportedProgram``.
        shapes: static shapes, by name, of inputs that have symbolic dimensions.
        params: names of an ``IRModule``'s unbound parameters, such as the mapping that an importer
            returns beside the module. Names that a network does not have are ignored: importers
            return unused ones, and the networks of a stream share them.
        example_inputs: tensors to call a ``torch.nn.Module`` with, in order.

    Raises:
        NetworkError: it is none of these, or malformed, or a torch module without inputs.
        DynamicShapeError: a dimension is symbolic.
        InputError: ``shapes`` for a torch network, whose inputs have theirs; ``example_inputs`` for
            any other than a ``torch.nn.Module``; a text as ``params``.
    """
    kind = _kind(network)
    if example_inputs is not None and kind != _TORCH_MODULE:
        raise InputError(
            f"example_inputs are for a {_TORCH_MODULE}, not for {kind}, which has inputs of its own"
        )
    if isinstance(params, str):
        raise InputError(f"params is the text {params!r}: give a collection of names")
    if kind == "onnx":
        return read_onnx(network, shapes)
    if kind == "relay":
        from relay_frontend import relay  # noqa: PLC0415 (imports TVM)

        return relay.read_relay(relay.bind_shapes(network, shapes) if shapes else network, params)
    if kind == "relax":
        from relay_frontend import relax  # noqa: PLC0415 (imports TVM)

        return relax.read_relax(relax.bind_shapes(network, shapes) if shapes else network, params)
    if shapes:
        raise InputError("the shapes of a torch network are those of its example_inputs")
    try:
        from relay_frontend.torch import read_torch  # noqa: PLC0415 (imports TVM)
    except ImportError as error:
        raise NetworkError(
            f"networks of torch are read through TVM's Relax, which is missing ({error}): "
            "pip install 'tvm-costmodel[relax]'"
        ) from None

    return read_torch(network, example_inputs)


def _kind(network: Any) -> str:
    """What a network is; torch is told by the names of its classes, without importing it."""
    if is_onnx(network):
        return "onnx"
    bases = ((base.__module__, base.__name__) for base in type(network).__mro__)
    torch = next((_TORCH_TYPES[base] for base in bases if base in _TORCH_TYPES), None)
    kind = module_generation(network) or torch
    if kind is not None:
        return kind
    raise NetworkError(
        f"cannot read a network from {type(network).__name__}: expected an ONNX model, its bytes, "
        "a path, a Relay or Relax IRModule, or a torch Module or ExportedProgram"
    )


def is_onnx(network: Any) -> bool:
    """Whether it is taken for an ONNX model, its bytes or the path of its file."""
    return isinstance(network, (ModelProto, bytes, str, os.PathLike))


_TORCH_MODULE = "torch.nn.Module"
_TORCH_TYPES = {
    ("torch.nn.modules.module", "Module"): _TORCH_MODULE,
    ("torch.export.exported_program", "ExportedProgram"): "torch.export.ExportedProgram",
}


def kernels(module: Any, target: Any, params: Collection[str] | None = None) -> list[Kernel]:
    """The fused functions that TVM emits for a module, in the order of their calls.

    Each has the positions of the operators of ``load(module, params=params)`` that it computes. An
    operator can be in several kernels, and a kernel can have none, such as a change of layout;
    every operator is in one, but for a reshape, which need not run any code.

    Args:
        module: a Relay module, as ``relay.build`` takes it, or a Relax module.
        target: TVM's target or what it makes one of.
        params: as for :func:`load`. For Relay a mapping to the values, which TVM folds.

    Raises:
        NetworkError: it is neither, or malformed; or an operator is in no kernel.
        InputError: TVM does not know the target; ``params`` of Relay lack their values.
        DynamicShapeError: a dimension is symbolic.
    """
    generation = module_generation(module)
    if generation == "relax":
        from relay_frontend.relax import members as relax_members  # noqa: PLC0415 (imports TVM)

        return relax_members.kernels_with_members(module, target, params)
    if generation != "relay":
        raise NetworkError(
            f"kernels are found for a Relay or Relax IRModule, not for {type(module).__name__}: "
            "import the network with TVM first"
        )
    if params is not None and not isinstance(params, Mapping):
        raise InputError("Relay folds parameters into kernels: give params as a mapping to arrays")
    from relay_frontend.relay import members as relay_members  # noqa: PLC0415 (imports TVM)

    return relay_members.kernels_with_members(module, target, params)


def module_generation(network: Any) -> str | None:
    """``relay`` or ``relax`` for an ``IRModule`` of TVM, by its functions; else None."""
    if type(network).__name__ != "IRModule" or not type(network).__module__.startswith("tvm."):
        return None
    kinds = {type(function).__module__.split(".")[1] for function in network.functions.values()}
    return next((kind for kind in ("relay", "relax") if kind in kinds), "relax")
