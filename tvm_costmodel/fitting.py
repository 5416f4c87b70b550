"""From measurements to checkpoints: fit predictors of a platform and measure their quality.

Quality is measured on networks that a predictor has not seen: *in domain* by cross-validation
within every family, *out of family* by leaving out one family after the other. The checkpoint
itself is fitted to everything; it lists the networks, so that an estimate can tell how like them a
network is.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from measure.database import Database
from relay_frontend.errors import InputError
from tvm_costmodel import familiarity, registry
from tvm_costmodel.checkpoint import package_version
from tvm_costmodel.datasets.dataset import Dataset
from tvm_costmodel.datasets.measured import measured
from tvm_costmodel.evaluation.candidates import Candidate, candidate
from tvm_costmodel.evaluation.metrics import Metrics, evaluate
from tvm_costmodel.evaluation.protocols import InDomain, LeaveOneFamilyOut, SplitProtocol
from tvm_costmodel.evaluation.rows import TEST, Predictions, RunStore
from tvm_costmodel.evaluation.runs import RunEvent
from tvm_costmodel.evaluation.runs import evaluate as evaluate_runs
from tvm_costmodel.familiarity import KnownNetworks
from tvm_costmodel.predictors.base import Network, Predictor
from tvm_costmodel.specs import Spec, parse_specs

Progress = Callable[[str], None]

_SMALLEST_MS = 1e-6
_INTERVAL = (0.1, 0.9)  # of measured over predicted, so that it holds 80 %
_NEEDS_KERNELS = (registry.KERNEL_SUM,)


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """How to fit a platform.

    Args:
        predictors: which, with their options.
        folds: parts of the cross-validation.
        seed: of the parts and of the predictors.
        epochs: passes over the networks, where a predictor makes any and its options do not say.
        runs: directory of the runs that quality is measured by, which are not done again; by
            default they are forgotten.
    """

    predictors: tuple[Spec, ...] = tuple(parse_specs(registry.SPECS))
    folds: int = 5
    seed: int = 0
    epochs: int | None = None
    runs: Path | None = None


def fit_platform(
    database: Database,
    platform: str,
    directory: Path,
    config: FitConfig | None = None,
    progress: Progress = lambda _message: None,
) -> dict[str, dict[str, Any]]:
    """Fit and check the predictors of ``platform`` and write their checkpoints.

    Args:
        database: the measurements.
        platform: full name.
        directory: of checkpoints; those of the platform must not exist there yet.
        config: how.
        progress: told in words what is going on.

    Returns:
        The metrics of each predictor by its name, as stored in its checkpoint.

    Raises:
        InputError: too few networks, or a predictor that is unknown, named twice or cannot keep
            its metrics.
    """
    config = config or FitConfig()
    candidates = [candidate(spec, "latency", config.epochs) for spec in config.predictors]
    _check(candidates)
    dataset = measured(database, [platform], name=platform)
    known = {c.name: _known(dataset, c, config.folds) for c in candidates}
    target = registry.platform_directory(platform, directory)
    metrics = {}
    with ExitStack() as scratch:
        runs = config.runs or Path(scratch.enter_context(tempfile.TemporaryDirectory()))
        for chosen in candidates:
            data = known[chosen.name]
            metrics[chosen.name] = _assess(data, chosen, config, RunStore(runs), progress)
            progress(f"{chosen.name}: fitting to all {len(data)} networks")
            predictor = chosen.make(config.seed)
            predictor.fit(data.inputs, data.targets)
            _facts(predictor).update(
                platform=platform,
                training_data=_describe(data),
                metrics=metrics[chosen.name],
                created_by=package_version(),
            )
            graphs = [network.graph for network in data.inputs]
            listed = KnownNetworks.of(graphs, data.names, data.families)
            predictor.save(target / chosen.name)
            listed.save(target / chosen.name / familiarity.DIRECTORY)
    return metrics


def _check(candidates: Sequence[Candidate]) -> None:
    names = [chosen.name for chosen in candidates]
    if not names or len(set(names)) < len(names):
        raise InputError(
            f"a platform has one checkpoint of each predictor, and {', '.join(names) or 'none'} "
            "were named"
        )
    for chosen in candidates:
        _facts(chosen.make(0))


def _facts(predictor: Predictor[Any]) -> dict[str, Any]:
    """What the predictor writes into its checkpoint as it is.

    Raises:
        InputError: it has no place for it.
    """
    for name in ("facts", "description"):
        found = getattr(predictor, name, None)
        if isinstance(found, dict):
            return found
    raise InputError(
        f"{predictor.name} has no checkpoint that could name its platform and its quality; it is "
        "there to compare with (tvm-costmodel evaluate)"
    )


def _known(dataset: Dataset[Network], chosen: Candidate, folds: int) -> Dataset[Network]:
    """The networks that the predictor can learn from.

    Raises:
        InputError: they are too few for the cross-validation.
    """
    indices = [
        index
        for index, network in enumerate(dataset.inputs)
        if chosen.name not in _NEEDS_KERNELS or network.kernel_ms is not None
    ]
    if len(indices) < 2 * folds:
        raise InputError(
            f"platform {dataset.name} has {len(indices)} measured networks for {chosen.name}, "
            f"training needs at least {2 * folds}: measure more (tvm-costmodel measure)"
        )
    return dataset.subset(indices)


def _assess(
    dataset: Dataset[Network],
    chosen: Candidate,
    config: FitConfig,
    store: RunStore,
    progress: Progress,
) -> dict[str, Any]:
    """Metrics in domain, by family and out of family, with the interval and the label noise."""

    def tested(protocol: SplitProtocol) -> list[Predictions]:
        runs = evaluate_runs(
            dataset, protocol, [chosen], [config.seed], store, lambda event: _tell(event, progress)
        )
        return [run.predictions for run in runs]

    rows = tested(InDomain(parts=config.folds, folds=config.folds, seed=config.seed))
    predicted, labels, families = _columns(rows)
    # A predictor that has collapsed answers 0, which must not make the interval infinite.
    ratio = np.quantile(labels / np.maximum(predicted, _SMALLEST_MS), _INTERVAL)
    result: dict[str, Any] = {
        "in_domain": _as_dict(evaluate(predicted, labels)),
        "in_domain_by_family": _by_family(rows),
        "interval": [float(ratio[0]), float(ratio[1])],
        "label_noise": _label_noise(dataset),
    }
    if len(set(families)) > 1:
        rows = tested(LeaveOneFamilyOut())
        predicted, labels, _ = _columns(rows)
        result["out_of_family"] = _as_dict(evaluate(predicted, labels))
        result["out_of_family_by_family"] = _by_family(rows)
    return result


def _tell(event: RunEvent, progress: Progress) -> None:
    if event.error is not None:
        raise event.error
    if event.state == "begun":
        protocol = event.key.protocol.partition("[")[0]
        progress(f"{event.key.label}: {protocol}, {event.key.split}")


def _columns(rows: Sequence[Predictions]) -> tuple[Any, Any, Any]:
    """Predictions, labels and families of all tested networks."""
    columns = (
        [getattr(entry, name)[entry.part == TEST] for entry in rows]
        for name in ("prediction", "target", "family")
    )
    predicted, labels, families = map(np.concatenate, columns)
    return predicted, labels, families


def _by_family(rows: Sequence[Predictions]) -> dict[str, Any]:
    predicted, labels, families = _columns(rows)
    return {
        str(family): _as_dict(evaluate(predicted[families == family], labels[families == family]))
        for family in np.unique(families)
    }


def _as_dict(metrics: Metrics) -> dict[str, Any]:
    return {
        name: round(value, 4) if isinstance(value, float) else value
        for name, value in asdict(metrics).items()
    }


def _label_noise(dataset: Dataset[Network]) -> Mapping[str, float] | None:
    """In %: median and mean over the networks that were timed in several rounds."""
    assert dataset.noise is not None
    noise = 100 * dataset.noise[np.isfinite(dataset.noise)]
    if not len(noise):
        return None
    return {"median": round(float(np.median(noise)), 3), "mean": round(float(np.mean(noise)), 3)}


def _describe(dataset: Dataset[Network]) -> dict[str, Any]:
    families = dataset.families
    return {
        "networks": len(dataset),
        "families": {family: families.count(family) for family in sorted(set(families))},
        "latency_ms": [
            round(float(end), 4) for end in (min(dataset.targets), max(dataset.targets))
        ],
    }
