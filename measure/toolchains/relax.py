"""TVM's Relax with its default pipeline for a CPU: fused, untuned kernels in plain loops."""

from __future__ import annotations

import json
import math
import os
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import onnx
import tvm
from tvm import relax
from tvm.relax.backend.cpu_generic import pipeline as cpu_pipeline
from tvm.relax.backend.cuda import pipeline as cuda_pipeline

from measure.drawing import Draw, data
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
from measure.toolchains.place import Place
from relay_frontend.errors import InputError
from relay_frontend.graph import OpGraph, TensorType
from relay_frontend.kernel import Kernel
from relay_frontend.relax import kernels as relax_kernels
from relay_frontend.relax import read_relax
from relay_frontend.relax.importer import import_onnx

_PIPELINES = {"llvm": cpu_pipeline, "cuda": cuda_pipeline}


class RelaxToolchain(Toolchain):
    """Relax's default pipeline and TVM's virtual machine, for a CPU or for CUDA.

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
        """Compile ``network`` into a library, and describe its types and kernels beside it.

        For CUDA, TVM needs the driver to compile kernels; where it is missing, the library holds
        them as source.

        Raises:
            InputError: ``target`` is none of TVM's, or neither a CPU nor CUDA.
            NetworkError, DynamicShapeError: see :func:`relay_frontend.relax.importer.import_onnx`.
        """
        parsed = relax_kernels.parse_target(target)
        fused = self._fuse(network, parsed)
        pipeline = _PIPELINES[parsed.kind.name]
        lowering = tvm.transform.Sequential(
            [*pipeline.dataflow_lower_passes(parsed), *pipeline.finalize_passes(parsed)]
        )
        executable = tvm.compile(fused.mod, parsed, relax_pipeline=lowering)
        bounds = index_bounds(network).values()
        triple = (parsed.host or parsed).attrs.get("mtriple")
        built_for = architecture(str(triple)) if triple else platform.machine()
        directory.mkdir(parents=True, exist_ok=True)
        executable.export_library(str(directory / library_name(built_for)))
        write_description(
            directory,
            toolchain=self.name,
            versions=self.versions(),
            target=target,
            kernels=relax_kernels.fused_kernels(fused),
            architecture=built_for,
            inputs=[
                {**_type_to_dict(t), "bound": bound}
                for t, bound in zip(fused.inputs, bounds, strict=True)
            ],
            weights=[_type_to_dict(t) for t in fused.weights],
        )

    def load(self, directory: Path, seed: int = 0, device: str = "local") -> RelaxArtifact:
        """Load what :meth:`build` wrote, with weights and inputs drawn from ``seed``.

        Raises:
            InputError: ``directory`` holds no artifact of this toolchain and format, one for
                another architecture than that of ``device``, if that is this machine, or one for
                CUDA, which is built for but not run.
            DeviceError: ``device`` cannot be reached, or was lost.
        """
        description = read_description(directory, self.name, device)
        target = description["target"]
        if relax_kernels.parse_target(target).kind.name != "llvm":
            raise InputError(
                f"the artifact in {directory} was built for target {target!r}: networks are run on "
                "CPUs alone; build it for one (kind 'llvm')"
            )
        library = library_path(directory, description)
        return RelaxArtifact(library, description, seed, open_place(device))

    def kernels(self, network: onnx.ModelProto, target: str) -> tuple[Kernel, ...]:
        """The kernels that :meth:`build` would emit; raises what :meth:`build` raises."""
        parsed = relax_kernels.parse_target(target)
        return relax_kernels.fused_kernels(self._fuse(network, parsed))

    def graph(self, network: onnx.ModelProto) -> OpGraph:
        """The operator graph of ``network`` as TVM imports it."""
        return read_relax(import_onnx(network))

    def _fuse(
        self, network: onnx.ModelProto, target: tvm.target.Target
    ) -> relax_kernels.FusedModule:
        return relax_kernels.fuse(import_onnx(network), target)


class RelaxArtifact(Artifact):
    """A network in TVM's virtual machine, called through ``invoke_stateful``."""

    def __init__(self, library: Path, description: dict[str, Any], seed: int, place: Place) -> None:
        inputs = [draw_of_input(t) for t in description["inputs"]]
        weights = [_type_from_dict(t) for t in description["weights"]]
        self.kernels = tuple(Kernel.from_dict(k) for k in description["kernels"])
        self._place = place
        self._seed = seed
        specs = [*inputs, *(_weight(t) for t in weights)]
        with place.checked("loading"):
            self._library = place.load_library(library)
            self._vm = relax.VirtualMachine(self._library, place.device)
            self._vm.set_input("main", *place.draw(specs, seed))

    @property
    def threads(self) -> int | None:
        """See :attr:`Artifact.threads`."""
        return self._place.threads

    def time(self, number: int) -> float:
        """Wall time in seconds of ``number`` inferences in a row, inputs and outputs on device."""
        with self._place.checked("running"):
            return self._place.time(self._vm.module, "invoke_stateful", number, "main")

    def time_kernels(self, number: int, repeat: int) -> npt.NDArray[np.float64]:
        """Mean time in ms of each kernel call over ``number`` runs, ``[repeat, num_kernels]``.

        Each distinct kernel is timed alone on random data, once per repeat, after one run to warm
        up; calls of the same kernel share its time.
        """
        columns: dict[str, list[int]] = {}
        for index, kernel in enumerate(self.kernels):
            columns.setdefault(kernel.name, []).append(index)
        times = np.empty((repeat, len(self.kernels)))
        for indices in columns.values():
            kernel = self.kernels[indices[0]]
            specs = [data(t.shape, t.dtype) for t in (*kernel.arguments, *kernel.results)]
            with self._place.checked(f"running kernel {kernel.name}"):
                tensors = self._place.draw(specs, self._seed)
                seconds = self._place.time_function(
                    self._library, kernel.name, number, repeat, tensors
                )
            times[:, indices] = np.array(seconds)[:, None] * 1e3 / number
        return times

    def outputs(self) -> list[npt.NDArray[Any]]:
        """The outputs of one inference."""
        with self._place.checked("running"):
            self._vm.invoke_stateful("main")
            outputs = self._vm.get_outputs("main")
            tensors = [outputs] if isinstance(outputs, tvm.runtime.Tensor) else list(outputs)
            return [tensor.numpy() for tensor in tensors]

    def read_counters(self) -> Mapping[str, Any] | None:
        """See :meth:`Artifact.read_counters`."""
        with self._place.checked("reading counters"):
            return self._place.read_counters()

    def prober(self) -> Read | None:
        """See :meth:`Artifact.prober`."""
        with self._place.checked("looking for probes"):
            return self._place.prober()


def _weight(type_: TensorType) -> Draw:
    """Kernels from N(0, 1/fan_in), to keep the scale of activations; vectors from U(0.5, 1.5).

    A vector may be a standard deviation by which the network divides, whatever its rank.
    """
    shape, dtype = type_.shape, type_.dtype
    if "float" not in dtype:
        return data(shape, dtype)
    if type_.num_elements == max(shape, default=1):
        return Draw(shape=shape, dtype=dtype, std=None, low=0.5, high=1.5)
    # Relax transposes the weights of dense layers ahead of time: [..., inputs, outputs].
    fan_in = math.prod(shape[1:]) if len(shape) > 3 else shape[-2]
    return Draw(shape=shape, dtype=dtype, std=1 / math.sqrt(fan_in))


def _type_to_dict(type_: TensorType) -> dict[str, Any]:
    return {"shape": list(type_.shape), "dtype": type_.dtype}


def _type_from_dict(values: dict[str, Any]) -> TensorType:
    return TensorType(tuple(values["shape"]), values["dtype"])
