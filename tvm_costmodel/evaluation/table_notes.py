"""What stands below a table: how to read it, and under which conditions it came about."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tvm_costmodel.evaluation.rows import TEST, Run


def notes(runs: Sequence[Run]) -> Iterator[str]:
    """Lines of Markdown about ``runs``, which are of one data set and one protocol."""
    yield from _reading(runs)
    yield ""
    yield from _costs(runs)
    yield ""
    yield from _conditions(runs)


def _reading(runs: Sequence[Run]) -> Iterator[str]:
    key = runs[0].key
    seeds = sorted({run.key.seed for run in runs})
    splits = list(dict.fromkeys(run.key.split for run in runs))
    sizes = sorted({run.info.train_size for run in runs})
    trained = f"{sizes[0]:,}" if len(sizes) == 1 else f"{sizes[0]:,} to {sizes[-1]:,}"
    yield (
        f"Data set `{key.dataset}` (digest `{key.data_digest[:12]}`), protocol `{key.protocol}`, "
        f"{'split' if len(splits) == 1 else 'splits'} {', '.join(splits)}, {trained} training "
        f"inputs a split, seeds {', '.join(map(str, seeds))}."
    )
    if len(seeds) > 1:
        yield (
            "Cells are mean ± standard deviation over seeds / best: the run of the lowest MAPE, or "
            "of the highest correlation. Predictors that draw nothing at random are run once."
        )
    if any(np.isfinite(run.predictions.noise).any() for run in runs):
        yield (
            "Label noise is the error of one timing round's label against another's, median / mean "
            "over the tested networks that have several."
        )


def _costs(runs: Sequence[Run]) -> Iterator[str]:
    """Size and time of each predictor, and in how many runs."""
    yield "| predictor | weights | fitting s | predicting ms a network | runs |"
    yield "|---|---|---|---|---|"
    for label in dict.fromkeys(run.key.label for run in runs):
        own = [run for run in runs if run.key.label == label]
        weights = [run.info.parameters for run in own if run.info.parameters is not None]
        fit = np.mean([run.info.fit_s for run in own])
        asked = sum(len(run.predictions.target) for run in own)
        predict = 1000 * sum(run.info.predict_s for run in own) / asked
        size = f"{max(weights):,}" if weights else "-"
        yield f"| {label} | {size} | {fit:.3g} | {predict:.3g} | {len(own)} |"


def _conditions(runs: Sequence[Run]) -> Iterator[str]:
    tested = {
        (platform, network)
        for run in runs
        for part, platform, network in zip(
            run.predictions.part.tolist(),
            run.predictions.platform.tolist(),
            run.predictions.network.tolist(),
            strict=True,
        )
        if part == TEST
    }
    yield f"- Tested: {len(tested):,} inputs."
    for name, value in sorted(runs[0].info.data_conditions.items()):
        yield f"- Data, {name}: {_text(value)}."
    platforms = sorted({p for run in runs for p in run.predictions.platform.tolist()} - {""})
    if platforms:
        yield f"- Platforms: {', '.join(f'`{platform}`' for platform in platforms)}."
    for machine in sorted({_machine(run.info.conditions) for run in runs}):
        yield f"- Run on: {machine}."


def _machine(conditions: Mapping[str, Any]) -> str:
    versions = ", ".join(
        f"{name} {version}" for name, version in sorted(conditions["versions"].items())
    )
    where = f"{conditions['cores']} cores of {conditions['cpu']}"
    if conditions["accelerator"]:
        where = f"{conditions['accelerator']}, {where}"
    threads = conditions["threads"]
    return f"{where}, {threads or 'all'} threads, {versions}"


def _text(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)
