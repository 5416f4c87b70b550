"""A session of a device over TVM's RPC, of whichever TVM this process has."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import tvm.rpc
from tvm.rpc import base as rpc_base

from measure.drawing import Draw, draw
from measure.errors import DeviceError
from measure.probes import Read
from measure.rpc.address import (
    COUNTERS,
    DRAW,
    FINGERPRINT,
    PROBE,
    SET_THREADS,
    TIME_FUNCTION,
    RpcAddress,
)
from measure.toolchains.place import LocalPlace, Place, to_device
from relay_frontend.errors import CostModelError

T = TypeVar("T")

_MAX_WAIT_S = 30.0
_PROBE_S = 5.0
_LOAD_MODULE = "tvm.rpc.server.load_module"


class StockServerError(CostModelError):
    """TVM's own RPC server was asked for something that only ours can do."""


class Connection:
    """A session of one server of a device: its process, its files, and what was loaded there.

    Fits :class:`measure.toolchains.place.Place`. The session ends with this process, with
    :meth:`close`, or when its time is over. Not thread-safe.

    Args:
        address: of the tracker, and the key of the servers of which any will do.

    Attributes:
        threads: threads that an inference may use, once they were set; None where nobody can tell.

    Raises:
        DeviceError: the tracker or the server does not answer, nobody serves the key, or all of
            its servers stay busy.
    """

    def __init__(self, address: RpcAddress) -> None:
        self.address = address
        self.threads: int | None = None
        # Half of the time at most, so that something is left for the work.
        deadline = time.monotonic() + min(_MAX_WAIT_S, address.limit_s / 2)
        host, port, match_key = _request_server(address, deadline)
        self.name = f"{address.key} at {host}:{port}"
        try:
            self._session: Any = _within(
                deadline - time.monotonic(),
                lambda: tvm.rpc.connect(host, port, match_key, session_timeout=address.limit_s),
            )
        except Exception as error:
            raise DeviceError(
                f"device {self.name} does not take connections: {_last_line(error)}; see whether "
                "its server still runs (python -m measure.rpc.server) and has this TVM, "
                f"{tvm.__version__}"
            ) from error
        self.device = self._session.cpu(0)

    @contextlib.contextmanager
    def checked(self, doing: str) -> Iterator[None]:
        """Tell what fails on a device that still answers (it passes) from a device that is lost.

        Raises:
            DeviceError: something failed, and the device does not answer any more.
        """
        try:
            yield
        except DeviceError:
            raise
        except Exception as error:
            if self._answers():
                raise
            raise DeviceError(
                f"device {self.name} was lost while {doing}: {_last_line(error)}; see whether its "
                "server still runs (python -m measure.rpc.server)"
            ) from error

    def load_library(self, path: Path) -> Any:
        """Send the library at ``path`` and load it."""
        self._session.upload(bytearray(path.read_bytes()), target=path.name)
        # Not session.load_module, which fails for good libraries in TVM 0.16.
        return self.get_function(_LOAD_MODULE)(path.name)

    def get_function(self, name: str) -> Callable[..., Any]:
        """The global function ``name`` of the device."""
        function: Callable[..., Any] = self._session.get_function(name)
        return function

    def draw(self, specs: Sequence[Draw], seed: int) -> list[Any]:
        """A tensor on the device for each of ``specs``; a stock server has them sent."""
        remote = self._find_function(DRAW)
        if remote is None:
            return [to_device(draw(s, seed, i), self.device) for i, s in enumerate(specs)]
        return [remote(json.dumps(s.to_dict()), seed, i) for i, s in enumerate(specs)]

    def set_threads(self, number: int) -> None:
        """Have an inference use ``number`` threads; to be called before the first one.

        Does nothing on a stock server, which uses what TVM_NUM_THREADS said when it started: what
        TVM offers a client, ``runtime.config_threadpool``, bounds the threads but not the cost of
        having several.
        """
        remote = self._find_function(SET_THREADS)
        if remote is not None:
            remote(number)
            self.threads = number

    def time(self, module: Any, name: str, number: int, *arguments: Any) -> float:
        """Seconds of ``number`` calls in a row on the device, after one call to warm up."""
        evaluate = module.time_evaluator(name, self.device, number=number, repeat=1)
        return number * float(evaluate(*arguments).results[0])

    def time_function(
        self, library: Any, name: str, number: int, repeat: int, tensors: Sequence[Any]
    ) -> list[float]:
        """Seconds of ``number`` calls on the device, ``repeat`` times, after one to warm up.

        Raises:
            StockServerError: TVM's own server cannot do this for functions of a library.
        """
        remote = self._find_function(TIME_FUNCTION)
        if remote is None:
            raise StockServerError(
                f"device {self.name} cannot time single kernels: its server is TVM's own; start "
                "python -m measure.rpc.server instead, or time no kernels there"
            )
        seconds = json.loads(remote(library, name, number, repeat, *tensors))
        return [float(value) for value in seconds]

    def read_counters(self) -> Mapping[str, Any] | None:
        """The counters of the session's process and its machine; None from a stock server."""
        return self._ask(COUNTERS)

    def prober(self) -> Read | None:
        """The probes of the device; None from a stock server."""
        remote = self._find_function(PROBE)
        return None if remote is None else lambda: tuple(json.loads(remote()))

    def fingerprint(self) -> Mapping[str, Any] | None:
        """What the server says of itself, see `measure.rpc.server`; None from a stock server."""
        return self._ask(FINGERPRINT)

    def close(self) -> None:
        """End the session; the server takes the next one."""
        with contextlib.suppress(Exception):
            self.get_function("CloseRPCConnection")()

    def _ask(self, name: str) -> Mapping[str, Any] | None:
        function = self._find_function(name)
        return None if function is None else dict(json.loads(function()))

    def _find_function(self, name: str) -> Callable[..., Any] | None:
        try:
            return self.get_function(name)
        except Exception:
            if self._answers():
                return None
            raise

    def _answers(self) -> bool:
        try:
            _within(_PROBE_S, lambda: self.get_function(_LOAD_MODULE))
        except Exception:  # noqa: BLE001 - TVM's errors of a lost connection have no class of theirs
            return False
        return True


def open_place(device: str) -> Place:
    """The place that ``device`` names: ``local``, or the address of a device over RPC.

    On a device over RPC an inference uses as many threads as TVM_NUM_THREADS says here, unless its
    server is TVM's own.

    Raises:
        InputError: ``device`` has another form.
        DeviceError: it cannot be reached.
    """
    if device == "local":
        return LocalPlace()
    connection = Connection(RpcAddress.parse(device))
    threads = os.environ.get("TVM_NUM_THREADS")
    if threads is not None:
        connection.set_threads(int(threads))
    return connection


def _request_server(address: RpcAddress, deadline: float) -> tuple[str, int, str]:
    """Host, port and match key of a free server.

    TVM's own client waits for ever, for a tracker as for a server.
    """
    try:
        with _connect_tracker(address, deadline) as tracker:
            request = [rpc_base.TrackerCode.REQUEST, address.key, "", 1]
            status, server = _call_tracker(tracker, request, deadline)
    except TimeoutError as error:
        raise DeviceError(f"device {address}: {_why_none(address)}") from error
    except (OSError, ValueError, struct.error) as error:
        raise DeviceError(
            f"device {address}: no tracker answers at {address.host}:{address.port}: {error}; "
            "start one there (python -m tvm.exec.rpc_tracker --port PORT --port-end PORT+1), or "
            "correct the address"
        ) from error
    if status != rpc_base.TrackerCode.SUCCESS:
        raise DeviceError(f"device {address}: the tracker refused the request: {server}")
    host, port, match_key = server
    return host, port, match_key


def _connect_tracker(address: RpcAddress, deadline: float) -> socket.socket:
    try:
        tracker = socket.create_connection((address.host, address.port), _left(deadline))
        tracker.sendall(struct.pack("<i", rpc_base.RPC_TRACKER_MAGIC))
        answer = struct.unpack("<i", rpc_base.recvall(tracker, 4))[0]
    except TimeoutError as error:
        raise ConnectionError("it does not answer in time") from error
    if answer != rpc_base.RPC_TRACKER_MAGIC:
        tracker.close()
        raise ConnectionError("what answers is no tracker of TVM")
    return tracker


def _call_tracker(tracker: socket.socket, request: list[Any], deadline: float) -> Any:
    tracker.settimeout(_left(deadline))
    rpc_base.sendjson(tracker, request)
    return rpc_base.recvjson(tracker)


def _why_none(address: RpcAddress) -> str:
    """Why the tracker gave no server in time."""
    deadline = time.monotonic() + _PROBE_S
    try:
        with _connect_tracker(address, deadline) as tracker:
            request = [rpc_base.TrackerCode.SUMMARY]
            servers = _call_tracker(tracker, request, deadline)[1]["server_info"]
    except (OSError, ValueError, struct.error) as error:
        return f"its tracker stopped answering: {error}"
    keys = sorted(server["key"].partition(":")[2] for server in servers)
    if address.key in keys:
        return (
            f"all of its servers ({keys.count(address.key)}) stay busy; wait for the other "
            "harness, or start further servers"
        )
    known = ", ".join(sorted(set(keys))) or "none"
    return (
        f"nobody serves the key {address.key!r}; keys that are served: {known}; start a server "
        "with python -m measure.rpc.server --tracker HOST:PORT --key KEY --toolchain NAME"
    )


def _left(deadline: float) -> float:
    return max(1e-3, deadline - time.monotonic())


def _within(limit_s: float, function: Callable[[], T]) -> T:
    """What ``function`` gives, or TimeoutError; its thread cannot be stopped and is left behind."""
    results: list[T] = []
    errors: list[Exception] = []

    def run() -> None:
        try:
            results.append(function())
        except Exception as error:  # noqa: BLE001 - raised again in the caller's thread
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(max(0.0, limit_s))
    if errors:
        raise errors[0]
    if not results:
        raise TimeoutError(f"no answer within {max(0.0, limit_s):.1f} s")
    return results[0]


def _last_line(error: Exception) -> str:
    """What is wrong; TVM's messages may hold a whole stack before it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1][:300]}" if lines else type(error).__name__
