"""Which Python runs a toolchain: two TVM generations cannot live in one interpreter."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import Literal

from measure.errors import InterpreterError

Generation = Literal["relay", "relax"]
Need = Literal["relay", "relax", "onnxruntime"]

_ENVIRONMENTS: dict[Need, tuple[str, str, str, str]] = {
    "relay": (
        "the relay generation of TVM",
        "TVM_COSTMODEL_RELAY_PYTHON",
        ".venv-relay",
        "make relay-env",
    ),
    "relax": ("the relax generation of TVM", "TVM_COSTMODEL_RELAX_PYTHON", ".venv", "make setup"),
    "onnxruntime": (
        "ONNX Runtime",
        "TVM_COSTMODEL_ONNXRUNTIME_PYTHON",
        ".venv",
        "pip install 'tvm-costmodel[onnxruntime]'",
    ),
}


def running_generation() -> Generation | None:
    """The generation of the TVM in this interpreter, found without importing it (4 s).

    A TVM with Relay counts as ``relay`` even where it has an early Relax beside it.
    """
    spec = importlib.util.find_spec("tvm")
    if spec is None or not spec.submodule_search_locations:
        return None
    package = Path(spec.submodule_search_locations[0])
    if (package / "relay").is_dir():
        return "relay"
    return "relax" if (package / "relax").is_dir() else None


def find_interpreter(need: Need) -> Path:
    """The Python that has ``need``: a generation of TVM, or ONNX Runtime.

    The running interpreter if it fits, else the one that the environment variable
    ``TVM_COSTMODEL_RELAY_PYTHON``, ``TVM_COSTMODEL_RELAX_PYTHON`` or
    ``TVM_COSTMODEL_ONNXRUNTIME_PYTHON`` names, else that of the environment ``.venv-relay`` or
    ``.venv`` beside the running one.

    Raises:
        InterpreterError: there is none; the message says how to make it.
    """
    if _running_has(need):
        return Path(sys.executable)
    what, variable, directory, command = _ENVIRONMENTS[need]
    named = os.environ.get(variable)
    candidate = Path(named) if named else Path(sys.prefix).parent / directory / "bin" / "python"
    unfit = candidate.parent.parent == Path(sys.prefix)  # that of this very environment
    if not unfit and candidate.is_file() and os.access(candidate, os.X_OK):
        return candidate
    origin = f"{variable}={named}" if named else f"{candidate}, beside the running environment"
    raise InterpreterError(
        f"no Python with {what}: looked at {origin}; make it with "
        f"`{command}`, or set {variable} to the interpreter of an environment that has it"
    )


def _running_has(need: Need) -> bool:
    if need == "onnxruntime":
        return importlib.util.find_spec("onnxruntime") is not None
    return running_generation() == need
