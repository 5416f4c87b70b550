"""Which tests can run in this interpreter; what cannot is skipped with its reason."""

from __future__ import annotations

import os

import pytest

from measure.errors import InterpreterError
from measure.interpreters import find_interpreter, running_generation
from relay_frontend import native
from tvm_costmodel import native as predicting


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    switched_off = os.environ.get("TVM_COSTMODEL_NATIVE") == "0"
    built = None not in (native.module, predicting.module)
    if os.environ.get("CI") and not built and not switched_off:
        raise pytest.UsageError("CI needs the native part: pip built none, or it does not load")
    running = running_generation()
    missing = {
        mark: f"the TVM of this interpreter is of the generation {running}"
        for mark in ("relax", "relay")
        if mark != running
    }
    try:
        find_interpreter("relay")
    except InterpreterError as error:
        if os.environ.get("CI"):
            raise pytest.UsageError(f"CI needs the Relay environment: {error}") from None
        missing["worker"] = str(error)
    if running == "relay":
        missing["once"] = "the same code in both environments, which the main one tries"
    for item in items:
        for mark, reason in missing.items():
            if item.get_closest_marker(mark):
                item.add_marker(pytest.mark.skip(reason=reason))
