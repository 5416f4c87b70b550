"""``zoo``: what the families of networks are like, and how long those that were measured take."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import onnx
import typer

from tvm_costmodel.cli.options import FormatOption, SizeOption, note, parse_families
from tvm_costmodel.rendering import Format, print_rows

if TYPE_CHECKING:
    from measure.zoo.statistics import FamilyStatistics

_MOST_FREQUENT = 4


def zoo(
    families: Annotated[str, typer.Argument(help="Families by commas; all for every one.")] = "all",
    count: Annotated[int, typer.Option(min=1, help="Networks of each family.")] = 10,
    size: SizeOption = "standard",
    data: Annotated[
        str | None,
        typer.Option(
            help="Latencies from this measurement database or directory of Parquet files."
        ),
    ] = None,
    write: Annotated[
        Path | None, typer.Option(help="Write the networks into this directory, as ONNX files.")
    ] = None,
    format_: FormatOption = Format.table,
) -> None:
    """Show each family of networks: operators, FLOPs, and measured latencies where there are any.

    Latencies are those of all measured networks of the family, whatever --count and --size are.
    """
    from measure.zoo.statistics import family_statistics  # noqa: PLC0415 (makes networks)

    names = parse_families(families)
    rows = [_row(family_statistics(name, count, size)) for name in names]
    if data is not None:
        for platform, labels in _latencies(data).items():
            for name, row in zip(names, rows, strict=True):
                row[f"{platform} ms"] = _range(labels.get(name, ()))
    print_rows(rows, format_, title=f"{count} {size} networks of each family")
    if write is not None:
        _write(names, count, size, write)


def _row(family: FamilyStatistics) -> dict[str, Any]:
    operators, flops = family.operators, family.flops
    kinds = itertools.islice(family.kinds.items(), _MOST_FREQUENT)
    return {
        "family": family.family,
        "networks": family.networks,
        "operators": f"{operators.least:.0f} to {operators.most:.0f}",
        "median": operators.median,
        "GFLOPs": _range([flops.least / 1e9, flops.most / 1e9]),
        "most frequent operators": ", ".join(f"{op} {share:.0%}" for op, share in kinds),
    }


def _latencies(data: str) -> dict[str, dict[str, list[float]]]:
    """All labels in ms by family, by a name of the platform that is as short as can be."""
    from tvm_costmodel.measurements import open_measurements  # noqa: PLC0415 (needs SQLAlchemy)

    with open_measurements(data) as database:
        family_of = database.families()
        platforms = database.platforms()
        found = {name: database.latencies(name) for name in platforms}
    labels: dict[str, dict[str, list[float]]] = {}
    for short, platform in zip(short_names(platforms), platforms, strict=True):
        labels[short] = defaultdict(list)
        for digest, latency in found[platform].items():
            labels[short][family_of[digest]].append(latency.label_ms)
    return labels


def short_names(platforms: Sequence[str]) -> list[str]:
    """The toolchain of each platform, and those of its parts that not all of them share."""
    parts = [name.split("/") for name in platforms]
    kept = [i == 1 or len(set(values)) > 1 for i, values in enumerate(zip(*parts, strict=True))]
    return ["/".join(part for part, keep in zip(name, kept, strict=True) if keep) for name in parts]


def _range(values: Iterable[float]) -> str | None:
    ordered = sorted(values)
    return f"{ordered[0]:.3g} to {ordered[-1]:.3g}" if ordered else None


def _write(families: Iterable[str], count: int, size: str, directory: Path) -> None:
    from measure.zoo import sample  # noqa: PLC0415 (makes networks)

    directory.mkdir(parents=True, exist_ok=True)
    for family in families:
        for seed in range(count):
            network = sample(family, seed, size)
            onnx.save(network.model, directory / f"{network.name}.onnx")
    note(f"wrote the networks into {directory}")
