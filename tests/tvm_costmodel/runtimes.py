"""Every runtime that there is here: numpy, and native code for each set of instructions."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from tvm_costmodel.native import NativePredictor, instruction_sets
from tvm_costmodel.runtime import NumpyPredictor, Runtime

MakeRuntime = Callable[..., Runtime]

RUNTIMES: dict[str, MakeRuntime] = {
    "numpy": NumpyPredictor,
    **{name: partial(NativePredictor, instructions=name) for name in instruction_sets()},
}

every_runtime = pytest.mark.parametrize("runtime", RUNTIMES.values(), ids=RUNTIMES)

_CHOSEN = {name: RUNTIMES[name] for name in list(RUNTIMES)[:2]}
numpy_or_native = pytest.mark.parametrize("runtime", _CHOSEN.values(), ids=_CHOSEN)
"""Numpy, and the native code that is chosen here."""
