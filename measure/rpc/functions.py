"""What a client may ask of a device beside what every RPC server of TVM answers."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

import tvm

from measure.conditions import read_counters
from measure.drawing import Draw, draw
from measure.probes import Prober
from measure.rpc.address import COUNTERS, DRAW, FINGERPRINT, PROBE, SET_THREADS, TIME_FUNCTION
from measure.toolchains.base import Toolchain
from measure.toolchains.place import LocalPlace, to_device


def register_functions(toolchain: Toolchain) -> None:
    """Make them known to TVM; sessions are forked and inherit it.

    - ``fingerprint() -> str``: JSON of this machine's :class:`measure.device.Fingerprint`.
    - ``counters() -> str``: JSON of :func:`measure.conditions.read_counters` of the session.
    - ``probe() -> str``: JSON of a reading of :class:`measure.probes.Prober`.
    - ``draw(spec: str, seed: int, index: int) -> tensor``: :func:`measure.drawing.draw`.
    - ``time_function(library, name, number, repeat, *tensors) -> str``: JSON of the seconds, see
      :meth:`measure.toolchains.place.Place.time_function`.
    - ``set_threads(number: int)``: threads of an inference; before the session's first one.
    """
    told = toolchain.fingerprint().to_dict()
    prober = Prober()
    _register(FINGERPRINT, lambda: json.dumps(told))
    _register(COUNTERS, lambda: json.dumps(read_counters()))
    _register(PROBE, lambda: json.dumps(prober()))
    _register(DRAW, _draw)
    _register(TIME_FUNCTION, _time_function)
    _register(SET_THREADS, _set_threads)


def _register(name: str, function: Callable[..., Any]) -> None:
    register = getattr(tvm, "register_global_func", None) or tvm.register_func
    register(name, function, override=True)


def _draw(spec: str, seed: int, index: int) -> Any:
    return to_device(draw(Draw.from_dict(json.loads(spec)), seed, index), tvm.cpu(0))


def _time_function(library: Any, name: str, number: int, repeat: int, *tensors: Any) -> str:
    return json.dumps(LocalPlace().time_function(library, name, number, repeat, tensors))


def _set_threads(number: int) -> None:
    # TVM reads it when its thread pool starts, with the first parallel loop of the session.
    os.environ["TVM_NUM_THREADS"] = str(number)
