"""What a predictor is: one interface for the learned cost model, its baselines and kernel-sum.

A predictor is made with its configuration, fitted once on inputs and targets, and then asked. What
it was fitted on and with is part of it: it goes into :meth:`Predictor.describe` and, with the
weights, into the directory that :meth:`Predictor.save` writes, from which :meth:`Predictor.load`
makes an equal predictor in any later version of this package.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from relay_frontend.cells import Cell
from relay_frontend.errors import CostModelError
from relay_frontend.graph import OpGraph
from relay_frontend.kernel import Kernel

if TYPE_CHECKING:
    from tvm_costmodel.specs import Spec

FloatArray = npt.NDArray[np.float64]
InputT = TypeVar("InputT")


class NotFittedError(CostModelError):
    """A predictor was asked or saved before it was fitted."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Network:
    """A whole network as predictors of latency see it.

    Args:
        name: for messages.
        family: what kind of network it is; predictors do not look at it, protocols do.
        platform: whose latency is asked for.
        graph: its operator graph.
        kernels: the kernel calls that the platform's toolchain makes of it, in execution order;
            None where they are not known, so that kernels have to be guessed from ``graph``.
        kernel_ms: the measured time of each of ``kernels`` in ms, ``[num_kernels]``; None where
            they were not timed. Read by :meth:`Predictor.fit` alone, and by what is a bound and no
            prediction (:mod:`tvm_costmodel.predictors.measured_kernels`).
        cell: the cell that the whole network repeats, where it is one of a cell-based benchmark.
    """

    name: str
    family: str
    platform: str
    graph: OpGraph
    kernels: tuple[Kernel, ...] | None = None
    kernel_ms: FloatArray | None = None
    cell: Cell | None = None


@dataclass(frozen=True, kw_only=True)
class FitEvent:
    """How far a predictor has come with fitting.

    Args:
        step: steps done (epochs, trees, kernel kinds), from 1.
        steps: steps in all.
        loss: mean training loss of the step; None where there is none.
        validation: mean absolute percentage error in % on the validation set; None without one.
    """

    step: int
    steps: int
    loss: float | None = None
    validation: float | None = None


Progress = Callable[[FitEvent], None]


def silent(_event: FitEvent) -> None:
    """A progress that tells nobody."""


class Predictor(ABC, Generic[InputT]):
    """Predicts one positive number of each input: a latency in ms, or an accuracy from 0 to 1.

    Not thread-safe while it is fitted; immutable afterwards, and then safe to share. One seed (part
    of the configuration) and equal inputs in equal order give equal predictions on one machine.
    """

    name: ClassVar[str]
    """Name on the command line, in tables and in checkpoints."""

    @abstractmethod
    def fit(
        self,
        inputs: Sequence[InputT],
        targets: FloatArray,
        *,
        validation: tuple[Sequence[InputT], FloatArray] | None = None,
        progress: Progress = silent,
    ) -> None:
        """Learn ``targets`` (``[num_inputs]``) of ``inputs``.

        Args:
            inputs: what to learn from.
            targets: measured latencies in ms, or accuracies.
            validation: inputs and targets to watch and to stop early by, never to learn from.
            progress: told after each step.

        Raises:
            InputError: nothing to learn from, targets that are not positive and finite, or inputs
                that lack what this predictor needs (measured kernels), named.
        """

    @abstractmethod
    def predict(self, inputs: Sequence[InputT]) -> FloatArray:
        """Predictions in the order of ``inputs``, ``[num_inputs]``.

        Raises:
            NotFittedError: :meth:`fit` or :meth:`load` comes first.
            InputError: an input lacks what this predictor needs, named.
        """

    @abstractmethod
    def save(self, directory: Path) -> None:
        """Write a new ``directory``, all of it or nothing: plain JSON and plain arrays, no pickles.

        Raises:
            NotFittedError: there is nothing to save.
            CheckpointError: ``directory`` exists and is not empty.
        """

    @classmethod
    @abstractmethod
    def load(cls, directory: Path) -> Predictor[InputT]:
        """Read what :meth:`save` wrote.

        Raises:
            CheckpointError: it is missing, damaged, newer than this package, or of another class.
        """

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Name, configuration, size and what it was fitted on, as plain JSON values."""


class Combination(Predictor[InputT]):
    """A predictor whose answer is made of those of others, each fitted as it is alone.

    So an evaluation need not fit it: it combines what the others have answered.
    """

    @classmethod
    @abstractmethod
    def part_specs(cls, spec: Spec) -> tuple[Spec, ...]:
        """The others and their options, where ``spec`` is that of the combination."""

    @abstractmethod
    def combine(self, predictions: Sequence[FloatArray]) -> FloatArray:
        """The answers, ``[num_inputs]``, from those of each of the others, in their order."""

    @abstractmethod
    def describe_with(self, parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """What :meth:`describe` says where the others describe themselves as ``parts``."""

    @abstractmethod
    def save_beside(self, directory: Path, parts: Sequence[str]) -> None:
        """Write a new ``directory`` with what is not of the others, which are saved elsewhere.

        Args:
            directory: as for :meth:`save`; :meth:`load` reads it likewise.
            parts: directories of the others, relative to it.

        Raises:
            CheckpointError: ``directory`` exists and is not empty.
        """
