"""Networks are measured on devices over RPC, and devices fail: a real tracker and real servers."""

from __future__ import annotations

import contextlib
import gc
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from measure.client import Limits, Worker
from measure.conditions import unknown_counters
from measure.errors import DeviceError, RunError
from measure.probes import Quiet
from measure.protocol import Protocol
from measure.records import Round
from measure.rpc.address import RpcAddress
from measure.toolchains import load_toolchain
from measure.zoo.inverted_residual import InvertedResiduals
from measure.zoo.mobilenet_v2 import MobileNetV2Config, build
from tests.measure.rpc.servers import (
    Server,
    Tracker,
    free_port,
    server,
    tracker,
    wait_for_load,
)

QUICK = Protocol(name="quick-lq", warmup_s=0.0, min_sample_s=0.002, min_samples=3, max_samples=3)
ENDLESS = replace(QUICK, min_sample_s=0.05, min_samples=10_000, max_samples=10_000)
LIMITS = Limits(round_s=20.0, kernels_s=30.0, start_s=60.0)
SHORT_S = 4.0


@dataclass(frozen=True)
class Rig:
    """Two servers of ours under the key ``pair``, one of TVM's own under ``stock``."""

    toolchain: str
    tracker: Tracker
    pair: tuple[Server, Server]
    stock: Server
    artifact: Path
    the_worker: Worker

    def worker(self, key: str, **limits: float) -> Worker:
        """The one worker, which is slow to start, for another device."""
        self.the_worker.device = self.tracker.device(key)
        self.the_worker.limits = replace(LIMITS, **limits)
        return self.the_worker


@pytest.fixture(
    scope="module",
    params=[
        pytest.param("tvm-relax", marks=pytest.mark.relax),
        pytest.param("tvm-relay", marks=pytest.mark.relay),
    ],
)
def started(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Rig]:
    toolchain: str = request.param
    directory = tmp_path_factory.mktemp("rpc")
    with contextlib.ExitStack() as stack:
        worker = stack.enter_context(Worker(toolchain))
        its_tracker = stack.enter_context(tracker(toolchain, directory))

        def start(key: str, *, stock: bool = False) -> Server:
            process = server(toolchain, its_tracker, key, directory, stock=stock)
            return stack.enter_context(process)

        pair = (start("pair"), start("pair"))
        yield Rig(
            toolchain=toolchain,
            tracker=its_tracker,
            pair=pair,
            stock=start("stock", stock=True),
            artifact=build_small(worker, directory),
            the_worker=worker,
        )


@pytest.fixture
def rig(started: Rig) -> Rig:
    """All servers run and wait, whatever the test before did to them."""
    for process in (*started.pair, started.stock):
        if process.is_running():
            process.resume()
        else:
            process.start()
    started.tracker.wait_for_servers("pair", 2)
    started.tracker.wait_for_servers("stock", 1)
    return started


def build_small(worker: Worker, directory: Path) -> Path:
    stages = (
        InvertedResiduals(expansion=4, width=16, depth=1, stride=1),
        InvertedResiduals(expansion=4, width=32, depth=1, stride=2),
    )
    network = build(MobileNetV2Config(stem_width=16, stages=stages, head_width=64, input_size=32))
    model = directory / "network.onnx"
    onnx.save(network, model)
    worker.build("small", model, worker.describe().target, directory / "artifact")
    return directory / "artifact"


def test_our_server_leaves_torch_out(rig: Rig) -> None:
    for process in rig.pair:
        assert "libtvm" in process.libraries()
        assert "libtorch" not in process.libraries()


def test_our_server_runs_the_probes_where_the_network_runs(rig: Rig) -> None:
    worker = rig.worker("pair")
    reference = worker.watch(0.1)
    assert reference is not None
    worker.quiet = Quiet(reference_ms=reference)
    try:
        found = worker.measure("small", rig.artifact, QUICK)
    finally:
        worker.quiet = None
    assert len(found.conditions["probes_ms"]) == len(found.samples)
    assert rig.worker("stock").watch(0.1) is None


def measure_and(
    rig: Rig, worker: Worker, do: Callable[[Server], None]
) -> tuple[Future[Round], Server]:
    """Start a round that does not end, ``do`` something to the server that runs it."""
    before = [process.loaded() for process in rig.pair]
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(worker.measure, "small", rig.artifact, ENDLESS)
        serving = wait_for_load(rig.pair, before)
        time.sleep(0.5)
        do(serving)
    return future, serving


def test_the_device_tells_what_it_is(rig: Rig) -> None:
    expected = load_toolchain(rig.toolchain).fingerprint()
    assert rig.worker("pair").fingerprint() == expected


def test_a_round_is_timed_on_the_device(rig: Rig) -> None:
    worker = rig.worker("pair")
    finished = worker.measure("small", rig.artifact, QUICK)
    assert finished.samples.shape == (3,)
    assert np.isfinite(finished.samples).all()
    assert (finished.samples > 0).all()
    assert unknown_counters(finished.conditions) is None
    assert finished.conditions["cpu_per_wall"] > 0
    assert finished.conditions["threads"] == 1


def test_kernels_are_timed_on_the_device(rig: Rig) -> None:
    worker = rig.worker("pair")
    times = worker.time_kernels("small", rig.artifact, QUICK)
    local = load_toolchain(rig.toolchain).load(rig.artifact)
    assert times.kernels == local.kernels
    assert times.samples.shape == (len(local.kernels), QUICK.kernel_repeats)
    assert (times.samples > 0).all()


@pytest.mark.parametrize("key", ["pair", "stock"])
def test_outputs_are_those_of_this_machine(rig: Rig, key: str) -> None:
    toolchain = load_toolchain(rig.toolchain)
    expected = toolchain.load(rig.artifact, 3).outputs()
    found = toolchain.load(rig.artifact, 3, rig.tracker.device(key)).outputs()
    # A session ends when nothing in this process refers to it.
    gc.collect()
    rig.tracker.wait_for_servers(key, {"pair": 2, "stock": 1}[key])
    for ours, theirs in zip(expected, found, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_stock_server_times_but_cannot_tell_its_conditions(rig: Rig) -> None:
    worker = rig.worker("stock")
    assert worker.fingerprint() is None
    finished = worker.measure("small", rig.artifact, QUICK)
    assert (finished.samples > 0).all()
    assert unknown_counters(finished.conditions) is not None
    assert finished.conditions["threads"] is None


@pytest.mark.relax
def test_a_stock_server_cannot_time_kernels_of_relax(rig: Rig) -> None:
    worker = rig.worker("stock")
    with pytest.raises(RunError, match="time no kernels there"):
        worker.time_kernels("small", rig.artifact, QUICK)


def test_a_killed_server_is_a_lost_device_and_the_other_one_goes_on(rig: Rig) -> None:
    worker = rig.worker("pair")
    future, _ = measure_and(rig, worker, Server.kill)
    with pytest.raises(DeviceError, match="was lost while"):
        future.result()
    assert worker.measure("small", rig.artifact, QUICK).samples.shape == (3,)


def test_a_server_that_stalls_is_a_lost_device_within_the_limit(rig: Rig) -> None:
    worker = rig.worker("pair", round_s=SHORT_S)
    start = time.monotonic()
    future, _ = measure_and(rig, worker, Server.stall)
    with pytest.raises(DeviceError, match="timeout"):
        future.result()
    assert time.monotonic() - start < SHORT_S + 30
    assert worker.measure("small", rig.artifact, QUICK).samples.shape == (3,)


def test_servers_that_stalled_before_do_not_take_connections(rig: Rig) -> None:
    for process in rig.pair:
        process.stall()
    worker = rig.worker("pair", round_s=SHORT_S)
    with pytest.raises(DeviceError, match="does not take connections"):
        worker.measure("small", rig.artifact, QUICK)
    for process in rig.pair:
        process.resume()
    rig.tracker.wait_for_servers("pair", 2)
    assert worker.measure("small", rig.artifact, QUICK).samples.shape == (3,)


def test_a_bad_library_is_the_fault_of_the_network(rig: Rig, tmp_path: Path) -> None:
    bad = shutil.copytree(rig.artifact, tmp_path / "bad")
    (bad / "network.so").write_bytes(b"no library" * 100)
    before = [process.loaded() for process in rig.pair]
    worker = rig.worker("pair")
    with pytest.raises(RunError):
        worker.measure("small", bad, QUICK)
    assert worker.measure("small", rig.artifact, QUICK).samples.shape == (3,)
    assert [process.loaded() for process in rig.pair] != before


def test_a_library_that_kills_its_session_does_not_kill_the_server(
    rig: Rig, tmp_path: Path
) -> None:
    deadly = shutil.copytree(rig.artifact, tmp_path / "deadly")
    source = tmp_path / "deadly.c"
    source.write_text(
        "#include <stdlib.h>\n__attribute__((constructor)) static void die(void) { abort(); }\n"
    )
    command = ["gcc", "-shared", "-fPIC", "-o", str(deadly / "network.so"), str(source)]
    subprocess.run(command, check=True)
    worker = rig.worker("pair")
    for _ in rig.pair:
        with pytest.raises(DeviceError, match="was lost while loading"):
            worker.measure("small", deadly, QUICK)
    rig.tracker.wait_for_servers("pair", 2)
    assert worker.measure("small", rig.artifact, QUICK).samples.shape == (3,)


def test_a_client_that_is_killed_leaves_a_server_that_serves(rig: Rig) -> None:
    worker = rig.worker("pair", round_s=SHORT_S)
    future, _ = measure_and(rig, worker, lambda _: worker.abort())
    assert future.exception() is not None
    rig.tracker.wait_for_servers("pair", 2)


def test_a_key_that_nobody_serves_fails_in_time(rig: Rig) -> None:
    worker = rig.worker("nobody", round_s=SHORT_S)
    start = time.monotonic()
    with pytest.raises(DeviceError, match=r"nobody serves the key 'nobody'.*pair, stock"):
        worker.measure("small", rig.artifact, QUICK)
    assert time.monotonic() - start < SHORT_S + 30


def test_a_server_that_another_client_holds_is_busy(rig: Rig) -> None:
    from measure.rpc.connection import Connection  # noqa: PLC0415 - needs a TVM

    address = RpcAddress.parse(rig.tracker.device("stock"))
    worker = rig.worker("stock", round_s=SHORT_S)
    with (
        contextlib.closing(Connection(address)),
        pytest.raises(DeviceError, match=r"all of its servers \(1\) stay busy"),
    ):
        worker.measure("small", rig.artifact, QUICK)
    assert worker.measure("small", rig.artifact, QUICK).samples.shape == (3,)


def test_an_address_without_a_tracker_is_named(rig: Rig) -> None:
    device = f"rpc://127.0.0.1:{free_port()}/pair"
    worker = rig.worker("pair")
    worker.device = device
    with pytest.raises(DeviceError, match=device.replace(".", r"\.")):
        worker.fingerprint()


def test_what_answers_may_be_no_tracker(rig: Rig) -> None:
    device = f"rpc://127.0.0.1:{rig.pair[0].port}/pair"
    worker = rig.worker("pair", round_s=SHORT_S)
    worker.device = device
    with pytest.raises(DeviceError, match="no tracker answers"):
        worker.measure("small", rig.artifact, QUICK)
