"""Real trackers and RPC servers of devices on loopback, to be used, killed and stalled.

Everything is killed when its ``with`` block ends. Needs no TVM in this interpreter.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from measure.toolchains import toolchain_interpreter

REPOSITORY = Path(__file__).parents[3]
_TRACKER_MAGIC = 0x2F271
_SUMMARY = 6
_START_S = 90.0


class Process:
    """A process with all of its children, its output in ``log``.

    TVM's own would import torch where they can, for seconds; ``without_torch`` finds none.
    """

    def __init__(self, command: Sequence[str], log: Path, *, without_torch: bool) -> None:
        self.command = command
        self.log = log
        self.without_torch = without_torch
        self.start()

    def start(self) -> None:
        temporary = self.log.with_suffix(".tmp")
        temporary.mkdir(exist_ok=True)
        if self.without_torch:
            (temporary / "torch.py").write_text("raise ImportError")
        with self.log.open("ab") as log:
            self._popen = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=temporary,
                # Files of sessions that are killed stay behind, here for pytest to remove.
                env={**os.environ, "PYTHONPATH": str(REPOSITORY), "TMPDIR": str(temporary)},
                start_new_session=True,
            )

    def libraries(self) -> str:
        """What it has loaded, as the kernel tells."""
        return Path(f"/proc/{self._popen.pid}/maps").read_text()

    def is_running(self) -> bool:
        return self._popen.poll() is None

    def kill(self) -> None:
        self._signal(signal.SIGKILL)
        self._popen.wait()

    def stall(self) -> None:
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._popen.pid, number)


class Tracker(Process):
    """TVM's tracker."""

    def __init__(self, toolchain: str, directory: Path) -> None:
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        options = ["--host", "127.0.0.1", "--port", str(self.port), "--port-end"]
        command = [str(toolchain_interpreter(toolchain)), "-m", "tvm.exec.rpc_tracker"]
        super().__init__(
            [*command, *options, str(self.port + 1)],
            directory / f"tracker-{self.port}.log",
            without_torch=True,
        )

    def device(self, key: str) -> str:
        return f"rpc://{self.address}/{key}"

    def summary(self) -> dict[str, Any]:
        """What the tracker knows, as it tells TVM's clients."""
        with socket.create_connection(("127.0.0.1", self.port), 5) as channel:
            channel.sendall(struct.pack("<i", _TRACKER_MAGIC))
            assert struct.unpack("<i", _receive(channel, 4))[0] == _TRACKER_MAGIC
            request = json.dumps([_SUMMARY]).encode()
            channel.sendall(struct.pack("<i", len(request)) + request)
            size = struct.unpack("<i", _receive(channel, 4))[0]
            return dict(json.loads(_receive(channel, size))[1])

    def free_servers(self, key: str) -> int:
        return int(self.summary()["queue_info"].get(key, {"free": 0})["free"])

    def wait_for_servers(self, key: str, number: int) -> None:
        """Until so many servers of ``key`` are free."""
        wait_until(
            lambda: self.free_servers(key) >= number, f"{number} free servers of {key}", OSError
        )


class Server(Process):
    """A server of a device, ours or TVM's own."""

    def __init__(
        self, toolchain: str, tracker: Tracker, key: str, directory: Path, *, stock: bool = False
    ) -> None:
        self.port = free_port()
        self.key = key
        module = ["tvm.exec.rpc_server"] if stock else ["measure.rpc.server"]
        options = {"--tracker": tracker.address, "--key": key, "--host": "127.0.0.1"}
        ports = {"--port": str(self.port), "--port-end": str(self.port + 1)}
        own = {} if stock else {"--toolchain": toolchain}
        arguments = [word for pair in {**options, **ports, **own}.items() for word in pair]
        command = [str(toolchain_interpreter(toolchain)), "-m", *module, *arguments]
        super().__init__(command, directory / f"server-{self.port}.log", without_torch=stock)

    def loaded(self) -> int:
        """Libraries that it loaded so far."""
        return self.log.read_text(errors="replace").count("INFO load_module")


@contextlib.contextmanager
def tracker(toolchain: str, directory: Path) -> Iterator[Tracker]:
    """A tracker that answers."""
    process = Tracker(toolchain, directory)
    with _killed(process):
        wait_until(lambda: bool(process.summary()), "tracker", OSError)
        yield process


@contextlib.contextmanager
def server(
    toolchain: str, tracker: Tracker, key: str, directory: Path, *, stock: bool = False
) -> Iterator[Server]:
    """A server that starts; see :meth:`Tracker.wait_for_servers`."""
    process = Server(toolchain, tracker, key, directory, stock=stock)
    with _killed(process):
        yield process


def wait_for_load(servers: Sequence[Server], before: Sequence[int]) -> Server:
    """The one of ``servers`` that has loaded more libraries than ``before``."""

    def found() -> list[Server]:
        return [s for s, count in zip(servers, before, strict=True) if s.loaded() > count]

    wait_until(lambda: bool(found()), "a server that loads a library")
    return found()[0]


def wait_until(condition: Any, what: str, *ignored: type[Exception]) -> None:
    deadline = time.monotonic() + _START_S
    while True:
        with contextlib.suppress(*ignored):
            if condition():
                return
        assert time.monotonic() < deadline, f"waited {_START_S:g} s for {what}"
        time.sleep(0.05)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def _killed(process: Process) -> Iterator[None]:
    try:
        yield
    finally:
        process.kill()


def _receive(channel: socket.socket, size: int) -> bytes:
    received = b""
    while len(received) < size:
        chunk = channel.recv(size - len(received))
        if not chunk:
            raise ConnectionResetError("the tracker closed the connection")
        received += chunk
    return received
