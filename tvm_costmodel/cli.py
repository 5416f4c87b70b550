"""The command line: ``tvm-costmodel estimate | tokens | measure | train | compare | platforms``."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import onnx
import typer

from measure.client import Worker
from relay_frontend.errors import CostModelError, InputError, UnknownOperatorError
from relay_frontend.onnx import bind_shapes, load_model, read_onnx
from tvm_costmodel import registry
from tvm_costmodel.cost_model import CostModel, saved_model
from tvm_costmodel.rendering import Format, print_rows

if TYPE_CHECKING:
    from measure.campaign_types import NamedNetwork
    from measure.database import Database

DEFAULT_DATABASE = "measurements.db"

# Which extra brings an optional package.
_EXTRAS = {
    "pyarrow": "measure",
    "scipy": "train",
    "sqlalchemy": "measure",
    "torch": "train",
}

app = typer.Typer(
    help="How long will this network take on that device? Answered before anything is built.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

NetworkArgument = Annotated[Path, typer.Argument(help="An ONNX file, with or without weights.")]
ShapeOption = Annotated[
    list[str] | None,
    typer.Option("--shape", help="Static shape of an input, as name=1,3,224,224; repeatable."),
]
PlatformOption = Annotated[
    str, typer.Option(help="Name of the platform, or parts of it that only one has (tvm-relay).")
]
FormatOption = Annotated[Format, typer.Option("--format", help="How to print.")]
CheckpointsOption = Annotated[
    str | None, typer.Option(help="Directory that `train` wrote; by default the package's own.")
]
DatabaseOption = Annotated[str, typer.Option(help="Path or URL of the measurement database.")]


@app.command()
def estimate(
    network: NetworkArgument,
    platform: PlatformOption,
    predictor: Annotated[str, typer.Option(help="nar-former-v2 or kernel-sum.")] = (
        registry.NAR_FORMER_V2
    ),
    shape: ShapeOption = None,
    database: Annotated[
        str | None, typer.Option(help="Look the network up in this database first.")
    ] = None,
    checkpoints: CheckpointsOption = None,
    allow_unknown: Annotated[
        bool, typer.Option(help="Accept operators outside of the vocabulary, by their category.")
    ] = False,
    format_: FormatOption = Format.table,
) -> None:
    """Estimate the latency of one inference, without building the network."""
    model = CostModel.load(
        platform, predictor=predictor, checkpoints=checkpoints, database=database
    )
    result = model.estimate(network, _parse_shapes(shape))
    if result.unknown_ops and not allow_unknown:
        raise UnknownOperatorError(
            f"{network}: operators outside of the checkpoint's vocabulary: "
            f"{', '.join(result.unknown_ops)}; an estimate knows only their shapes. To accept "
            "that: --allow-unknown"
        )
    print_rows([asdict(result)], format_, title=str(network))


@app.command()
def tokens(
    network: NetworkArgument,
    ir: Annotated[str, typer.Option(help="Read the network as onnx, relay or relax.")] = "onnx",
    shape: ShapeOption = None,
    format_: FormatOption = Format.table,
) -> None:
    """Show the operators of a network: attributes, shapes, edges, costs."""
    model = bind_shapes(load_model(network), _parse_shapes(shape))
    if ir == "onnx":
        graph = read_onnx(model).to_dict()
    elif ir in ("relay", "relax"):
        graph = _graph_by_toolchain(f"tvm-{ir}", model)
    else:
        raise InputError(f"unknown --ir {ir!r}: choose one of onnx, relay, relax")
    if format_ is Format.json:
        print_rows([graph], format_)
        return
    rows = [
        {
            "#": index,
            "op": operator["op"],
            "inputs": ", ".join(map(_input_name, operator["inputs"])),
            "attributes": ", ".join(f"{k}={v}" for k, v in operator["attrs"].items()),
            "output": f"{operator['dtype']}{operator['shape']}",
            "FLOPs": operator["flops"],
            "param bytes": operator["param_bytes"],
            "read bytes": operator["read_bytes"],
            "write bytes": operator["write_bytes"],
        }
        for index, operator in enumerate(graph["operators"])
    ]
    print_rows(rows, format_, title=f"{network} as {ir}, digest {graph['digest'][:16]}")
    if graph["unknown_ops"] and format_ is Format.table:
        _note(f"outside of the vocabulary: {', '.join(graph['unknown_ops'])}")


@app.command()
def measure(
    networks: Annotated[list[Path] | None, typer.Argument(help="ONNX files to measure.")] = None,
    zoo: Annotated[str, typer.Option(help="Families of the network zoo, by commas.")] = "",
    count: Annotated[int, typer.Option(min=1, help="Networks of each family.")] = 1,
    size: Annotated[
        str, typer.Option(help="Size of the zoo's networks: small or large.")
    ] = "small",
    toolchain: Annotated[
        str, typer.Option(help="Toolchains, by commas: tvm-relay, tvm-relax.")
    ] = "tvm-relay",
    shape: ShapeOption = None,
    database: DatabaseOption = DEFAULT_DATABASE,
    rounds: Annotated[int, typer.Option(min=1, help="Timing rounds of each network.")] = 2,
    threads: Annotated[int, typer.Option(min=1, help="Threads of one inference.")] = 1,
    budget: Annotated[
        float | None, typer.Option(help="Seconds after which nothing new is begun.")
    ] = None,
    time_limit: Annotated[
        float | None, typer.Option(help="Seconds that one timing round may take.")
    ] = None,
    retry_failed: Annotated[bool, typer.Option(help="Try again what has failed before.")] = False,
) -> None:
    """Build and time networks on this machine; safe to kill, and to run again to go on."""
    from measure.campaign_types import CampaignConfig  # noqa: PLC0415 (needs SQLAlchemy)
    from measure.client import Limits  # noqa: PLC0415
    from tvm_costmodel.campaigns import file_networks, run_with_progress  # noqa: PLC0415

    if not networks and not zoo:
        raise InputError("nothing to measure: name ONNX files, or families with --zoo")
    chosen = itertools.chain(
        file_networks(networks or [], _parse_shapes(shape)), _zoo_networks(zoo, count, size)
    )
    limits = Limits() if time_limit is None else Limits(round_s=time_limit)
    config = CampaignConfig(
        rounds=rounds, threads=threads, budget_s=budget, retry_failed=retry_failed, limits=limits
    )
    total = len(networks or []) + count * len(_names(zoo))
    summary = run_with_progress(chosen, _names(toolchain), database, config, total)
    if summary.failed or summary.unreadable or summary.worker_errors:
        raise typer.Exit(1)


@app.command()
def train(
    platform: PlatformOption,
    output: Annotated[Path, typer.Option(help="Directory of checkpoints to write into.")],
    data: Annotated[
        str, typer.Option(help="Measurement database, or a directory of Parquet files.")
    ] = DEFAULT_DATABASE,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the networks.")] = 50,
    width: Annotated[int, typer.Option(min=8, help="Width of NAR-Former V2.")] = 512,
    folds: Annotated[int, typer.Option(min=2, help="Parts of the cross-validation.")] = 5,
    seed: Annotated[int, typer.Option(help="Of weights, folds and boosting.")] = 0,
    format_: FormatOption = Format.table,
) -> None:
    """Train NAR-Former V2 and kernel-sum on measured latencies, and show how good they are."""
    from tvm_costmodel.fitting import FitConfig, fit_platform  # noqa: PLC0415 (needs torch)
    from tvm_costmodel.kernel_sum import KernelSumConfig  # noqa: PLC0415
    from tvm_costmodel.runtime import NarFormerV2Config  # noqa: PLC0415
    from tvm_costmodel.training import TrainingConfig  # noqa: PLC0415

    config = FitConfig(
        folds=folds,
        seed=seed,
        training=TrainingConfig(epochs=epochs, seed=seed),
        model=NarFormerV2Config(width=width),
        boosting=KernelSumConfig(seed=seed),
    )
    with _open_measurements(data) as database:
        name = registry.resolve_platform(platform, database.platforms())
        metrics = fit_platform(database, name, output, config, progress=_note)
    rows = [
        {"predictor": predictor, "test": test, **result[test]}
        for predictor, result in metrics.items()
        for test in ("in_domain", "out_of_family")
        if test in result
    ]
    print_rows(rows, format_, title=name)


@app.command()
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
    chosen = file_networks(networks, _parse_shapes(shape))
    print_rows(_compare(chosen, name, database, checkpoints), format_, title=name)


@app.command()
def platforms(checkpoints: CheckpointsOption = None, format_: FormatOption = Format.table) -> None:
    """List the platforms that have a checkpoint, and how good their predictors are."""
    from tvm_costmodel.summaries import platform_rows  # noqa: PLC0415

    print_rows(platform_rows(registry.checkpoint_directory(checkpoints)), format_)


@app.command()
def demo(
    platform: PlatformOption = "tvm-relay",
    database: Annotated[str, typer.Option(help="Where the measurements go.")] = "demo.db",
    rounds: Annotated[int, typer.Option(min=1, help="Timing rounds of each network.")] = 2,
    format_: FormatOption = Format.table,
) -> None:
    """Estimate, build, measure and compare the classic networks that the onnx package ships."""
    from measure.campaign_types import CampaignConfig  # noqa: PLC0415 (needs SQLAlchemy)
    from measure.device import Platform  # noqa: PLC0415
    from tvm_costmodel.campaigns import run_with_progress  # noqa: PLC0415
    from tvm_costmodel.demo import light_networks  # noqa: PLC0415

    name = _known_platform(platform, None)
    toolchain = Platform.parse(name).toolchain
    networks = list(light_networks())
    config = CampaignConfig(rounds=rounds, kernels=False)
    summary = run_with_progress(networks, [toolchain], database, config, len(networks))
    here = _local_platform(toolchain, database)
    rows = _compare(networks, name, database, None, measured_on=here)
    print_rows(rows, format_, title=f"estimates for {name}\nmeasured on   {here}")
    if here != name:
        _note("this machine is another platform than the one that the estimates are for")
    if summary.failed or summary.worker_errors:
        raise typer.Exit(1)


def _parse_shapes(options: list[str] | None) -> dict[str, tuple[int, ...]]:
    """``name=1,3,224,224`` as a mapping; the last ``=`` divides, since names may contain one."""
    shapes = {}
    for option in options or []:
        name, separator, dims = option.rpartition("=")
        try:
            shapes[name] = tuple(int(dim) for dim in dims.split(","))
        except ValueError:
            separator = ""
        if not separator or not name:
            raise InputError(f"--shape {option!r}: expected name=1,3,224,224")
    return shapes


def _names(option: str) -> list[str]:
    return [name.strip() for name in option.split(",") if name.strip()]


def _zoo_networks(families: str, count: int, size: str) -> Iterator[NamedNetwork]:
    """Networks of all families in turn, so that a campaign cut short has seen them all."""
    from measure.zoo import sample  # noqa: PLC0415

    for seed in range(count):
        for family in _names(families):
            yield sample(family, seed, size)


def _open_measurements(data: str) -> Database:
    from measure.database import Database  # noqa: PLC0415 (needs SQLAlchemy)
    from measure.parquet import load_parquet  # noqa: PLC0415

    if Path(data).is_dir():
        return load_parquet(Path(data))
    if "://" not in data and not Path(data).exists():
        raise InputError(f"no measurements in {data!r}: give a database or a directory of Parquet")
    return Database.open(data)


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
            _note(f"{row.network}: outside of the vocabulary: {', '.join(row.unknown_ops)}")
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


def _graph_by_toolchain(toolchain: str, model: onnx.ModelProto) -> dict[str, Any]:
    """The operator graph as the importer of another interpreter's TVM gives it."""
    with saved_model(model) as path, Worker(toolchain) as worker:
        return worker.graph(model.graph.name or "network", path)


def _input_name(index: int) -> str:
    return str(index) if index >= 0 else f"input {-1 - index}"


def _note(message: str) -> None:
    print(message, file=sys.stderr)


def main() -> None:
    """Run the command line; errors are one message on standard error, never a traceback.

    Exit code 2 where the input is at fault, 1 where something failed.
    """
    try:
        app()
    except CostModelError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2 if isinstance(error, InputError) else 1)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in _EXTRAS:
            raise
        install = f"pip install 'tvm-costmodel[{_EXTRAS[package]}]'"
        print(f"error: this needs {package}: {install}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
