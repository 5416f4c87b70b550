"""The cost model as its users see it: a network in, an estimate with its interval out."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import cache, cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from measure.errors import MeasurementError, UnknownPlatformError
from relay_frontend import is_onnx, load
from relay_frontend.errors import CostModelError, InputError, NetworkError
from relay_frontend.graph import OpGraph
from tvm_costmodel import registry
from tvm_costmodel.answering import (
    Answer,
    Answering,
    BlendAnswering,
    KernelSumAnswering,
    NarFormerV2Answering,
    Question,
    load_torch_runtime,
)
from tvm_costmodel.checkpoint import CheckpointError
from tvm_costmodel.estimates import Estimate
from tvm_costmodel.explanation import Explanation, grounds
from tvm_costmodel.predictors.kernel_sum import KernelSource
from tvm_costmodel.runtime import FloatArray
from tvm_costmodel.streaming import Remembering, stream

if TYPE_CHECKING:
    from measure.database import Database


class CostModel:
    """Estimates latencies on one platform. Immutable after loading.

    >>> from tvm_costmodel import CostModel
    >>> model = CostModel.load("tvm-relay")
    >>> model.estimate("model.onnx").latency_ms

    Args:
        platform: full name of the platform.
        predictor: ``nar-former-v2``, ``kernel-sum`` or ``blend``.
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
        self._kernels = kernels
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
            predictor: ``nar-former-v2``, ``kernel-sum``, or ``blend``, the geometric mean of both.
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
                _ = model.answering
            on_failure.pop_all()
        if measurements is not None:
            weakref.finalize(model, measurements.close)
        return model

    @property
    def has_checkpoint(self) -> bool:
        """Whether the model can estimate, and not only look up what was measured."""
        return (self._directory / self.predictor).is_dir()

    @cached_property
    def nar_former_v2(self) -> NarFormerV2Answering:
        """NAR-Former V2 by the platform's checkpoint."""
        return NarFormerV2Answering(self._checkpoint(registry.NAR_FORMER_V2))

    @cached_property
    def kernel_sum(self) -> KernelSumAnswering:
        """Kernel-sum by the platform's checkpoint."""
        directory = self._checkpoint(registry.KERNEL_SUM)
        return KernelSumAnswering(directory, self.platform, self._kernels)

    @cached_property
    def answering(self) -> Answering:
        """The predictor that was asked for."""
        if self.predictor == registry.BLEND:
            return BlendAnswering(self._checkpoint(registry.BLEND), self.platform, self._kernels)
        return self.kernel_sum if self.predictor == registry.KERNEL_SUM else self.nar_former_v2

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
        question = _read(network, shapes, params)
        if measured and (known := self._measured(question.graph)) is not None:
            return known
        with self.answering.begin() as answer:
            return self._estimated(question.graph, answer(question))

    def estimate_graph(self, graph: OpGraph) -> Estimate:
        """The estimate for an operator graph that was read already.

        Raises:
            InputError: the predictor asks for a compiler's kernels, which no operator graph tells.
        """
        with self.answering.begin() as answer:
            return self._estimated(graph, answer(Question(graph=graph)))

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
        rounding of float32. Kernel-sum and blends take one network after the other, and ask one
        worker of the compiler for the kernels of all.

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
                is another than NAR-Former V2.
            InterpreterError, WorkerError: as for :meth:`estimate`.
        """
        if errors not in ("return", "raise"):
            raise InputError(f"errors is {errors!r}: choose 'return' or 'raise'")
        if self.predictor != registry.NAR_FORMER_V2:
            if device != "cpu":
                raise InputError(
                    f"device is {device!r}: {self.predictor} predicts on the 'cpu' alone"
                )
            read = partial(_read, shapes=shapes, params=params)
            found = self._one_by_one(networks, read, measured=measured)
        else:
            found = self._streamed(networks, shapes, params, device, workers, measured=measured)
        return map(_raised, found) if errors == "raise" else found

    def _one_by_one(
        self, networks: Iterable[Any], read: Callable[[Any], Question], *, measured: bool
    ) -> Iterator[Estimate | CostModelError]:
        """One answer after the other; the checkpoint is asked for where one was not measured."""
        with ExitStack() as stack:
            begun = cache(lambda: stack.enter_context(self.answering.begin()))
            for network in networks:
                yield self._tried(network, read, begun, measured=measured)

    def _tried(
        self,
        network: Any,
        read: Callable[[Any], Question],
        begun: Callable[[], Callable[[Question], Answer]],
        *,
        measured: bool,
    ) -> Estimate | CostModelError:
        """The estimate, or what is wrong with the network; other errors are no answers."""
        try:
            question = read(network)
            known = self._measured(question.graph) if measured else None
            return known or self._estimated(question.graph, begun()(question))
        except (NetworkError, MeasurementError) as error:
            return error

    def _streamed(
        self,
        networks: Iterable[Any],
        shapes: Mapping[str, Sequence[int]] | None,
        params: Collection[str] | None,
        device: str,
        workers: int | None,
        *,
        measured: bool,
    ) -> Iterator[Estimate | CostModelError]:
        """Answers of NAR-Former V2 in batches."""
        answers = stream(
            networks,
            lambda network: load(network, shapes, params),
            self._remembered(device),
            read_here=lambda network: not is_onnx(network),
            workers=workers,
        )

        def answered(graph: OpGraph, latency_ms: float) -> Estimate:
            known = self._measured(graph) if measured else None
            return known or self._estimated(graph, self.nar_former_v2.answer(graph, latency_ms))

        return (a if isinstance(a, CostModelError) else answered(*a) for a in answers)

    def _remembered(self, device: str) -> Remembering:
        """What predicts by NAR-Former V2 on a device, with what it has predicted there."""
        if device not in self._remembering:
            learned = self.nar_former_v2
            runtime = None if device == "cpu" else load_torch_runtime(learned.directory, device)
            self._remembering[device] = Remembering(lambda graphs: learned.predict(graphs, runtime))
        return self._remembering[device]

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
        that it adds up. A blend has no parts that add up.

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
        question = _read(network, shapes, params)
        graph, answering = question.graph, self.answering
        with answering.begin() as answer:
            answered = answer(question)
        contributions, missing = answered.take_apart()
        return Explanation(
            estimate=self._estimated(graph, answered),
            measured=self._measured(graph),
            contributions=contributions,
            missing=missing,
            grounds=grounds(graph, answering.known_networks, answering.description),
        )

    def operator_latencies(self, graph: OpGraph) -> FloatArray:
        """What each operator of ``graph`` adds to the estimate of NAR-Former V2 in ms.

        ``[num_operators]``, in their order.

        Raises:
            InputError: the checkpoint's readout is not ``contributions``.
            CheckpointError: there is no checkpoint to estimate with.
        """
        return self.nar_former_v2.operator_latencies(graph)

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

    def _estimated(self, graph: OpGraph, answer: Answer) -> Estimate:
        said = self.answering.description
        low, high = said["metrics"]["interval"]
        networks = said["training_data"]["networks"]
        return Estimate(
            latency_ms=answer.latency_ms,
            low_ms=answer.latency_ms * low,
            high_ms=answer.latency_ms * high,
            source=self.predictor,
            platform=self.platform,
            checkpoint=f"{self.predictor} {said['created_by']}, {networks} networks",
            digest=graph.digest,
            unknown_ops=answer.unknown_ops,
            unlearned_ops=answer.unlearned_ops,
        )

    def _measured(self, graph: OpGraph) -> Estimate | None:
        if self._database is None:
            return None
        from tvm_costmodel.measurements import measured_estimate  # noqa: PLC0415 (SQLAlchemy)

        return measured_estimate(self._database, graph, self.platform)


def _read(
    network: Any,
    shapes: Mapping[str, Sequence[int]] | None,
    params: Collection[str] | None,
) -> Question:
    graph = load(network, shapes, params)
    return Question(graph=graph, network=network, shapes=shapes, params=params)


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


def _open_measurements(database: str | os.PathLike[str]) -> Database:
    from tvm_costmodel.measurements import open_measurements  # noqa: PLC0415 (needs SQLAlchemy)

    return open_measurements(os.fspath(database))
