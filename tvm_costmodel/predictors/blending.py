"""What a blend is beside its parts: its weight, where they are, and how one answer is made of two.

Neither torch nor XGBoost is needed for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy.typing as npt

from tvm_costmodel.errors import CheckpointError
from tvm_costmodel.predictors.storage import encode_description, read_description

FILE = "blend.json"
_FORMAT_VERSION = 1
_HERE = "."

AnswerT = TypeVar("AnswerT", float, npt.NDArray[Any])


def blended(network_ms: AnswerT, kernels_ms: AnswerT, weight: float) -> AnswerT:
    """The weighted geometric mean of what NAR-Former V2 and kernel-sum predict, in ms."""
    mean_ms: AnswerT = network_ms ** (1 - weight) * kernels_ms**weight
    return mean_ms


@dataclass(frozen=True, kw_only=True)
class BlendDescription:
    """What the file of a blend holds.

    Args:
        weight: of kernel-sum's logarithm, that of NAR-Former V2 being what is left of 1.
        network: where NAR-Former V2 is, from the blend's directory.
        kernel_sum: where kernel-sum is.
        facts: what else is known: platform, training data, metrics, version of this package.
    """

    weight: float
    network: str = _HERE
    kernel_sum: str = _HERE
    facts: Mapping[str, Any] = field(default_factory=dict)

    def encode(self) -> bytes:
        """The content of the file.

        Raises:
            CheckpointError: the facts are not plain, finite JSON values.
        """
        return encode_description(_FORMAT_VERSION, vars(self))

    @classmethod
    def read(cls, directory: Path) -> BlendDescription:
        """The description in a blend's directory.

        Raises:
            CheckpointError: it is missing, damaged, or of a newer format.
        """
        values = read_description(directory, FILE, _FORMAT_VERSION)
        try:
            return cls(**values)
        except TypeError as error:
            raise CheckpointError(
                f"predictor {directory}: {FILE} does not describe a blend: {error}"
            ) from error
