"""``train`` and ``platforms``: predictors, and how good they are."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tvm_costmodel import registry
from tvm_costmodel.cli.options import (
    DEFAULT_DATABASE,
    CheckpointsOption,
    FormatOption,
    MeasurementsOption,
    PlatformOption,
    note,
)
from tvm_costmodel.rendering import Format, print_rows
from tvm_costmodel.specs import parse_specs


def train(
    platform: PlatformOption,
    output: Annotated[Path, typer.Option(help="Directory of checkpoints to write into.")],
    data: MeasurementsOption = DEFAULT_DATABASE,
    predictors: Annotated[
        str,
        typer.Option(help="Names by commas, with options in brackets: nar-former-v2[width=64]."),
    ] = registry.SPECS,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Passes over the networks, where any are made.")
    ] = None,
    folds: Annotated[int, typer.Option(min=2, help="Parts of the cross-validation.")] = 5,
    seed: Annotated[int, typer.Option(help="Of weights, folds and boosting.")] = 0,
    runs: Annotated[
        Path | None,
        typer.Option(help="Directory of the runs that quality is measured by; to go on from."),
    ] = None,
    format_: FormatOption = Format.table,
) -> None:
    """Train predictors on measured latencies, and show how good they are."""
    from tvm_costmodel.fitting import FitConfig, fit_platform  # noqa: PLC0415 (needs scipy)
    from tvm_costmodel.measurements import open_measurements  # noqa: PLC0415
    from tvm_costmodel.summaries import metrics_rows  # noqa: PLC0415

    config = FitConfig(
        predictors=tuple(parse_specs(predictors)),
        folds=folds,
        seed=seed,
        epochs=epochs,
        runs=runs,
    )
    with open_measurements(data) as database:
        name = registry.resolve_platform(platform, database.platforms())
        metrics = fit_platform(database, name, output, config, progress=note)
    print_rows(metrics_rows(metrics), format_, title=name)


def platforms(checkpoints: CheckpointsOption = None, format_: FormatOption = Format.table) -> None:
    """List the platforms that have a checkpoint, and how good their predictors are."""
    from tvm_costmodel.summaries import platform_rows  # noqa: PLC0415

    print_rows(platform_rows(registry.checkpoint_directory(checkpoints)), format_)
