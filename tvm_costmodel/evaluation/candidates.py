"""Predictors to compare, with the options that they were asked with."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from relay_frontend.errors import InputError
from tvm_costmodel.predictors import Task, create, option_names
from tvm_costmodel.predictors.base import Combination, Predictor
from tvm_costmodel.specs import Spec

_SEED, _EPOCHS = "seed", "epochs"


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A way to make a predictor, again and again.

    Args:
        name: of the predictor.
        label: name and options; two candidates of one label count as the same.
        settings: digest of what they stand for.
        seeded: whether the seed makes a difference.
        make: a new predictor, not fitted, with a seed.
        parts: the candidates whose answers it combines, where it is a
            :class:`tvm_costmodel.predictors.base.Combination`.
    """

    name: str
    label: str
    settings: str
    seeded: bool
    make: Callable[[int], Predictor[Any]]
    parts: tuple[Candidate, ...] = ()


def candidate(spec: Spec, task: Task, epochs: int | None = None) -> Candidate:
    """The predictor of the registry that ``spec`` names.

    Args:
        spec: its name and options.
        task: what it shall predict.
        epochs: passes over the training data, for predictors that make any and whose spec does
            not say.

    Raises:
        InputError: no such predictor or option, or a seed among the options.
        MissingDependencyError: what it needs is not installed.
    """
    accepted = {path.rpartition(".")[2] for path in option_names(spec.name, task)}
    if _SEED in spec.options:
        raise InputError(f"{spec}: the number of runs chooses the seeds, leave out seed=")
    if epochs is not None and _EPOCHS in accepted and _EPOCHS not in spec.options:
        spec = spec.with_option(_EPOCHS, epochs)
    seeded = _SEED in accepted

    def make(seed: int) -> Predictor[Any]:
        options = {**spec.options, _SEED: seed} if seeded else spec.options
        return create(spec.name, task, **options)

    made = make(0)  # a wrong option fails before anything is loaded or fitted
    settings = _digest(getattr(made, "config", None), getattr(made, "training", None))
    specs = made.part_specs(spec) if isinstance(made, Combination) else ()
    return Candidate(
        name=spec.name,
        label=str(spec),
        settings=settings,
        seeded=seeded,
        make=make,
        parts=tuple(candidate(part, task) for part in specs),
    )


def _digest(*settings: Any) -> str:
    plain = [asdict(part) for part in settings if part is not None]
    return hashlib.sha256(json.dumps(plain, sort_keys=True, default=str).encode()).hexdigest()[:12]
