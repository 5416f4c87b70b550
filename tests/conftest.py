"""Which tests can run in this interpreter; what cannot is skipped with its reason, never silently."""

from __future__ import annotations

import importlib.util
import os

import pytest

from measure.errors import InterpreterError
from measure.interpreters import find_interpreter


def _has(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    missing = {}
    for mark in ("relax", "relay"):
        if not _has(f"tvm.{mark}"):
            missing[mark] = f"this interpreter has no tvm.{mark}"
    try:
        find_interpreter("relay")
    except InterpreterError as error:
        if os.environ.get("CI"):
            raise pytest.UsageError(f"CI needs the Relay environment: {error}") from None
        missing["worker"] = str(error)
    for item in items:
        for mark, reason in missing.items():
            if item.get_closest_marker(mark):
                item.add_marker(pytest.mark.skip(reason=reason))
