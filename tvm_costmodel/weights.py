"""The weights of NAR-Former V2 by their names, and what can be computed with them without torch."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from relay_frontend.errors import InputError
from tvm_costmodel.errors import CheckpointError
from tvm_costmodel.predictors.nar_former_v2.config import PRIOR_COSTS, NarFormerV2Config


def check_supported(config: NarFormerV2Config) -> None:
    """See that ``config`` needs no torch, so that the cost model can estimate with it.

    Raises:
        CheckpointError: a switch is set to what torch alone can do.
    """
    for name, supported in (
        ("attention", ("graph", "mean")),
        ("readout", ("pooled", "contributions")),
        ("num_domains", (1,)),
    ):
        if (value := getattr(config, name)) not in supported:
            raise CheckpointError(
                f"a NAR-Former V2 with {name}={value!r} needs torch, which the cost model does "
                f"without: for it, {name} must be {' or '.join(map(repr, supported))}. Only "
                "LatencyNarFormerV2.load, from tvm_costmodel.predictors.nar_former_v2.predictor, "
                "has a use for such a checkpoint"
            )


def weight_shapes(config: NarFormerV2Config) -> dict[str, tuple[int, ...]]:
    """Name and shape of every weight, as in the torch model's ``state_dict``."""
    width = config.width
    shapes = {**_norm_shapes("input_norm", config.input_norm, config.num_features), "scale": ()}
    if config.reads_static:
        shapes |= _norm_shapes("static_norm", config.input_norm, config.num_static)
        shapes |= _linear_shapes("readout.static", config.num_static, width)
    if config.embed:
        shapes |= _linear_shapes("embed", config.num_features, width)
    for index, features in enumerate(config.block_features):
        shapes |= _block_shapes(f"blocks.{index}", features, config)
    pooled = width * (2 if config.reads_static else 1)
    for name, inputs, outputs in (("fc1", pooled, width), ("fc2", width, width), ("fc3", width, 1)):
        shapes |= _linear_shapes(f"readout.head.{name}", inputs, outputs)
    if config.prior == "costs":
        shapes["readout.prior.rates"] = (len(PRIOR_COSTS),)
    return shapes


def _block_shapes(
    block: str, features: int, config: NarFormerV2Config
) -> dict[str, tuple[int, ...]]:
    width = config.width
    shapes = _linear_shapes(f"{block}.enhance.degree_gate", 1, features) if config.enhance else {}
    shapes |= _norm_shapes(f"{block}.normalize", config.normalize, width)
    shapes[f"{block}.root.weight"] = (width, features)
    for relation in range(len(config.relations)):
        name = f"{block}.relations.{relation}"
        shapes |= _linear_shapes(f"{name}.aggregate", features, width)
        if config.attention == "graph":
            shapes |= _linear_shapes(f"{name}.attention.query", features, features)
    if config.ffn == "none":
        return shapes
    groups, group = config.groups, width // config.groups
    shapes |= _norm_shapes(f"{block}.ffn.norm", "layer", width)
    for name, inputs, outputs in (
        ("up", group, group * config.ffn_expansion),
        ("down", group * config.ffn_expansion, group),
    ):
        shapes[f"{block}.ffn.{name}.weight"] = (groups, inputs, outputs)
        shapes[f"{block}.ffn.{name}.bias"] = (groups, 1, outputs)
    if config.branch_scale is not None:
        shapes[f"{block}.ffn.branch_scale"] = (width,)
    return shapes


def _linear_shapes(name: str, inputs: int, outputs: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def _norm_shapes(name: str, kind: str, size: int) -> dict[str, tuple[int, ...]]:
    parts = {"layer": ("weight", "bias"), "standardize": ("mean", "deviation")}.get(kind, ())
    return {f"{name}.{part}": (size,) for part in parts}


def check_weights(
    weights: Mapping[str, npt.NDArray[np.generic]], config: NarFormerV2Config
) -> None:
    """See that ``weights`` are those of ``config``, no fewer and no more.

    Raises:
        InputError: a weight is missing, unexpected, or has another shape.
    """
    expected = weight_shapes(config)
    for name in sorted(expected.keys() | weights.keys()):
        if name not in weights:
            raise InputError(f"weight {name!r} is missing; {config} needs it")
        if name not in expected:
            raise InputError(f"weight {name!r} is unknown; {config} has none of that name")
        if weights[name].shape != expected[name]:
            raise InputError(
                f"weight {name!r} has shape {weights[name].shape}, but {config} "
                f"needs {expected[name]}"
            )
