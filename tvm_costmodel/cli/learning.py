"""``train``, ``compare``, ``platforms`` and ``demo``: predictors, and how good they are."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tvm_costmodel import registry
from tvm_costmodel.cli.options import (
    DEFAULT_DATABASE,
    CheckpointsOption,
    DatabaseOption,
    FormatOption,
    MeasurementsOption,
    PlatformOption,
    ShapeOption,
    note,
    parse_shapes,
)
from tvm_costmodel.rendering import Format, print_rows
from tvm_costmodel.specs import parse_specs

if TYPE_CHECKING:
    from measure.campaign.types import NamedNetwork


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
    rows = [
        {"predictor": predictor, "test": test, **result[test]}
        for predictor, result in metrics.items()
        for test in ("in_domain", "out_of_family")
        if test in result
    ]
    print_rows(rows, format_, title=name)


def compare(
    networks: Annotated[list[Path], typer.Argument(help="ONNX files to compare on.")],
    platform: PlatformOption,
    shape: ShapeOption = None,
    database: DatabaseOption = DEFAULT_DATABASE,
    checkpoints: CheckpointsOption = None,
    format_: FormatOption = Format.table,
) -> None:
    """Compare learned and kernel-sum estimates, and measured latencies where there are any."""
    from tvm_costmodel.campaigns import file_networks  # noqa: PLC0415 (needs SQLAlchemy)

    name = _known_platform(platform, checkpoints)
    chosen = file_networks(networks, parse_shapes(shape))
    print_rows(_compare(chosen, name, database, checkpoints), format_, title=name)


def platforms(checkpoints: CheckpointsOption = None, format_: FormatOption = Format.table) -> None:
    """List the platforms that have a checkpoint, and how good their predictors are."""
    from tvm_costmodel.summaries import platform_rows  # noqa: PLC0415

    print_rows(platform_rows(registry.checkpoint_directory(checkpoints)), format_)


def demo(
    platform: PlatformOption = "tvm-relay",
    database: Annotated[str, typer.Option(help="Where the measurements go.")] = "demo.db",
    rounds: Annotated[int, typer.Option(min=1, help="Timing rounds of each network.")] = 2,
    format_: FormatOption = Format.table,
) -> None:
    """Estimate, build, measure and compare the classic networks that the onnx package ships."""
    from measure.campaign.types import CampaignConfig  # noqa: PLC0415 (needs SQLAlchemy)
    from measure.device import Platform  # noqa: PLC0415
    from tvm_costmodel.campaigns import is_complete, run_with_progress  # noqa: PLC0415
    from tvm_costmodel.demo import light_networks  # noqa: PLC0415

    name = _known_platform(platform, None)
    toolchain = Platform.parse(name).toolchain
    networks = list(light_networks())
    config = CampaignConfig(rounds=rounds, kernels=False, anchors=False)
    summary = run_with_progress(networks, [toolchain], database, config, len(networks))
    here = _local_platform(toolchain, database)
    rows = _compare(networks, name, database, None, measured_on=here)
    print_rows(rows, format_, title=f"estimates for {name}\nmeasured on   {here}")
    if here != name:
        note("this machine is another platform than the one that the estimates are for")
    if not is_complete(summary):
        raise typer.Exit(1)


def _known_platform(name: str, checkpoints: str | None) -> str:
    known = registry.platforms(registry.checkpoint_directory(checkpoints))
    return registry.resolve_platform(name, known)


def _compare(
    networks: Iterable[NamedNetwork],
    platform: str,
    database: str,
    checkpoints: str | None,
    measured_on: str | None = None,
) -> list[dict[str, Any]]:
    from measure.database import Database  # noqa: PLC0415 (needs SQLAlchemy)
    from tvm_costmodel.comparison import compare as compare_predictors  # noqa: PLC0415

    pairs = ((network.name, network.model) for network in networks)
    with Database.open(database) as opened:
        rows = list(compare_predictors(pairs, platform, opened, checkpoints, measured_on))
    for row in rows:
        if row.unknown_ops:
            note(f"{row.network}: outside of the vocabulary: {', '.join(row.unknown_ops)}")
    return [
        {
            "network": row.network,
            "operators": row.operators,
            "kernels": row.kernels,
            "NAR-Former V2 ms": row.nar_former_v2_ms,
            "kernel-sum ms": row.kernel_sum_ms,
            "measured ms": row.measured_ms,
            "NAR-Former V2 error %": row.nar_former_v2_error,
            "kernel-sum error %": row.kernel_sum_error,
        }
        for row in rows
    ]


def _local_platform(toolchain: str, database: str) -> str | None:
    """The platform of ``toolchain`` on this machine; None where nothing was measured on it."""
    from measure.database import Database  # noqa: PLC0415 (needs SQLAlchemy)
    from measure.device import Device  # noqa: PLC0415

    prefix = f"{Device.local().short_name}/{toolchain}/"
    with Database.open(database) as opened:
        return next((name for name in opened.platforms() if name.startswith(prefix)), None)
