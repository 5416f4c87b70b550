"""Estimates from inside a pass pipeline, with nothing but the base package beside TVM.

Whatever belongs to an extra cannot be imported in this process.
"""

from __future__ import annotations

import sys

ABSENT = (
    *("torch", "torch_geometric", "xgboost", "sklearn", "onnxruntime"),
    *("sqlalchemy", "alembic", "pyarrow", "psycopg", "hypothesis"),
)


class Absent:
    """Finds no package of :data:`ABSENT`."""

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ABSENT:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


sys.meta_path.insert(0, Absent())

import tvm  # noqa: E402

from tests.networks import conv_bn_relu  # noqa: E402
from tests.tvm_costmodel.compiler.modules import (  # noqa: E402
    PLATFORM,
    imported,
    simplifications,
)
from tvm_costmodel import CostModel, Estimate  # noqa: E402
from tvm_costmodel.compiler import EstimateLatency, LatencyInstrument  # noqa: E402

try:
    import torch  # noqa: F401
except ModuleNotFoundError:
    pass
else:
    raise AssertionError("torch can be imported")

mod, params = imported(conv_bn_relu())
first, second = simplifications()
instrument = LatencyInstrument(PLATFORM, passes=[second.info.name], params=params)
with tvm.transform.PassContext(opt_level=3, instruments=[instrument]):
    result = tvm.transform.Sequential([first, EstimateLatency(PLATFORM, params=params), second])(
        mod
    )
assert float(getattr(result["main"].attrs["latency_ms"], "value", 0) or 1) > 0
assert instrument.latencies[0].after.latency_ms > 0
data = conv_bn_relu().SerializeToString()
answers = list(CostModel.load(PLATFORM).estimate_many([mod, data, b"no network"], params=params))
assert [isinstance(answer, Estimate) for answer in answers] == [True, True, False]
assert not set(ABSENT) & set(sys.modules)
print("estimated", instrument.latencies[0].after.latency_ms)
