"""Where a built network runs: this process, or a session of a device over RPC."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Protocol

import numpy.typing as npt
import tvm

from measure.conditions import read_counters
from measure.drawing import Draw, draw
from measure.probes import Prober, Read
from measure.toolchains.base import threads_here


class Place(Protocol):
    """What an artifact needs of the place that runs it."""

    device: Any
    """TVM's device."""

    threads: int | None
    """Threads that an inference may use there; None where nobody can tell."""

    def load_library(self, path: Path) -> Any:
        """The library at ``path`` of this machine as a TVM module of that place."""

    def get_function(self, name: str) -> Callable[..., Any]:
        """The global function ``name`` of that place."""

    def draw(self, specs: Sequence[Draw], seed: int) -> list[Any]:
        """A tensor on the device for each of ``specs``, see :func:`measure.drawing.draw`."""

    def time(self, module: Any, name: str, number: int, *arguments: Any) -> float:
        """Seconds that ``number`` calls in a row of function ``name`` of ``module`` take."""

    def time_function(
        self, library: Any, name: str, number: int, repeat: int, tensors: Sequence[Any]
    ) -> list[float]:
        """Seconds of ``number`` calls in a row of a function of ``library``, ``repeat`` times."""

    def read_counters(self) -> Mapping[str, Any] | None:
        """See :func:`measure.conditions.read_counters`; None where nobody can tell."""

    def prober(self) -> Read | None:
        """What runs the probes there, see :mod:`measure.probes`; None where nobody can."""

    def checked(self, doing: str) -> AbstractContextManager[None]:
        """In it, what fails with a lost device raises DeviceError, naming what it was ``doing``."""


class LocalPlace:
    """This process, on the CPU."""

    def __init__(self) -> None:
        self.device = tvm.cpu(0)
        self.threads: int | None = threads_here()

    def load_library(self, path: Path) -> Any:
        """The library at ``path``."""
        return tvm.runtime.load_module(str(path))

    def get_function(self, name: str) -> Callable[..., Any]:
        """The global function ``name``."""
        function: Callable[..., Any] = tvm.get_global_func(name)
        return function

    def draw(self, specs: Sequence[Draw], seed: int) -> list[Any]:
        """A tensor for each of ``specs``."""
        return [to_device(draw(s, seed, i), self.device) for i, s in enumerate(specs)]

    def time(self, module: Any, name: str, number: int, *arguments: Any) -> float:
        """Seconds of ``number`` calls in a row; each bears about a microsecond of Python."""
        return _time_calls(module[name], number, arguments)

    def time_function(
        self, library: Any, name: str, number: int, repeat: int, tensors: Sequence[Any]
    ) -> list[float]:
        """Seconds of ``number`` calls, ``repeat`` times, after one call to warm up."""
        function = library.get_function(name, query_imports=True)
        function(*tensors)
        return [_time_calls(function, number, tensors) for _ in range(repeat)]

    def read_counters(self) -> Mapping[str, Any]:
        """The counters of this process and its machine."""
        return read_counters()

    def prober(self) -> Read:
        """The probes of this machine."""
        return Prober()

    def checked(self, doing: str) -> AbstractContextManager[None]:  # noqa: ARG002 - never lost
        """Nothing to check: this process cannot lose itself."""
        return nullcontext()


def _time_calls(function: Callable[..., Any], number: int, arguments: Sequence[Any]) -> float:
    start = time.perf_counter()
    for _ in range(number):
        function(*arguments)
    return time.perf_counter() - start


def to_device(array: npt.NDArray[Any], device: Any) -> Any:
    """A tensor on ``device`` with the values of ``array``."""
    make = getattr(tvm.runtime, "tensor", None) or tvm.nd.array
    return make(array, device)
