"""``measure``: a campaign on this machine or on devices over RPC, and why its labels hold."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from relay_frontend.errors import InputError
from tvm_costmodel.cli.options import (
    DEFAULT_DATABASE,
    DatabaseOption,
    ShapeOption,
    SizeOption,
    note,
    parse_duration,
    parse_families,
    parse_names,
    parse_shapes,
)

if TYPE_CHECKING:
    from measure.campaign.types import NamedNetwork


def measure(
    networks: Annotated[list[Path] | None, typer.Argument(help="ONNX files to measure.")] = None,
    zoo: Annotated[
        str, typer.Option(help="Families of the network zoo, by commas; all for every one.")
    ] = "",
    count: Annotated[int, typer.Option(min=1, help="Networks of each family.")] = 1,
    size: SizeOption = "standard",
    queued: Annotated[
        bool,
        typer.Option("--queued", help="Measure what waits in the database, as it was asked for."),
    ] = False,
    toolchain: Annotated[
        str,
        typer.Option(
            "--toolchain", "--platform", help="Toolchains, by commas: tvm-relay, tvm-relax, ..."
        ),
    ] = "tvm-relay",
    device: Annotated[
        list[str] | None,
        typer.Option(help="local (the default), or rpc://host:port/key of a tracker; repeatable."),
    ] = None,
    target: Annotated[
        str | None, typer.Option(help="What to compile for; by default for this machine.")
    ] = None,
    shape: ShapeOption = None,
    database: DatabaseOption = DEFAULT_DATABASE,
    rounds: Annotated[int, typer.Option(min=1, help="Timing rounds of each network.")] = 3,
    max_retakes: Annotated[
        int,
        typer.Option(
            min=0,
            help="Further rounds where some are disturbed or disagree; further timings of kernels.",
        ),
    ] = 2,
    kernels: Annotated[bool, typer.Option(help="Time the kernels of each network too.")] = True,
    anchors: Annotated[
        bool, typer.Option(help="Time known networks before and after, to see the machine drift.")
    ] = True,
    threads: Annotated[int, typer.Option(min=1, help="Threads of one inference.")] = 1,
    cpus: Annotated[
        str, typer.Option(help="CPUs of this machine to pin timings to, by commas: 0,1.")
    ] = "",
    probes: Annotated[
        bool, typer.Option(help="See before and after each sample whether the device is quiet.")
    ] = True,
    watch: Annotated[
        float | None,
        typer.Option(
            parser=parse_duration,
            metavar="TIME",
            help="Watch a new device so long, for how fast its probes can be.  [default: 20s]",
        ),
    ] = None,
    budget: Annotated[
        float | None,
        typer.Option(
            parser=parse_duration, metavar="TIME", help="Nothing new is begun after it: 2h, 90m."
        ),
    ] = None,
    build_limit: Annotated[
        float | None,
        typer.Option(parser=parse_duration, metavar="TIME", help="What one build may take."),
    ] = None,
    time_limit: Annotated[
        float | None,
        typer.Option(parser=parse_duration, metavar="TIME", help="What one round may take."),
    ] = None,
    artifacts: Annotated[
        Path | None, typer.Option(help="Keep what is built in this directory, and use it again.")
    ] = None,
    retry_failed: Annotated[bool, typer.Option(help="Try again what has failed before.")] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Tell what was done and why the label is trusted.")
    ] = False,
) -> None:
    """Build and time networks; safe to kill, and to run again to go on."""
    from measure.campaign.types import CampaignConfig  # noqa: PLC0415 (needs SQLAlchemy)
    from measure.client import Limits  # noqa: PLC0415
    from tvm_costmodel.campaigns import (  # noqa: PLC0415
        is_complete,
        queued_jobs,
        run_with_progress,
    )

    toolchains, families = parse_names(toolchain), parse_families(zoo)
    if not toolchains:
        raise InputError(f"--toolchain {toolchain!r}: expected names by commas, such as tvm-relay")
    if zoo and not families:
        raise InputError(f"--zoo {zoo!r}: expected families by commas, such as resnet,vgg, or all")
    _check_choice(named=bool(networks or families), queued=queued, explain=explain)
    usual = Limits()
    config = CampaignConfig(
        rounds=rounds,
        max_retakes=max_retakes,
        kernels=kernels,
        anchors=anchors,
        threads=threads,
        cpus=_parse_cpus(cpus),
        watch_s=(watch or CampaignConfig.watch_s) if probes else 0.0,
        budget_s=budget,
        retry_failed=retry_failed,
        limits=Limits(build_s=build_limit or usual.build_s, round_s=time_limit or usual.round_s),
        artifacts=artifacts,
        devices=tuple(device or ["local"]),
        target=target,
    )
    choose = _chooser(networks or [], shape, families, count, size)
    platforms: dict[str, None] = {}
    summary = run_with_progress(
        None if queued else choose(),
        toolchains,
        database,
        config,
        queued_jobs(database, toolchains)
        if queued
        else len(networks or []) + count * len(families),
        watch=lambda event: platforms.setdefault(event.platform),
    )
    if explain:
        _explain(choose(), [name for name in platforms if name], database)
    if not is_complete(summary):
        raise typer.Exit(1)


def _check_choice(*, named: bool, queued: bool, explain: bool) -> None:
    """See that it is said what to measure, and once."""
    if not named and not queued:
        raise InputError(
            "nothing to measure: name ONNX files, families with --zoo, or what waits in the "
            "database with --queued"
        )
    if named and queued:
        raise InputError(
            "--queued measures what waits in the database: name no networks with it, or leave it "
            "out to add these to the queue and measure them alone"
        )
    if queued and explain:
        raise InputError("--explain tells of networks that are named: leave out --queued")


def _parse_cpus(option: str) -> tuple[int, ...] | None:
    """The CPUs of a list by commas; None where it names none."""
    names = parse_names(option)
    if not all(name.isdecimal() for name in names):
        raise InputError(f"--cpus {option!r}: expected numbers of CPUs such as 0,1")
    return tuple(map(int, names)) or None


def _chooser(
    files: list[Path], shape: list[str] | None, families: list[str], count: int, size: str
) -> Callable[[], Iterator[NamedNetwork]]:
    """Gives the chosen networks, made anew each time, since a campaign does not keep them."""
    from measure.zoo import sample  # noqa: PLC0415 (makes networks)
    from tvm_costmodel.campaigns import file_networks  # noqa: PLC0415 (needs SQLAlchemy)

    shapes = parse_shapes(shape)

    def choose() -> Iterator[NamedNetwork]:
        yield from file_networks(files, shapes)
        # All families in turn, so that a campaign cut short has seen them all.
        for seed, family in itertools.product(range(count), families):
            yield sample(family, seed, size)

    return choose


def _explain(networks: Iterable[NamedNetwork], platforms: list[str], database: str) -> None:
    from measure.database import Database  # noqa: PLC0415 (needs SQLAlchemy)
    from measure.explain import explain, lines  # noqa: PLC0415
    from relay_frontend.onnx import read_onnx  # noqa: PLC0415

    with Database.open(database) as opened:
        # One network at a time: their models may be large.
        for network in networks:
            try:
                digest = read_onnx(network.model).digest
            except InputError as error:
                note(f"{network.name}: {error}")
                continue
            for platform in platforms:
                try:
                    explanation = explain(opened, digest, platform)
                except InputError as error:  # not reached within the budget
                    note(f"{network.name}: {error}")
                    continue
                print("\n".join(lines(explanation)), end="\n\n")
