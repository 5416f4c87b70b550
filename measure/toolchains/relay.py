"""The toolchain ``tvm-relay``: a TVM that still has Relay (0.19 or older), graph executor."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import onnx
import tvm
from tvm.contrib import graph_executor

from measure.toolchains.base import Artifact, Toolchain
from measure.weights import fill_weights
from relay_frontend.errors import CostModelError, InputError
from relay_frontend.graph import OpGraph
from relay_frontend.kernel import Kernel
from relay_frontend.relay import kernels as relay_kernels
from relay_frontend.relay import read_relay
from relay_frontend.relay.importer import import_onnx

Array = npt.NDArray[Any]

_FORMAT = 1
_LIBRARY = "network.so"
_GRAPH = "graph.json"
_DESCRIPTION = "artifact.json"
_TABLES = "tables.npz"
_FILL_SEED = 0


class KernelNamesError(CostModelError):
    """TVM built other kernels than were expected, so that their times could not be told apart."""


class RelayToolchain(Toolchain):
    """``relay.build`` at opt level 3 with TOPI's schedules, untuned."""

    name: ClassVar[str] = "tvm-relay"

    def versions(self) -> dict[str, str]:
        """Versions of TVM, its LLVM and Python."""
        info = tvm.support.libinfo()
        return {
            "tvm": tvm.__version__,
            "tvm_commit": str(info["GIT_COMMIT_HASH"]),
            "llvm": str(info["LLVM_VERSION"]),
            "python": platform.python_version(),
        }

    def default_target(self) -> str:
        """LLVM for this machine; the triple is named, since TVM's own default need not be it."""
        cpu = tvm.get_global_func("target.llvm_get_system_cpu")()
        return f"llvm -mtriple={platform.machine()}-linux-gnu -mcpu={cpu}"

    def build(self, network: onnx.ModelProto, target: str, directory: Path) -> None:
        """Compile ``network`` into a shared library and a graph, and describe both beside them.

        Of the weights only their types and distributions are written, and integers: they may be
        indices, with which a random table would not run.

        Raises:
            InputError: TVM does not know ``target``.
            NetworkError, DynamicShapeError: see :func:`relay_frontend.relay.importer.import_onnx`.
            KernelNamesError: this TVM names its kernels in a way that is not known here.
        """
        fused, inputs = _fuse(network, target)
        factory = fused.build()
        kernels = relay_kernels.fused_kernels(fused)
        graph_json = factory.get_graph_json()
        _check_names(kernels, _kernel_nodes(graph_json))
        params = {name: array.numpy() for name, array in factory.get_params().items()}
        directory.mkdir(parents=True, exist_ok=True)
        factory.get_lib().export_library(str(directory / _LIBRARY))
        (directory / _GRAPH).write_text(graph_json, encoding="utf-8")
        tables = {name: array for name, array in params.items() if array.dtype.kind != "f"}
        np.savez(directory / _TABLES, **tables)
        description = {
            "format": _FORMAT,
            "toolchain": self.name,
            "versions": self.versions(),
            "target": target,
            "inputs": inputs,
            "weights": {n: _distribution(a) for n, a in params.items() if n not in tables},
            "kernels": [kernel.to_dict() for kernel in kernels],
        }
        (directory / _DESCRIPTION).write_text(json.dumps(description), encoding="utf-8")

    def load(self, directory: Path, seed: int = 0) -> RelayArtifact:
        """Load what :meth:`build` wrote, with weights and inputs drawn from ``seed``.

        Raises:
            InputError: ``directory`` holds no artifact of this toolchain and format.
        """
        path = directory / _DESCRIPTION
        if not path.is_file():
            raise InputError(f"no artifact in {directory}: {_DESCRIPTION} is missing; build first")
        description = json.loads(path.read_text(encoding="utf-8"))
        found = (description.get("toolchain"), description.get("format"))
        if found != (self.name, _FORMAT):
            raise InputError(
                f"{path} is of toolchain and format {found}, expected {(self.name, _FORMAT)}: "
                "build the network again"
            )
        return RelayArtifact(directory, description, seed)

    def kernels(self, network: onnx.ModelProto, target: str) -> tuple[Kernel, ...]:
        """The kernels that :meth:`build` would emit; raises what :meth:`build` raises."""
        return relay_kernels.fused_kernels(_fuse(network, target)[0])

    def graph(self, network: onnx.ModelProto) -> OpGraph:
        """The operator graph of ``network`` as TVM imports it."""
        module, params = import_onnx(fill_weights(network, _FILL_SEED))
        return read_relay(module, params)


class RelayArtifact(Artifact):
    """A network in TVM's graph executor."""

    def __init__(self, directory: Path, description: Mapping[str, Any], seed: int) -> None:
        self.kernels = tuple(Kernel.from_dict(k) for k in description["kernels"])
        self._directory = directory
        self._description = description
        self._seed = seed
        self._graph_json = (directory / _GRAPH).read_text(encoding="utf-8")
        self._nodes = [index for index, _ in _kernel_nodes(self._graph_json)]
        self._library = tvm.runtime.load_module(str(directory / _LIBRARY))
        self._executor = self._create("tvm.graph_executor.create")
        self._run: Callable[[], None] = self._executor.module["run"]
        self._execute_node: Callable[[int], None] | None = None

    def time(self, number: int) -> float:
        """Wall time in seconds of ``number`` inferences in a row, inputs and outputs on device."""
        run = self._run
        start = time.perf_counter()
        for _ in range(number):
            run()
        return time.perf_counter() - start

    def time_kernels(self, number: int, repeat: int) -> npt.NDArray[np.float64]:
        """Mean time in ms of each kernel call over ``number`` runs, ``[repeat, num_kernels]``.

        The calls are timed one by one in the order of an inference, so with the caches in the
        state in which an inference finds them; each bears about a microsecond of Python.
        """
        if self._execute_node is None:
            debugger = self._create("tvm.graph_executor_debug.create")
            self._execute_node = debugger.module["execute_node"]
            self._sweep(self._execute_node)
        execute_node = self._execute_node
        sweeps = [[self._sweep(execute_node) for _ in range(number)] for _ in range(repeat)]
        seconds = np.array(sweeps, np.float64).reshape(repeat, number, len(self.kernels))
        return np.asarray(seconds.mean(axis=1) * 1e3)

    def outputs(self) -> list[Array]:
        """The outputs of one inference."""
        self._run()
        count = self._executor.get_num_outputs()
        return [self._executor.get_output(index).numpy() for index in range(count)]

    def _create(self, constructor: str) -> graph_executor.GraphModule:
        device = tvm.cpu(0)
        create = tvm.get_global_func(constructor)
        module = create(self._graph_json, self._library, device.device_type, device.device_id)
        executor = graph_executor.GraphModule(module)
        for name, value in _draw(self._directory, self._description, self._seed).items():
            executor.set_input(name, value)
        return executor

    def _sweep(self, execute_node: Callable[[int], None]) -> list[float]:
        """Seconds of each kernel call in one inference."""
        seconds = []
        execute_node(0)  # an input: back to the start
        for index in self._nodes:
            start = time.perf_counter()
            execute_node(index)
            seconds.append(time.perf_counter() - start)
        return seconds


def _fuse(
    network: onnx.ModelProto, target: str
) -> tuple[relay_kernels.FusedModule, list[dict[str, Any]]]:
    """The fused network and its data inputs."""
    module, params = import_onnx(fill_weights(network, _FILL_SEED))
    inputs = [
        {
            "name": var.name_hint,
            "shape": [int(n) for n in var.type_annotation.shape],
            "dtype": str(var.type_annotation.dtype),
        }
        for var in module["main"].params
        if var.name_hint not in params
    ]
    return relay_kernels.fuse(module, target, params), inputs


def _kernel_nodes(graph_json: str) -> list[tuple[int, str]]:
    """Index and function name of each node of the graph executor that calls a function."""
    nodes = json.loads(graph_json)["nodes"]
    return [(i, n["attrs"]["func_name"]) for i, n in enumerate(nodes) if n["op"] == "tvm_op"]


def _check_names(kernels: Sequence[Kernel], nodes: Sequence[tuple[int, str]]) -> None:
    expected = [kernel.name for kernel in kernels]
    found = [name for _, name in nodes]
    if expected != found:
        raise KernelNamesError(
            f"TVM {tvm.__version__} built the kernels {found} where {expected} were expected: "
            "relay_frontend.relay.kernels must learn how this TVM names them"
        )


def _distribution(array: Array) -> dict[str, Any]:
    wide = array.astype(np.float64)
    return {
        "shape": list(array.shape),
        "dtype": str(array.dtype),
        "mean": float(wide.mean()),
        "std": float(wide.std()),
        "low": float(wide.min()),
        "high": float(wide.max()),
    }


def _draw(directory: Path, description: Mapping[str, Any], seed: int) -> dict[str, Array]:
    """Seeded values of all inputs of the graph executor.

    Weights are normal with the mean and deviation that they had when the network was built,
    within the range that they had: activations keep their scale, what was positive stays so.
    """
    rng = np.random.default_rng(seed)
    values = {t["name"]: _draw_data(t, rng) for t in description["inputs"]}
    for name, d in description["weights"].items():
        drawn = rng.standard_normal(tuple(d["shape"]), dtype=np.float32)
        drawn = (drawn * d["std"] + d["mean"]).clip(d["low"], d["high"])
        values[name] = drawn.astype(d["dtype"])
    with np.load(directory / _TABLES) as tables:
        values.update(tables)
    return values


def _draw_data(type_: Mapping[str, Any], rng: np.random.Generator) -> Array:
    """Standard normal floats; zeros and ones for integers, which may be indices."""
    shape, dtype = tuple(type_["shape"]), np.dtype(type_["dtype"])
    if dtype.kind == "f":
        return rng.standard_normal(shape, dtype=np.float32).astype(dtype)
    return rng.integers(0, 2, shape).astype(dtype)
