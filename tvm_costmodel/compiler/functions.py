"""TVM's global functions by which C++ and other languages ask for estimates.

From C++, in a process whose Python has imported :mod:`tvm_costmodel.compiler`::

    auto estimate = tvm::ffi::Function::GetGlobalRequired("tvm_costmodel.estimate");
    double ms = estimate(mod, "tvm-relax").cast<double>();
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import tvm

from tvm_costmodel.compiler.models import cost_model
from tvm_costmodel.estimates import Estimate

ESTIMATE = "tvm_costmodel.estimate"
ESTIMATE_JSON = "tvm_costmodel.estimate_json"


def register() -> None:
    """Register the global functions with the TVM of this process, once more where they are there.

    ``tvm_costmodel.estimate(network, platform)`` gives the latency in ms as a float,
    ``tvm_costmodel.estimate_json(network, platform)`` all of the
    :class:`~tvm_costmodel.Estimate` as JSON text. A network is an ``IRModule``, or the path of an
    ONNX file. What is wrong arrives as TVM's error, with the message of ours.
    """
    # Relay's TVM has the older name.
    add = getattr(tvm, "register_global_func", None) or tvm.register_func
    add(ESTIMATE, _estimate_ms, override=True)
    add(ESTIMATE_JSON, _estimate_json, override=True)


def _estimate_ms(network: Any, platform: str) -> float:
    return _estimate(network, platform).latency_ms


def _estimate_json(network: Any, platform: str) -> str:
    return json.dumps(asdict(_estimate(network, platform)))


def _estimate(network: Any, platform: str) -> Estimate:
    network = str(network) if isinstance(network, str) else network  # TVM's text is a subclass
    return cost_model(str(platform)).estimate(network)
