"""From measurements to checkpoints: train every predictor of a platform and measure its quality.

Quality is measured on networks that a predictor has not seen: *in domain* by cross-validation over
all networks, *out of family* by leaving out one family after the other. The checkpoint itself is
trained on everything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from measure.database import Database
from measure.records import KernelTimes
from relay_frontend.errors import InputError
from relay_frontend.onnx import read_onnx
from relay_frontend.tokens import GraphTokens, TokenConfig, tokenize
from tvm_costmodel import registry
from tvm_costmodel.checkpoint import Checkpoint, package_version, save_checkpoint
from tvm_costmodel.kernel_sum import KernelSum, KernelSumConfig
from tvm_costmodel.metrics import Metrics, evaluate
from tvm_costmodel.runtime import NarFormerV2Config
from tvm_costmodel.training import Sample, TrainingConfig, train

FloatArray = npt.NDArray[np.float64]
Progress = Callable[[str], None]

_SMALLEST_MS = 1e-6
_INTERVAL = (0.1, 0.9)  # of measured over predicted, so that it holds 80 %


@dataclass(frozen=True, eq=False, kw_only=True)
class Example:
    """One measured network.

    Args:
        name: of the network.
        family: it belongs to.
        tokens: of its operator graph.
        latency_ms: its label.
        noise: relative error of one timing round's label against another's; None for one round.
        kernels: its measured kernel calls; None where they were not timed.
    """

    name: str
    family: str
    tokens: GraphTokens
    latency_ms: float
    noise: float | None
    kernels: KernelTimes | None


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """How to fit a platform.

    Args:
        folds: parts of the cross-validation.
        seed: of the parts, the weights and the boosting.
        training: how NAR-Former V2 is trained.
        model: its shape.
        tokens: its input.
        boosting: how kernel-sum is grown.
    """

    folds: int = 5
    seed: int = 0
    training: TrainingConfig = TrainingConfig()  # noqa: RUF009 (frozen)
    model: NarFormerV2Config = NarFormerV2Config()  # noqa: RUF009 (frozen)
    tokens: TokenConfig = TokenConfig()  # noqa: RUF009 (frozen)
    boosting: KernelSumConfig = KernelSumConfig()  # noqa: RUF009 (frozen)


def load_examples(database: Database, platform: str, tokens: TokenConfig) -> list[Example]:
    """All networks that ``database`` has latencies of on ``platform``, by name."""
    latencies = database.latencies(platform)
    kernels = database.kernel_times(platform)
    return [
        Example(
            name=network.name,
            family=network.family,
            tokens=tokenize(read_onnx(network.model), tokens),
            latency_ms=latencies[network.digest].label_ms,
            noise=latencies[network.digest].noise,
            kernels=kernels.get(network.digest),
        )
        for network in database.networks(platform)
        if network.digest in latencies
    ]


def fit_platform(
    database: Database,
    platform: str,
    directory: Path,
    config: FitConfig | None = None,
    progress: Progress = lambda _message: None,
) -> dict[str, dict[str, Any]]:
    """Train and check both predictors of ``platform`` and write their checkpoints.

    Args:
        database: the measurements.
        platform: full name.
        directory: of checkpoints; those of the platform must not exist there yet.
        config: how.
        progress: told in words what is going on.

    Returns:
        The metrics of each predictor, as stored in its checkpoint.

    Raises:
        InputError: too few networks.
    """
    config = config or FitConfig()
    examples = load_examples(database, platform, config.tokens)
    if len(examples) < 2 * config.folds:
        raise InputError(
            f"platform {platform} has {len(examples)} measured networks, training needs at least "
            f"{2 * config.folds}: measure more (tvm-costmodel measure)"
        )
    target = registry.platform_directory(platform, directory)
    nar_former = _NarFormerFitter(config, progress)
    kernel_sum = _KernelSumFitter(config)
    metrics = {}
    for fitter in (nar_former, kernel_sum):
        known = [example for example in examples if fitter.accepts(example)]
        metrics[fitter.name] = _assess(known, fitter, config, progress)
        progress(f"{fitter.name}: training on all {len(known)} networks")
        fitter.save(known, platform, metrics[fitter.name], target / fitter.name)
    return metrics


class _NarFormerFitter:
    name = registry.NAR_FORMER_V2

    def __init__(self, config: FitConfig, progress: Progress) -> None:
        self.config = config
        self.progress = progress
        self.model_config = replace(
            config.model,
            num_features=config.tokens.num_features,
            num_static=config.tokens.num_static,
        )

    def accepts(self, example: Example) -> bool:
        return example.latency_ms > 0

    def predict(self, known: Sequence[Example], unseen: Sequence[Example]) -> FloatArray:
        from tvm_costmodel.runtime import NumpyPredictor  # noqa: PLC0415

        model = self._train(known)
        predictor = NumpyPredictor(model.weights(), model.config)
        return predictor.predict([e.tokens for e in unseen]).astype(np.float64)

    def save(
        self, known: Sequence[Example], platform: str, metrics: dict[str, Any], directory: Path
    ) -> None:
        model = self._train(known)
        checkpoint = Checkpoint(
            weights=model.weights(),
            config=model.config,
            token_config=self.config.tokens,
            platform=platform,
            training_data=_describe(known),
            seed=self.config.training.seed,
            metrics=metrics,
        )
        save_checkpoint(checkpoint, directory)

    def _train(self, known: Sequence[Example]) -> Any:
        samples = [Sample(tokens=e.tokens, latency_ms=e.latency_ms) for e in known]
        return train(samples, self.config.training, self.model_config)


class _KernelSumFitter:
    name = registry.KERNEL_SUM

    def __init__(self, config: FitConfig) -> None:
        self.config = config

    def accepts(self, example: Example) -> bool:
        return example.kernels is not None

    def predict(self, known: Sequence[Example], unseen: Sequence[Example]) -> FloatArray:
        predictor = self._fit(known)
        return np.array([predictor.predict(_kernels(e).kernels) for e in unseen])

    def save(
        self, known: Sequence[Example], platform: str, metrics: dict[str, Any], directory: Path
    ) -> None:
        description = {
            "platform": platform,
            "training_data": _describe(known),
            "metrics": metrics,
            "created_by": package_version(),
        }
        self._fit(known, description).save(directory)

    def _fit(
        self, known: Sequence[Example], description: Mapping[str, Any] | None = None
    ) -> KernelSum:
        return KernelSum.fit([_kernels(e) for e in known], self.config.boosting, description)


def _kernels(example: Example) -> KernelTimes:
    assert example.kernels is not None
    return example.kernels


def _assess(
    examples: Sequence[Example],
    fitter: _NarFormerFitter | _KernelSumFitter,
    config: FitConfig,
    progress: Progress,
) -> dict[str, Any]:
    """Metrics in domain, by family and out of family, with the interval and the label noise."""
    measured = np.array([example.latency_ms for example in examples])
    families = np.array([example.family for example in examples])
    fold = np.random.default_rng(config.seed).permutation(len(examples)) % config.folds
    in_domain = _held_out(examples, fold, fitter, f"{fitter.name}: fold", progress)
    # A predictor that has collapsed answers 0, which must not make the interval infinite.
    ratio = np.quantile(measured / np.maximum(in_domain, _SMALLEST_MS), _INTERVAL)
    result: dict[str, Any] = {
        "in_domain": _as_dict(evaluate(in_domain, measured)),
        "in_domain_by_family": _by_family(families, in_domain, measured),
        "interval": [float(ratio[0]), float(ratio[1])],
        "label_noise": _label_noise(examples),
    }
    if len(set(families)) > 1:
        out = _held_out(examples, families, fitter, f"{fitter.name}: without", progress)
        result["out_of_family"] = _as_dict(evaluate(out, measured))
        result["out_of_family_by_family"] = _by_family(families, out, measured)
    return result


def _held_out(
    examples: Sequence[Example],
    groups: npt.NDArray[Any],
    fitter: _NarFormerFitter | _KernelSumFitter,
    what: str,
    progress: Progress,
) -> FloatArray:
    """The prediction for each example by a predictor that has seen none of its group."""
    predicted = np.empty(len(examples))
    for group in np.unique(groups):
        progress(f"{what} {group}")
        known = [e for e, g in zip(examples, groups, strict=True) if g != group]
        unseen = [e for e, g in zip(examples, groups, strict=True) if g == group]
        predicted[groups == group] = fitter.predict(known, unseen)
    return predicted


def _by_family(
    families: npt.NDArray[Any], predicted: FloatArray, measured: FloatArray
) -> dict[str, Any]:
    return {
        str(family): _as_dict(evaluate(predicted[families == family], measured[families == family]))
        for family in np.unique(families)
    }


def _as_dict(metrics: Metrics) -> dict[str, Any]:
    return {
        name: round(value, 4) if isinstance(value, float) else value
        for name, value in asdict(metrics).items()
    }


def _label_noise(examples: Sequence[Example]) -> dict[str, float] | None:
    """In %: median and mean over the networks that were timed in several rounds."""
    noise = [100 * example.noise for example in examples if example.noise is not None]
    if not noise:
        return None
    return {"median": round(float(np.median(noise)), 3), "mean": round(float(np.mean(noise)), 3)}


def _describe(examples: Sequence[Example]) -> dict[str, Any]:
    families = [example.family for example in examples]
    latencies = [example.latency_ms for example in examples]
    return {
        "networks": len(examples),
        "families": {family: families.count(family) for family in sorted(set(families))},
        "latency_ms": [round(min(latencies), 4), round(max(latencies), 4)],
    }
