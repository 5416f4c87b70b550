"""The data set of NNLQP (Liu et al., ICPP 2022), which the paper's latency tables are about.

A folder as its archive unpacks, ``unseen_structure`` (ten families of 2,000 networks on one GPU)
or ``multi_platform`` (ten families of 200 on nine platforms): a list of latencies, one a line, and
the ONNX files without weights that it names::

    00001 onnx/nnmeter_alexnet/nnmeter_alexnet_transform_0000.onnx 1 2.06137 alexnet 1 train

that is number, path relative to the folder, batch size, latency in ms, family, number of the
platform and, in some editions, the stage, ``train`` or ``test``. Whatever batch the ONNX file was
exported with, the latency is that of the batch size in the list.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from relay_frontend.errors import InputError, NetworkError
from relay_frontend.graph import OpGraph
from relay_frontend.onnx import load_model, read_onnx
from relay_frontend.onnx.reader import data_inputs
from tvm_costmodel.datasets.dataset import Dataset, Loading, silent
from tvm_costmodel.predictors.base import Network

LISTS = ("gt_stage.txt", "gt.txt")
"""Names of the list, the one with stages first."""

PLATFORMS = {
    1: "gpu-gtx1660-trt7.1-fp32",
    2: "cpu-openppl-fp32",
    9: "hi3559A-nnie11-int8",
    10: "gpu-T4-trt7.1-fp32",
    12: "gpu-T4-trt7.1-int8",
    13: "gpu-P4-trt7.1-fp32",
    14: "gpu-P4-trt7.1-int8",
    16: "hi3519A-nnie12-int8",
    18: "atlas300-acl-fp16",
    23: "mul270-neuware-int8",
}
"""Names of the platforms by their numbers, as the authors' code has them."""

_STAGES = ("train", "test")


@dataclass(frozen=True, slots=True)
class _Line:
    path: str
    batch: int
    latency_ms: float
    family: str
    platform: str
    stage: str | None


def nnlqp(
    folder: Path,
    *,
    platforms: Sequence[str] | None = None,
    progress: Loading = silent,
) -> Dataset[Network]:
    """The networks of ``folder``; those that are missing or unreadable are left out and counted.

    Args:
        folder: with ``gt_stage.txt`` or ``gt.txt`` in it.
        platforms: names, see :data:`PLATFORMS`; all by default.
        progress: told after each network.

    Raises:
        InputError: there is no list, a line of it has another form, or no network can be read.
    """
    lines = _read_list(folder)
    if platforms is not None:
        unknown = sorted(set(platforms) - {line.platform for line in lines})
        if unknown:
            known = ", ".join(sorted({line.platform for line in lines}))
            raise InputError(f"{folder} has no platform {unknown[0]!r}; there are {known}")
        lines = [line for line in lines if line.platform in platforms]
    graphs: dict[tuple[str, int], OpGraph | None] = {}
    kept: list[tuple[_Line, OpGraph]] = []
    for number, line in enumerate(lines, start=1):
        key = line.path, line.batch
        if key not in graphs:
            graphs[key] = _graph(folder / line.path, line.batch)
        if (graph := graphs[key]) is not None:
            kept.append((line, graph))
        progress(number, len(lines))
    if not kept:
        raise InputError(
            f"none of the {len(lines)} networks that {folder} lists can be read; the first is "
            f"{folder / lines[0].path}"
        )
    return _dataset(folder, kept, left_out=len(lines) - len(kept))


def _read_list(folder: Path) -> list[_Line]:
    path = next((folder / name for name in LISTS if (folder / name).is_file()), None)
    if path is None:
        raise InputError(
            f"no NNLQP data in {str(folder)!r}: expected one of {', '.join(LISTS)} beside the ONNX "
            "files"
        )
    lines = list(_parse(path))
    if not lines:
        raise InputError(f"{path}: the list is empty")
    return lines


def _parse(path: Path) -> Iterator[_Line]:
    for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        fields = text.split()
        if not fields:
            continue
        try:
            _, onnx_path, batch, latency, family, platform = fields[:6]
            (stage,) = fields[6:] or (None,)
            if stage is not None and stage not in _STAGES:
                raise ValueError(stage)  # noqa: TRY301 (told below with its line)
            key = int(platform)
            yield _Line(
                path=onnx_path,
                batch=int(batch),
                latency_ms=float(latency),
                family=family,
                platform=PLATFORMS.get(key, f"platform-{key}"),
                stage=stage,
            )
        except ValueError:
            raise InputError(
                f"{path}, line {number}: expected 'number path batch ms family platform "
                f"[train|test]', got {text!r}"
            ) from None


def _graph(path: Path, batch: int) -> OpGraph | None:
    """The network at its batch size; None where it cannot be read."""
    try:
        model = load_model(path)
        shapes = {}
        for value in data_inputs(model):
            dims = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
            shapes[value.name] = (batch, *dims[1:])
        return read_onnx(model, shapes)
    except NetworkError:
        return None


def _dataset(
    folder: Path, kept: Sequence[tuple[_Line, OpGraph]], left_out: int
) -> Dataset[Network]:
    lines = [line for line, _ in kept]
    networks = tuple(
        Network(name=Path(line.path).stem, family=line.family, platform=line.platform, graph=graph)
        for line, graph in kept
    )
    staged = all(line.stage is not None for line in lines)
    conditions: dict[str, Any] = {
        "source": "NNLQP (Liu et al., ICPP 2022)",
        "networks left out": left_out,
    }
    return Dataset(
        name=f"nnlqp-{folder.resolve().name}",
        task="latency",
        inputs=networks,
        names=tuple(network.name for network in networks),
        families=tuple(line.family for line in lines),
        platforms=tuple(line.platform for line in lines),
        targets=np.array([line.latency_ms for line in lines]),
        is_test=np.array([line.stage == "test" for line in lines]) if staged else None,
        conditions=conditions,
    )
