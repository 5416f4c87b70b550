"""``LatencyInstrument``: what passes do to the estimated latency."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import tvm
from tvm.ir.instrument import pass_instrument

from relay_frontend.errors import CostModelError
from tvm_costmodel.compiler.models import PlatformOrModel, cost_model
from tvm_costmodel.estimates import Estimate

Found = Estimate | CostModelError


@dataclass(frozen=True, kw_only=True)
class PassLatency:
    """One run of a pass, with the estimates before and after it.

    Args:
        name: of the pass.
        before: the estimate for the module that it got, or why there is none: after operators have
            been lowered to loops, no network can be read.
        after: the same of the module that it returned.
    """

    name: str
    before: Found
    after: Found

    @property
    def change_ms(self) -> float | None:
        """By how much the estimate grew; None where one is missing."""
        if isinstance(self.before, Estimate) and isinstance(self.after, Estimate):
            return self.after.latency_ms - self.before.latency_ms
        return None


@pass_instrument
class LatencyInstrument:
    """Estimates ``main`` before and after the passes of some names, while a pipeline runs.

    >>> instrument = LatencyInstrument("tvm-relax", passes=["FoldConstant"])
    >>> with tvm.transform.PassContext(instruments=[instrument]):
    ...     mod = pipeline(mod)
    >>> print(instrument.report())

    It never stops a pipeline: what cannot be estimated is told in ``latencies``.

    Args:
        platform: name of the platform, or parts of it, or its :class:`~tvm_costmodel.CostModel`.
        passes: names of the passes, as ``tvm.transform.PassInfo`` has them.
        params: as for :class:`~tvm_costmodel.compiler.EstimateLatency`.

    Raises:
        UnknownPlatformError, CheckpointError: see :meth:`tvm_costmodel.CostModel.load`.
    """

    def __init__(
        self,
        platform: PlatformOrModel,
        passes: Collection[str],
        params: Collection[str] | None = None,
    ) -> None:
        self._model = cost_model(platform)
        self._passes = frozenset((passes,) if isinstance(passes, str) else passes)
        self._params = params
        self._open: list[Found] = []  # of chosen passes that run, the outer one first
        self._is_reading = False  # which runs passes too, in a Relay process
        self.latencies: list[PassLatency] = []
        """One entry for each run, in the order of their ends."""

    def run_before_pass(self, mod: tvm.IRModule, info: Any) -> None:
        """TVM calls it."""
        if self._concerns(info):
            self._open.append(self._estimate(mod))

    def run_after_pass(self, mod: tvm.IRModule, info: Any) -> None:
        """TVM calls it."""
        if self._concerns(info) and self._open:
            before, after = self._open.pop(), self._estimate(mod)
            self.latencies.append(PassLatency(name=str(info.name), before=before, after=after))

    def exit_pass_ctx(self) -> None:
        """TVM calls it; of a pass that failed there is no end."""
        self._open.clear()

    def report(self) -> str:
        """A table of the runs, in ms."""
        width = max([4, *(len(run.name) for run in self.latencies)])
        lines = [f"{'pass':<{width}}{'before':>12}{'after':>12}{'change':>12}  ms"]
        for run in self.latencies:
            change = "" if run.change_ms is None else f"{run.change_ms:+.4g}"
            lines.append(
                f"{run.name:<{width}}{_ms(run.before):>12}{_ms(run.after):>12}{change:>12}"
            )
        return "\n".join(lines)

    def _concerns(self, info: Any) -> bool:
        return not self._is_reading and str(info.name) in self._passes

    def _estimate(self, mod: tvm.IRModule) -> Found:
        self._is_reading = True
        try:
            return self._model.estimate(mod, params=self._params)
        except CostModelError as error:
            return error
        finally:
            self._is_reading = False


def _ms(found: Found) -> str:
    return f"{found.latency_ms:.4g}" if isinstance(found, Estimate) else "unread"
