"""Checkpoints of every predictor made of torch: a directory that is safe to load and lasts.

``weights.safetensors`` holds the weights, ``checkpoint.json`` all else in plain text. Nothing is
pickled, so loading runs no code and depends on no class names; and nothing here needs torch, so
that NAR-Former V2 estimates latencies where there is none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import numpy as np
import numpy.typing as npt

from relay_frontend.errors import InputError
from relay_frontend.tokens import TokenConfig
from tvm_costmodel.errors import CheckpointError
from tvm_costmodel.predictors import storage
from tvm_costmodel.predictors.nar_former_v2.config import (
    LatencyNarFormerV2Config,
    NarFormerV2Config,
)
from tvm_costmodel.weights import check_supported, check_weights

__all__ = [
    "DESCRIPTION_FILE",
    "FORMAT_VERSION",
    "WEIGHTS_FILE",
    "Checkpoint",
    "CheckpointError",
    "Saved",
    "from_plain",
    "load_checkpoint",
    "package_version",
    "read_saved",
    "write_saved",
]

FORMAT_VERSION = 2
"""Raised by one with every change that an older reader would misunderstand."""

WEIGHTS_FILE = "weights.safetensors"
DESCRIPTION_FILE = "checkpoint.json"

_PREDICTOR = ("nar-former-v2", "latency")
_DIGEST = "weights_sha256"

T = TypeVar("T")


def package_version() -> str:
    """The installed version of this package, which every checkpoint names."""
    try:
        return metadata.version("tvm-costmodel")
    except metadata.PackageNotFoundError:
        return "unknown (run from source)"


@dataclass(frozen=True, eq=False, kw_only=True)
class Saved:
    """What is written of a predictor: plain JSON values, and arrays.

    Args:
        predictor: its name.
        task: ``latency`` or ``accuracy``.
        config: its configuration.
        training: how it was fitted.
        fitted_on: how many inputs, and between which targets.
        facts: what else is known of it: platform, training data, metrics.
        weights: arrays by name.
        created_by: version of this package that fitted it.
    """

    predictor: str
    task: str
    config: Mapping[str, Any]
    training: Mapping[str, Any]
    fitted_on: Mapping[str, Any]
    facts: Mapping[str, Any]
    weights: Mapping[str, npt.NDArray[Any]]
    created_by: str = field(default_factory=package_version)


_PLAIN_FIELDS = tuple(f.name for f in fields(Saved) if f.name != "weights")


def write_saved(saved: Saved, directory: Path) -> None:
    """Write ``saved`` as a new ``directory``: all of it or nothing.

    Raises:
        CheckpointError: ``directory`` exists and is not an empty directory, or a description is
            not made of plain JSON values.
    """
    weights = storage.encode_arrays(saved.weights)
    plain = {name: getattr(saved, name) for name in _PLAIN_FIELDS}
    description = {**plain, _DIGEST: storage.sha256(weights)}
    content = storage.encode_description(FORMAT_VERSION, description)
    storage.write_directory(directory, {WEIGHTS_FILE: weights, DESCRIPTION_FILE: content})


def read_saved(directory: Path) -> Saved:
    """Read what :func:`write_saved` wrote, now or in an earlier format.

    Raises:
        CheckpointError: it is missing, damaged, or in a format newer than :data:`FORMAT_VERSION`.
    """
    description = storage.read_description(directory, DESCRIPTION_FILE, FORMAT_VERSION)
    weights = storage.read_arrays(directory, WEIGHTS_FILE, description.get(_DIGEST))
    try:
        if "token_config" in description:
            return _from_version_1(description, weights)
        return Saved(weights=weights, **{name: description[name] for name in _PLAIN_FIELDS})
    except (KeyError, TypeError) as error:
        raise _not_described(directory, error) from error


def from_plain(kind: type[T], values: object) -> T:
    """The configuration of class ``kind`` that ``dataclasses.asdict`` and JSON made ``values`` of.

    Raises:
        TypeError: they are no mapping, or name a field that ``kind`` does not have.
        InputError: ``kind`` does not accept a value.
    """
    if not isinstance(values, Mapping):
        raise TypeError(f"{kind.__name__} is described by a mapping, got {values!r}")
    hints = get_type_hints(kind)
    return kind(**{name: _value(hints.get(name), value) for name, value in values.items()})


def _value(kind: Any, value: object) -> Any:
    if isinstance(kind, type) and is_dataclass(kind):
        return from_plain(kind, value)
    return tuple(_value(None, item) for item in value) if isinstance(value, list) else value


# --- NAR-Former V2 without torch ----------------------------------------------------------------


@dataclass(frozen=True, eq=False, kw_only=True)
class Checkpoint:
    """A NAR-Former V2 that predicts the latencies of a platform, and where it comes from.

    Args:
        weights: arrays by name, see :func:`tvm_costmodel.weights.weight_shapes`.
        config: of the model.
        token_config: how networks must be tokenized for it.
        platform: name of the platform whose latencies it predicts.
        training_data: what it was trained on, as plain JSON values.
        seed: of the training.
        metrics: its quality on data that it has not seen, as plain JSON values.
        created_by: version of this package that trained it.
    """

    weights: Mapping[str, npt.NDArray[np.float32]]
    config: NarFormerV2Config
    token_config: TokenConfig
    platform: str
    training_data: Mapping[str, Any]
    seed: int
    metrics: Mapping[str, Any]
    created_by: str = field(default_factory=package_version)


def load_checkpoint(directory: Path) -> Checkpoint:
    """Read the checkpoint in ``directory`` and verify it.

    Raises:
        CheckpointError: it is missing, damaged, in a format newer than :data:`FORMAT_VERSION`, of
            another predictor, or of one that needs torch.
    """
    saved = read_saved(directory)
    if (saved.predictor, saved.task) != _PREDICTOR:
        raise CheckpointError(
            f"checkpoint {directory} holds the {saved.task} predictor {saved.predictor!r}, "
            "expected the latency predictor 'nar-former-v2'"
        )
    try:
        config = from_plain(LatencyNarFormerV2Config, saved.config)
        check_supported(config.model)
        check_weights(saved.weights, config.model)
        return Checkpoint(
            weights=saved.weights,
            config=config.model,
            token_config=config.tokens,
            platform=saved.facts["platform"],
            training_data=saved.facts["training_data"],
            seed=saved.training["seed"],
            metrics=saved.facts["metrics"],
            created_by=saved.created_by,
        )
    except (InputError, KeyError, TypeError) as error:
        raise _not_described(directory, error) from error


def _not_described(directory: Path, error: Exception) -> CheckpointError:
    return CheckpointError(
        f"checkpoint {directory}: {DESCRIPTION_FILE} does not describe a predictor: {error!r}"
    )


# --- Format version 1 ----------------------------------------------------------------------------

_RENAMED = (
    (r"\.degree_gate\.", ".enhance.degree_gate."),
    (r"\.query\.", ".relations.0.attention.query."),
    (r"\.aggregate\.", ".relations.0.aggregate."),
    (r"\.norm\.", ".ffn.norm."),
    (r"\.ffn_(up|down)\.", r".ffn.\1."),
    (r"\.branch_scale$", ".ffn.branch_scale"),
    (r"^static\.", "readout.static."),
    (r"^(fc\d)\.", r"readout.head.\1."),
)


def _from_version_1(
    description: Mapping[str, Any], weights: Mapping[str, npt.NDArray[Any]]
) -> Saved:
    """Format version 1 knew one predictor, in the paper's form, with its scale as a setting."""
    model = dict(description["config"])
    scale = np.array(model.pop("latency_scale"), dtype=np.float32)
    predictor, task = _PREDICTOR
    return Saved(
        predictor=predictor,
        task=task,
        # The first checkpoints were made before the vocabulary had versions.
        config={"model": model, "tokens": {"vocabulary": 1, **description["token_config"]}},
        training={"seed": description["seed"]},
        fitted_on={},
        facts={name: description[name] for name in ("platform", "training_data", "metrics")},
        weights={**{_renamed(name): w for name, w in weights.items()}, "scale": scale},
        created_by=description["created_by"],
    )


def _renamed(name: str) -> str:
    for pattern, replacement in _RENAMED:
        name = re.sub(pattern, replacement, name)
    return name
