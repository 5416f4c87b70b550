"""``EstimateLatency``: a module pass that writes down how long functions will take."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import tvm

from tvm_costmodel.compiler.models import PlatformOrModel, as_main, copy_of, cost_model
from tvm_costmodel.estimates import Estimate

ATTRIBUTES = (
    "latency_ms",
    "latency_low_ms",
    "latency_high_ms",
    "latency_source",
    "latency_platform",
    "latency_checkpoint",
)
"""What an annotated function has."""


@tvm.transform.module_pass(opt_level=0, name="EstimateLatency")
class EstimateLatency:
    """Annotates functions with the latency that is estimated for them on a platform.

    The attributes are those of :data:`ATTRIBUTES`; times are in ms, for one inference of the whole
    batch. Nothing else of the module changes. It belongs ahead of the passes that lower operators
    (``LegalizeOps``): what an operator was can no longer be read from loops.

    Args:
        platform: name of the platform, or parts of it, or its :class:`~tvm_costmodel.CostModel`.
        functions: names of the functions to annotate.
        params: names of the unbound parameters of these functions, or what an importer gives for
            them, see :meth:`tvm_costmodel.CostModel.estimate`.

    Raises:
        UnknownPlatformError, CheckpointError: see :meth:`tvm_costmodel.CostModel.load`.
        NetworkError: when it runs: a function is missing or cannot be read.
    """

    def __init__(
        self,
        platform: PlatformOrModel,
        functions: Collection[str] = ("main",),
        params: Collection[str] | None = None,
    ) -> None:
        self.model = cost_model(platform)
        self.functions = (functions,) if isinstance(functions, str) else tuple(functions)
        self.params = params

    def transform_module(self, mod: tvm.IRModule, _context: Any) -> tvm.IRModule:
        """The annotated module; TVM calls it."""
        annotated = copy_of(mod)
        for name in self.functions:
            estimate = self.model.estimate(as_main(mod, name), params=self.params)
            variable = mod.get_global_var(name)
            annotated.update_func(variable, _annotated(mod[variable], estimate))
        return annotated


def _annotated(function: Any, estimate: Estimate) -> Any:
    values = (
        *(estimate.latency_ms, estimate.low_ms, estimate.high_ms),
        *(estimate.source, estimate.platform, estimate.checkpoint),
    )
    for name, value in zip(ATTRIBUTES, values, strict=True):
        function = function.with_attr(name, value)
    return function
