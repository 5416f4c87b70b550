"""Workers, with a toolchain that crashes, hangs and leaks."""

from __future__ import annotations

import os
import resource
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import onnx
import pytest

from measure.client import Limits, Worker
from measure.errors import (
    BuildError,
    MeasurementError,
    RunError,
    TimeLimitError,
    UnknownToolchainError,
    WorkerError,
)
from measure.protocol import Protocol
from measure.worker import _limit_resources, _read_line
from relay_frontend.errors import InputError
from tests.measure.fake_toolchain import MEMORY_BYTES, SPEC, network

QUICK = Protocol(name="quick-lq", warmup_s=0.0, min_sample_s=0.002, min_samples=3, max_samples=3)


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    with Worker(SPEC, threads=2, limits=Limits(memory_bytes=MEMORY_BYTES // 2)) as worker:
        yield worker


def build(worker: Worker, name: str, directory: Path) -> float:
    model = directory / "network.onnx"
    onnx.save(network(name), model)
    return worker.build(name, model, "fake", directory)


def wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + 5
    while is_running(pid):
        assert time.monotonic() < deadline, f"process {pid} still runs"
        time.sleep(0.01)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_for_hanging(directory: Path) -> list[int]:
    """Process ids of a child that hangs and of the child of that child."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        pids = (
            (directory / "hanging").read_text().split() if (directory / "hanging").exists() else []
        )
        if len(pids) == 2:
            return [int(pid) for pid in pids]
        time.sleep(0.01)
    raise AssertionError("nothing hangs")


def test_the_toolchain_describes_itself(worker: Worker) -> None:
    info = worker.describe()
    assert (info.name, info.target) == ("fake", "fake -mcpu=z80")
    assert info.versions == {"fake": "1", "python": "3"}


@pytest.mark.relax
def test_torch_which_tvm_would_import_is_left_out() -> None:
    with Worker("tvm-relax") as worker:
        worker.describe()
        assert worker._process is not None
        libraries = Path(f"/proc/{worker._process.pid}/maps").read_text()
    assert "libtvm" in libraries
    assert "libtorch" not in libraries


def test_a_round_has_samples_and_conditions(worker: Worker, tmp_path: Path) -> None:
    build_s = build(worker, "ok", tmp_path)
    before = time.time()
    finished = worker.measure("ok", tmp_path, QUICK)
    assert finished.samples.shape == (3,)
    assert (finished.samples >= 1.0).all()
    assert before - 1 <= finished.started_at <= time.time() + 1
    assert finished.conditions["build_s"] == build_s
    assert finished.conditions["threads"] == 2
    assert finished.conditions["cpus"] is None
    assert finished.conditions["stop"] in {"settled", "max_samples"}
    assert finished.conditions["cpu_per_wall"] < 1.0


def test_a_timing_keeps_to_the_cpus_that_it_was_given(tmp_path: Path) -> None:
    cpu = max(os.sched_getaffinity(0))
    with Worker(SPEC, cpus=[cpu]) as worker:
        build(worker, "ok", tmp_path)
        conditions = worker.measure("ok", tmp_path, QUICK).conditions
    assert conditions["cpus"] == [cpu]
    assert conditions["affinity"] == 1


def test_tvm_binds_no_threads_where_they_are_to_keep_to_some_cpus(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("TVM_BIND_THREADS", raising=False)
    cpu = max(os.sched_getaffinity(0))
    assert Worker(SPEC, threads=2, cpus=[cpu])._environment()["TVM_BIND_THREADS"] == "0"
    assert "TVM_BIND_THREADS" not in Worker(SPEC, threads=2)._environment()


def test_a_timing_that_leaves_the_cpus_that_it_was_given_says_so(tmp_path: Path) -> None:
    cpu, usable = max(os.sched_getaffinity(0)), sorted(os.sched_getaffinity(0))
    with Worker(SPEC, cpus=[cpu]) as worker:
        build(worker, "run-unpin", tmp_path)
        conditions = worker.measure("run-unpin", tmp_path, QUICK).conditions
    assert set(conditions["cpus"]) >= set(usable)
    assert conditions["affinity"] == len(conditions["cpus"])


@pytest.mark.parametrize("cpus", [[], [100_000]])
def test_cpus_that_are_not_there_are_refused(cpus: list[int]) -> None:
    with pytest.raises(InputError, match="expected one or more of"):
        Worker(SPEC, cpus=cpus)


def test_every_request_has_a_fresh_process(worker: Worker, tmp_path: Path) -> None:
    build(worker, "ok", tmp_path)
    for _ in range(2):
        worker.measure("ok", tmp_path, QUICK)
    pids = (tmp_path / "pids").read_text().split()
    assert len(set(pids)) == 2
    assert not any(is_running(int(pid)) for pid in pids)


def test_kernels_come_with_one_row_of_samples_each(worker: Worker, tmp_path: Path) -> None:
    build(worker, "ok", tmp_path)
    times = worker.time_kernels("ok", tmp_path, QUICK)
    assert times.samples.tolist() == [[0.25] * QUICK.kernel_repeats, [0.75] * QUICK.kernel_repeats]
    (timing,) = times.timings
    assert timing.inner_count == 2  # sweeps of 1 ms that last the 2 ms of a sample
    assert timing.conditions["threads"] == 2
    assert timing.conditions["foreign_cpu"] is not None
    listed = worker.kernels("ok", tmp_path / "network.onnx", "fake")
    assert listed == times.kernels
    assert [kernel.name for kernel in listed] == ["fused_relu_0", "fused_relu_1"]


def test_output_of_the_compiler_is_no_reply(worker: Worker, tmp_path: Path) -> None:
    build(worker, "build-garbage", tmp_path)
    assert worker.measure("build-garbage", tmp_path, QUICK).samples.shape == (3,)


@pytest.mark.parametrize(
    ("name", "cause", "said"),
    [
        ("build-segv", "SIGSEGV", "about to crash"),
        ("build-exit", "exit", "status 3"),
        ("build-quit", "exit", "SystemExit: the compiler gives up"),
        ("build-raise", "ValueError", "no schedule for operator foo"),
        ("build-memory", "MemoryError", "1.00 GiB"),
    ],
)
def test_a_failed_build_is_the_network_s_fault(
    worker: Worker, tmp_path: Path, name: str, cause: str, said: str
) -> None:
    with pytest.raises(BuildError) as caught:
        build(worker, name, tmp_path)
    error = caught.value
    assert (error.stage, error.network, error.cause) == ("build", name, cause)
    assert name in str(error)
    assert said in error.log + error.reason
    assert worker.describe().name == "fake"


@pytest.mark.parametrize(
    ("name", "cause"), [("run-segv", "SIGSEGV"), ("nan", "NonFiniteOutputError")]
)
def test_a_network_that_does_not_run_is_a_run_error(
    worker: Worker, tmp_path: Path, name: str, cause: str
) -> None:
    build(worker, name, tmp_path)
    with pytest.raises(RunError) as caught:
        worker.measure(name, tmp_path, QUICK)
    assert (caught.value.stage, caught.value.cause) == ("run", cause)


def test_a_reply_is_read_that_came_just_before_its_process_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reader, writer = os.pipe()
    ended, alive = os.pipe()
    os.write(writer, b"{}\n")
    for descriptor in (writer, alive):
        os.close(descriptor)
    look = select.select
    missed = iter([([ended], [], [])])
    monkeypatch.setattr(select, "select", lambda *watched: next(missed, None) or look(*watched))
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert _read_line(reader, ended, ours, time.monotonic() + 1) == b"{}\n"
    for descriptor in (reader, ended):
        os.close(descriptor)


def test_a_lower_limit_of_the_system_stays() -> None:
    child = os.fork()
    if child == 0:
        code = 1
        try:
            resource.setrlimit(resource.RLIMIT_DATA, (1 << 32, 1 << 32))
            _limit_resources(1 << 33)
            code = int(resource.getrlimit(resource.RLIMIT_DATA) != (1 << 32, 1 << 32))
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0


def test_other_processes_may_have_any_name() -> None:
    program = (
        "import os; open('/proc/self/comm', 'wb').write(b'\\xff) '); os.write(1, b'.'); input()"
    )
    command = [sys.executable, "-S", "-c", program]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.read(1) == b"."
        with Worker(SPEC) as worker:
            worker.describe()
        assert other.poll() is None
        other.kill()


def test_the_log_of_a_failure_holds_nothing_older(worker: Worker, tmp_path: Path) -> None:
    for name in ("build-segv", "build-raise"):
        with pytest.raises(BuildError) as caught:
            build(worker, name, tmp_path)
    assert "about to crash" not in caught.value.log


def test_a_hang_is_killed_with_all_that_it_started(tmp_path: Path) -> None:
    with Worker(SPEC, limits=Limits(build_s=1.0)) as worker:
        with pytest.raises(TimeLimitError) as caught:
            build(worker, "build-hang", tmp_path)
        assert (caught.value.stage, caught.value.limit_s) == ("build", 1.0)
        for pid in wait_for_hanging(tmp_path):
            wait_until_gone(pid)
        build(worker, "ok", tmp_path)


def test_a_lost_worker_is_no_fault_of_the_network_and_is_replaced(tmp_path: Path) -> None:
    with Worker(SPEC) as worker:
        worker.describe()
        process = worker._process
        assert process is not None

        def kill_server() -> None:
            wait_for_hanging(tmp_path)
            os.kill(process.pid, signal.SIGKILL)

        killer = threading.Thread(target=kill_server)
        killer.start()
        with pytest.raises(
            WorkerError, match="lost during build of network 'build-hang'"
        ) as caught:
            build(worker, "build-hang", tmp_path)
        killer.join()
        assert not isinstance(caught.value, MeasurementError)
        for pid in wait_for_hanging(tmp_path):
            wait_until_gone(pid)
        build(worker, "ok", tmp_path)


def test_aborting_ends_a_request_at_once_with_all_that_it_started(tmp_path: Path) -> None:
    with Worker(SPEC) as worker:

        def abort() -> None:
            wait_for_hanging(tmp_path)
            worker.abort()

        aborter = threading.Thread(target=abort)
        aborter.start()
        with pytest.raises(WorkerError):
            build(worker, "build-hang", tmp_path)
        aborter.join()
        for pid in wait_for_hanging(tmp_path):
            wait_until_gone(pid)


def test_an_unknown_toolchain_is_named_with_those_there_are() -> None:
    with pytest.raises(UnknownToolchainError, match=r"'nonsense'.*tvm-relay, tvm-relax"):
        Worker("nonsense")


def test_a_toolchain_that_cannot_be_imported_shows_why() -> None:
    with (
        Worker("no_such_module:Toolchain") as worker,
        pytest.raises(WorkerError, match=r"(?s)while it started.*No module named 'no_such_module'"),
    ):
        worker.describe()


def test_a_class_that_is_no_toolchain_is_refused() -> None:
    with (
        Worker("pathlib:Path") as worker,
        pytest.raises(WorkerError, match=r"(?s)pathlib\.Path is not a Toolchain"),
    ):
        worker.describe()
