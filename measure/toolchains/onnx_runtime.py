"""The toolchain ``onnxruntime``: ONNX Runtime on the CPU, with all of its graph optimizations."""

from __future__ import annotations

import json
import os
import platform
import tempfile
import time
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime

from measure.drawing import data, draw
from measure.lookups import index_bounds
from measure.toolchains.base import Artifact, Toolchain
from measure.toolchains.description import read_description, write_description
from measure.toolchains.onnx_kernels import (
    DTYPES,
    Event,
    Times,
    event_times,
    name_kernels,
    node_events,
    read_kernels,
)
from measure.weights import fill_weights, strip_weights
from relay_frontend.errors import InputError, NetworkError
from relay_frontend.graph import OpGraph
from relay_frontend.kernel import Kernel
from relay_frontend.onnx import bind_shapes, read_onnx

Array = npt.NDArray[Any]

_MODEL = "network.onnx"
_FILL_SEED = 0
_ERRORS_ONLY = 3
_WEIGHTS_APART = "session.optimized_model_external_initializers_file_name"
_MAX_EVENTS = 200_000
"""Of one profile; ONNX Runtime drops events from the millionth on, and a file of them is large."""

_LEVELS = {
    "x86-64-v4": "avx512f avx512bw avx512cd avx512dq avx512vl",
    "x86-64-v3": "avx avx2 bmi1 bmi2 f16c fma abm movbe xsave",
    "x86-64-v2": "cx16 lahf_lm popcnt sse4_1 sse4_2 ssse3",
}
"""Flags in /proc/cpuinfo of each level of the x86-64 psABI, above those of the level below."""


class OnnxRuntimeToolchain(Toolchain):
    """ONNX Runtime's CPU execution provider.

    Inferences run on as many threads as ``TVM_NUM_THREADS`` says, which do not spin when they wait.
    An artifact is the network without weights: ONNX Runtime's own work, a fraction of a second, is
    done again when it is loaded.
    """

    name: ClassVar[str] = "onnxruntime"

    def versions(self) -> dict[str, str]:
        """Versions of ONNX Runtime, what it says of its build, and Python."""
        return {
            "onnxruntime": version("onnxruntime"),
            "build": onnxruntime.get_build_info(),
            "python": platform.python_version(),
        }

    def default_target(self) -> str:
        """The level of this CPU: ONNX Runtime chooses its kernels by what the CPU can do."""
        return f"cpu -mcpu={_cpu_level()}"

    def build(self, network: onnx.ModelProto, target: str, directory: Path) -> None:
        """Write the network without weights, and describe its kernels beside it.

        A session is made and run once, so that what ONNX Runtime cannot run fails here.

        Raises:
            InputError: ``target`` is another CPU than this one.
            NetworkError: ONNX Runtime rejects the network, or cannot run it.
            DynamicShapeError: an input has a symbolic dimension.
        """
        stripped = self._prepare(network, target)
        kernels = _find_kernels(stripped)
        directory.mkdir(parents=True, exist_ok=True)
        onnx.save(stripped, directory / _MODEL)
        write_description(
            directory,
            toolchain=self.name,
            versions=self.versions(),
            target=target,
            kernels=kernels,
        )

    def load(self, directory: Path, seed: int = 0, device: str = "local") -> OnnxRuntimeArtifact:
        """Load what :meth:`build` wrote, with weights and inputs drawn from ``seed``.

        Raises:
            InputError: ``directory`` holds no artifact of this toolchain and format, or ``device``
                is another one than ``local``.
        """
        if device != "local":
            raise InputError(
                f"device {device!r}: ONNX Runtime runs on this machine alone ('local'); over RPC "
                "run a toolchain of TVM"
            )
        description = read_description(directory, self.name, device)
        return OnnxRuntimeArtifact(directory / _MODEL, description, seed)

    def kernels(self, network: onnx.ModelProto, target: str) -> tuple[Kernel, ...]:
        """The kernels that :meth:`build` would list, and in the same way: by one inference."""
        return _find_kernels(self._prepare(network, target))

    def graph(self, network: onnx.ModelProto) -> OpGraph:
        """The operator graph of ``network``, which is what ONNX Runtime reads."""
        return read_onnx(network)

    def _prepare(self, network: onnx.ModelProto, target: str) -> onnx.ModelProto:
        """The network without weights, its nodes under names of their own."""
        if target != self.default_target():
            raise InputError(
                f"target {target!r}: ONNX Runtime runs on the CPU of this machine alone, whose "
                f"target is {self.default_target()!r}"
            )
        model = strip_weights(bind_shapes(network))
        taken = set[str]()
        for index, node in enumerate(model.graph.node):
            if not node.name or node.name in taken:
                node.name = f"{node.op_type}_node_{index}"
            taken.add(node.name)
        return model


class OnnxRuntimeArtifact(Artifact):
    """A network in a session of ONNX Runtime, its inputs and outputs bound to memory once.

    Another session may run kernels that do not depend on each other in another order.
    """

    def __init__(self, model: Path, description: Mapping[str, Any], seed: int) -> None:
        self.kernels = tuple(Kernel.from_dict(k) for k in description["kernels"])
        self._stripped = onnx.load(model)
        self._seed = seed
        self._session = _session(_filled(self._stripped, seed), _options())
        self._bounds = index_bounds(self._stripped)
        self._binding = _bind(self._session, _draw_inputs(self._session, self._bounds, seed))

    def time(self, number: int) -> float:
        """Wall time in seconds of ``number`` inferences in a row, inputs and outputs on device."""
        run, binding = self._session.run_with_iobinding, self._binding
        start = time.perf_counter()
        for _ in range(number):
            run(binding)
        return time.perf_counter() - start

    def time_kernels(self, number: int, repeat: int) -> Times:
        """Mean time in ms of each kernel call over ``number`` runs, ``[repeat, num_kernels]``.

        Times are those of ONNX Runtime's profiler, in sessions apart, with the caches in the state
        in which an inference finds them. The profiler counts whole microseconds.
        """
        content = _filled(self._stripped, self._seed)
        means = [self._profiled(content, number).mean(axis=0) for _ in range(repeat)]
        return np.array(means, np.float64).reshape(repeat, len(self.kernels))

    def outputs(self) -> list[Array]:
        """The outputs of one inference."""
        self._session.run_with_iobinding(self._binding)
        return [np.asarray(value) for value in self._binding.copy_outputs_to_cpu()]

    def _profiled(self, content: bytes, number: int) -> Times:
        """Times in ms of each kernel call in ``number`` inferences, ``[run, call]``."""
        names = [kernel.name for kernel in self.kernels]
        most = max(1, _MAX_EVENTS // max(1, len(names)))
        times = []
        for start in range(0, number, most):
            count = min(most, number - start)
            graph, runs = _profile(content, self._bounds, self._seed, count)
            named = name_kernels(graph, _tensors(self._stripped))
            if list(named) != names:
                raise InputError(
                    f"ONNX Runtime runs the kernels {list(named)} where {names} were built: "
                    "build the network again, with this version and on this machine"
                )
            times.append(event_times(runs[1:], named.values()))
        return np.concatenate(times)


def _find_kernels(stripped: onnx.ModelProto) -> tuple[Kernel, ...]:
    """The kernels that ONNX Runtime runs in one inference."""
    content = _filled(stripped, _FILL_SEED)
    graph, runs = _profile(content, index_bounds(stripped), _FILL_SEED, 0)
    return read_kernels(graph, name_kernels(graph, _tensors(stripped)), runs[0])


def _filled(stripped: onnx.ModelProto, seed: int) -> bytes:
    return bytes(fill_weights(stripped, seed).SerializeToString())


def _tensors(model: onnx.ModelProto) -> set[str]:
    return {name for node in model.graph.node for name in (*node.input, *node.output) if name}


def _profile(
    content: bytes, bounds: Mapping[str, int], seed: int, number: int
) -> tuple[onnx.GraphProto, list[list[Event]]]:
    """The optimized graph, and the events of its nodes in one inference and ``number`` more.

    The first is cold. The graph lacks the data of large parameters.
    """
    options = _options()
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "optimized.onnx"
        options.optimized_model_filepath = str(path)
        options.add_session_config_entry(_WEIGHTS_APART, "weights.bin")
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(scratch) / "profile")
        session = _session(content, options)
        binding = _bind(session, _draw_inputs(session, bounds, seed))
        for _ in range(number):
            session.run_with_iobinding(binding)
        profile = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
        graph = onnx.load(path, load_external_data=False).graph
    return graph, node_events(profile, graph)


def _options() -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.intra_op_num_threads = int(os.environ.get("TVM_NUM_THREADS", "1"))
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = _ERRORS_ONLY
    return options


def _session(content: bytes, options: onnxruntime.SessionOptions) -> onnxruntime.InferenceSession:
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors have no root of their own
        raise NetworkError(f"ONNX Runtime rejects the network: {error}") from error


def _bind(
    session: onnxruntime.InferenceSession, feeds: Mapping[str, Array]
) -> onnxruntime.IOBinding:
    """Inputs with ``feeds`` and outputs of the sizes that one inference gives, in fixed memory."""
    outputs = [value.name for value in session.get_outputs()]
    try:
        results = session.run(outputs, dict(feeds))
    except Exception as error:  # its errors have no root of their own
        raise NetworkError(f"ONNX Runtime cannot run the network: {error}") from error
    binding = session.io_binding()
    for name, value in feeds.items():
        binding.bind_ortvalue_input(name, _copy(value))
    for name, value in zip(outputs, results, strict=True):
        binding.bind_ortvalue_output(name, _copy(value))
    return binding


def _copy(value: Array) -> onnxruntime.OrtValue:
    """A tensor that owns its memory: one made from an array dangles once the array is gone."""
    tensor = onnxruntime.OrtValue.ortvalue_from_shape_and_type(value.shape, value.dtype)
    tensor.update_inplace(np.ascontiguousarray(value))
    return tensor


def _draw_inputs(
    session: onnxruntime.InferenceSession, bounds: Mapping[str, int], seed: int
) -> dict[str, Array]:
    """Values of the inputs; ``bounds`` are those of :func:`measure.lookups.index_bounds`."""
    values: dict[str, Array] = {}
    for index, value in enumerate(session.get_inputs()):
        name = value.type.removeprefix("tensor(").removesuffix(")")
        spec = data(tuple(value.shape), DTYPES.get(name, name), bounds.get(value.name, 1))
        values[value.name] = draw(spec, seed, index)
    return values


def _cpu_level() -> str:
    """The x86-64 level of this CPU (``x86-64-v3``); for others the architecture alone."""
    machine = platform.machine()
    if machine != "x86_64":
        return machine
    flags = _cpu_flags()
    level, needed = "x86-64", set[str]()
    for candidate, added in reversed(_LEVELS.items()):
        needed.update(added.split())
        if needed <= flags:
            level = candidate
    return level


def _cpu_flags() -> set[str]:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return set(next((line for line in lines if line.startswith("flags")), "").split())
