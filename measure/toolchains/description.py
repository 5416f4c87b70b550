"""What lies beside the code of an artifact: who built it, for what, and which kernels it has.

Code for the architecture of this machine is a shared library, ``network.so``. Code for another one
is an archive of object files, ``network.tar``, which needs no linker for it: TVM's RPC server links
it with the compiler of the device.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from measure.drawing import Draw, data
from relay_frontend.errors import InputError
from relay_frontend.kernel import Kernel

_FORMAT = 1
_FILE = "artifact.json"
_SHARED_LIBRARY = "network.so"
_OBJECTS = "network.tar"
_SYNONYMS = {"amd64": "x86_64", "arm64": "aarch64"}


def write_description(
    directory: Path,
    *,
    toolchain: str,
    versions: dict[str, str],
    target: str,
    kernels: Iterable[Kernel],
    **details: Any,
) -> None:
    """Write it into ``directory``; ``details`` are the toolchain's own, plain JSON values."""
    description = {
        "format": _FORMAT,
        "toolchain": toolchain,
        "versions": versions,
        "target": target,
        "kernels": [kernel.to_dict() for kernel in kernels],
        **details,
    }
    (directory / _FILE).write_text(json.dumps(description), encoding="utf-8")


def read_description(directory: Path, toolchain: str, device: str) -> dict[str, Any]:
    """The description in ``directory``, of an artifact that ``toolchain`` can run on ``device``.

    Raises:
        InputError: there is none; it is of another toolchain or format; or ``device`` is this
            machine and the code is for another one.
    """
    path = directory / _FILE
    if not path.is_file():
        raise InputError(f"no artifact in {directory}: {_FILE} is missing; build first")
    description: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    found = (description.get("toolchain"), description.get("format"))
    if found != (toolchain, _FORMAT):
        raise InputError(
            f"{path} is of toolchain and format {found}, expected {(toolchain, _FORMAT)}: "
            "build the network again"
        )
    built_for = description.get("architecture", platform.machine())
    if device == "local" and built_for != platform.machine():
        raise InputError(
            f"the artifact in {directory} was built for {built_for} (target "
            f"{description['target']!r}), and this machine is {platform.machine()}: run it on a "
            "device over RPC"
        )
    return description


def draw_of_input(described: Mapping[str, Any]) -> Draw:
    """How to draw a data input of a description; those of earlier versions have no bounds."""
    return data(tuple(described["shape"]), described["dtype"], described.get("bound", 1))


def architecture(triple: str) -> str:
    """The architecture that an LLVM triple such as ``aarch64-linux-gnu`` starts with."""
    name = triple.partition("-")[0]
    return _SYNONYMS.get(name, name)


def library_name(built_for: str) -> str:
    """The file that holds the code for an architecture."""
    return _SHARED_LIBRARY if built_for == platform.machine() else _OBJECTS


def library_path(directory: Path, description: dict[str, Any]) -> Path:
    """The file with the code of an artifact."""
    return directory / library_name(description.get("architecture", platform.machine()))
