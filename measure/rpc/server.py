"""The RPC server of a device: ``python -m measure.rpc.server --tracker HOST:PORT --key KEY ...``.

TVM's own server, run by the TVM of one toolchain, which registers at a tracker (``python -m
tvm.exec.rpc_tracker``) and also tells what the device is and how loaded it is, and draws weights.
A stock ``python -m tvm.exec.rpc_server`` can be measured on too, without these. Like it, this
server runs whatever it is sent: keep it within a network that you trust.
"""

from __future__ import annotations

import argparse
import os
import socket
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

from measure.errors import DeviceError
from measure.rpc.address import parse_host
from measure.toolchains import TOOLCHAINS, leave_torch_out, load_toolchain

_PAUSE_S = 1.0


def listen(host: str, port: int, port_end: int) -> socket.socket:
    """A listening socket at the first free port of ``[port, port_end)``.

    Raises:
        DeviceError: no port is free, or ``host`` is no address of this machine.
    """
    family = socket.getaddrinfo(host, port, proto=socket.IPPROTO_TCP)[0][0]
    reason: OSError | None = None
    for candidate in range(port, port_end):
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, candidate))
        except OSError as error:
            listener.close()
            reason = error
            continue
        listener.listen()
        return listener
    raise DeviceError(
        f"cannot serve at {host}, ports {port} to {port_end - 1}: {reason}; give --host and "
        "--port of this machine, and a --port-end above --port"
    )


def serve(listener: socket.socket, tracker: tuple[str, int], key: str) -> None:
    """Serve session after session, each in a process of its own, until this process is killed.

    TVM's loop ends when a session's process crashes or its tracker is away for long. A device
    shall outlive both, so it starts anew.
    """
    from tvm.rpc import server as tvm_server  # noqa: PLC0415 (not before torch is left out)

    home = Path.cwd()
    port = listener.getsockname()[1]
    while True:
        try:
            tvm_server._listen_loop(listener, port, key, tracker, None, None)
        except Exception:  # noqa: BLE001 - whatever ended one session is no reason to end all
            traceback.print_exc()
        os.chdir(home)
        time.sleep(_PAUSE_S)


def main(arguments: Sequence[str]) -> None:
    """Import the toolchain, listen, say where, and serve."""
    parser = argparse.ArgumentParser(prog="python -m measure.rpc.server", description=__doc__)
    parser.add_argument("--tracker", required=True, metavar="HOST:PORT")
    parser.add_argument("--key", required=True, help="name shared by servers of equal devices")
    parser.add_argument("--toolchain", required=True, help=f"{', '.join(TOOLCHAINS)}, module:Class")
    parser.add_argument("--host", default="0.0.0.0", help="address to listen at")  # noqa: S104
    parser.add_argument("--port", type=int, default=9091)
    parser.add_argument("--port-end", type=int, default=9199, help="first port not to try")
    options = parser.parse_args(arguments)
    tracker = parse_host(options.tracker)
    leave_torch_out(options.toolchain)
    from measure.rpc.functions import register_functions  # noqa: PLC0415 (imports TVM)

    register_functions(load_toolchain(options.toolchain))
    with listen(options.host, options.port, options.port_end) as listener:
        host, port = listener.getsockname()[:2]
        print(f"serving {options.key!r} at {host}:{port}", flush=True)
        serve(listener, tracker, options.key)


if __name__ == "__main__":
    main(sys.argv[1:])
