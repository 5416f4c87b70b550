"""Inputs of a predictor with what is to be predicted of them, wherever they come from."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from relay_frontend.errors import InputError
from tvm_costmodel.predictors import Task
from tvm_costmodel.predictors.digests import inputs_digest

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
InputT = TypeVar("InputT")

Loading = Callable[[int, int], None]
"""Told how many inputs were read, and of how many in all."""


def silent(_done: int, _total: int) -> None:
    """A progress that tells nobody."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Dataset(Generic[InputT]):
    """What predictors are fitted to and tested on; all sequences are parallel, ``[num_inputs]``.

    Args:
        name: for tables.
        task: ``latency`` (inputs are :class:`tvm_costmodel.predictors.base.Network`) or
            ``accuracy`` (:class:`relay_frontend.cells.Cell`).
        inputs: what predictors see; see :func:`inputs_digest` for what they must be.
        names: of the inputs, unique on one platform.
        families: the kind of network that each is.
        platforms: that each target belongs to; empty for accuracies.
        targets: latencies in ms, or accuracies from 0 to 1, to learn.
        test_targets: what predictions are compared with, where it is not ``targets``: predictors
            of accuracy learn from the validation accuracy and are tested on the test accuracy.
        noise: relative error of one measurement of a target against another; NaN where unknown,
            None where nothing is known.
        is_test: the split into training and test inputs that the data came with; None without one.
        conditions: where the data come from and what was left out, as plain JSON values.

    Raises:
        InputError: no inputs, lengths that differ, or targets that are not positive and finite.
    """

    name: str
    task: Task
    inputs: tuple[InputT, ...]
    names: tuple[str, ...]
    families: tuple[str, ...]
    platforms: tuple[str, ...]
    targets: FloatArray
    test_targets: FloatArray | None = None
    noise: FloatArray | None = None
    is_test: BoolArray | None = None
    conditions: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.inputs:
            raise InputError(f"data set {self.name}: there is nothing in it")
        columns = (self.names, self.families, self.platforms, self.targets)
        optional = (self.test_targets, self.noise, self.is_test)
        lengths = {len(column) for column in (*columns, *optional) if column is not None}
        if lengths != {len(self.inputs)}:
            raise InputError(f"data set {self.name}: its columns are of the lengths {lengths}")
        for values in (self.targets, self.expected):
            bad = np.flatnonzero(~(np.isfinite(values) & (values > 0)))
            if len(bad):
                raise InputError(
                    f"data set {self.name}: what is measured must be positive and finite; "
                    f"{self.names[bad[0]]} has {values[bad[0]]}"
                )

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def expected(self) -> FloatArray:
        """What predictions are compared with."""
        return self.targets if self.test_targets is None else self.test_targets

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all inputs, names and numbers: other data have another one."""
        content = hashlib.sha256(self.task.encode())
        for texts in (self.names, self.families, self.platforms):
            content.update("\0".join(texts).encode())
        for values in (self.targets, self.expected, self.noise, self.is_test):
            content.update(
                b"none" if values is None else np.ascontiguousarray(values, np.float64).tobytes()
            )
        content.update(inputs_digest(self.inputs).encode())
        return content.hexdigest()

    def subset(self, indices: Sequence[int] | npt.NDArray[np.int64]) -> Dataset[InputT]:
        """The inputs at ``indices``, in that order."""
        chosen = np.asarray(indices, dtype=np.int64)

        def take(column: tuple[Any, ...]) -> tuple[Any, ...]:
            return tuple(column[i] for i in chosen)

        return replace(
            self,
            inputs=take(self.inputs),
            names=take(self.names),
            families=take(self.families),
            platforms=take(self.platforms),
            targets=self.targets[chosen],
            test_targets=None if self.test_targets is None else self.test_targets[chosen],
            noise=None if self.noise is None else self.noise[chosen],
            is_test=None if self.is_test is None else self.is_test[chosen],
        )

    def select(
        self,
        *,
        families: Collection[str] | None = None,
        platforms: Collection[str] | None = None,
    ) -> Dataset[InputT]:
        """The inputs of the given families and platforms; None means all.

        Raises:
            InputError: a family or platform that there is not; the message lists those there are.
        """
        kept = np.ones(len(self), dtype=bool)
        for what, wanted, column in (
            ("family", families, self.families),
            ("platform", platforms, self.platforms),
        ):
            if wanted is None:
                continue
            unknown = sorted(set(wanted) - set(column))
            if unknown:
                known = ", ".join(sorted(set(column)))
                raise InputError(
                    f"data set {self.name} has no {what} {unknown[0]!r}; there are {known}"
                )
            kept &= np.isin(column, list(wanted))
        return self.subset(np.flatnonzero(kept))
