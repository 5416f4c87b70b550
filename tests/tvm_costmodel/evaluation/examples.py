"""Small data and predictors that are quick, for tests of evaluation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tvm_costmodel.datasets.dataset import Dataset
from tvm_costmodel.evaluation.candidates import Candidate
from tvm_costmodel.predictors.base import Combination, FitEvent, Predictor


def numbers(
    count: int = 40,
    *,
    families: Sequence[str] = ("a", "b", "c", "d"),
    platforms: Sequence[str] = ("p",),
    **changes: Any,
) -> Dataset[float]:
    """The numbers from 1 with themselves as latencies, on each platform; families take turns."""
    inputs = tuple(float(i + 1) for _ in platforms for i in range(count))
    values = {
        "name": "numbers",
        "task": "latency",
        "inputs": inputs,
        "names": tuple(f"n{x:g}" for x in inputs),
        "families": tuple(families[int(x) % len(families)] for x in inputs),
        "platforms": tuple(name for name in platforms for _ in range(count)),
        "targets": np.array(inputs),
        "noise": np.full(len(inputs), 0.02),
        "conditions": {"source": "invented"},
    }
    return Dataset(**{**values, **changes})


class Biased(Predictor[float]):
    """Answers a number times a factor; remembers what it was given."""

    name = "biased"

    def __init__(self, factor: float = 1.0, answer: Callable[[float], float] | None = None) -> None:
        self.factor = factor
        self.answer = answer or (lambda x: x * factor)
        self.fits: list[tuple[Any, ...]] = []

    def fit(self, inputs, targets, *, validation=None, progress=lambda _event: None):
        self.fits.append((tuple(inputs), tuple(targets), validation))
        for step in (1, 2):
            progress(FitEvent(step=step, steps=2, loss=0.5, validation=100 * abs(self.factor - 1)))

    def predict(self, inputs):
        return np.array([self.answer(x) for x in inputs])

    def save(self, directory: Path):
        directory.mkdir()

    @classmethod
    def load(cls, directory: Path):
        return cls()

    def describe(self):
        return {"name": self.name, "parameters": 1, "factor": self.factor}


def biased(
    label: str = "biased", *factors: float, name: str = "biased", seeded: bool = True
) -> tuple[Candidate, list[Biased]]:
    """A candidate that is off by one factor a seed, and the predictors that it makes."""
    made: list[Biased] = []

    def make(seed: int) -> Biased:
        made.append(Biased(factors[seed % len(factors)] if factors else 1.0))
        return made[-1]

    return Candidate(name=name, label=label, settings="", seeded=seeded, make=make), made


class Product(Combination[float], Biased):
    """Answers the product of what its parts answer."""

    name = "product"

    @classmethod
    def part_specs(cls, spec):
        return ()

    def combine(self, predictions):
        return np.prod(predictions, axis=0)

    def save_beside(self, directory: Path, parts):
        directory.mkdir()

    def describe_with(self, parts):
        return {"name": self.name, "parameters": sum(part["parameters"] for part in parts)}


def product(*parts: Candidate) -> Candidate:
    """A candidate that combines others."""
    return Candidate(
        name="product",
        label="product",
        settings="",
        seeded=True,
        make=lambda _seed: Product(),
        parts=parts,
    )
