"""The contract of a toolchain: what builds and runs networks in one interpreter."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnx

from measure.conditions import read_counters
from measure.device import Device, Fingerprint
from measure.probes import Prober, Read
from relay_frontend.graph import OpGraph
from relay_frontend.kernel import Kernel


def threads_here() -> int:
    """Threads that an inference in this process may use; 0 where nothing was said."""
    return int(os.environ.get("TVM_NUM_THREADS", "0"))


class Artifact(ABC):
    """A built network, loaded into this process with its weights and inputs on the device.

    Weights and inputs are seeded random values: time must not depend on them, but constant
    weights would be merged by the compiler. Not thread-safe; lives and dies with its process.
    """

    kernels: tuple[Kernel, ...]
    """The calls of fused functions in the order in which one inference makes them."""

    @property
    def threads(self) -> int | None:
        """Threads that an inference may use; None where the device has its own, untold number."""
        return threads_here()

    @abstractmethod
    def time(self, number: int) -> float:
        """Wall time in seconds of ``number`` inferences in a row, inputs and outputs on device."""

    @abstractmethod
    def time_kernels(self, number: int, repeat: int) -> np.ndarray:
        """Mean time in ms of each kernel call over ``number`` runs, ``[repeat, num_kernels]``."""

    @abstractmethod
    def outputs(self) -> list[np.ndarray]:
        """The outputs of one inference, to see that the network computes finite numbers."""

    def read_counters(self) -> Mapping[str, Any] | None:
        """Counters of the process and the device that run it, as `measure.conditions` reads them.

        None where the device cannot tell.
        """
        return read_counters()

    def prober(self) -> Read | None:
        """What runs the probes (`measure.probes`) on the device; None where it cannot."""
        return Prober()


class Toolchain(ABC):
    """A compiler with the Python that runs it.

    All methods run inside the toolchain's own interpreter (a worker process) and may crash or
    hang with the compiler; the caller sets the limits. ``network`` is an ONNX model with or
    without weights (:mod:`measure.weights`); its shapes are static.
    """

    name: ClassVar[str]

    @abstractmethod
    def versions(self) -> dict[str, str]:
        """Versions of what decides the code: compiler, LLVM, Python."""

    @abstractmethod
    def default_target(self) -> str:
        """The target string for the CPU of this machine."""

    def fingerprint(self) -> Fingerprint:
        """This machine as this toolchain compiles for it."""
        return Fingerprint(
            device=Device.local(),
            toolchain=self.name,
            target=self.default_target(),
            versions=self.versions(),
        )

    @abstractmethod
    def build(self, network: onnx.ModelProto, target: str, directory: Path) -> None:
        """Compile ``network`` and write everything that :meth:`load` needs into ``directory``."""

    @abstractmethod
    def load(self, directory: Path, seed: int = 0, device: str = "local") -> Artifact:
        """Load what :meth:`build` wrote, with weights and inputs drawn from ``seed``.

        ``device`` runs it: ``local``, or the address of an RPC device (`measure.rpc.address`).
        """

    @abstractmethod
    def kernels(self, network: onnx.ModelProto, target: str) -> tuple[Kernel, ...]:
        """The kernels that :meth:`build` would emit, found without generating code."""

    @abstractmethod
    def graph(self, network: onnx.ModelProto) -> OpGraph:
        """The operator graph of ``network``, read from what the compiler's importer makes of it."""
