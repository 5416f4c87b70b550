"""The toolchains by name; each is imported only inside the interpreter that runs it."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from measure.errors import UnknownToolchainError
from measure.interpreters import Need, find_interpreter
from measure.toolchains.base import Artifact, Toolchain

__all__ = [
    "TOOLCHAINS",
    "Artifact",
    "Toolchain",
    "leave_torch_out",
    "load_toolchain",
    "toolchain_interpreter",
]

TOOLCHAINS: dict[str, tuple[str, Need]] = {
    "tvm-relay": ("measure.toolchains.relay:RelayToolchain", "relay"),
    "tvm-relax": ("measure.toolchains.relax:RelaxToolchain", "relax"),
    "tvm-relax-tuned": ("measure.toolchains.tuned:TunedRelaxToolchain", "relax"),
    "onnxruntime": ("measure.toolchains.onnx_runtime:OnnxRuntimeToolchain", "onnxruntime"),
}


def toolchain_interpreter(name: str) -> Path:
    """The Python that runs toolchain ``name``; a ``module:Class`` is run by the running one.

    Raises:
        UnknownToolchainError: ``name`` is neither known nor of the form ``module:Class``.
        InterpreterError: there is no Python with the compiler that it needs.
    """
    if name in TOOLCHAINS:
        return find_interpreter(TOOLCHAINS[name][1])
    _class_path(name)
    return Path(sys.executable)


def leave_torch_out(name: str) -> None:
    """Keep a process that serves toolchain ``name`` alone from importing torch.

    TVM imports it where it can, which takes seconds; the known toolchains have no use for it.
    """
    if name in TOOLCHAINS:
        sys.modules.setdefault("torch", None)  # type: ignore[arg-type]


def load_toolchain(name: str) -> Toolchain:
    """Import toolchain ``name`` into this process: a known name or ``module:Class``.

    Raises:
        UnknownToolchainError: there is no such toolchain.
    """
    module_name, class_name = _class_path(name)
    module = importlib.import_module(module_name)
    toolchain_class = getattr(module, class_name, None)
    if not (isinstance(toolchain_class, type) and issubclass(toolchain_class, Toolchain)):
        raise UnknownToolchainError(f"{name!r}: {module_name}.{class_name} is not a Toolchain")
    return toolchain_class()


def _class_path(name: str) -> tuple[str, str]:
    path = TOOLCHAINS[name][0] if name in TOOLCHAINS else name
    module_name, separator, class_name = path.partition(":")
    if not (separator and module_name and class_name):
        known = ", ".join(TOOLCHAINS)
        raise UnknownToolchainError(
            f"unknown toolchain {name!r}: expected one of {known}, or module:Class"
        )
    return module_name, class_name
