"""Torch -> :class:`OpGraph`, through TVM's importer of exported programs and the Relax reader.

Torch is never imported here: a network of torch means that the caller has it.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from tvm.relax.frontend.torch import from_exported_program

from relay_frontend.errors import DynamicShapeError, NetworkError
from relay_frontend.graph import OpGraph
from relay_frontend.relax import read_relax
from relay_frontend.torch.recurrent import RECURRENT


def read_torch(network: Any, example_inputs: Sequence[Any] | None = None) -> OpGraph:
    """The operator graph of a network of torch, as it is in inference.

    The operators are those that the network was written with: torch's decomposition into core
    operators is asked for only where TVM's importer cannot do without it. Weights on the CPU are
    shared with the imported module, not copied.

    Args:
        network: a ``torch.nn.Module``, or a ``torch.export.ExportedProgram`` with static shapes.
        example_inputs: tensors to call the module with, in order; their shapes are the network's.
            A program needs none.

    Raises:
        NetworkError: a module comes without inputs, or torch cannot export it, or TVM's importer
            rejects it; the message names the operator.
        DynamicShapeError: the program has symbolic dimensions.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of its own internals
        program = _program(network, example_inputs)
        _check_static(program)
        module = _imported(program)
    return read_relax(module)


def _imported(program: Any) -> Any:
    with suppress(Exception):  # whatever it is, core operators may do
        return from_exported_program(
            program,
            keep_params_as_input=True,
            custom_convert_map=RECURRENT,
            run_ep_decomposition=False,
        )
    try:
        return from_exported_program(program, keep_params_as_input=True)
    except Exception as error:
        raise NetworkError(
            f"TVM's importer rejects the torch program: {type(error).__name__}: {error}"
        ) from error


def _program(network: Any, example_inputs: Sequence[Any] | None) -> Any:
    torch = sys.modules["torch"]
    if isinstance(network, torch.export.ExportedProgram):
        return network
    name = type(network).__name__
    if example_inputs is None:
        raise NetworkError(
            f"the torch module {name} has no shapes of its own: give example_inputs=(tensor, ...)"
        )
    try:
        with _inference(network), torch.no_grad():
            return torch.export.export(network, tuple(example_inputs))
    except Exception as error:
        raise NetworkError(
            f"torch.export cannot export {name}: {type(error).__name__}: {error}"
        ) from error


@contextmanager
def _inference(network: Any) -> Iterator[None]:
    """The module as it is in inference; afterwards its parts are in training as before."""
    training = [part for part in network.modules() if part.training]
    network.eval()
    try:
        yield
    finally:
        for part in training:
            part.training = True


def _check_static(program: Any) -> None:
    for node in program.graph.find_nodes(op="placeholder"):
        value = node.meta.get("val")
        for axis, extent in enumerate(getattr(value, "shape", ())):
            if not isinstance(extent, int):
                raise DynamicShapeError(
                    f"input {node.name!r} of the torch program: dimension {axis} is symbolic "
                    f"({extent}); export it without dynamic_shapes, with inputs of the shape that "
                    "is meant"
                )
