"""How long will this network take on that device? Answered before anything is built.

>>> from tvm_costmodel import CostModel
>>> CostModel.load("tvm-relay").estimate("model.onnx").latency_ms
"""

from __future__ import annotations

from relay_frontend.errors import CostModelError
from tvm_costmodel.choosing import Candidate, Choice, choose
from tvm_costmodel.cost_model import CostModel
from tvm_costmodel.estimates import Estimate
from tvm_costmodel.explanation import Explanation
from tvm_costmodel.registry import platforms

__all__ = [
    "Candidate",
    "Choice",
    "CostModel",
    "CostModelError",
    "Estimate",
    "Explanation",
    "choose",
    "platforms",
]
