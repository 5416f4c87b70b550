"""The worker: ``python -m measure.worker <toolchain> <fd>``, inside the toolchain's interpreter.

It imports the toolchain once, then serves requests, one JSON line each, over the socket ``fd``:
standard output belongs to the compilers. Each request runs in a freshly forked child, which gives
every build and every timing round a fresh process at the price of a fork, and keeps a crash, a
hang or a leak out of the server. The child dies with the server, the server when the socket closes.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import select
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from measure.conditions import ConditionsRecorder, usable_cpus
from measure.errors import DeviceError
from measure.probes import Prober, Probing, Quiet, RoundOfCpus, watch
from measure.protocol import Protocol, sample_kernels, sample_latency
from measure.rpc.address import RpcAddress, is_remote, with_limit
from measure.toolchains import leave_torch_out, load_toolchain
from measure.toolchains.base import Artifact, Toolchain, threads_here
from measure.weights import fill_weights

Request = Mapping[str, Any]
_PR_SET_PDEATHSIG = 1
_READ_BYTES = 1 << 16
_LAST_MOMENT_S = 0.05
_BUILD_NOTES = "build-notes.json"


class NonFiniteOutputError(Exception):
    """A built network computes NaN or infinity from ordinary weights and inputs."""


def describe(toolchain: Toolchain, _request: Request) -> dict[str, Any]:
    """Name, versions and default target of the toolchain."""
    return {
        "name": toolchain.name,
        "versions": toolchain.versions(),
        "target": toolchain.default_target(),
    }


def fingerprint(toolchain: Toolchain, request: Request) -> Mapping[str, Any] | None:
    """What ``device`` is, a :class:`Fingerprint`; None where TVM's own server cannot tell."""
    if not is_remote(request["device"]):
        return toolchain.fingerprint().to_dict()
    from measure.rpc.connection import Connection  # noqa: PLC0415 - needs a TVM

    address = RpcAddress.parse(with_limit(request["device"], request["limit_s"]))
    connection = Connection(address)
    with connection.checked("asked what it is"):
        return connection.fingerprint()


def build(toolchain: Toolchain, request: Request) -> dict[str, Any]:
    """Fill the weights of the ONNX file ``network`` from ``seed`` and build into ``directory``."""
    start = time.perf_counter()
    network = fill_weights(onnx.load(request["network"]), request["seed"])
    directory = Path(request["directory"])
    toolchain.build(network, request["target"], directory)
    notes = {"build_s": time.perf_counter() - start}
    (directory / _BUILD_NOTES).write_text(json.dumps(notes))
    return notes


def kernels(toolchain: Toolchain, request: Request) -> list[dict[str, Any]]:
    """The kernels of the ONNX file ``network`` for ``target``."""
    found = toolchain.kernels(onnx.load(request["network"]), request["target"])
    return [kernel.to_dict() for kernel in found]


def graph(toolchain: Toolchain, request: Request) -> dict[str, Any]:
    """The operator graph of the ONNX file ``network`` as the toolchain's importer gives it."""
    return toolchain.graph(onnx.load(request["network"])).to_dict()


def measure(toolchain: Toolchain, request: Request) -> dict[str, Any]:
    """One timing round of what was built into ``directory``."""
    protocol = Protocol(**request["protocol"])
    artifact = _load_checked(toolchain, request)
    started_at = time.time()
    recorder = ConditionsRecorder(artifact.read_counters)
    probing = _probing(artifact, request)
    sampling = sample_latency(artifact.time, protocol, seed=request["seed"], probing=probing)
    return {
        "started_at": started_at,
        "duration_s": sampling.duration_s,
        "inner_count": sampling.inner_count,
        "samples": sampling.samples.tolist(),
        "conditions": {
            **recorder.finish(),
            **sampling.notes(),
            **_probe_notes(probing),
            **_settings(artifact, request),
            **_build_notes(request),
        },
    }


def time_kernels(toolchain: Toolchain, request: Request) -> dict[str, Any]:
    """Samples of every kernel call of what was built into ``directory``, ``[call][sample]``."""
    artifact = _load_checked(toolchain, request)
    started_at = time.time()
    recorder = ConditionsRecorder(artifact.read_counters)
    probing = _probing(artifact, request)
    protocol = Protocol(**request["protocol"])
    sampling = sample_kernels(artifact.time_kernels, protocol, probing=probing)
    samples = sampling.samples
    if samples.shape[1] != len(artifact.kernels):
        raise ValueError(
            f"{samples.shape[1]} kernel times for {len(artifact.kernels)} kernels: "
            "the toolchain must give one per call"
        )
    return {
        "kernels": [kernel.to_dict() for kernel in artifact.kernels],
        "samples": samples.T.tolist(),
        "timing": {
            "started_at": started_at,
            "duration_s": sampling.duration_s,
            "inner_count": sampling.inner_count,
            "conditions": {
                **recorder.finish(),
                **_probe_notes(probing),
                **_settings(artifact, request),
            },
        },
    }


def reference(_toolchain: Toolchain, request: Request) -> list[float] | None:
    """Times of the probes while ``device`` is quiet; None where it cannot run them."""
    _pin(request)
    if not is_remote(request["device"]):
        return list(watch(Prober(), request["watch_s"], _mover(request)))
    from measure.rpc.connection import open_place  # noqa: PLC0415 - needs a TVM

    place = open_place(with_limit(request["device"], request["limit_s"]))
    with place.checked("running probes"):
        read = place.prober()
        return None if read is None else list(watch(read, request["watch_s"]))


_OPERATIONS: dict[str, Callable[[Toolchain, Request], Any]] = {
    "describe": describe,
    "fingerprint": fingerprint,
    "build": build,
    "kernels": kernels,
    "graph": graph,
    "measure": measure,
    "time_kernels": time_kernels,
    "reference": reference,
}


def _settings(artifact: Artifact, request: Request) -> dict[str, Any]:
    """What the harness set for a timing, as a part of its conditions.

    Where a library has freed its threads from the CPUs that were asked for, ``cpus`` shows it.
    """
    cpus = request["cpus"] and sorted(usable_cpus().union(request["cpus"]))
    return {"threads": artifact.threads, "cpus": cpus}


def _build_notes(request: Request) -> dict[str, Any]:
    """What was noted of the build; nothing where an older version made it."""
    path = Path(request["directory"]) / _BUILD_NOTES
    return json.loads(path.read_text()) if path.exists() else {}


def _probing(artifact: Artifact, request: Request) -> Probing | None:
    """None where it is not known when the device is quiet, or it cannot run the probes."""
    quiet = Quiet.of(request["quiet"])
    read = None if quiet is None else artifact.prober()
    return None if quiet is None or read is None else Probing(read, quiet, _mover(request))


def _mover(request: Request) -> Callable[[], None]:
    """Goes round the CPUs, where one thread is timed on this machine."""
    if is_remote(request["device"]) or threads_here() != 1:
        return lambda: None
    return RoundOfCpus(os.sched_getaffinity(0))


def _probe_notes(probing: Probing | None) -> dict[str, Any]:
    return {} if probing is None else probing.notes()


def _pin(request: Request) -> None:
    if request["cpus"] is not None:
        # Threads that the compiled network starts inherit it.
        os.sched_setaffinity(0, request["cpus"])


def _load_checked(toolchain: Toolchain, request: Request) -> Artifact:
    _pin(request)
    device = with_limit(request["device"], request["limit_s"])
    artifact = toolchain.load(Path(request["directory"]), request["seed"], device)
    outputs = artifact.outputs()
    for index, output in enumerate(outputs):
        if np.issubdtype(output.dtype, np.floating) and not np.isfinite(output).all():
            raise NonFiniteOutputError(
                f"output {index} ({output.dtype}{list(output.shape)}) has values that are not "
                "finite; such a network is not worth timing"
            )
    return artifact


def serve(toolchain: Toolchain, channel: socket.socket) -> None:
    """Answer requests, one at a time, until the other side closes ``channel``."""
    with channel.makefile("r", encoding="utf-8") as lines:
        for line in lines:
            reply = run_in_child(toolchain, json.loads(line), channel)
            channel.sendall(json.dumps(reply).encode() + b"\n")


def run_in_child(toolchain: Toolchain, request: Request, channel: socket.socket) -> dict[str, Any]:
    """Fork, run ``request`` in the child and give its reply, or how it ended without one.

    A reply has ``result``, or ``error`` with ``cause`` and ``reason``; ``cause`` is ``timeout``
    where the limit ``limit_s`` was reached, ``fault`` is ``device`` where the device and not the
    network may be to blame. Over RPC the network runs elsewhere: if this child is silent or dies,
    it is for what the device did, or did not answer.
    """
    fault = "device" if is_remote(request.get("device", "local")) else None
    reader, writer = os.pipe()
    server = os.getpid()
    child = os.fork()
    if child == 0:
        os.close(reader)
        # Not channel.close(), which a reader of lines puts off: the other side would see no end.
        os.close(channel.fileno())
        _run_child(toolchain, request, writer, server)
    os.close(writer)
    _own_group(child)
    ended = os.pidfd_open(child)
    try:
        line = _read_line(reader, ended, channel, time.monotonic() + request["limit_s"])
    except TimeoutError:
        return _failure("timeout", f"no reply within {request['limit_s']:g} s", fault)
    finally:
        status = _reap(child, ended)
        os.close(ended)
        os.close(reader)
    if line:
        return dict(json.loads(line))
    if os.WIFSIGNALED(status):
        name = signal.Signals(os.WTERMSIG(status)).name
        return _failure(name, f"the process was killed by signal {name}", fault)
    status = os.WEXITSTATUS(status)
    return _failure("exit", f"the process ended early with status {status}", fault)


def _read_line(reader: int, ended: int, channel: socket.socket, deadline: float) -> bytes:
    """Read until a newline, or nothing where the child ends before.

    ``channel`` is readable only when the other side is gone: it waits for a reply.
    """
    received = bytearray()
    watched = [reader, ended, channel.fileno()]
    while not received.endswith(b"\n"):
        left = deadline - time.monotonic()
        ready = select.select(watched, [], [], left)[0] if left > 0 else []
        if not ready:
            raise TimeoutError
        if channel.fileno() in ready:
            raise SystemExit("the other side is gone")
        # It may have written just before it ended, between the looks at the one and the other.
        readable = reader in ready or bool(select.select([reader], [], [], 0)[0])
        # Processes that the child started may keep the pipe open after it.
        chunk = os.read(reader, _READ_BYTES) if readable else b""
        if not chunk:
            return b""
        received += chunk
    return bytes(received)


def _reap(child: int, ended: int) -> int:
    """Give the child a moment to end by itself, kill what is left of its group, take its status."""
    select.select([ended], [], [], _LAST_MOMENT_S)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    return os.waitpid(child, 0)[1]


def _run_child(toolchain: Toolchain, request: Request, writer: int, server: int) -> None:
    """Run the request and leave; never returns, so that the child does not go on as a server."""
    code = 1
    try:
        _own_group(0)
        _die_with_parent(server)
        _limit_resources(request["memory_bytes"])
        reply = _reply(toolchain, request)
        sys.stdout.flush()
        sys.stderr.flush()
        with os.fdopen(writer, "wb") as stream:
            stream.write(json.dumps(reply).encode() + b"\n")
        code = 0
    except BaseException:  # noqa: BLE001 - the child leaves, whatever it was
        traceback.print_exc()
    finally:
        # Skips the destructors of the compiler's globals, which may crash after a good reply.
        os._exit(code)


def _reply(toolchain: Toolchain, request: Request) -> dict[str, Any]:
    try:
        return {"result": _OPERATIONS[request["operation"]](toolchain, request)}
    except Exception as error:  # noqa: BLE001 - whatever the compiler raises is its failure
        traceback.print_exc()
        # A compiler's message may hold its whole stack; what is wrong stands in its last line.
        lines = [line for line in str(error).splitlines() if line.strip()]
        reason = lines[-1].strip()[:500] if lines else "no message"
        fault = "device" if isinstance(error, DeviceError) else None
        return _failure(type(error).__name__, reason, fault)


def _failure(cause: str, reason: str, fault: str | None = None) -> dict[str, Any]:
    return {"error": {"cause": cause, "reason": reason, "fault": fault}}


def _own_group(pid: int) -> None:
    """Called by both sides of the fork, since either may be the first to need the group."""
    with contextlib.suppress(PermissionError, ProcessLookupError):
        os.setpgid(pid, pid)


def _die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when the server dies, however it dies (Linux)."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _limit_resources(memory_bytes: int) -> None:
    """No core files; a limit on data, not on address space, of which LLVM and CUDA reserve much.

    A lower limit that the system sets stays. Where memory runs out in spite of it, the kernel shall
    take this process, not the server.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    limit = memory_bytes if hard == resource.RLIM_INFINITY else min(memory_bytes, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def main(arguments: list[str]) -> None:
    """Import the toolchain, say so with an empty line, and serve."""
    name, descriptor = arguments
    with socket.socket(fileno=int(descriptor)) as channel:
        leave_torch_out(name)
        toolchain = load_toolchain(name)
        channel.sendall(b"\n")
        serve(toolchain, channel)


if __name__ == "__main__":
    main(sys.argv[1:])
