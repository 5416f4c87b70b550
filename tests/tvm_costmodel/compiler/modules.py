"""Networks as modules of the TVM that this interpreter has."""

from __future__ import annotations

from typing import Any

from onnx import ModelProto

from measure.interpreters import running_generation

PLATFORM = f"tvm-{running_generation()}"


def imported(model: ModelProto) -> tuple[Any, Any]:
    """The module of an ONNX network, and the parameters that its importer gives beside it."""
    if running_generation() == "relay":
        from relay_frontend.relay.importer import import_onnx  # noqa: PLC0415

        return import_onnx(model)
    from relay_frontend.relax.importer import import_onnx  # noqa: PLC0415

    return import_onnx(model), None


def simplifications() -> list[Any]:
    """Passes after which a network can still be read."""
    if running_generation() == "relay":
        from tvm import relay  # noqa: PLC0415

        return [relay.transform.InferType(), relay.transform.SimplifyInference()]
    from tvm import relax  # noqa: PLC0415

    return [relax.transform.CanonicalizeBindings(), relax.transform.DecomposeOpsForInference()]
