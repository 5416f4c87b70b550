"""Trees that predict kernels, with what networks add to the sum: one half of kernel-sum."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from relay_frontend.kernel import Kernel
from tvm_costmodel.errors import CheckpointError
from tvm_costmodel.predictors.base import FloatArray
from tvm_costmodel.predictors.kernel_trees import KernelTrees, xgboost_module
from tvm_costmodel.predictors.overheads import Overheads
from tvm_costmodel.predictors.storage import read_bytes, sha256

if TYPE_CHECKING:
    import xgboost
    from typing_extensions import Self


@dataclass(frozen=True, eq=False, kw_only=True)
class SummedTrees:
    """The time of each kernel alone, and what the sum of a network's kernels lacks. Immutable."""

    trees: KernelTrees
    overheads: Overheads

    def contributions(self, kernels: Sequence[Kernel]) -> FloatArray:
        """What each call adds to the latency of its network, in ms, ``[num_kernels]``."""
        return self.overheads.contributions(self.trees.predict(kernels))

    def to_files(self, stem: str) -> tuple[dict[str, Any], dict[str, bytes]]:
        """Plain JSON values, and boosters in XGBoost's own format as files that start ``stem``."""
        trees = self.trees
        boosters = {kind: bytes(b.save_raw("ubj")) for kind, b in trees.boosters.items()}
        values = {
            "words": trees.words,
            "features": trees.version,
            "rates_ms": None if trees.rates_ms is None else trees.rates_ms.tolist(),
            "overheads": asdict(self.overheads),
            "kinds": list(boosters),
            "models_sha256": [sha256(content) for content in boosters.values()],
        }
        files = {_file(stem, number): content for number, content in enumerate(boosters.values())}
        return values, files

    @classmethod
    def from_files(cls, directory: Path, stem: str, values: Mapping[str, Any]) -> Self:
        """The inverse of :meth:`to_files`.

        Raises:
            CheckpointError: a file is missing, damaged, or not the one that was saved.
            KeyError, TypeError, ValueError: the values are not those of :meth:`to_files`.
            MissingDependencyError: XGBoost is not installed.
        """
        named = zip(values["kinds"], values["models_sha256"], strict=True)
        rates = values["rates_ms"]
        trees = KernelTrees(
            words=tuple(values["words"]),
            boosters={
                kind: _read_booster(directory, _file(stem, number), digest)
                for number, (kind, digest) in enumerate(named)
            },
            rates_ms=None if rates is None else np.array(rates, dtype=np.float64),
            version=values["features"],
        )
        return cls(trees=trees, overheads=Overheads(**values["overheads"]))


def _file(stem: str, number: int) -> str:
    return f"{stem}-{number}.ubj" if number else f"{stem}.ubj"


def _read_booster(directory: Path, name: str, digest: str | None) -> xgboost.Booster:
    content = read_bytes(directory, name)
    # The first checkpoints do not name their booster's digest.
    if digest not in {None, sha256(content)}:
        raise CheckpointError(
            f"predictor {directory}: {name} is not the file that was saved with its description "
            "(SHA-256 differs): copy or train the predictor again"
        )
    xgb = xgboost_module()
    booster = xgb.Booster()
    try:
        booster.load_model(bytearray(content))
    except xgb.core.XGBoostError as error:
        raise CheckpointError(f"kernel-sum checkpoint {directory}: {error!r}") from error
    return booster
