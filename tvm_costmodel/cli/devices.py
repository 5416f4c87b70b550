"""``devices``, ``serve`` and ``tracker``: what is measured on, here and over RPC."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import measure
from measure.toolchains import toolchain_interpreter
from tvm_costmodel.cli.options import (
    DEFAULT_DATABASE,
    DatabaseOption,
    FormatOption,
    note,
)
from tvm_costmodel.rendering import Format, print_rows

if TYPE_CHECKING:
    from measure.database.device_states import DeviceState

_ToolchainOption = Annotated[
    str, typer.Option(help="tvm-relay or tvm-relax: whose TVM does it, in its own Python.")
]
_HostOption = Annotated[str, typer.Option(help="Address of this machine to listen at.")]
_PortOption = Annotated[int, typer.Option(help="First port to try.")]
_PortEndOption = Annotated[int, typer.Option(help="First port not to try.")]


def devices(
    release: Annotated[
        str | None, typer.Option(metavar="NAME", help="Lift the quarantine of this device.")
    ] = None,
    database: DatabaseOption = DEFAULT_DATABASE,
    format_: FormatOption = Format.table,
) -> None:
    """List the devices that a database knows; those that failed too often are quarantined."""
    from measure.database.device_states import DeviceStates  # noqa: PLC0415 (needs SQLAlchemy)
    from tvm_costmodel.measurements import open_existing  # noqa: PLC0415

    with open_existing(database) as opened:
        states = DeviceStates(opened)
        if release is not None:
            states.release(release)
            note(f"{release} is released")
        rows = [_device_row(state) for state in states.all()]
    print_rows(rows, format_, title=database)


def serve(
    tracker: Annotated[str, typer.Option(metavar="HOST:PORT", help="Where to register.")],
    key: Annotated[str, typer.Option(help="Name that servers of equal devices share.")],
    toolchain: _ToolchainOption = "tvm-relay",
    host: _HostOption = "0.0.0.0",  # noqa: S104 - a server that nobody reaches is none
    port: _PortOption = 9091,
    port_end: _PortEndOption = 9199,
) -> None:
    """Lend this machine to others as an RPC device; it runs whatever it is sent."""
    arguments = ("--tracker", tracker, "--key", key, "--toolchain", toolchain)
    _become(toolchain, "measure.rpc.server", arguments, host, port, port_end)


def tracker(
    toolchain: _ToolchainOption = "tvm-relay",
    host: _HostOption = "0.0.0.0",  # noqa: S104 - a tracker that nobody reaches is none
    port: _PortOption = 9190,
    port_end: _PortEndOption = 9199,
) -> None:
    """Run a tracker, at which RPC devices register."""
    _become(toolchain, "tvm.exec.rpc_tracker", (), host, port, port_end)


def _device_row(state: DeviceState) -> dict[str, Any]:
    changed = state.changed_at and state.changed_at.isoformat(timespec="seconds")
    return {**asdict(state), "changed_at": changed}


def _become(
    toolchain: str, module: str, arguments: Sequence[str], host: str, port: int, port_end: int
) -> None:
    """Run ``module`` by the toolchain's Python in place of this process, so that signals reach it.

    Raises:
        UnknownToolchainError, InterpreterError: there is no such Python.
    """
    python = toolchain_interpreter(toolchain)
    places = ("--host", host, "--port", str(port), "--port-end", str(port_end))
    environment = dict(os.environ)
    if python != Path(sys.executable):
        # Our packages, but never this Python's others.
        environment["PYTHONPATH"] = str(Path(measure.__file__).parents[1])
    command = [str(python), "-m", module, *arguments, *places]
    os.execve(python, command, environment)  # noqa: S606 - an interpreter of ours
