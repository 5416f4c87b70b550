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
        params: names of an ``IRModule``'s unbound parameters, such as the keys of the mapping that
            an importer returns beside the module.
        example_inputs: tensors to call a torch module with, in order.

    Raises:
        NetworkError: it is none of these, or malformed, or a torch module without inputs.
        DynamicShapeError: a dimension is symbolic.
        InputError: ``shapes`` for a torch module, whose inputs have theirs.
    """
    if is_onnx(network):
        return read_onnx(network, shapes)
    generation = module_generation(network)
    if generation == "relay":
        from relay_frontend import relay  # noqa: PLC0415 (imports TVM)

        return relay.read_relay(relay.bind_shapes(network, shapes) if shapes else network, params)
    if generation == "relax":
        from relay_frontend import relax  # noqa: PLC0415 (imports TVM)

        return relax.read_relax(relax.bind_shapes(network, shapes) if shapes else network, params)
    if _is_torch(network):
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
    raise NetworkError(
        f"cannot read a network from {type(network).__name__}: expected an ONNX model, its bytes, "
        "a path, a Relay or Relax IRModule, or a torch Module or ExportedProgram"
    )


def is_onnx(network: Any) -> bool:
    """Whether it is taken for an ONNX model, its bytes or the path of its file."""
    return isinstance(network, (ModelProto, bytes, str, os.PathLike))


def _is_torch(network: Any) -> bool:
    """Whether it is a module or an exported program of torch, told without importing torch."""
    bases = {(base.__module__, base.__name__) for base in type(network).__mro__}
    return bool(bases & _TORCH_TYPES)


_TORCH_TYPES = {
    ("torch.nn.modules.module", "Module"),
    ("torch.export.exported_program", "ExportedProgram"),
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
