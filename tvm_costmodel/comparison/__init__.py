"""Learned against kernel-sum against measured: networks, predictors and platforms side by side."""

from __future__ import annotations

from tvm_costmodel.comparison.compare import CompareConfig, compare
from tvm_costmodel.comparison.measured import Measured, measured_on
from tvm_costmodel.comparison.records import (
    MEASURED,
    MEASURED_KERNELS,
    ROOFLINE,
    Comparison,
    Part,
    Prediction,
    Row,
    view_name,
)

__all__ = [
    "MEASURED",
    "MEASURED_KERNELS",
    "ROOFLINE",
    "CompareConfig",
    "Comparison",
    "Measured",
    "Part",
    "Prediction",
    "Row",
    "compare",
    "measured_on",
    "view_name",
]
