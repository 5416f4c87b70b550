"""Learned against kernel-sum against measured, network by network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import onnx

from measure.database import Database
from relay_frontend.graph import OpGraph
from relay_frontend.onnx import read_onnx
from tvm_costmodel.cost_model import CostModel
from tvm_costmodel.kernel_finding import KernelFinder


@dataclass(frozen=True, kw_only=True)
class Row:
    """One network of a comparison; latencies in ms, errors in %; None where not to be had.

    Args:
        network: its name.
        operators: of its operator graph.
        kernels: calls of fused kernels in one inference.
        nar_former_v2_ms: estimate of NAR-Former V2.
        kernel_sum_ms: estimate of the XGBoost kernel-sum.
        measured_ms: measured latency.
        unknown_ops: operators outside of the vocabulary.
    """

    network: str
    operators: int
    kernels: int
    nar_former_v2_ms: float
    kernel_sum_ms: float
    measured_ms: float | None
    unknown_ops: Sequence[str] = ()

    @property
    def nar_former_v2_error(self) -> float | None:
        """(estimate - measured) / measured in %."""
        return self._error(self.nar_former_v2_ms)

    @property
    def kernel_sum_error(self) -> float | None:
        """(estimate - measured) / measured in %."""
        return self._error(self.kernel_sum_ms)

    def _error(self, estimate: float) -> float | None:
        return None if self.measured_ms is None else 100 * (estimate / self.measured_ms - 1)


def compare(
    networks: Iterable[tuple[str, onnx.ModelProto]],
    platform: str,
    database: Database | None = None,
    checkpoints: str | None = None,
    measured_on: str | None = None,
) -> Iterator[Row]:
    """Compare the predictors of ``platform`` on ``networks``, one row at a time.

    Args:
        networks: names and ONNX models of static shapes.
        platform: its name, or parts of it.
        database: where measured latencies are looked up; nothing is measured here.
        checkpoints: directory of checkpoints; by default the package's.
        measured_on: platform of the measured latencies, where it is not ``platform``.
    """
    learned = CostModel.load(platform, checkpoints=checkpoints)
    measured = _measured(database, measured_on or learned.platform)
    with KernelFinder(learned.platform) as finder:
        for name, model in networks:
            yield _row(name, model, learned, finder, measured)


def _row(
    name: str,
    model: onnx.ModelProto,
    learned: CostModel,
    finder: KernelFinder,
    measured: Mapping[str, float],
) -> Row:
    graph: OpGraph = read_onnx(model)
    kernels = finder.find(model)
    estimate = learned.estimate_graph(graph)
    return Row(
        network=name,
        operators=len(graph),
        kernels=len(kernels),
        nar_former_v2_ms=estimate.latency_ms,
        kernel_sum_ms=learned.kernel_sum.latency_ms(kernels),
        measured_ms=measured.get(graph.digest),
        unknown_ops=estimate.unknown_ops,
    )


def _measured(database: Database | None, platform: str) -> dict[str, float]:
    if database is None or platform not in database.platforms():
        return {}
    return {digest: latency.label_ms for digest, latency in database.latencies(platform).items()}
