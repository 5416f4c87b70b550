"""Estimates where the compiler works: TVM's passes, instruments, functions and tuning tasks.

>>> from tvm_costmodel.compiler import EstimateLatency
>>> mod = EstimateLatency("tvm-relax")(mod)      # or in a Sequential
>>> float(mod["main"].attrs["latency_ms"])

It serves the TVM of this process, be it one with Relay or one with Relax. Importing it registers
TVM's global functions ``tvm_costmodel.estimate`` and ``tvm_costmodel.estimate_json``.
"""

from __future__ import annotations

from relay_frontend.errors import MissingDependencyError

try:
    import tvm  # noqa: F401 (whether there is one)
except ImportError as error:
    raise MissingDependencyError(
        f"tvm_costmodel.compiler needs a TVM in this process ({error}): "
        "pip install 'tvm-costmodel[relax]'"
    ) from error

from tvm_costmodel.compiler.functions import register
from tvm_costmodel.compiler.instrument import LatencyInstrument, PassLatency
from tvm_costmodel.compiler.passes import ATTRIBUTES, EstimateLatency
from tvm_costmodel.compiler.tuning import TaskWeight, task_weights

__all__ = [
    "ATTRIBUTES",
    "EstimateLatency",
    "LatencyInstrument",
    "PassLatency",
    "TaskWeight",
    "register",
    "task_weights",
]

register()
