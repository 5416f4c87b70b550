"""``db``: what a measurement database holds, out and in, whether it is sound; calibrating it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from relay_frontend.errors import InputError
from tvm_costmodel import registry
from tvm_costmodel.cli.options import (
    DEFAULT_DATABASE,
    DatabaseOption,
    FormatOption,
    MeasurementsOption,
    PlatformOption,
)
from tvm_costmodel.rendering import Format, print_rows

if TYPE_CHECKING:
    from measure.probes import Quiet
    from measure.records import PlatformStats

app = typer.Typer(
    help="What a measurement database holds; into and out of Parquet; whether it is sound; "
    "calibrating its platforms.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command()
def stats(
    database: MeasurementsOption = DEFAULT_DATABASE, format_: FormatOption = Format.table
) -> None:
    """Show what is stored, platform by platform."""
    from tvm_costmodel.measurements import open_measurements  # noqa: PLC0415 (needs SQLAlchemy)

    with open_measurements(database) as opened:
        rows = [_stats_row(entry) for entry in opened.stats()]
    print_rows(rows, format_, title=database)


@app.command("export")
def export_(
    directory: Annotated[Path, typer.Argument(help="Where the Parquet files go.")],
    database: DatabaseOption = DEFAULT_DATABASE,
    format_: FormatOption = Format.table,
) -> None:
    """Write all tables as Parquet files, and show their rows."""
    from measure.database.parquet import export_parquet  # noqa: PLC0415 (needs pyarrow)
    from tvm_costmodel.measurements import open_existing  # noqa: PLC0415 (needs SQLAlchemy)

    with open_existing(database) as opened:
        counts = export_parquet(opened, directory)
    _print_counts(counts, format_, f"{database} to {directory}")


@app.command("import")
def import_(
    directory: Annotated[Path, typer.Argument(help="Parquet files that `db export` wrote.")],
    database: DatabaseOption = DEFAULT_DATABASE,
    format_: FormatOption = Format.table,
) -> None:
    """Add what a database lacks of an export, and show the new rows; it is made if need be."""
    from measure.database import Database  # noqa: PLC0415 (needs SQLAlchemy)
    from measure.database.parquet import import_parquet  # noqa: PLC0415 (needs pyarrow)

    if not directory.is_dir():
        raise InputError(f"no directory {str(directory)!r} to import: `db export` writes one")
    with Database.open(database) as opened:
        counts = import_parquet(opened, directory)
    _print_counts(counts, format_, f"{directory} to {database}")


@app.command()
def verify(database: MeasurementsOption = DEFAULT_DATABASE) -> None:
    """List what is wrong with a database; exit code 1 where anything is."""
    from tvm_costmodel.measurements import open_measurements  # noqa: PLC0415 (needs SQLAlchemy)

    with open_measurements(database) as opened:
        problems = opened.verify()
    for problem in problems:
        print(problem)
    if problems:
        raise typer.Exit(1)
    print(f"{database}: no problems found")


@app.command()
def calibrate(
    platform: PlatformOption,
    database: DatabaseOption = DEFAULT_DATABASE,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would be gained.")
    ] = False,
    format_: FormatOption = Format.table,
) -> None:
    """Find how much the networks of a platform mind its neighbours, and judge by that from now on.

    Takes the limits and exponents of its probes by which rounds of the same network agree best.
    """
    from measure.calibration import calibrate as find  # noqa: PLC0415 (imports numpy)
    from measure.protocol import STANDARDS  # noqa: PLC0415
    from tvm_costmodel.measurements import open_existing  # noqa: PLC0415 (needs SQLAlchemy)

    with open_existing(database) as opened:
        name = registry.resolve_platform(platform, opened.platforms())
        before = opened.quiet(name, STANDARDS[0])
        found = find(opened.rounds(name, STANDARDS[0]).values(), STANDARDS[0])
        rows = [_quiet_row("before", before, found.noise_before)]
        rows.append(_quiet_row("after", found.quiet, found.noise))
        if not dry_run:
            opened.calibrate(name, found.quiet)
    print_rows(rows, format_, title=f"{name}, {found.networks} networks")


def _quiet_row(when: str, quiet: Quiet | None, noise: float) -> dict[str, Any]:
    from measure.probes import PROBES  # noqa: PLC0415

    assert quiet is not None
    limits = dict(zip(PROBES, quiet.limits or (None, None), strict=True))
    exponents = dict(zip(PROBES, quiet.sensitivity, strict=True))
    return {
        "": when,
        **{f"{probe} limit": limit or "none" for probe, limit in limits.items()},
        **{f"{probe} exponent": exponent for probe, exponent in exponents.items()},
        "label noise %, mean": 100 * noise,
    }


def _print_counts(counts: dict[str, int], format_: Format, title: str) -> None:
    print_rows([{"table": table, "rows": rows} for table, rows in counts.items()], format_, title)


def _stats_row(entry: PlatformStats) -> dict[str, Any]:
    latency, noise = entry.latency_ms, entry.label_noise
    failures = {f"{stage} {cause}": count for (stage, cause), count in entry.failures.items()}
    return {
        "platform": entry.platform,
        "networks": entry.networks,
        "trusted": entry.trusted,
        "min ms": latency and latency.min,
        "median ms": latency and latency.median,
        "max ms": latency and latency.max,
        "rounds": entry.rounds,
        "disturbed": entry.disturbed_rounds,
        "noise %": noise and 100 * noise.median,
        "p90 %": noise and 100 * noise.p90,
        "kernel calls": entry.kernel_calls,
        "failed": _listed(failures),
        "jobs": _listed(entry.jobs),
    }


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items()) if count)
