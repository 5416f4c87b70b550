"""``estimate`` and ``tokens``: what is known of a network before it is built."""

from __future__ import annotations

from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import onnx
import typer

from measure.client import Worker
from relay_frontend.errors import InputError, UnknownOperatorError
from relay_frontend.onnx import bind_shapes, load_model, read_onnx
from tvm_costmodel import registry
from tvm_costmodel.cli.explaining import check_format, print_explanation
from tvm_costmodel.cli.options import (
    CheckpointsOption,
    FormatOption,
    NetworkArgument,
    PlatformOption,
    ShapeOption,
    note,
    parse_shapes,
)
from tvm_costmodel.cost_model import CostModel
from tvm_costmodel.estimates import Estimate
from tvm_costmodel.kernel_finding import saved_model
from tvm_costmodel.rendering import Format, print_rows


class KernelSourceOption(str, Enum):
    """Whose kernels kernel-sum adds up."""

    compiler = "compiler"
    guess = "guess"


def estimate(
    network: NetworkArgument,
    platform: PlatformOption,
    predictor: Annotated[str, typer.Option(help="nar-former-v2, kernel-sum, or blend of both.")] = (
        registry.NAR_FORMER_V2
    ),
    shape: ShapeOption = None,
    database: Annotated[
        str | None,
        typer.Option(help="Path or URL of a measurement database to look the network up in first."),
    ] = None,
    checkpoints: CheckpointsOption = None,
    allow_unknown: Annotated[
        bool, typer.Option(help="Accept operators outside of the vocabulary, by their category.")
    ] = False,
    kernels: Annotated[
        KernelSourceOption,
        typer.Option(help="Kernels to add up: as the compiler lists them, or guessed."),
    ] = KernelSourceOption.compiler,
    explain: Annotated[
        bool,
        typer.Option(
            "--explain", help="Tell where the latency comes from, and what the estimate rests on."
        ),
    ] = False,
    format_: FormatOption = Format.table,
) -> None:
    """Estimate the latency of one inference, without building the network."""
    if explain:
        check_format(format_)
    model = CostModel.load(
        platform,
        predictor=predictor,
        checkpoints=checkpoints,
        database=database,
        kernels=kernels.value,
    )
    if explain:
        explanation = model.explain(network, parse_shapes(shape))
        _check_operators(explanation.estimate, network, allow_unknown=allow_unknown)
        print_explanation(explanation, format_, title=str(network))
        return
    result = model.estimate(network, parse_shapes(shape))
    _check_operators(result, network, allow_unknown=allow_unknown)
    print_rows([asdict(result)], format_, title=str(network))


def _check_operators(result: Estimate, network: Path, *, allow_unknown: bool) -> None:
    if result.unknown_ops and not allow_unknown:
        raise UnknownOperatorError(
            f"{network}: operators outside of the checkpoint's vocabulary: "
            f"{', '.join(result.unknown_ops)}; an estimate knows only their shapes. To accept "
            "that: --allow-unknown"
        )
    if result.unlearned_ops:
        note(
            f"no training network has {', '.join(result.unlearned_ops)}: estimated as others of "
            "the same category, which is less certain"
        )


def tokens(
    network: NetworkArgument,
    ir: Annotated[str, typer.Option(help="Read the network as onnx, relay or relax.")] = "onnx",
    shape: ShapeOption = None,
    format_: FormatOption = Format.table,
) -> None:
    """Show the operators of a network: attributes, shapes, edges, costs."""
    model = bind_shapes(load_model(network), parse_shapes(shape))
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
        note(f"outside of the vocabulary: {', '.join(graph['unknown_ops'])}")


def _graph_by_toolchain(toolchain: str, model: onnx.ModelProto) -> dict[str, Any]:
    """The operator graph as the importer of another interpreter's TVM gives it."""
    with saved_model(model) as path, Worker(toolchain) as worker:
        return worker.graph(model.graph.name or "network", path)


def _input_name(index: int) -> str:
    return str(index) if index >= 0 else f"input {-1 - index}"
