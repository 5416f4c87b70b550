"""The toolchain ``tvm-relay``: a TVM that still has Relay (0.19 or older), graph executor."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import onnx
import tvm
from tvm.autotvm import tophub

from measure.drawing import Draw
from measure.lookups import index_bounds
from measure.probes import Read
from measure.rpc.connection import open_place
from measure.toolchains.base import Artifact, Toolchain
from measure.toolchains.description import (
    architecture,
    draw_of_input,
    library_name,
    library_path,
    read_description,
    write_description,
)
from measure.toolchains.place import LocalPlace, Place, to_device
from measure.weights import fill_weights
from relay_frontend.errors import CostModelError, InputError
from relay_frontend.graph import OpGraph
from relay_frontend.kernel import Kernel
from relay_frontend.relay import kernels as relay_kernels
from relay_frontend.relay import read_relay
from relay_frontend.relay.importer import import_onnx

Array = npt.NDArray[Any]

_GRAPH = "graph.json"
_TABLES = "tables.npz"
_FILL_SEED = 0

# TOPI's schedules for ARM and GPUs would follow tuned ones that it downloads, or finds at home.
os.environ[tophub.AUTOTVM_TOPHUB_LOC_VAR] = tophub.AUTOTVM_TOPHUB_NONE_LOC
tophub.AUTOTVM_TOPHUB_ROOT_PATH = Path(os.devnull)
_DISTRIBUTION_ELEMENTS = 1 << 18


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
            InputError: TVM does not know ``target``, or it names no triple.
            NetworkError, DynamicShapeError: see :func:`relay_frontend.relay.importer.import_onnx`.
            KernelNamesError: this TVM names its kernels in a way that is not known here.
        """
        fused, inputs = _fuse(network, target)
        built_for = architecture(fused.target.attrs["mtriple"])
        factory = fused.build()
        kernels = relay_kernels.fused_kernels(fused)
        graph_json = factory.get_graph_json()
        _check_names(kernels, _kernel_nodes(graph_json))
        params = {name: array.numpy() for name, array in factory.get_params().items()}
        directory.mkdir(parents=True, exist_ok=True)
        factory.get_lib().export_library(str(directory / library_name(built_for)))
        (directory / _GRAPH).write_text(graph_json, encoding="utf-8")
        tables = {name: array for name, array in params.items() if array.dtype.kind != "f"}
        np.savez(directory / _TABLES, **tables)
        write_description(
            directory,
            toolchain=self.name,
            versions=self.versions(),
            target=target,
            kernels=kernels,
            architecture=built_for,
            inputs=inputs,
            weights={n: _distribution(a) for n, a in params.items() if n not in tables},
        )

    def load(self, directory: Path, seed: int = 0, device: str = "local") -> RelayArtifact:
        """Load what :meth:`build` wrote, with weights and inputs drawn from ``seed``.

        Raises:
            InputError: ``directory`` holds no artifact of this toolchain and format, or one for
                another architecture than that of ``device``, if that is this machine.
            DeviceError: ``device`` cannot be reached, or was lost.
        """
        description = read_description(directory, self.name, device)
        return RelayArtifact(directory, description, seed, open_place(device))

    def kernels(self, network: onnx.ModelProto, target: str) -> tuple[Kernel, ...]:
        """The kernels that :meth:`build` would emit; raises what :meth:`build` raises."""
        return relay_kernels.fused_kernels(_fuse(network, target)[0])

    def graph(self, network: onnx.ModelProto) -> OpGraph:
        """The operator graph of ``network`` as TVM imports it."""
        module, params = import_onnx(fill_weights(network, _FILL_SEED))
        return read_relay(module, params)


class RelayArtifact(Artifact):
    """A network in TVM's graph executor."""

    def __init__(
        self, directory: Path, description: dict[str, Any], seed: int, place: Place
    ) -> None:
        self.kernels = tuple(Kernel.from_dict(k) for k in description["kernels"])
        self._place = place
        self._graph_json = (directory / _GRAPH).read_text(encoding="utf-8")
        self._nodes = [index for index, _ in _kernel_nodes(self._graph_json)]
        self._debugger: Any = None
        specs = _draws(description)
        with place.checked("loading"):
            self._library = place.load_library(library_path(directory, description))
            self._values = dict(zip(specs, place.draw(list(specs.values()), seed), strict=True))
            with np.load(directory / _TABLES) as tables:
                self._values.update({n: to_device(a, place.device) for n, a in tables.items()})
            self._executor = self._create("tvm.graph_executor.create")

    @property
    def threads(self) -> int | None:
        """See :attr:`Artifact.threads`."""
        return self._place.threads

    def time(self, number: int) -> float:
        """Wall time in seconds of ``number`` inferences in a row, inputs and outputs on device."""
        with self._place.checked("running"):
            return self._place.time(self._executor, "run", number)

    def time_kernels(self, number: int, repeat: int) -> npt.NDArray[np.float64]:
        """Mean time in ms of each kernel call over ``number`` runs, ``[repeat, num_kernels]``.

        The calls are timed one by one in the order of an inference, so with the caches in the
        state in which an inference finds them. Here each bears about a microsecond of Python; on
        a device over RPC they are timed by TVM's profiler, which runs the network three times
        before each sweep.
        """
        sweep = self._sweep if isinstance(self._place, LocalPlace) else self._profile
        with self._place.checked("running kernels"):
            if self._debugger is None:
                self._debugger = self._create("tvm.graph_executor_debug.create")
                sweep()
            sweeps = [[sweep() for _ in range(number)] for _ in range(repeat)]
        seconds = np.array(sweeps, np.float64).reshape(repeat, number, len(self.kernels))
        return np.asarray(seconds.mean(axis=1) * 1e3)

    def outputs(self) -> list[Array]:
        """The outputs of one inference."""
        with self._place.checked("running"):
            self._executor["run"]()
            count = self._executor["get_num_outputs"]()
            return [self._executor["get_output"](index).numpy() for index in range(count)]

    def read_counters(self) -> Mapping[str, Any] | None:
        """See :meth:`Artifact.read_counters`."""
        with self._place.checked("reading counters"):
            return self._place.read_counters()

    def prober(self) -> Read | None:
        """See :meth:`Artifact.prober`."""
        with self._place.checked("looking for probes"):
            return self._place.prober()

    def _create(self, constructor: str) -> Any:
        cpu = tvm.cpu(0)
        create = self._place.get_function(constructor)
        executor = create(self._graph_json, self._library, cpu.device_type, cpu.device_id)
        set_input = executor["set_input"]
        for name, value in self._values.items():
            set_input(name, value)
        return executor

    def _sweep(self) -> list[float]:
        """Seconds of each kernel call in one inference."""
        execute_node = self._debugger["execute_node"]
        seconds = []
        execute_node(0)  # an input: back to the start
        for index in self._nodes:
            start = time.perf_counter()
            execute_node(index)
            seconds.append(time.perf_counter() - start)
        return seconds

    def _profile(self) -> list[float]:
        """Seconds of each kernel call in one inference, as the remote profiler sees them."""
        calls = json.loads(self._debugger["profile_rpc"]())["calls"]
        found = [call["Name"]["string"] for call in calls]
        if found != [kernel.name for kernel in self.kernels]:
            raise KernelNamesError(f"TVM's profiler saw other kernels than were built: {found}")
        return [call["Duration (us)"]["microseconds"] * 1e-6 for call in calls]


def _fuse(
    network: onnx.ModelProto, target: str
) -> tuple[relay_kernels.FusedModule, list[dict[str, Any]]]:
    """The fused network and its data inputs."""
    parsed = _parse_target(target)
    module, params = import_onnx(fill_weights(network, _FILL_SEED))
    bounds = index_bounds(network)
    inputs = [
        {
            "name": var.name_hint,
            "shape": [int(n) for n in var.type_annotation.shape],
            "dtype": str(var.type_annotation.dtype),
            "bound": bounds.get(var.name_hint, 1),
        }
        for var in module["main"].params
        if var.name_hint not in params
    ]
    return relay_kernels.fuse(module, parsed, params), inputs


def _parse_target(target: str) -> tvm.target.Target:
    """A CPU whose architecture the target tells.

    Raises:
        InputError: ``target`` is something else.
    """
    parsed = relay_kernels.parse_target(target)
    if parsed.kind.name != "llvm" or not parsed.attrs.get("mtriple"):
        raise InputError(
            f"target {target!r}: this toolchain builds for kind 'llvm' and a named triple, such as "
            "'llvm -mtriple=aarch64-linux-gnu -mcpu=cortex-a72'"
        )
    return parsed


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
    """Of every n-th element of a large array, which takes seconds otherwise."""
    wide = array.reshape(-1)[:: 1 + array.size // _DISTRIBUTION_ELEMENTS].astype(np.float64)
    return {
        "shape": list(array.shape),
        "dtype": str(array.dtype),
        "mean": float(wide.mean()),
        "std": float(wide.std()),
        "low": float(wide.min()),
        "high": float(wide.max()),
    }


def _draws(description: Mapping[str, Any]) -> dict[str, Draw]:
    """How to draw the data inputs and float weights of the graph executor, by name.

    Weights are normal with the mean and deviation that they had when the network was built,
    within the range that they had: activations keep their scale, what was positive stays so.
    """
    inputs = {t["name"]: draw_of_input(t) for t in description["inputs"]}
    weights = {
        name: Draw.from_dict(distribution) for name, distribution in description["weights"].items()
    }
    return {**inputs, **weights}
