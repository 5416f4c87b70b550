"""A comparison as one HTML page that needs nothing beside itself."""

from __future__ import annotations

from tvm_costmodel.comparison.report.data import report_data
from tvm_costmodel.comparison.report.page import check_library, report_page

__all__ = ["check_library", "report_data", "report_page"]
