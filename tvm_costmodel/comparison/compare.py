"""Asking predictors and measurements of the same networks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Literal

import onnx

from measure.campaign.types import NamedNetwork
from measure.database import Database
from measure.errors import InterpreterError, MeasurementError
from relay_frontend.errors import InputError
from relay_frontend.kernel import NO_KERNEL, Kernel
from relay_frontend.onnx import read_onnx
from tvm_costmodel import registry
from tvm_costmodel.comparison.bounds import roofline_ms
from tvm_costmodel.comparison.estimators import (
    Estimated,
    Estimator,
    Kernels,
    NarFormerV2Estimator,
    Subject,
    load_estimators,
)
from tvm_costmodel.comparison.measured import Measured, TimedKernels, measured_on
from tvm_costmodel.comparison.parts import parts_of
from tvm_costmodel.comparison.records import MEASURED_KERNELS, Comparison, Part, Row
from tvm_costmodel.kernel_finding import KernelFinder
from tvm_costmodel.predictors.base import FloatArray
from tvm_costmodel.predictors.configurations import guess_kernels
from tvm_costmodel.predictors.kernel_sum import KernelSource

KernelChoice = KernelSource | Literal["auto"]


@dataclass(frozen=True, kw_only=True)
class CompareConfig:
    """How networks are compared.

    Args:
        predictors: names of those to ask.
        kernels: where kernel-sum's kernels are from: ``compiler`` asks the platform's toolchain,
            ``guess`` takes fusion rules and needs no build, ``auto`` takes those of a measured
            build where a database has them, else asks the compiler; without one it guesses.
        checkpoints: directory of checkpoints; by default the package's.
        measured_on: platform of the measurements by platform of the estimates, where they differ.
        times: whether to time the estimates; without, equal input gives an equal comparison.
    """

    predictors: Sequence[str] = registry.COMPARED
    kernels: KernelChoice = "auto"
    checkpoints: str | None = None
    measured_on: Mapping[str, str | None] | None = None
    times: bool = True


Progress = Callable[[Row], None]


def silent(_row: Row) -> None:
    """A progress that tells nobody."""


def compare(
    networks: Callable[[], Iterable[NamedNetwork]],
    platforms: Sequence[str],
    databases: Sequence[Database] = (),
    config: CompareConfig | None = None,
    progress: Progress = silent,
) -> Comparison:
    """Compare predictors on ``networks``, on each of ``platforms``; nothing is measured here.

    A network that cannot be read, or that the compiler rejects, is left out and named in a note.

    Args:
        networks: gives them with static shapes, anew for each platform.
        platforms: names, or parts of them.
        databases: where measurements are looked up, the first one first.
        config: how; see :class:`CompareConfig`.
        progress: told after each network.

    Raises:
        UnknownPlatformError: no checkpoint is for such a platform.
        CheckpointError: a checkpoint is missing or damaged.
        InterpreterError: kernels are asked for, and the platform's toolchain is not there.
    """
    config = config or CompareConfig()
    rows: list[Row] = []
    notes: dict[str, tuple[str, ...]] = {}
    known = registry.platforms(registry.checkpoint_directory(config.checkpoints))
    for name in platforms:
        platform = registry.resolve_platform(name, known)
        estimators = load_estimators(platform, config.predictors, config.checkpoints)
        source = (config.measured_on or {}).get(platform, platform)
        measured = measured_on(source, databases)
        with ExitStack() as stack:
            one = _OnPlatform(platform, estimators, measured, config, stack)
            for network in networks():
                row = one.row(network)
                if row is not None:
                    rows.append(row)
                    progress(row)
        notes[platform] = (*one.notes(source), *one.left_out)
    return Comparison(rows=tuple(rows), notes=notes)


class _OnPlatform:
    """Compares network by network on one platform."""

    def __init__(
        self,
        platform: str,
        estimators: Mapping[str, Estimator],
        measured: Measured,
        config: CompareConfig,
        stack: ExitStack,
    ) -> None:
        self.left_out: list[str] = []
        self._platform = platform
        self._estimators = estimators
        self._measured = measured
        self._config = config
        self._stack = stack
        self._finder: KernelFinder | None = None
        self._is_without_compiler = False
        self._has_guessed = False

    def row(self, network: NamedNetwork) -> Row | None:
        """The row of a network; None where it was left out."""
        try:
            graph = read_onnx(network.model)
            timed = None if graph.unknown_ops else self._measured.kernels.get(graph.digest)
            kernels = self._kernels(network.model, timed)
        except (InputError, MeasurementError) as error:
            if isinstance(error, InterpreterError):
                raise
            self.left_out.append(f"{network.name} was left out: {error}.")
            return None
        subject = Subject(name=network.name, model=network.model, graph=graph, kernels=kernels)
        estimated = {name: e.estimate(subject) for name, e in self._estimators.items()}
        row = Row(
            network=network.name,
            family=network.family,
            platform=self._platform,
            operators=len(graph),
            kernels=None if kernels is None else _calls(kernels),
            predictions={name: e.prediction for name, e in estimated.items()},
            parts=_parts(subject, estimated, timed),
            unknown_ops=tuple(graph.unknown_ops),
        )
        row = self._with_bounds(row, subject, timed)
        return row if self._config.times else _untimed(row)

    def _kernels(self, model: onnx.ModelProto, timed: TimedKernels | None) -> Kernels | None:
        if not any(e.needs_kernels for e in self._estimators.values()):
            return None
        if self._config.kernels == "auto" and timed is not None:
            return Kernels(calls=timed.kernels, origin="database")
        finder = self._compiler()
        start = time.perf_counter()
        if finder is None:
            # Reading the network is part of it, as the compiler's import is of the other way.
            self._has_guessed = True
            calls = guess_kernels(read_onnx(model))
            return Kernels(calls=calls, origin="guess", seconds=time.perf_counter() - start)
        found = tuple(finder.find(model))
        return Kernels(calls=found, origin="compiler", seconds=time.perf_counter() - start)

    def _compiler(self) -> KernelFinder | None:
        """What lists kernels; None where they are to be guessed, or there is no compiler."""
        if self._config.kernels == "guess" or self._is_without_compiler:
            return None
        if self._finder is None:
            try:
                self._finder = self._stack.enter_context(KernelFinder(self._platform))
            except InterpreterError as error:
                if self._config.kernels == "compiler":
                    raise
                self._is_without_compiler = True
                self.left_out.append(f"Kernels of networks not built before are guessed: {error}.")
        return self._finder

    def _with_bounds(self, row: Row, subject: Subject, timed: TimedKernels | None) -> Row:
        digest, graph = subject.graph.digest, subject.graph
        # The digest knows operators outside of the vocabulary by names and shapes alone.
        latency = None if graph.unknown_ops else self._measured.latencies.get(digest)
        peak = self._measured.peak
        if timed is not None:
            calls = timed.kernels
        else:
            calls = guess_kernels(graph) if subject.kernels is None else subject.kernels.calls
        return replace(
            row,
            measured_ms=None if latency is None else latency.label_ms,
            noise=None if latency is None else latency.noise,
            measuring_s=None if latency is None else self._measured.measuring_s.get(digest),
            measured_kernels_ms=None if timed is None else float(timed.times_ms.sum()),
            roofline_ms=None if peak is None else roofline_ms(calls, peak),
        )

    def notes(self, measured_on_: str | None) -> list[str]:
        """What is to be known when reading the rows."""
        notes = []
        peak = self._measured.peak
        if measured_on_ not in {None, self._platform}:
            notes.append(f"Latencies were measured on another platform, {measured_on_}.")
        if peak is not None:
            notes.append(
                f"No measured peak is recorded for the platform: the roofline takes the best that "
                f"any of {peak.kernels:,} measured kernel calls reached, "
                f"{peak.flops_per_ms / 1e6:.1f} GFLOP/s and {peak.bytes_per_ms / 1e6:.1f} GB/s (in "
                "cache)."
            )
        else:
            notes.append(
                "Without measured kernels of the platform there is no peak, hence no roofline."
            )
        summing = [e for e in self._estimators.values() if e.needs_kernels]
        if self._has_guessed and not all(estimator.can_guess for estimator in summing):
            notes.append(
                "The checkpoint of kernel-sum knows kernels as the compiler names and lays them "
                "out: of guessed ones its estimates are poor. Train it again."
            )
        learned = self._estimators.get(registry.NAR_FORMER_V2)
        if isinstance(learned, NarFormerV2Estimator) and not learned.tells_operators:
            notes.append(
                "The checkpoint of NAR-Former V2 answers for networks as a whole: it does not tell "
                "what kernels contribute."
            )
        return notes


def _calls(kernels: Kernels) -> int:
    return sum(kernel.name != NO_KERNEL for kernel in kernels.calls)


def _parts(
    subject: Subject, estimated: Mapping[str, Estimated], timed: TimedKernels | None
) -> tuple[Part, ...]:
    operators_ms = {
        name: e.operators_ms for name, e in estimated.items() if e.operators_ms is not None
    }
    by_kernel: dict[str, FloatArray] = {
        name: e.kernels_ms for name, e in estimated.items() if e.kernels_ms is not None
    }
    built = dict[str, tuple[Sequence[Kernel], FloatArray]]()
    guessed: dict[str, FloatArray] = {}
    if subject.kernels is not None and subject.kernels.origin == "guess":
        guessed = by_kernel
    elif subject.kernels is not None:
        built = {name: (subject.kernels.calls, times) for name, times in by_kernel.items()}
    if timed is not None:
        built[MEASURED_KERNELS] = (timed.kernels, timed.times_ms)
    if not (operators_ms or built or guessed):
        return ()
    return parts_of(subject.graph, operators_ms, built, guessed)


def _untimed(row: Row) -> Row:
    predictions = {name: replace(p, time_ms=None) for name, p in row.predictions.items()}
    return replace(row, predictions=predictions)
