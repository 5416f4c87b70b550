"""Kernel-sum: predict each fused kernel of a network by gradient boosting, and add up.

The kernels are those that the compiler would really emit (:mod:`relay_frontend.kernels`); trees
predict each of them alone (:mod:`tvm_costmodel.predictors.kernel_trees`). A network is not the sum
of its kernels: a kernel alone finds its data elsewhere in the caches than in its network, and calls
take time. So the sum is scaled, and each call and each network costs something, as fits the
measured networks best.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from relay_frontend.errors import InputError
from relay_frontend.kernel import Kernel
from tvm_costmodel.errors import CheckpointError
from tvm_costmodel.predictors.base import (
    FitEvent,
    FloatArray,
    Network,
    NotFittedError,
    Predictor,
    Progress,
    silent,
)
from tvm_costmodel.predictors.examples import (
    checked_targets,
    measured_kernels,
    validation_mape,
)
from tvm_costmodel.predictors.kernel_trees import (
    SHARED,
    KernelTrees,
    TreeConfig,
    xgboost_module,
)
from tvm_costmodel.predictors.kernel_tuning import tune
from tvm_costmodel.predictors.overheads import Overheads
from tvm_costmodel.predictors.storage import (
    encode_description,
    read_bytes,
    sha256,
    write_directory,
)
from tvm_costmodel.predictors.storage import read_description as read_json

if TYPE_CHECKING:
    import xgboost
    from typing_extensions import Self

_DESCRIPTION_FILE = "kernel-sum.json"
_FORMAT_VERSION = 2


@dataclass(frozen=True, kw_only=True)
class KernelSumConfig:
    """How kernel-sum is fitted.

    Args:
        trees: how they are grown.
        overhead: whether what happens between kernels is learned from the networks' latencies.
        trials: ways to grow trees that are tried by cross-validation first, of which the best is
            taken; 0 takes ``trees`` as they are.
    """

    trees: TreeConfig = field(default_factory=TreeConfig)
    overhead: bool = True
    trials: int = 0


class KernelSum(Predictor[Network]):
    """A kernel-sum predictor for one platform.

    Args:
        config: how it is fitted.
        description: what else its checkpoint is to say (platform, training data, quality), as
            plain JSON values.
    """

    name: ClassVar[str] = "kernel-sum"
    config_type: ClassVar[type[KernelSumConfig]] = KernelSumConfig

    def __init__(
        self,
        config: KernelSumConfig | None = None,
        description: Mapping[str, Any] | None = None,
    ) -> None:
        self.config = config or KernelSumConfig()
        self.description: dict[str, Any] = {**(description or {}), "config": asdict(self.config)}
        self._trees: KernelTrees | None = None
        self._overheads = Overheads()

    def fit(
        self,
        inputs: Sequence[Network],
        targets: FloatArray,
        *,
        validation: tuple[Sequence[Network], FloatArray] | None = None,
        progress: Progress = silent,
    ) -> None:
        """Learn the measured kernels of the networks, and what their sums lack.

        Raises:
            InputError: a network has no kernels, or none that were timed.
            MissingDependencyError: trials are asked for without Optuna.
        """
        latencies = checked_targets(self.name, inputs, targets)
        measured = [measured_kernels(self.name, network) for network in inputs]
        kernels = [kernel for network_kernels, _ in measured for kernel in network_kernels]
        times = np.concatenate([network_times for _, network_times in measured])
        owner = np.repeat(np.arange(len(inputs)), [len(calls) for calls, _ in measured])
        config = self.config.trees
        if self.config.trials:
            config = tune(kernels, times, owner, config, self.config.trials, progress)
            self.description["tuned"] = asdict(config)
        self._grow(kernels, times, config, progress)
        if self.config.overhead:
            self._overheads = Overheads.fit([own_ms for _, own_ms in measured], latencies)
        steps = config.num_trees
        error = validation_mape(self, validation)
        progress(FitEvent(step=steps, steps=steps, validation=error))

    def fit_kernels(
        self, kernels: Sequence[Kernel], times_ms: FloatArray, progress: Progress = silent
    ) -> None:
        """Learn the time of each kernel call, ``[num_kernels]`` in ms, and no overhead.

        The median of a kernel's samples is the time to give: a kernel that ran alone has no other
        process's load in its lower tail.
        """
        self._grow(kernels, times_ms, self.config.trees, progress)

    def predict(self, inputs: Sequence[Network]) -> FloatArray:
        self._fitted()
        return np.array([self.latency_ms(_known_kernels(network)) for network in inputs])

    def predict_kernels(self, kernels: Sequence[Kernel]) -> FloatArray:
        """Predicted time of each kernel call when it runs alone, in ms, ``[num_kernels]``."""
        return self._fitted().predict(kernels)

    def contributions(self, kernels: Sequence[Kernel]) -> FloatArray:
        """What each call adds to the latency of the network, in ms, ``[num_kernels]``.

        Its time alone with the overheads, of which each call has its part.
        """
        return self._overheads.contributions(self.predict_kernels(kernels))

    def latency_ms(self, kernels: Sequence[Kernel]) -> float:
        """Predicted latency in ms of a network with these kernel calls."""
        return float(self.contributions(kernels).sum())

    def save(self, directory: Path) -> None:
        """Write the predictor as ``directory``, in XGBoost's own format beside plain JSON."""
        trees = self._fitted()
        boosters = {kind: bytes(b.save_raw("ubj")) for kind, b in trees.boosters.items()}
        files = {_model_file(number): content for number, content in enumerate(boosters.values())}
        values = {
            "words": trees.words,
            **self.description,
            "features": trees.version,
            "rates_ms": None if trees.rates_ms is None else trees.rates_ms.tolist(),
            "overheads": asdict(self._overheads),
            "kinds": list(boosters),
            "models_sha256": [sha256(content) for content in boosters.values()],
        }
        files[_DESCRIPTION_FILE] = encode_description(_FORMAT_VERSION, values)
        write_directory(directory, files)

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Read what :meth:`save` wrote, by this version of the package or an older one.

        Raises:
            CheckpointError: it is missing, damaged or of a newer format.
            MissingDependencyError: XGBoost is not installed.
        """
        values = _as_second_format(read_description(directory))
        try:
            words, version = tuple(values.pop("words")), values.pop("features")
            rates, overheads = values.pop("rates_ms"), values.pop("overheads")
            kinds, digests = values.pop("kinds"), values.pop("models_sha256")
            options = values.pop("config")
            config = KernelSumConfig(**{**options, "trees": TreeConfig(**options["trees"])})
            predictor = cls(config, values)
            predictor._overheads = Overheads(**overheads)
            predictor._trees = KernelTrees(
                words=words,
                boosters={
                    kind: _read_booster(directory, _model_file(number), digest)
                    for number, (kind, digest) in enumerate(zip(kinds, digests, strict=True))
                },
                rates_ms=None if rates is None else np.array(rates, dtype=np.float64),
                version=version,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"kernel-sum checkpoint {directory}: {error!r}") from error
        return predictor

    def describe(self) -> dict[str, Any]:
        words = [] if self._trees is None else list(self._trees.words)
        known = {"kernel_words": words, "overheads": asdict(self._overheads)}
        return {"name": self.name, **self.description, **known}

    def _grow(
        self,
        kernels: Sequence[Kernel],
        times_ms: FloatArray,
        config: TreeConfig,
        progress: Progress,
    ) -> None:
        self._trees = KernelTrees.grow(kernels, times_ms, config, progress)
        self._overheads = Overheads()
        self.description["kernel_calls"] = len(kernels)

    def _fitted(self) -> KernelTrees:
        if self._trees is None:
            raise NotFittedError(f"{self.name} has no trees yet: fit or load it first")
        return self._trees


def read_description(directory: Path) -> dict[str, Any]:
    """What a kernel-sum checkpoint says of itself, read without XGBoost.

    Raises:
        CheckpointError: it is missing, damaged or of a newer format.
    """
    return read_json(directory, _DESCRIPTION_FILE, _FORMAT_VERSION)


def _as_second_format(values: dict[str, Any]) -> dict[str, Any]:
    """The description of a checkpoint of format 1 as one of format 2 would have it.

    Trees had fewer features then and started from nothing, and kernels were added up as they are.
    """
    if "features" in values:
        return values
    grown = {**values["config"], "column_share": 1.0, "min_kernels": 1}
    grown |= {"monotone": False, "start": False}
    return {
        **{name: value for name, value in values.items() if name != "model_sha256"},
        "config": {"trees": grown, "overhead": False, "trials": 0},
        "features": 1,
        "rates_ms": None,
        "overheads": asdict(Overheads()),
        "kinds": [SHARED],
        "models_sha256": [values.get("model_sha256")],
    }


def _model_file(number: int) -> str:
    return f"kernels-{number}.ubj" if number else "kernels.ubj"


def _read_booster(directory: Path, name: str, digest: str | None) -> xgboost.Booster:
    content = read_bytes(directory, name)
    # The first checkpoints do not name their booster's digest.
    if digest not in {None, sha256(content)}:
        raise CheckpointError(
            f"predictor {directory}: {name} is not the file that was saved with "
            f"{_DESCRIPTION_FILE} (SHA-256 differs): copy or train the predictor again"
        )
    xgb = xgboost_module()
    booster = xgb.Booster()
    try:
        booster.load_model(bytearray(content))
    except xgb.core.XGBoostError as error:
        raise CheckpointError(f"kernel-sum checkpoint {directory}: {error!r}") from error
    return booster


def _known_kernels(network: Network) -> Sequence[Kernel]:
    if not network.kernels:
        raise InputError(
            f"kernel-sum needs the kernels of network {network.name!r}, which the toolchain of "
            f"{network.platform} finds (tvm_costmodel.kernel_finding.KernelFinder); nn-meter "
            "guesses them"
        )
    return network.kernels
