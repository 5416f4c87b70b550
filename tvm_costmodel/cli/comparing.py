"""``compare`` and ``demo``: predictors side by side on any networks, and what was measured."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from measure.errors import InterpreterError
from measure.toolchains import toolchain_interpreter
from relay_frontend.errors import InputError, MissingDependencyError
from tvm_costmodel import registry
from tvm_costmodel.cli.options import (
    DEFAULT_DATABASE,
    CheckpointsOption,
    FormatOption,
    ShapeOption,
    SizeOption,
    note,
    parse_families,
    parse_names,
    parse_shapes,
)
from tvm_costmodel.rendering import Format, print_rows

if TYPE_CHECKING:
    from measure.campaign.types import NamedNetwork
    from measure.database import Database
    from tvm_costmodel.comparison import CompareConfig, Comparison, Row

_IN_A_TABLE = 40  # networks of a platform; more of them are summed up by family


class KernelOption(str, Enum):
    """Where kernel-sum's kernels are from."""

    auto = "auto"
    compiler = "compiler"
    guess = "guess"


def compare(
    networks: Annotated[list[Path] | None, typer.Argument(help="ONNX files to compare on.")] = None,
    platform: Annotated[
        str, typer.Option(help="Platforms by commas, by name or by parts of it (tvm-relay).")
    ] = "tvm-relay",
    zoo: Annotated[
        str, typer.Option(help="Families of the network zoo, by commas; all for every one.")
    ] = "",
    count: Annotated[int, typer.Option(min=1, help="Networks of each family of the zoo.")] = 1,
    size: SizeOption = "standard",
    data: Annotated[
        str | None,
        typer.Option(
            help="Networks measured in this database or directory of Parquet files, with what was "
            "measured of them."
        ),
    ] = None,
    family: Annotated[str, typer.Option(help="Of --data, these families alone, by commas.")] = "",
    limit: Annotated[
        int | None, typer.Option(min=1, help="Of --data, so many networks of each family.")
    ] = None,
    predictors: Annotated[
        str,
        typer.Option(help=f"Names of predictors, by commas: {', '.join(registry.PREDICTORS)}."),
    ] = ",".join(registry.COMPARED),
    kernels: Annotated[
        KernelOption,
        typer.Option(
            help="Kernels for kernel-sum: as the compiler lists them; guessed, without a build; "
            "auto takes those of a measured build where there is one, else the compiler's."
        ),
    ] = KernelOption.auto,
    shape: ShapeOption = None,
    database: Annotated[
        str | None,
        typer.Option(
            help="Path or URL of the measurement database, or a directory of Parquet files; by "
            f"default {DEFAULT_DATABASE} where there is one."
        ),
    ] = None,
    checkpoints: CheckpointsOption = None,
    times: Annotated[
        bool, typer.Option(help="Time the estimates; without, equal input gives equal output.")
    ] = True,
    report: Annotated[
        Path | None, typer.Option(help="Write a report as one HTML page that works offline.")
    ] = None,
    format_: FormatOption = Format.table,
) -> None:
    """Compare predictors with each other, and with measured latencies where there are any."""
    _check_packages()
    from tvm_costmodel.comparison import CompareConfig  # noqa: PLC0415 (needs SQLAlchemy)

    if not (networks or zoo or data):
        raise InputError(
            "nothing to compare on: name ONNX files, families with --zoo, or measured networks "
            "with --data"
        )
    if (family or limit) and not data:
        raise InputError("--family and --limit choose among the networks of --data: name it")
    if report is not None:
        _check_report(report)
    config = CompareConfig(
        predictors=parse_predictors(predictors),
        kernels=kernels.value,
        checkpoints=checkpoints,
        times=times,
    )
    names = [_known_platform(name, checkpoints) for name in parse_names(platform)]
    with ExitStack() as stack:
        stored = [stack.enter_context(_open(data))] if data else []
        databases = [*stored, *_looked_up(database, stack)]
        choose = _chooser(
            files=networks or [],
            shape=shape,
            zoo=parse_families(zoo),
            count=count,
            size=size,
            stored=_stored(stored, names, parse_names(family), limit),
        )
        comparison = _compare(choose, names, databases, config)
    _print(comparison, format_)
    _tell(comparison)
    if report is not None:
        _write_report(comparison, report)
    if not comparison.rows:
        raise InputError("no network could be compared; the reasons are above")


def demo(
    platform: Annotated[
        str | None,
        typer.Option(
            help="Name of the platform, or parts that only one has; by default tvm-relay, or "
            "tvm-relax where the compiler of Relay is missing."
        ),
    ] = None,
    database: Annotated[str, typer.Option(help="Where the measurements go.")] = "demo.db",
    rounds: Annotated[int, typer.Option(min=1, help="Timing rounds of each network.")] = 2,
    format_: FormatOption = Format.table,
) -> None:
    """Estimate, build, measure and compare the classic networks that the onnx package ships."""
    _check_packages()
    from measure.campaign.types import CampaignConfig  # noqa: PLC0415 (needs SQLAlchemy)
    from measure.database import Database  # noqa: PLC0415
    from measure.device import Platform  # noqa: PLC0415
    from tvm_costmodel.campaigns import is_complete, run_with_progress  # noqa: PLC0415
    from tvm_costmodel.comparison import CompareConfig  # noqa: PLC0415
    from tvm_costmodel.comparison.tables import rows_of  # noqa: PLC0415
    from tvm_costmodel.demo import light_networks  # noqa: PLC0415

    name = _known_platform(platform or _toolchain_here(), None)
    toolchain = Platform.parse(name).toolchain
    networks = list(light_networks())
    campaign = CampaignConfig(rounds=rounds, kernels=False, anchors=False)
    summary = run_with_progress(networks, [toolchain], database, campaign, len(networks))
    here = _local_platform(toolchain, database)
    config = CompareConfig(measured_on={name: here})
    with Database.open(database) as opened:
        comparison = _compare(lambda: networks, [name], [opened], config)
    rows = rows_of(comparison.rows, brief=True)
    measured_on = here or "no platform, since nothing could be measured"
    print_rows(rows, format_, title=f"estimates for {name}\nmeasured on   {measured_on}")
    _tell(comparison)
    if not is_complete(summary):
        raise typer.Exit(1)


def parse_predictors(option: str) -> list[str]:
    """The predictors of a list by commas.

    Raises:
        InputError: there is none of such a name, or none is named.
    """
    names = parse_names(option)
    unknown = [name for name in names if name not in registry.PREDICTORS]
    if unknown or not names:
        known = ", ".join(registry.PREDICTORS)
        what = f"unknown predictor {unknown[0]!r}" if unknown else "no predictor is named"
        raise InputError(f"--predictors: {what}; choose of {known}")
    return names


def _toolchain_here() -> str:
    """``tvm-relay``, or ``tvm-relax`` where the compiler of Relay is missing."""
    try:
        toolchain_interpreter("tvm-relay")
    except InterpreterError as error:
        note(f"on tvm-relax instead of tvm-relay: {error}")
        return "tvm-relax"
    return "tvm-relay"


def _known_platform(name: str, checkpoints: str | None) -> str:
    known = registry.platforms(registry.checkpoint_directory(checkpoints))
    return registry.resolve_platform(name, known)


def _open(data: str) -> Database:
    from tvm_costmodel.measurements import open_measurements  # noqa: PLC0415 (needs SQLAlchemy)

    return open_measurements(data)


def _looked_up(database: str | None, stack: ExitStack) -> list[Database]:
    """The database that was named; else the usual one, where there is one."""
    if database is None and not Path(DEFAULT_DATABASE).is_file():
        return []
    return [stack.enter_context(_open(database or DEFAULT_DATABASE))]


def _stored(
    databases: Sequence[Database], platforms: Sequence[str], families: list[str], limit: int | None
) -> list[NamedNetwork]:
    """The networks that were measured on any of the platforms, by name.

    Raises:
        InputError: there are none, or none of a family.
    """
    found: dict[str, NamedNetwork] = {}
    for database in databases:
        for platform in set(platforms) & set(database.platforms()):
            found.update({network.digest: network for network in database.networks(platform)})
    if databases and not found:
        known = ", ".join(name for database in databases for name in database.platforms())
        raise InputError(
            f"--data has no networks measured on {', '.join(platforms)}; it has {known or 'none'}"
        )
    known_families = {network.family for network in found.values()}
    if unknown := sorted(set(families) - known_families):
        raise InputError(
            f"--family: --data has no networks of {unknown[0]!r}; it has "
            f"{', '.join(sorted(known_families))}"
        )
    chosen = []
    counts = dict.fromkeys(known_families, 0)
    for network in sorted(found.values(), key=lambda network: network.name):
        counts[network.family] += 1
        is_within = limit is None or counts[network.family] <= limit
        if is_within and (not families or network.family in families):
            chosen.append(network)
    return chosen


def _chooser(
    *,
    files: list[Path],
    shape: list[str] | None,
    zoo: list[str],
    count: int,
    size: str,
    stored: list[NamedNetwork],
) -> Callable[[], Iterator[NamedNetwork]]:
    """Gives the chosen networks, made anew each time."""
    from measure.zoo import sample  # noqa: PLC0415 (makes networks)
    from tvm_costmodel.campaigns import file_networks  # noqa: PLC0415 (needs SQLAlchemy)

    shapes = parse_shapes(shape)

    def choose() -> Iterator[NamedNetwork]:
        yield from file_networks(files, shapes)
        for name, seed in itertools.product(zoo, range(count)):
            yield sample(name, seed, size)
        yield from stored

    return choose


def _compare(
    networks: Callable[[], Iterable[NamedNetwork]],
    platforms: Sequence[str],
    databases: Sequence[Database],
    config: CompareConfig,
) -> Comparison:
    from tvm_costmodel.comparison import compare as compare_  # noqa: PLC0415 (needs SQLAlchemy)

    return compare_(networks, platforms, databases, config, progress=_note_unknown)


def _print(comparison: Comparison, format_: Format) -> None:
    from tvm_costmodel.comparison.tables import (  # noqa: PLC0415 (needs scipy)
        family_rows,
        rows_of,
        summary_rows,
    )

    if format_ is not Format.table:
        print_rows(rows_of(comparison.rows), format_)
        return
    for name in comparison.platforms():
        rows = comparison.on(name)
        few = len(rows) <= _IN_A_TABLE or not any(row.measured_ms for row in rows)
        print_rows(rows_of(rows, brief=True) if few else family_rows(rows), format_, title=name)
        print_rows(summary_rows(rows), format_, title="\nover all of them")


def _note_unknown(row: Row) -> None:
    if row.unknown_ops:
        note(f"{row.network}: outside of the vocabulary: {', '.join(row.unknown_ops)}")


def _tell(comparison: Comparison) -> None:
    for name, notes in comparison.notes.items():
        for sentence in notes:
            note(f"{name}: {sentence}" if len(comparison.notes) > 1 else sentence)


def _check_packages() -> None:
    """See that what comes after the work can be done.

    Raises:
        MissingDependencyError: a package is not installed.
    """
    try:
        import scipy  # noqa: F401, PLC0415 (optional)
    except ImportError:
        raise MissingDependencyError(
            "comparing ranks needs scipy: pip install 'tvm-costmodel[report]'"
        ) from None


def _check_report(path: Path) -> None:
    """See that a report can be written, before the work is done."""
    from tvm_costmodel.comparison.report import check_library  # noqa: PLC0415

    check_library()
    if path.is_dir() or not path.parent.is_dir():
        raise InputError(f"--report {path}: expected the path of a file in an existing directory")


def _write_report(comparison: Comparison, path: Path) -> None:
    from tvm_costmodel.comparison.report import report_data, report_page  # noqa: PLC0415

    path.write_text(report_page(report_data(comparison)), encoding="utf-8")
    note(f"wrote the report: {path}")


def _local_platform(toolchain: str, database: str) -> str | None:
    """The platform of ``toolchain`` on this machine; None where nothing was measured on it."""
    from measure.database import Database  # noqa: PLC0415 (needs SQLAlchemy)
    from measure.device import Device  # noqa: PLC0415

    prefix = f"{Device.local().short_name}/{toolchain}/"
    with Database.open(database) as opened:
        return next((name for name in opened.platforms() if name.startswith(prefix)), None)
