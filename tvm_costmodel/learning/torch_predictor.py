"""What all predictors made of torch have in common: fitting, asking, saving and loading.

A subclass is its encoder, its module and its configuration::

    class Gcn(TorchPredictor[Network]):
        name = "gcn"
        config_type = GcnConfig  # a frozen dataclass of plain values and of such dataclasses

        def encode(self, inputs):
            return [Graph(...) for network in inputs]

        def make_model(self):
            return GcnModule(self.config)

What the module needs to know of the data is either in the configuration, as the width of its tokens
is, or in buffers that :meth:`TorchPredictor.calibrate` fills, as scales are; so that the module can
be made again from the configuration and the weights alone.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from typing_extensions import Self

from relay_frontend.errors import InputError
from tvm_costmodel.checkpoint import Saved, from_plain, read_saved, write_saved
from tvm_costmodel.errors import CheckpointError
from tvm_costmodel.learning.graphs import Graph, GraphStore
from tvm_costmodel.learning.losses import Objective, pointwise
from tvm_costmodel.learning.trainer import TrainingConfig, predict_store, train
from tvm_costmodel.predictors.base import (
    FloatArray,
    InputT,
    NotFittedError,
    Predictor,
    Progress,
    silent,
)
from tvm_costmodel.predictors.digests import inputs_digest
from tvm_costmodel.predictors.examples import checked_targets

SelfT = TypeVar("SelfT", bound="TorchPredictor[Any]")

_HERE_AND_NOW = ("state", "device")  # of a training; no part of what was learned


class TorchPredictor(Predictor[InputT]):
    """A predictor whose model maps a ``GraphBatch`` to ``[G]``.

    Args:
        config: of the predictor; by default that of ``config_type``.
        training: how to fit it; by default the paper's way.
    """

    task: ClassVar[str] = "latency"
    """``latency`` or ``accuracy``; with the name it says what wrote a checkpoint."""

    config_type: ClassVar[type[Any]]
    """A frozen dataclass of plain values, tuples of them, and such dataclasses."""

    default_training: ClassVar[TrainingConfig] = TrainingConfig()

    config: Any
    """Subclasses narrow its type."""

    def __init__(self, config: Any = None, training: TrainingConfig | None = None) -> None:
        self.config = self.config_type() if config is None else config
        self.training = training or self.default_training
        self.facts: dict[str, Any] = {}
        """Whatever else belongs to a checkpoint (platform, training data, metrics): plain JSON."""
        self._fitted_on: dict[str, Any] = {}
        self._model: nn.Module | None = None

    @abstractmethod
    def encode(self, inputs: Sequence[InputT]) -> list[Graph]:
        """The graph of each input.

        Raises:
            InputError: an input lacks what this predictor needs, named.
        """

    @abstractmethod
    def make_model(self) -> nn.Module:
        """The module of ``self.config``, with initial weights from torch's global generator."""

    def calibrate(self, model: nn.Module, store: GraphStore, targets: FloatArray) -> None:
        """Fill the buffers of a new ``model`` that depend on the training data; by default none."""

    def objective(self, inputs: Sequence[InputT]) -> Objective:  # noqa: ARG002 (for subclasses)
        """What fitting on ``inputs`` minimizes; by default the configured loss of each graph."""
        return pointwise(self.training.loss)

    @property
    def model(self) -> nn.Module:
        """The fitted model.

        Raises:
            NotFittedError: :meth:`fit` or :meth:`load` comes first.
        """
        if self._model is None:
            raise NotFittedError(f"{self.name} is not fitted: fit it or load a checkpoint first")
        return self._model

    def fit(
        self,
        inputs: Sequence[InputT],
        targets: FloatArray,
        *,
        validation: tuple[Sequence[InputT], FloatArray] | None = None,
        progress: Progress = silent,
    ) -> None:
        """See :meth:`Predictor.fit`; one seed gives one model on the CPU.

        Raises:
            TrainingError: the loss is no longer finite.
        """
        targets = checked_targets(self.name, inputs, targets)
        graphs = self.encode(inputs)
        held_out = None if validation is None else (self.encode(validation[0]), validation[1])
        model = self._initial_model()
        self.calibrate(model, GraphStore(graphs), targets)
        train(
            model,
            graphs,
            targets,
            self.training,
            objective=self.objective(inputs),
            validation=held_out,
            identity=self._identity(inputs),
            progress=progress,
        )
        self._model = model
        self._fitted_on = {
            "inputs": len(inputs),
            "targets": [float(np.min(targets)), float(np.max(targets))],
        }

    def predict(self, inputs: Sequence[InputT]) -> FloatArray:
        """See :meth:`Predictor.predict`."""
        model = self.model
        if not len(inputs):
            return np.empty(0)
        store = GraphStore(self.encode(inputs), next(model.parameters()).device)
        return predict_store(model, store)

    def weights(self) -> dict[str, npt.NDArray[Any]]:
        """Copies of the weights and buffers by name."""
        state = self.model.state_dict()
        return {name: value.detach().cpu().numpy().copy() for name, value in state.items()}

    def save(self, directory: Path) -> None:
        """See :meth:`Predictor.save`; processes without torch can read it too."""
        saved = Saved(
            predictor=self.name,
            task=self.task,
            config=asdict(self.config),
            training=self._plain_training(),
            fitted_on=self._fitted_on,
            facts=self.facts,
            weights=self.weights(),
        )
        write_saved(saved, directory)

    @classmethod
    def load(cls, directory: Path) -> Self:
        """See :meth:`Predictor.load`; it is put on CUDA where there is a device."""
        saved = read_saved(directory)
        if (saved.predictor, saved.task) != (cls.name, cls.task):
            raise CheckpointError(
                f"checkpoint {directory} holds the {saved.task} predictor {saved.predictor!r}, not "
                f"the {cls.task} predictor {cls.name!r}"
            )
        weights = {name: torch.from_numpy(w.copy()) for name, w in saved.weights.items()}
        try:
            config = from_plain(cls.config_type, saved.config)
            predictor = cls(config, from_plain(TrainingConfig, saved.training))
            model = predictor._initial_model()
            model.load_state_dict(weights)
        except (InputError, TypeError, RuntimeError) as error:
            raise CheckpointError(
                f"checkpoint {directory} does not describe a {cls.name}: {error}"
            ) from error
        predictor.facts = dict(saved.facts)
        predictor._fitted_on = dict(saved.fitted_on)
        predictor._model = model.to(predictor.training.torch_device()).eval()
        return predictor

    def describe(self) -> dict[str, Any]:
        """See :meth:`Predictor.describe`."""
        return {
            "name": self.name,
            "task": self.task,
            "config": asdict(self.config),
            "training": self._plain_training(),
            "parameters": sum(p.numel() for p in self.model.parameters()),
            "fitted_on": self._fitted_on,
            **self.facts,
        }

    def _identity(self, inputs: Sequence[InputT]) -> str:
        """Of a training that may be gone on with; kernels are learned from and are in no graph."""
        known = "" if self.training.state is None else inputs_digest(inputs)
        return f"{self.name} {self.config} {known}"

    def _initial_model(self) -> nn.Module:
        """On the CPU, with weights drawn from the seed; torch's global generator is kept."""
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(self.training.seed)
            return self.make_model()

    def _plain_training(self) -> dict[str, Any]:
        plain = asdict(self.training)
        return {name: value for name, value in plain.items() if name not in _HERE_AND_NOW}
