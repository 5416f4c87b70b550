"""The harness's side of a worker: starts it, asks it, and says whose fault a failure is."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np

import measure
from measure.device import Fingerprint, deciding_versions
from measure.errors import (
    BuildError,
    DeviceError,
    MeasurementError,
    RunError,
    TimeLimitError,
    WorkerError,
)
from measure.probes import Quiet, Reading
from measure.protocol import Protocol
from measure.records import KernelTimes, KernelTiming, Round
from measure.rpc.address import RpcAddress, is_remote
from measure.toolchains import toolchain_interpreter
from relay_frontend.errors import InputError
from relay_frontend.kernel import Kernel

_LOG_BYTES = 4096
# The worker keeps the limits itself; the harness waits this much longer before it gives it up.
_GRACE_S = 15.0
_LAST_MOMENT_S = 2.0
_FAILURES: dict[str, type[MeasurementError]] = {
    "build": BuildError,
    "run": RunError,
    "kernels": RunError,
}


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a stage may take before it counts as failed.

    Args:
        start_s: starting a worker, most of it importing the compiler.
        device_s: reaching a device and asking what it is.
        build_s: building one network, or listing its kernels.
        round_s: one timing round, loading included.
        kernels_s: timing the kernels of one network.
        memory_bytes: data memory of one build or round.
    """

    start_s: float = 120.0
    device_s: float = 60.0
    build_s: float = 300.0
    round_s: float = 120.0
    kernels_s: float = 120.0
    memory_bytes: int = 8 << 30


@dataclass(frozen=True, kw_only=True)
class ToolchainInfo:
    """What a toolchain says of itself: name, versions, default target of this machine."""

    name: str
    versions: Mapping[str, str]
    target: str


def check_versions(toolchain: ToolchainInfo, device: str, fingerprint: Fingerprint) -> None:
    """See that ``device`` runs networks with what ``toolchain`` builds them with here.

    Raises:
        InputError: a version differs. The device's LLVM may: code is generated here.
    """
    there = deciding_versions(fingerprint.versions)
    differing = [
        f"{name} {there[name]} there and {version} here"
        for name, version in deciding_versions(toolchain.versions).items()
        if name != "llvm" and there.get(name, version) != version
    ]
    if differing:
        raise InputError(
            f"device {device} is served by toolchain {fingerprint.toolchain!r}, networks are built "
            f"by {toolchain.name!r}, and they differ: {', '.join(differing)}; serve the device "
            "with the versions that are here, or measure from where its versions are installed"
        )


class Worker:
    """A worker process of one toolchain; starts when first asked, and anew after it died.

    Not thread-safe: one request at a time. Use as a context manager or call :meth:`close`.

    Args:
        toolchain: name of the toolchain, or ``module:Class``.
        threads: threads that one inference may use.
        limits: time and memory of each stage.
        cpus: CPUs of this machine that timings may use; None for all.
        device: what runs the networks: ``local``, or ``rpc://host:port/key`` with the address of
            a tracker and the key under which the device's servers registered there.

    Attributes:
        quiet: when the device is quiet; where that is not known nothing is probed.

    Raises:
        UnknownToolchainError, InterpreterError: there is no such toolchain, or no Python for it.
        InputError: one of ``cpus`` is no CPU that this process may use, or ``device`` has another
            form, or it is not this machine, which alone has ``cpus``.
    """

    def __init__(
        self,
        toolchain: str,
        *,
        threads: int = 1,
        limits: Limits | None = None,
        cpus: Sequence[int] | None = None,
        device: str = "local",
    ) -> None:
        self.toolchain = toolchain
        self.threads = threads
        self.device = _checked_device(device)
        self.cpus = _checked_cpus(cpus, self.device)
        self.limits = limits or Limits()
        self.quiet: Quiet | None = None
        self._interpreter = toolchain_interpreter(toolchain)
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None
        self._log: IO[bytes] | None = None

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def describe(self) -> ToolchainInfo:
        """Name, versions and default target of the toolchain.

        Raises:
            WorkerError: the toolchain cannot even say this.
        """
        limit_s = self.limits.build_s
        try:
            return ToolchainInfo(**self._ask("describe", "build", self.toolchain, limit_s, {}))
        except MeasurementError as error:
            raise WorkerError(f"toolchain {self.toolchain!r} is unusable: {error}") from error

    def fingerprint(self) -> Fingerprint | None:
        """What the device is, and what the toolchain compiles for there.

        None where the device is served by TVM's own server, which cannot tell: then the user has
        to name the device and its target, conditions stay unknown and kernels are not timed.

        Raises:
            DeviceError: the device cannot be reached, or was lost.
            WorkerError: the toolchain cannot say what it compiles for.
        """
        request = {"device": self.device}
        try:
            values = self._ask("fingerprint", "run", self.device, self.limits.device_s, request)
        except MeasurementError as error:
            raise WorkerError(f"device {self.device} has no fingerprint: {error}") from error
        return None if values is None else Fingerprint.from_dict(values)

    def watch(self, duration_s: float) -> Reading | None:
        """How fast the device can be: times of its probes while it is quiet.

        None where it cannot run them. Takes ``duration_s``, so that it is quiet at some time.

        Raises:
            DeviceError: the device cannot be reached, or was lost.
            WorkerError: the probes cannot be run for another reason.
        """
        request = {"device": self.device, "cpus": self.cpus, "watch_s": duration_s}
        limit_s = self.limits.device_s + duration_s
        try:
            found = self._ask("reference", "run", self.device, limit_s, request)
        except MeasurementError as error:
            raise WorkerError(f"device {self.device} cannot be probed: {error}") from error
        return None if found is None else (found[0], found[1])

    def build(
        self, network: str, model: Path, target: str, directory: Path, seed: int = 0
    ) -> float:
        """Build the ONNX file ``model`` into ``directory``; gives the seconds that it took.

        Raises:
            BuildError, TimeLimitError: the network cannot be built.
            WorkerError: the worker failed; the network may be fine.
        """
        request = {
            "network": str(model), "target": target, "directory": str(directory), "seed": seed
        }  # fmt: skip
        result = self._ask("build", "build", network, self.limits.build_s, request)
        return float(result["build_s"])

    def kernels(self, network: str, model: Path, target: str) -> tuple[Kernel, ...]:
        """The kernels that a build of the ONNX file ``model`` would have; errors as of `build`."""
        request = {"network": str(model), "target": target}
        result = self._ask("kernels", "build", network, self.limits.build_s, request)
        return tuple(Kernel.from_dict(values) for values in result)

    def graph(self, network: str, model: Path) -> dict[str, Any]:
        """The operator graph of the ONNX file ``model`` in the toolchain's IR, as plain values.

        Raises:
            BuildError: the compiler's importer rejects the network.
            WorkerError: the worker failed; the network may be fine.
        """
        request = {"network": str(model)}
        return dict(self._ask("graph", "build", network, self.limits.build_s, request))

    def measure(self, network: str, directory: Path, protocol: Protocol, seed: int = 0) -> Round:
        """One timing round, in a fresh process, of what was built into ``directory``.

        Raises:
            RunError, TimeLimitError: the network crashes, hangs, or computes no finite numbers.
            DeviceError: the device cannot be reached, or was lost; over RPC also where the network
                takes too long or crashes, which cannot be told from it.
            WorkerError: the worker failed; the network may be fine.
        """
        request = self._timing_request(directory, protocol, seed)
        result = self._ask("measure", "run", network, self.limits.round_s, request)
        return Round(**{**result, "samples": np.array(result["samples"])})

    def time_kernels(
        self, network: str, directory: Path, protocol: Protocol, seed: int = 0
    ) -> KernelTimes:
        """Times of every kernel call of what was built; errors as of :meth:`measure`."""
        request = self._timing_request(directory, protocol, seed)
        result = self._ask("time_kernels", "kernels", network, self.limits.kernels_s, request)
        return KernelTimes(
            kernels=tuple(Kernel.from_dict(values) for values in result["kernels"]),
            samples=np.array(result["samples"], dtype=np.float64),
            timings=(KernelTiming(**result["timing"]),),
        )

    def _timing_request(self, directory: Path, protocol: Protocol, seed: int) -> dict[str, Any]:
        return {
            "directory": str(directory),
            "protocol": protocol.to_dict(),
            "seed": seed,
            "cpus": self.cpus,
            "device": self.device,
            "quiet": {} if self.quiet is None else self.quiet.notes(),
        }

    def abort(self) -> None:
        """From another thread: have the request in flight fail at once with a WorkerError."""
        channel = self._channel
        if channel is not None:
            with contextlib.suppress(OSError):
                channel.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End the worker and whatever it runs; once closed, it starts again when asked."""
        if self._channel is not None:
            self._channel.close()
        if self._process is not None:
            # The worker kills its child when the socket closes; it gets a moment to do so.
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=_LAST_MOMENT_S)
            _kill_session(self._process.pid)
            self._process.wait()
        if self._log is not None:
            self._log.close()
        self._channel = self._process = self._log = None

    def _ask(
        self, operation: str, stage: str, network: str, limit_s: float, request: dict[str, Any]
    ) -> Any:
        """The worker's result for a request about ``network``, or the error that it amounts to."""
        channel = self._started()
        request = {
            **request,
            "operation": operation,
            "limit_s": limit_s,
            "memory_bytes": self.limits.memory_bytes,
        }
        try:
            channel.sendall(json.dumps(request).encode() + b"\n")
            reply = json.loads(_receive_line(channel, limit_s + _GRACE_S))
        except OSError as error:
            message = self._lost(f"during {stage} of network {network!r}: {error}")
            self.close()
            raise WorkerError(message) from error
        except BaseException:
            # Interrupted: the reply to this request must not answer the next one.
            self.close()
            raise
        if "result" in reply:
            return reply["result"]
        cause, reason = reply["error"]["cause"], reply["error"]["reason"]
        if reply["error"]["fault"] == "device":
            raise DeviceError(f"{stage} of network {network!r} on {self.device}: {cause}: {reason}")
        if cause == "timeout":
            raise TimeLimitError(stage, network, limit_s, self._log_tail())
        raise _FAILURES[stage](stage, network, cause, reason, self._log_tail())

    def _started(self) -> socket.socket:
        """The channel to a living worker with an empty log."""
        if self._channel is None:
            self._start()
        assert self._channel is not None
        assert self._log is not None
        # The worker's output shares this file's offset, so it goes on from the start.
        self._log.truncate(0)
        os.lseek(self._log.fileno(), 0, os.SEEK_SET)
        return self._channel

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        # Has no name, so nothing of it is left however the processes end.
        self._log = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - closed by close()
        with theirs:
            self._process = subprocess.Popen(
                self._command(theirs.fileno()),
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                pass_fds=(theirs.fileno(),),
                env=self._environment(),
                start_new_session=True,
            )
        self._channel = ours
        try:
            _receive_line(ours, self.limits.start_s)
        except OSError as error:
            message = self._lost(f"while it started: {error}")
            self.close()
            raise WorkerError(message) from error

    def _command(self, descriptor: int) -> list[str]:
        """Unbuffered and with Python's stack on a crash, so that the log shows what came last."""
        options = ["-u", "-X", "faulthandler", "-m", "measure.worker"]
        return [str(self._interpreter), *options, self.toolchain, str(descriptor)]

    def _environment(self) -> dict[str, str]:
        """Threads, and where our packages are: for another Python only ours, never its packages."""
        if self._interpreter == Path(sys.executable):
            paths = [path for path in sys.path if path]
        else:
            paths = [str(Path(measure.__file__).parents[1])]
        # TVM would bind its threads to CPUs of its own choice, and the main thread to all.
        pinned = {} if self.cpus is None else {"TVM_BIND_THREADS": "0"}
        return {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(paths),
            "TVM_NUM_THREADS": str(self.threads),
            "OMP_NUM_THREADS": str(self.threads),
            **pinned,
        }

    def _lost(self, when: str) -> str:
        """A message with what the worker printed last, for which it gets a moment to end."""
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=_LAST_MOMENT_S)
        tail = "".join(f"\n  | {line}" for line in self._log_tail().splitlines()[-12:])
        return f"worker of toolchain {self.toolchain!r} ({self._interpreter}) lost {when}{tail}"

    def _log_tail(self) -> str:
        if self._log is None:
            return ""
        descriptor = self._log.fileno()
        start = max(0, os.fstat(descriptor).st_size - _LOG_BYTES)
        return os.pread(descriptor, _LOG_BYTES, start).decode(errors="replace").replace("\0", "")


def _checked_device(device: str) -> str:
    return device if device == "local" else str(RpcAddress.parse(device))


def _checked_cpus(cpus: Sequence[int] | None, device: str) -> list[int] | None:
    if cpus is None:
        return None
    if is_remote(device):
        raise InputError(
            f"cpus {list(cpus)} for device {device}: expected none, since they are of this "
            "machine; start the device's server on the CPUs that it may use (taskset)"
        )
    usable = sorted(os.sched_getaffinity(0))
    if not cpus or not set(cpus) <= set(usable):
        raise InputError(f"cpus {list(cpus)}: expected one or more of {usable}")
    return sorted(cpus)


def _kill_session(session: int) -> None:
    """Kill what is left of a worker's session, such as the processes of a build that it ran."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # After the name in parentheses, which may be any bytes: state, parent, group, session.
            if int(stat.read_bytes().rpartition(b")")[2].split()[3]) == session:
                os.kill(int(stat.parent.name), signal.SIGKILL)


def _receive_line(channel: socket.socket, limit_s: float) -> bytes:
    """The next line; OSError where it does not come in time or the other side is gone."""
    deadline = time.monotonic() + limit_s
    received = bytearray()
    while not received.endswith(b"\n"):
        channel.settimeout(max(1e-3, deadline - time.monotonic()))
        chunk = channel.recv(1 << 16)
        if not chunk:
            raise ConnectionResetError("the process ended")
        received += chunk
    return bytes(received)
