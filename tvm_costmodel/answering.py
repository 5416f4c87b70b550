"""What answers for networks from checkpoints of a platform: NAR-Former V2, kernel-sum, or both."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from relay_frontend import is_onnx, module_generation, tokenize
from relay_frontend.errors import InputError, MissingDependencyError, NetworkError
from relay_frontend.fusion import fuse
from relay_frontend.graph import OpGraph
from relay_frontend.kernel import Kernel
from relay_frontend.onnx import bind_shapes, load_model
from relay_frontend.vocabulary import unknown_operators
from tvm_costmodel import familiarity
from tvm_costmodel.checkpoint import CheckpointError, load_checkpoint
from tvm_costmodel.explanation import Contributions, of_kernels, of_operators
from tvm_costmodel.kernel_finding import KernelFinder, module_kernels
from tvm_costmodel.native import make_runtime
from tvm_costmodel.predictors.blending import BlendDescription, blended
from tvm_costmodel.predictors.configurations import guess_kernels
from tvm_costmodel.predictors.kernel_sum import GUESS, KernelSource, KernelSum, metrics_of
from tvm_costmodel.runtime import FloatArray, Runtime

if TYPE_CHECKING:
    from tvm_costmodel.learning.runtime import TorchRuntime

Finding = Callable[[], KernelFinder]
"""Gives what finds kernels; it is made when first asked for, since some networks need none."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Question:
    """A network that is asked about.

    Args:
        graph: its operators.
        network: as it came; None where only the graph is there.
        shapes: static shapes of ONNX inputs with symbolic dimensions.
        params: names of a module's unbound parameters.
    """

    graph: OpGraph
    network: Any = None
    shapes: Mapping[str, Sequence[int]] | None = None
    params: Collection[str] | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class Answer:
    """A predicted latency.

    Args:
        latency_ms: of one inference.
        unknown_ops: operators outside of the vocabulary.
        unlearned_ops: operators of the vocabulary that no training network has.
        take_apart: gives what adds up to the latency, or None and why that cannot be told.
    """

    latency_ms: float
    unknown_ops: tuple[str, ...]
    unlearned_ops: tuple[str, ...] = ()
    take_apart: Callable[[], tuple[Contributions | None, str | None]]


class Answering(ABC):
    """A predictor of one platform.

    Args:
        directory: its checkpoint.

    Raises:
        CheckpointError: it is damaged.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @cached_property
    def known_networks(self) -> familiarity.KnownNetworks | None:
        """The networks that the checkpoint was trained on; None where it does not list them."""
        listed = self.directory / familiarity.DIRECTORY
        return familiarity.KnownNetworks.load(listed) if listed.is_dir() else None

    @property
    @abstractmethod
    def description(self) -> Mapping[str, Any]:
        """What the checkpoint says of itself: ``training_data``, ``metrics``, ``created_by``."""

    @abstractmethod
    def begin(self) -> AbstractContextManager[Callable[[Question], Answer]]:
        """Answers questions until the end, with what is dear to start started once."""


class NarFormerV2Answering(Answering):
    """NAR-Former V2, which needs the operator graph alone."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.checkpoint = load_checkpoint(directory)
        self.runtime: Runtime = make_runtime(self.checkpoint.weights, self.checkpoint.config)

    @property
    def description(self) -> Mapping[str, Any]:
        """See :attr:`Answering.description`."""
        return {
            "training_data": self.checkpoint.training_data,
            "metrics": self.checkpoint.metrics,
            "created_by": self.checkpoint.created_by,
        }

    @contextmanager
    def begin(self) -> Iterator[Callable[[Question], Answer]]:
        """See :meth:`Answering.begin`."""
        yield lambda question: self.answer(question.graph, float(self.predict([question.graph])[0]))

    def predict(
        self, graphs: Sequence[OpGraph], runtime: Runtime | TorchRuntime | None = None
    ) -> FloatArray:
        """Latencies in ms, ``[num_graphs]``, by the runtime of this process or by another one."""
        asks = "kernel" in self.checkpoint.config.relations
        kernels = [fuse(graph) for graph in graphs] if asks else None
        tokens = [tokenize(graph, self.checkpoint.token_config) for graph in graphs]
        return (runtime or self.runtime).predict(tokens, kernels)

    def answer(self, graph: OpGraph, latency_ms: float) -> Answer:
        """The answer for a graph whose latency is predicted already."""
        config = self.checkpoint.token_config
        unknown = unknown_operators(graph, config.vocabulary)
        unlearned = sorted(op for op in graph.ops if config.name(op) != op and op not in unknown)
        return Answer(
            latency_ms=latency_ms,
            unknown_ops=unknown,
            unlearned_ops=tuple(unlearned),
            take_apart=partial(self._take_apart, graph),
        )

    @property
    def tells_operators(self) -> bool:
        """Whether the prediction is a sum over operators."""
        return self.checkpoint.config.readout == "contributions"

    def operator_latencies(self, graph: OpGraph) -> FloatArray:
        """What each operator of ``graph`` adds to the prediction in ms, ``[num_operators]``.

        Raises:
            InputError: the checkpoint's readout is not ``contributions``.
        """
        return self.runtime.contributions(
            tokenize(graph, self.checkpoint.token_config), fuse(graph)
        )

    def _take_apart(self, graph: OpGraph) -> tuple[Contributions | None, str | None]:
        if not self.tells_operators:
            return None, (
                f"The checkpoint has the readout {self.checkpoint.config.readout!r}, which answers "
                "for the network as a whole: what its kernels and operators add cannot be told. "
                "Train one that adds them up (tvm-costmodel train --predictors "
                "'nar-former-v2[preset=best]'), or ask for kernel-sum (--predictor kernel-sum)"
            )
        return of_operators(graph, fuse(graph), self.operator_latencies(graph)), None


class KernelSumAnswering(Answering):
    """Kernel-sum, which needs the kernels of the platform's compiler, or guesses them.

    Args:
        directory: its checkpoint.
        platform: its full name.
        source: whose kernels it adds up.
    """

    def __init__(self, directory: Path, platform: str, source: KernelSource) -> None:
        super().__init__(directory)
        self.predictor = KernelSum.load(directory)
        self._platform = platform
        self._source = source

    @property
    def description(self) -> Mapping[str, Any]:
        """See :attr:`Answering.description`; its metrics are those of the sort of kernels."""
        said = self.predictor.description
        return {**said, "metrics": metrics_of(said, self._source)}

    @contextmanager
    def begin(self) -> Iterator[Callable[[Question], Answer]]:
        """See :meth:`Answering.begin`; one worker lists the kernels of all networks."""
        with ExitStack() as stack:
            finding = cache(lambda: stack.enter_context(KernelFinder(self._platform)))
            yield partial(self._answer, finding)

    def _answer(self, finding: Finding, question: Question) -> Answer:
        kernels, times_ms = self._summed(finding, question)
        return Answer(
            latency_ms=float(times_ms.sum()),
            unknown_ops=question.graph.unknown_ops,
            take_apart=lambda: (of_kernels(kernels, times_ms), None),
        )

    def _summed(
        self, finding: Finding, question: Question
    ) -> tuple[Sequence[Kernel], npt.NDArray[np.float64]]:
        """The kernels that are added up, and what each adds in ms, ``[num_kernels]``."""
        if self._source == GUESS:
            return guess_kernels(question.graph), self.predictor.guess(question.graph)
        kernels = self._listed(finding, question)
        return kernels, self.predictor.contributions(kernels)

    def _listed(self, finding: Finding, question: Question) -> Sequence[Kernel]:
        """The compiler's kernels."""
        network = question.network
        if network is None:
            raise InputError(
                "an operator graph does not tell a compiler's kernels: estimate the network "
                "itself, or load the model with kernels='guess'"
            )
        if module_generation(network) is not None:
            return module_kernels(network, self._platform, question.params)
        if is_onnx(network):
            return finding().find(bind_shapes(load_model(network), question.shapes))
        raise NetworkError(
            "compilers list the kernels of ONNX networks and of modules, not of "
            f"{type(network).__name__}: import it with TVM first, or load the model with "
            "kernels='guess'"
        )


class BlendAnswering(Answering):
    """The geometric mean of NAR-Former V2 and kernel-sum, whose checkpoints it names.

    Args:
        directory: its checkpoint.
        platform: its full name.
        source: whose kernels kernel-sum adds up.
    """

    def __init__(self, directory: Path, platform: str, source: KernelSource) -> None:
        super().__init__(directory)
        said = BlendDescription.read(directory)
        if "metrics" not in said.facts:
            raise CheckpointError(
                f"checkpoint {directory} does not say how good the blend is: make it with "
                "tvm-costmodel train"
            )
        self.weight = said.weight
        self.network = NarFormerV2Answering(directory / said.network)
        self.kernel_sum = KernelSumAnswering(directory / said.kernel_sum, platform, source)
        self._facts = {**said.facts, "metrics": metrics_of(said.facts, source)}

    @cached_property
    def known_networks(self) -> familiarity.KnownNetworks | None:
        """Those of NAR-Former V2."""
        return self.network.known_networks

    @property
    def description(self) -> Mapping[str, Any]:
        """See :attr:`Answering.description`; its metrics are those of the sort of kernels."""
        return self._facts

    @contextmanager
    def begin(self) -> Iterator[Callable[[Question], Answer]]:
        """See :meth:`Answering.begin`."""
        with self.network.begin() as by_network, self.kernel_sum.begin() as by_kernels:
            yield lambda question: self._answer(by_network(question), by_kernels(question))

    def _answer(self, by_network: Answer, by_kernels: Answer) -> Answer:
        reason = (
            f"A blend is the mean of two sums, {by_network.latency_ms:.4g} ms over operators and "
            f"{by_kernels.latency_ms:.4g} ms over kernels: the parts of neither add up to it. Ask "
            "for nar-former-v2 or kernel-sum (--predictor)"
        )
        return replace(
            by_network,
            latency_ms=blended(by_network.latency_ms, by_kernels.latency_ms, self.weight),
            take_apart=lambda: (None, reason),
        )


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
