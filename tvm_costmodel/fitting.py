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
from tvm_costmodel.errors import CheckpointError
from tvm_costmodel.evaluation.candidates import Candidate, candidate
from tvm_costmodel.evaluation.metrics import Metrics, evaluate
from tvm_costmodel.evaluation.protocols import InDomain, LeaveOneFamilyOut, SplitProtocol
from tvm_costmodel.evaluation.rows import TEST, Predictions, RunStore
from tvm_costmodel.evaluation.runs import RunEvent
from tvm_costmodel.evaluation.runs import evaluate as evaluate_runs
from tvm_costmodel.familiarity import KnownNetworks
from tvm_costmodel.predictors import Task
from tvm_costmodel.predictors.base import Combination, Network, Predictor
from tvm_costmodel.predictors.kernel_sum import GUESS, KernelSum
from tvm_costmodel.predictors.kernel_trees import xgboost_module
from tvm_costmodel.predictors.nar_former_v2.config import LatencyNarFormerV2Config
from tvm_costmodel.predictors.storage import new_directory
from tvm_costmodel.specs import Spec, parse_specs
from tvm_costmodel.weights import check_supported

Progress = Callable[[str], None]

_SMALLEST_MS = 1e-6
_INTERVAL = (0.1, 0.9)  # of measured over predicted, so that it holds 80 %
_NEEDS_KERNELS = (registry.KERNEL_SUM, registry.BLEND)
_IDENTITY = "identity"
_TASK: Task = "latency"


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """How to fit a platform.

    Args:
        predictors: which, with their options.
        folds: parts of the cross-validation.
        seed: of the parts and of the predictors.
        epochs: passes over the networks, where a predictor makes any and its options do not say.
        runs: directory of the runs that quality is measured by, which are not done again, as are
            checkpoints of the same data and settings; by default runs are forgotten.
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
        directory: of checkpoints; those of the platform must not exist there yet, but for those
            that an interrupted call with the same ``config.runs`` has left.
        config: how.
        progress: told in words what is going on.

    Returns:
        The metrics of each predictor by its name, as stored in its checkpoint; those of kernel-sum
        with guessed kernels are in its own, under :data:`GUESS`.

    Raises:
        InputError: too few networks, or a predictor that is unknown, named twice, cannot keep its
            metrics, cannot be estimated with, or combines others that are not named.
        CheckpointError: there is a checkpoint of other data or settings.
        MissingDependencyError: what a predictor needs is not installed.
    """
    config = config or FitConfig()
    candidates = [candidate(spec, _TASK, config.epochs) for spec in config.predictors]
    _check(candidates)
    dataset = measured(database, [platform], name=platform)
    known = {c.name: _known(dataset, c, config.folds) for c in candidates}
    target = registry.platform_directory(platform, directory)
    metrics = {
        chosen.name: _kept_metrics(target / chosen.name, known[chosen.name], chosen, config)
        for chosen in candidates
    }
    with ExitStack() as scratch:
        runs = config.runs or Path(scratch.enter_context(tempfile.TemporaryDirectory()))
        pairs = zip(config.predictors, candidates, strict=True)
        # What is made of others comes after them: interrupted, no checkpoint lacks its parts.
        for spec, chosen in sorted(pairs, key=lambda pair: len(pair[1].parts)):
            data = known[chosen.name]
            if metrics[chosen.name] is None:
                found = _assess(data, chosen, config, RunStore(runs), progress)
                if (guessing := _guessing(spec, config.epochs)) is not None:
                    found[GUESS] = _assess(data, guessing, config, RunStore(runs), progress)
                metrics[chosen.name] = found
                if not chosen.parts:
                    progress(f"{chosen.name}: fitting to all {len(data)} networks")
                _write_checkpoint(target / chosen.name, platform, data, chosen, config, found)
    return {name: found for name, found in metrics.items() if found is not None}


def _write_checkpoint(
    directory: Path,
    platform: str,
    data: Dataset[Network],
    chosen: Candidate,
    config: FitConfig,
    metrics: Mapping[str, Any],
) -> None:
    """Fit a predictor to all networks and write it with the list of them, or nothing.

    A blend is not fitted, but made of the checkpoints beside it, whose lists are there.
    """
    predictor = chosen.make(config.seed)
    _facts(predictor).update(
        platform=platform,
        training_data={**_describe(data), _IDENTITY: _identity(data, chosen, config)},
        metrics=metrics,
        created_by=package_version(),
    )
    if isinstance(predictor, Combination):
        predictor.save_beside(directory, [f"../{part.name}" for part in chosen.parts])
        return
    predictor.fit(data.inputs, data.targets)
    if isinstance(predictor, KernelSum) and not predictor.can_guess:
        predictor.learn(GUESS, data.inputs, data.targets)
    graphs = [network.graph for network in data.inputs]
    listed = KnownNetworks.of(graphs, data.names, data.families)
    with new_directory(directory) as made:
        predictor.save(made)
        listed.save(made / familiarity.DIRECTORY)


def _identity(data: Dataset[Network], chosen: Candidate, config: FitConfig) -> str:
    """Tells a fit from those to other data, with other settings or checked otherwise."""
    return f"{data.digest[:12]}-{chosen.settings}-{config.seed}-{config.folds}"


def _kept_metrics(
    directory: Path, data: Dataset[Network], chosen: Candidate, config: FitConfig
) -> dict[str, Any] | None:
    """Those of the checkpoint that an interrupted call has left; None where there is none.

    Raises:
        CheckpointError: it is there, and is not what this call would make.
    """
    if not directory.exists():
        return None
    if config.runs is None:
        raise CheckpointError(
            f"{directory} exists, and a checkpoint is never overwritten: remove it or choose "
            "another directory"
        )
    kept = _facts(type(chosen.make(config.seed)).load(directory))
    if kept["training_data"].get(_IDENTITY) != _identity(data, chosen, config):
        raise CheckpointError(
            f"{directory} exists, and was fitted to other data or with other settings; a "
            "checkpoint is never overwritten: remove it or choose another directory"
        )
    found: dict[str, Any] = kept["metrics"]
    return found


def _check(candidates: Sequence[Candidate]) -> None:
    names = [chosen.name for chosen in candidates]
    if not names or len(set(names)) < len(names):
        raise InputError(
            f"a platform has one checkpoint of each predictor, and {', '.join(names) or 'none'} "
            "were named"
        )
    named = {(chosen.name, chosen.settings) for chosen in candidates}
    for chosen in candidates:
        predictor = chosen.make(0)
        _facts(predictor)
        predictor_config = getattr(predictor, "config", None)
        if isinstance(predictor_config, LatencyNarFormerV2Config):
            check_supported(predictor_config.model)
        if any((part.name, part.settings) not in named for part in chosen.parts):
            parts = ", ".join(part.label for part in chosen.parts)
            raise InputError(
                f"{chosen.label} is made of the checkpoints of {parts}: name these predictors too"
            )
        if isinstance(predictor, KernelSum):
            xgboost_module()  # missing, it would be missed after the others were fitted


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


def _guessing(spec: Spec, epochs: int | None) -> Candidate | None:
    """What adds up a compiler's kernels, with guessed ones: its checkpoint tells of both."""
    if spec.name not in _NEEDS_KERNELS or spec.options.get("kernels") == GUESS:
        return None
    return candidate(spec.with_option("kernels", GUESS), _TASK, epochs)


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
