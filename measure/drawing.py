"""Random tensors for a network that is timed, drawn on the device that runs it.

Each tensor has a generator of its own, seeded by the network's seed and the tensor's index: every
device draws the same values, whichever tensors it draws and in whatever order.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Draw:
    """How to draw one tensor: floats are normal within a range, or uniform; others are integers.

    Args:
        shape: of the tensor.
        dtype: NumPy's name of its element type.
        mean: of the normal distribution.
        std: of the normal distribution; None draws floats uniformly between ``low`` and ``high``.
        low: floats are not below it, nor are integers.
        high: floats are not above it; integers are below it.
    """

    shape: tuple[int, ...]
    dtype: str
    mean: float = 0.0
    std: float | None = 1.0
    low: float = -float("inf")
    high: float = float("inf")

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Draw:
        """The inverse of :meth:`to_dict`."""
        return cls(**{**values, "shape": tuple(values["shape"])})


def data(shape: tuple[int, ...], dtype: str, bound: int = 1) -> Draw:
    """Standard normal floats; for other types, which may be indices, integers below ``bound``."""
    if "float" in dtype:
        return Draw(shape=shape, dtype=dtype)
    return Draw(shape=shape, dtype=dtype, low=0, high=bound)


def draw(spec: Draw, seed: int, index: int) -> Array:
    """The tensor number ``index`` of a network whose values are drawn from ``seed``."""
    rng = np.random.default_rng((seed, index))
    values: Any
    if "float" not in spec.dtype:
        values = rng.integers(int(spec.low), int(spec.high), spec.shape)
    elif spec.std is None:
        values = rng.uniform(spec.low, spec.high, spec.shape)
    else:
        normal = rng.standard_normal(spec.shape, dtype=np.float32)
        values = (normal * spec.std + spec.mean).clip(spec.low, spec.high)
    return np.asarray(values, spec.dtype)
