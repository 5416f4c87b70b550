"""TVM's Relax with its default pipeline for a CPU: fused, untuned kernels in plain loops."""

from __future__ import annotations

import json
import math
import os
import platform
import time
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import onnx
import tvm
from tvm import relax
from tvm.relax.backend.cpu_generic.pipeline import dataflow_lower_passes, finalize_passes

from measure.toolchains.base import Artifact, Toolchain
from relay_frontend.errors import InputError
from relay_frontend.graph import OpGraph, TensorType
from relay_frontend.kernel import Kernel
from relay_frontend.relax import kernels as relax_kernels
from relay_frontend.relax import read_relax
from relay_frontend.relax.importer import import_onnx

_LIBRARY = "network.so"
_DESCRIPTION = "artifact.json"
_FORMAT = 1


class RelaxToolchain(Toolchain):
    """Relax's default pipeline and TVM's virtual machine, on the CPU of this machine.

    Weights are parameters of the built function, so an artifact holds code and types alone, and
    what Relax would fold from constant weights at build time costs nothing at run time either
    (:mod:`relay_frontend.relax.kernels`). The default pipeline emits no parallel loops: networks
    run on one thread, whatever ``TVM_NUM_THREADS`` says, and TVM's thread pool never starts, so
    that a process may fork after it has imported this module.
    """

    name: ClassVar[str] = "tvm-relax"

    def versions(self) -> dict[str, str]:
        """Versions of TVM, its FFI, the LLVM inside of it, and Python."""
        return {
            "tvm": str(tvm.__version__),
            "tvm-ffi": version("apache-tvm-ffi"),
            "llvm": str(tvm.target.codegen.llvm_version_major()),
            "python": platform.python_version(),
        }

    def default_target(self) -> str:
        """The CPU that LLVM finds, with the cores that this process may use, as JSON."""
        target = {
            "kind": "llvm",
            "mcpu": str(tvm.target.codegen.llvm_get_system_cpu()),
            "num-cores": len(os.sched_getaffinity(0)),
        }
        return json.dumps(target)

    def build(self, network: onnx.ModelProto, target: str, directory: Path) -> None:
        """Compile ``network`` into a shared library, and describe its types and kernels beside it.

        Raises:
            InputError: ``target`` is none of TVM's, or no CPU.
            NetworkError, DynamicShapeError: see :func:`relay_frontend.relax.importer.import_onnx`.
        """
        parsed = relax_kernels.parse_target(target)
        fused = relax_kernels.fuse(import_onnx(network), parsed)
        lowering = tvm.transform.Sequential(
            [*dataflow_lower_passes(parsed), *finalize_passes(parsed)]
        )
        executable = tvm.compile(fused.mod, parsed, relax_pipeline=lowering)
        directory.mkdir(parents=True, exist_ok=True)
        executable.export_library(str(directory / _LIBRARY))
        description = {
            "format": _FORMAT,
            "toolchain": self.name,
            "versions": self.versions(),
            "target": target,
            "inputs": [_type_to_dict(t) for t in fused.inputs],
            "weights": [_type_to_dict(t) for t in fused.weights],
            "kernels": [k.to_dict() for k in relax_kernels.fused_kernels(fused)],
        }
        (directory / _DESCRIPTION).write_text(json.dumps(description), encoding="utf-8")

    def load(self, directory: Path, seed: int = 0) -> RelaxArtifact:
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
        return RelaxArtifact(directory / _LIBRARY, description, seed)

    def kernels(self, network: onnx.ModelProto, target: str) -> tuple[Kernel, ...]:
        """The kernels that :meth:`build` would emit; raises what :meth:`build` raises."""
        return relax_kernels.kernels(import_onnx(network), target)

    def graph(self, network: onnx.ModelProto) -> OpGraph:
        """The operator graph of ``network`` as TVM imports it."""
        return read_relax(import_onnx(network))


class RelaxArtifact(Artifact):
    """A network in TVM's virtual machine, called through ``invoke_stateful``."""

    def __init__(self, library: Path, description: dict[str, Any], seed: int) -> None:
        inputs = [_type_from_dict(t) for t in description["inputs"]]
        weights = [_type_from_dict(t) for t in description["weights"]]
        self.kernels = tuple(Kernel.from_dict(k) for k in description["kernels"])
        self._device = tvm.cpu(0)
        self._seed = seed
        self._library = tvm.runtime.load_module(str(library))
        self._vm = relax.VirtualMachine(self._library, self._device)
        rng = np.random.default_rng(seed)
        values = [*_draw_data(inputs, rng), *(_draw_weight(t, rng) for t in weights)]
        self._vm.set_input("main", *(tvm.runtime.tensor(v, self._device) for v in values))
        self._invoke = self._vm.module["invoke_stateful"]

    def time(self, number: int) -> float:
        """Wall time in seconds of ``number`` inferences in a row, inputs and outputs on device."""
        invoke = self._invoke
        start = time.perf_counter()
        for _ in range(number):
            invoke("main")
        return time.perf_counter() - start

    def time_kernels(self, number: int, repeat: int) -> npt.NDArray[np.float64]:
        """Mean time in ms of each kernel call over ``number`` runs, ``[repeat, num_kernels]``.

        Each distinct kernel is timed alone on random data, once per repeat, after one run to warm
        up; calls of the same kernel share its time.
        """
        columns: dict[str, list[int]] = {}
        for index, kernel in enumerate(self.kernels):
            columns.setdefault(kernel.name, []).append(index)
        times = np.empty((repeat, len(self.kernels)))
        rng = np.random.default_rng(self._seed)
        for indices in columns.values():
            kernel = self.kernels[indices[0]]
            run = self._library.get_function(kernel.name, query_imports=True)
            data = _draw_data([*kernel.arguments, *kernel.results], rng)
            tensors = [tvm.runtime.tensor(v, self._device) for v in data]
            run(*tensors)
            for row in range(repeat):
                start = time.perf_counter()
                for _ in range(number):
                    run(*tensors)
                times[row, indices] = (time.perf_counter() - start) * 1e3 / number
        return times

    def outputs(self) -> list[npt.NDArray[Any]]:
        """The outputs of one inference."""
        self._invoke("main")
        outputs = self._vm.get_outputs("main")
        tensors = [outputs] if isinstance(outputs, tvm.runtime.Tensor) else list(outputs)
        return [tensor.numpy() for tensor in tensors]


def _draw_data(types: Sequence[TensorType], rng: np.random.Generator) -> Iterator[npt.NDArray[Any]]:
    """Normal data; zeros for other types than floats, where they may be indices."""
    for type_ in types:
        if "float" in type_.dtype:
            yield rng.standard_normal(type_.shape, dtype=np.float32).astype(type_.dtype)
        else:
            yield np.zeros(type_.shape, type_.dtype)


def _draw_weight(type_: TensorType, rng: np.random.Generator) -> npt.NDArray[Any]:
    """Kernels from N(0, 1/fan_in), to keep the scale of activations; vectors from U(0.5, 1.5).

    A vector may be a standard deviation by which the network divides, whatever its rank.
    """
    shape, dtype = type_.shape, type_.dtype
    if "float" not in dtype:
        return np.zeros(shape, dtype)
    if type_.num_elements == max(shape, default=1):
        return rng.uniform(0.5, 1.5, shape).astype(dtype)
    # Relax transposes the weights of dense layers ahead of time: [..., inputs, outputs].
    fan_in = math.prod(shape[1:]) if len(shape) > 3 else shape[-2]
    weights = rng.standard_normal(shape, dtype=np.float32) / math.sqrt(fan_in)
    return weights.astype(dtype)


def _type_to_dict(type_: TensorType) -> dict[str, Any]:
    return {"shape": list(type_.shape), "dtype": type_.dtype}


def _type_from_dict(values: dict[str, Any]) -> TensorType:
    return TensorType(tuple(values["shape"]), values["dtype"])
