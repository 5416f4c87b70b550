"""A toolchain that misbehaves as the name of the network says: ``<where>-<how>``, or not at all."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from measure.toolchains.base import Artifact, Toolchain
from relay_frontend.graph import OpGraph, TensorType
from relay_frontend.kernel import Kernel
from relay_frontend.onnx import read_onnx

SPEC = f"{__name__}:FakeToolchain"
RUN_S = 0.001
MEMORY_BYTES = 1 << 30


def network(name: str, layers: int = 1) -> onnx.ModelProto:
    """A chain of ``layers`` ReLUs; another number of layers is another operator graph."""
    nodes = [helper.make_node("Relu", [f"x{i}"], [f"x{i + 1}"]) for i in range(layers)]
    ends = [helper.make_tensor_value_info(f"x{i}", TensorProto.FLOAT, [1, 8]) for i in (0, layers)]
    graph = helper.make_graph(nodes, name, ends[:1], ends[1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


def misbehave(how: str, directory: Path) -> None:
    """Do what no toolchain should; what hangs leaves its process ids in ``directory``."""
    if how == "segv":
        print("about to crash", flush=True)
        os.kill(os.getpid(), signal.SIGSEGV)
    elif how == "hang":
        grandchild = os.fork()
        if grandchild:
            (directory / "hanging").write_text(f"{os.getpid()} {grandchild}")
        time.sleep(1000)
    elif how == "exit":
        os._exit(3)
    elif how == "unpin":
        os.sched_setaffinity(0, range(os.cpu_count() or 1))
    elif how == "quit":
        raise SystemExit("the compiler gives up")
    elif how == "memory":
        np.ones(MEMORY_BYTES, dtype=np.uint8)
    elif how == "raise":
        raise ValueError("Traceback of the compiler\nno schedule for operator foo")
    elif how == "garbage":
        os.write(1, b'{"result": 1}\n' * 3)
        print('{"result": "garbage"}')


class FakeArtifact(Artifact):
    """Sleeps instead of computing."""

    def __init__(self, behaviour: str, directory: Path) -> None:
        self._where, _, self._how = behaviour.partition("-")
        self._directory = directory
        types = (TensorType((1, 8)),)
        self.kernels = tuple(
            Kernel(name=f"fused_relu_{i}", kind="relu", arguments=types, results=types, flops=8)
            for i in range(2)
        )

    def time(self, number: int) -> float:
        if self._where == "run":
            misbehave(self._how, self._directory)
        start = time.perf_counter()
        time.sleep(number * RUN_S)
        return time.perf_counter() - start

    def time_kernels(self, number: int, repeat: int) -> np.ndarray:
        if self._where == "kernels":
            misbehave(self._how, self._directory)
        return np.tile([0.25, 0.75], (repeat, 1))

    def outputs(self) -> list[np.ndarray]:
        value = np.nan if self._where == "nan" else 0.0
        return [np.full((1, 8), value, dtype=np.float32)]


class FakeToolchain(Toolchain):
    """Builds anything in no time."""

    name = "fake"

    def versions(self) -> dict[str, str]:
        return {"fake": os.environ.get("FAKE_VERSION", "1"), "python": "3"}

    def default_target(self) -> str:
        return "fake -mcpu=z80"

    def build(self, network: onnx.ModelProto, target: str, directory: Path) -> None:
        where, _, how = network.graph.name.partition("-")
        if where == "build":
            misbehave(how, directory)
        (directory / "behaviour").write_text(network.graph.name)

    def load(self, directory: Path, seed: int = 0, device: str = "local") -> Artifact:
        with (directory / "pids").open("a") as pids:
            pids.write(f"{os.getpid()} ")
        return FakeArtifact((directory / "behaviour").read_text(), directory)

    def kernels(self, network: onnx.ModelProto, target: str) -> tuple[Kernel, ...]:
        return FakeArtifact("", Path()).kernels

    def graph(self, network: onnx.ModelProto) -> OpGraph:
        return read_onnx(network)
