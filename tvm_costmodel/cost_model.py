"""The cost model as its users see it: a network in, an estimate with its interval out."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from measure.errors import MeasurementError, UnknownPlatformError
from relay_frontend import is_onnx, load, module_generation, tokenize
from relay_frontend.errors import CostModelError, InputError, MissingDependencyError, NetworkError
from relay_frontend.fusion import fuse
from relay_frontend.graph import OpGraph
from relay_frontend.kernel import Kernel
from relay_frontend.onnx import bind_shapes, load_model
from relay_frontend.vocabulary import unknown_operators
from tvm_costmodel import familiarity, registry
from tvm_costmodel.checkpoint import Checkpoint, CheckpointError, load_checkpoint
from tvm_costmodel.estimates import Estimate
from tvm_costmodel.explanation import Contributions, Explanation, grounds, of_kernels, of_operators
from tvm_costmodel.kernel_finding import KernelFinder, module_kernels
from tvm_costmodel.native import make_runtime
from tvm_costmodel.predictors.configurations import guess_kernels
from tvm_costmodel.predictors.kernel_sum import KernelSource, KernelSum, metrics_of
from tvm_costmodel.runtime import FloatArray, Runtime
from tvm_costmodel.streaming import Remembering, stream

if TYPE_CHECKING:
    from measure.database import Database
    from tvm_costmodel.learning.runtime import TorchRuntime

Finding = Callable[[], KernelFinder]
"""Gives what finds kernels; it is made when first asked for, since some networks need none."""


class CostModel:
    """Estimates latencies on one platform. Immutable after loading.

    >>> from tvm_costmodel import CostModel
    >>> model = CostModel.load("tvm-relay")
    >>> model.estimate("model.onnx").latency_ms

    Args:
        platform: full name of the platform.
        predictor: ``nar-former-v2`` or ``kernel-sum``.
        directory: the platform's checkpoints.
        database: measurements to look up first.
        kernels: whose kernels kernel-sum adds up.
    """

    def __init__(
        self,
        platform: str,
        predictor: str,
        directory: Path,
        database: Database | None = None,
        kernels: KernelSource = "compiler",
    ) -> None:
        if predictor not in registry.PREDICTORS:
            known = ", ".join(registry.PREDICTORS)
            raise InputError(f"unknown predictor {predictor!r}: choose one of {known}")
        if kernels not in get_args(KernelSource):
            known = ", ".join(get_args(KernelSource))
            raise InputError(f"unknown kernels {kernels!r}: choose one of {known}")
        self.platform = platform
        self.predictor = predictor
        self._kernel_source = kernels
        self._directory = directory
        self._database = database
        self._remembering: dict[str, Remembering] = {}

    @classmethod
    def load(
        cls,
        platform: str,
        *,
        predictor: str = registry.NAR_FORMER_V2,
        checkpoints: str | os.PathLike[str] | None = None,
        database: str | os.PathLike[str] | None = None,
        kernels: KernelSource = "compiler",
    ) -> CostModel:
        """The cost model of a platform, from the checkpoints of the package or of a directory.

        Args:
            platform: its name, or parts of it that only one platform has (``tvm-relay``).
            predictor: ``nar-former-v2`` or ``kernel-sum``.
            checkpoints: directory that ``tvm-costmodel train`` wrote; by default the package's.
            database: path or URL of a measurement database, or a directory of Parquet files; a
                network that was measured on the platform gets its measured latency. It stays open
                as long as the model lives.
            kernels: whose kernels kernel-sum adds up: those that the platform's ``compiler``
                lists in some seconds, or those that fusion rules ``guess`` without one.

        Raises:
            UnknownPlatformError: no such platform, or several.
            CheckpointError: the checkpoint is damaged, or it is missing and nothing was measured on
                the platform either.
            InputError: there is no such database.
        """
        directory = registry.checkpoint_directory(checkpoints)
        with ExitStack() as on_failure:
            measurements = None if database is None else _open_measurements(database)
            measured: list[str] = []
            if measurements is not None:
                on_failure.callback(measurements.close)
                measured = measurements.platforms()
            name = _resolve(platform, registry.platforms(directory), measured)
            model = cls(
                name, predictor, registry.platform_directory(name, directory), measurements, kernels
            )
            # A bad checkpoint fails here, not at the first estimate.
            if name not in measured or model.has_checkpoint:
                _ = model.kernel_sum if predictor == registry.KERNEL_SUM else model.nar_former_v2
            on_failure.pop_all()
        if measurements is not None:
            weakref.finalize(model, measurements.close)
        return model

    @property
    def has_checkpoint(self) -> bool:
        """Whether the model can estimate, and not only look up what was measured."""
        return (self._directory / self.predictor).is_dir()

    @cached_property
    def nar_former_v2(self) -> tuple[Checkpoint, Runtime]:
        """The learned predictor and the checkpoint that it comes from."""
        checkpoint = load_checkpoint(self._checkpoint(registry.NAR_FORMER_V2))
        return checkpoint, make_runtime(checkpoint.weights, checkpoint.config)

    @cached_property
    def kernel_sum(self) -> KernelSum:
        """The kernel-sum predictor."""
        return KernelSum.load(self._checkpoint(registry.KERNEL_SUM))

    @cached_property
    def _description(self) -> Mapping[str, Any]:
        """What the checkpoint says of itself: ``training_data``, ``metrics``, ``created_by``."""
        if self.predictor == registry.KERNEL_SUM:
            said = self.kernel_sum.description
            return {**said, "metrics": metrics_of(said, self._kernel_source)}
        checkpoint, _ = self.nar_former_v2
        return {
            "training_data": checkpoint.training_data,
            "metrics": checkpoint.metrics,
            "created_by": checkpoint.created_by,
        }

    @cached_property
    def known_networks(self) -> familiarity.KnownNetworks | None:
        """The networks that the checkpoint was trained on; None where it does not list them."""
        directory = self._checkpoint(self.predictor) / familiarity.DIRECTORY
        return familiarity.KnownNetworks.load(directory) if directory.is_dir() else None

    def estimate(
        self,
        network: Any,
        shapes: Mapping[str, Sequence[int]] | None = None,
        params: Collection[str] | None = None,
        *,
        measured: bool = True,
    ) -> Estimate:
        """How long one inference of ``network`` takes on the platform, before it is built.

        A network whose digest was measured there gets the measurement, with the source
        ``measured``. One with operators outside of the vocabulary never does: the digest knows only
        their names and shapes, so that another network may have the same.

        Args:
            network: an ONNX model, its bytes or path, a Relay or Relax ``IRModule``, or a
                ``torch.export.ExportedProgram``.
            shapes: static shapes of ONNX inputs with symbolic dimensions.
            params: names of a module's unbound parameters.
            measured: whether to look the network up in the model's database.

        Raises:
            NetworkError: the network cannot be read.
            DynamicShapeError: a dimension is symbolic.
            CheckpointError: the network was not measured, and there is no checkpoint to estimate
                with.
            InterpreterError: the compiler that is to list kernels for kernel-sum is not here, or
                cannot compile for the platform's processor.
            BuildError, TimeLimitError: it rejects the network, or does not come to an end.
            WorkerError: the process that it runs in failed; the network may be fine.
        """
        with self._finding() as finding:
            return self._estimate(network, shapes, params, finding, measured=measured)

    def _estimate(
        self,
        network: Any,
        shapes: Mapping[str, Sequence[int]] | None,
        params: Collection[str] | None,
        finding: Finding,
        *,
        measured: bool,
    ) -> Estimate:
        graph = load(network, shapes, params)
        if measured and (known := self._measured(graph)) is not None:
            return known
        if self.predictor == registry.KERNEL_SUM:
            _, times = self._summed(graph, network, shapes, params, finding)
            return self._make(graph, float(times.sum()), graph.unknown_ops)
        return self.estimate_graph(graph)

    def estimate_graph(self, graph: OpGraph) -> Estimate:
        """The estimate for an operator graph that was read already.

        Raises:
            InputError: the predictor is kernel-sum with a compiler's kernels, which no operator
                graph tells.
        """
        if self.predictor == registry.KERNEL_SUM:
            if self._kernel_source != "guess":
                raise InputError(
                    "an operator graph does not tell a compiler's kernels: estimate the network "
                    "itself, or load the model with kernels='guess'"
                )
            return self._make(graph, float(self.kernel_sum.guess(graph).sum()), graph.unknown_ops)
        _, predictor = self.nar_former_v2
        return self._estimated(graph, float(self._predicted([graph], predictor)[0]))

    def estimate_many(
        self,
        networks: Iterable[Any],
        shapes: Mapping[str, Sequence[int]] | None = None,
        params: Collection[str] | None = None,
        *,
        measured: bool = True,
        errors: Literal["return", "raise"] = "return",
        device: Literal["cpu", "cuda"] = "cpu",
        workers: int | None = None,
    ) -> Iterator[Estimate | CostModelError]:
        """Estimates of networks in their order, for search loops.

        Memory does not grow with their number. ONNX networks are read in parallel; networks are
        predicted in batches, equal ones once. Latencies are those of :meth:`estimate` but for the
        rounding of float32. Kernel-sum takes one network after the other, and asks one worker of
        the compiler for the kernels of all.

        Args:
            networks: as for :meth:`estimate`, in any mixture; a few hundred are read ahead.
            shapes: as for :meth:`estimate`, the same for all of them.
            params: as for :meth:`estimate`, the same for all of them.
            measured: as for :meth:`estimate`.
            errors: whether a network that cannot be read, or that kernel-sum's compiler rejects,
                gives its error in the place of an estimate, or raises it.
            device: where to predict; ``cuda`` needs torch, and NAR-Former V2.
            workers: threads of NAR-Former V2; by default as many as cores that this process may
                use.

        Raises:
            NetworkError, DynamicShapeError, BuildError, TimeLimitError: as for :meth:`estimate`,
                where ``errors`` is ``raise``.
            CheckpointError: there is no checkpoint to estimate with.
            InputError: ``device`` is ``cuda``, and torch or a device is missing, or the predictor
                is kernel-sum.
            InterpreterError, WorkerError: as for :meth:`estimate`.
        """
        if errors not in ("return", "raise"):
            raise InputError(f"errors is {errors!r}: choose 'return' or 'raise'")
        found: Iterator[Estimate | CostModelError]
        if self.predictor == registry.KERNEL_SUM:
            if device != "cpu":
                raise InputError(f"device is {device!r}: kernel-sum predicts on the 'cpu' alone")
            found = self._one_by_one(networks, shapes, params, measured=measured)
        else:
            answers = stream(
                networks,
                lambda network: load(network, shapes, params),
                self._remembered(device),
                read_here=lambda network: not is_onnx(network),
                workers=workers,
            )
            found = (
                a if isinstance(a, CostModelError) else self._answer(*a, measured=measured)
                for a in answers
            )
        return map(_raised, found) if errors == "raise" else found

    def _remembered(self, device: str) -> Remembering:
        """The predictor of NAR-Former V2 on a device, with what it has predicted there."""
        if device not in self._remembering:
            predictor: Runtime | TorchRuntime = self.nar_former_v2[1]
            if device != "cpu":
                predictor = load_torch_runtime(self._checkpoint(registry.NAR_FORMER_V2), device)
            self._remembering[device] = Remembering(
                lambda graphs: self._predicted(graphs, predictor)
            )
        return self._remembering[device]

    def _predicted(
        self, graphs: Sequence[OpGraph], predictor: Runtime | TorchRuntime
    ) -> FloatArray:
        """Latencies in ms that NAR-Former V2 predicts, ``[num_graphs]``."""
        checkpoint, _ = self.nar_former_v2
        asks = "kernel" in checkpoint.config.relations
        kernels = [fuse(graph) for graph in graphs] if asks else None
        return predictor.predict([tokenize(g, checkpoint.token_config) for g in graphs], kernels)

    def _estimated(self, graph: OpGraph, latency: float) -> Estimate:
        checkpoint, _ = self.nar_former_v2
        config = checkpoint.token_config
        unknown = unknown_operators(graph, config.vocabulary)
        unlearned = sorted(op for op in graph.ops if config.name(op) != op and op not in unknown)
        estimate = self._make(graph, latency, unknown)
        return replace(estimate, unlearned_ops=tuple(unlearned)) if unlearned else estimate

    def _answer(self, graph: OpGraph, latency: float, *, measured: bool) -> Estimate:
        known = self._measured(graph) if measured else None
        return known or self._estimated(graph, latency)

    def _one_by_one(
        self, networks: Iterable[Any], *arguments: Any, measured: bool
    ) -> Iterator[Estimate | CostModelError]:
        """Kernel-sum's answers; one worker lists the kernels of all networks."""
        with self._finding() as finding:
            for network in networks:
                yield self._tried(network, *arguments, finding, measured=measured)

    def _tried(self, network: Any, *arguments: Any, measured: bool) -> Estimate | CostModelError:
        """The estimate, or what is wrong with the network; other errors are no answers."""
        try:
            return self._estimate(network, *arguments, measured=measured)
        except (NetworkError, MeasurementError) as error:
            return error

    def explain(
        self,
        network: Any,
        shapes: Mapping[str, Sequence[int]] | None = None,
        params: Collection[str] | None = None,
    ) -> Explanation:
        """What the estimate for ``network`` is made of, and which known networks it rests on.

        It explains the predictor's own estimate, also of a network that was measured. NAR-Former V2
        tells what each operator adds where its readout is ``contributions``; which of them are
        fused is guessed (:mod:`relay_frontend.fusion`). Kernel-sum tells the time of each kernel
        that it adds up.

        Args:
            network: as for :meth:`estimate`.
            shapes: as for :meth:`estimate`.
            params: as for :meth:`estimate`.

        Raises:
            NetworkError: the network cannot be read.
            DynamicShapeError: a dimension is symbolic.
            CheckpointError: there is no checkpoint to estimate with, or it is damaged.
            InterpreterError, BuildError, TimeLimitError, WorkerError: as for :meth:`estimate`.
        """
        graph = load(network, shapes, params)
        contributions: Contributions | None
        if self.predictor == registry.KERNEL_SUM:
            with self._finding() as finding:
                kernels, times = self._summed(graph, network, shapes, params, finding)
            estimate = self._make(graph, float(times.sum()), graph.unknown_ops)
            contributions, missing = of_kernels(kernels, times), None
        else:
            estimate = self.estimate_graph(graph)
            contributions, missing = self._contributions(graph)
        return Explanation(
            estimate=estimate,
            measured=self._measured(graph),
            contributions=contributions,
            missing=missing,
            grounds=grounds(graph, self.known_networks, self._description),
        )

    def _contributions(self, graph: OpGraph) -> tuple[Contributions | None, str | None]:
        """What adds up to the estimate of NAR-Former V2, or why that cannot be told."""
        checkpoint, _ = self.nar_former_v2
        readout = checkpoint.config.readout
        if readout != "contributions":
            return None, (
                f"The checkpoint has the readout {readout!r}, which answers for the network as a "
                "whole: what its kernels and operators add cannot be told. Train one that adds "
                "them up (tvm-costmodel train --predictors 'nar-former-v2[preset=best]'), or ask "
                "for kernel-sum (--predictor kernel-sum)"
            )
        return of_operators(graph, fuse(graph), self.operator_latencies(graph)), None

    def operator_latencies(self, graph: OpGraph) -> FloatArray:
        """What each operator of ``graph`` adds to the estimate of NAR-Former V2 in ms.

        ``[num_operators]``, in their order.

        Raises:
            InputError: the checkpoint's readout is not ``contributions``.
            CheckpointError: there is no checkpoint to estimate with.
        """
        checkpoint, predictor = self.nar_former_v2
        return predictor.contributions(tokenize(graph, checkpoint.token_config), fuse(graph))

    def _checkpoint(self, predictor: str) -> Path:
        """The directory of a predictor's checkpoint.

        Raises:
            CheckpointError: there is none.
        """
        path = self._directory / predictor
        if not path.is_dir():
            known = "" if self._database is None else ", and the network was not measured there"
            raise CheckpointError(
                f"no checkpoint of {predictor} for platform {self.platform} in {path.parent.parent}"
                f"{known}; train one on measurements of the platform (tvm-costmodel train "
                f"--platform {self.platform} --data ... --output DIRECTORY) and name its directory "
                "as checkpoints, or measure the network (tvm-costmodel measure)"
            )
        return path

    def _make(self, graph: OpGraph, latency: float, unknown_ops: tuple[str, ...]) -> Estimate:
        said = self._description
        low, high = said["metrics"]["interval"]
        networks = said["training_data"]["networks"]
        return Estimate(
            latency_ms=latency,
            low_ms=latency * low,
            high_ms=latency * high,
            source=self.predictor,
            platform=self.platform,
            checkpoint=f"{self.predictor} {said['created_by']}, {networks} networks",
            digest=graph.digest,
            unknown_ops=unknown_ops,
        )

    def _measured(self, graph: OpGraph) -> Estimate | None:
        if self._database is None:
            return None
        from tvm_costmodel.measurements import measured_estimate  # noqa: PLC0415 (SQLAlchemy)

        return measured_estimate(self._database, graph, self.platform)

    @contextmanager
    def _finding(self) -> Iterator[Finding]:
        """What finds the platform's kernels, by one worker until the end."""
        with ExitStack() as stack:
            yield cache(lambda: stack.enter_context(KernelFinder(self.platform)))

    def _summed(
        self,
        graph: OpGraph,
        network: Any,
        shapes: Mapping[str, Sequence[int]] | None,
        params: Collection[str] | None,
        finding: Finding,
    ) -> tuple[Sequence[Kernel], npt.NDArray[np.float64]]:
        """The kernels that kernel-sum adds up, and what each adds in ms, ``[num_kernels]``."""
        if self._kernel_source == "guess":
            return guess_kernels(graph), self.kernel_sum.guess(graph)
        if module_generation(network) is not None:
            kernels = module_kernels(network, self.platform, params)
        elif is_onnx(network):
            kernels = finding().find(bind_shapes(load_model(network), shapes))
        else:
            raise NetworkError(
                "compilers list the kernels of ONNX networks and of modules, not of "
                f"{type(network).__name__}: import it with TVM first, or load the model with "
                "kernels='guess'"
            )
        return kernels, self.kernel_sum.contributions(kernels)


def _raised(answer: Estimate | CostModelError) -> Estimate:
    if isinstance(answer, CostModelError):
        raise answer
    return answer


def _resolve(platform: str, with_checkpoint: Sequence[str], measured: Sequence[str]) -> str:
    """The platform that a name or its parts mean: one with a checkpoint first."""
    try:
        return registry.resolve_platform(platform, with_checkpoint)
    except UnknownPlatformError:
        if not measured:
            raise
        return registry.resolve_platform(platform, sorted({*with_checkpoint, *measured}))


def load_torch_runtime(checkpoint: Path, device: str) -> TorchRuntime:
    """The predictor of a checkpoint of NAR-Former V2 on a device of torch.

    Raises:
        MissingDependencyError: torch is missing.
        InputError: torch finds no such device.
    """
    try:
        from tvm_costmodel.learning.runtime import TorchRuntime  # noqa: PLC0415 (needs torch)
    except ImportError as error:
        raise MissingDependencyError(
            f"estimates on {device} need torch ({error}): pip install 'tvm-costmodel[train]'"
        ) from None
    return TorchRuntime(checkpoint, device)


def _open_measurements(database: str | os.PathLike[str]) -> Database:
    from tvm_costmodel.measurements import open_measurements  # noqa: PLC0415 (needs SQLAlchemy)

    return open_measurements(os.fspath(database))
