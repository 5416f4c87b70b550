"""Checkpoints of the whole-network predictor: a directory that is safe to load and lasts.

``weights.safetensors`` holds the weights, ``checkpoint.json`` all else in plain text. Nothing is
pickled, so loading runs no code and depends on no class names; and nothing needs torch.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors
import safetensors.numpy

from relay_frontend.errors import CostModelError, InputError
from relay_frontend.tokens import TokenConfig
from tvm_costmodel.runtime import NarFormerV2Config, check_weights

FORMAT_VERSION = 1
"""Raised by one with every change that an older reader would misunderstand."""

WEIGHTS_FILE = "weights.safetensors"
DESCRIPTION_FILE = "checkpoint.json"


class CheckpointError(CostModelError):
    """A checkpoint is missing, damaged, or newer than this version of the package."""


def package_version() -> str:
    """The installed version of this package, which every checkpoint names."""
    try:
        return metadata.version("tvm-costmodel")
    except metadata.PackageNotFoundError:
        return "unknown (run from source)"


@dataclass(frozen=True, eq=False, kw_only=True)
class Checkpoint:
    """A trained predictor and where it comes from.

    Args:
        weights: arrays by name, see :func:`tvm_costmodel.runtime.weight_shapes`.
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


def save_checkpoint(checkpoint: Checkpoint, directory: Path) -> None:
    """Write ``checkpoint`` as a new ``directory``: all of it or nothing.

    Raises:
        CheckpointError: ``directory`` exists and is not an empty directory, or a description is
            not made of plain JSON values.
        InputError: the weights do not fit the configuration.
    """
    check_weights(checkpoint.weights, checkpoint.config)
    arrays = {name: np.ascontiguousarray(w, np.float32) for name, w in checkpoint.weights.items()}
    weights = safetensors.numpy.save(arrays)
    description = _description_text(checkpoint, weights)
    directory.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory.parent, prefix=".checkpoint-") as scratch:
        written = Path(scratch) / "checkpoint"
        written.mkdir()
        (written / WEIGHTS_FILE).write_bytes(weights)
        (written / DESCRIPTION_FILE).write_text(description, encoding="utf-8")
        try:
            written.rename(directory)
        except OSError as error:
            raise CheckpointError(
                f"cannot write checkpoint {directory}: {error.strerror}; a checkpoint is never "
                "overwritten: remove it or choose another directory"
            ) from error


def load_checkpoint(directory: Path) -> Checkpoint:
    """Read the checkpoint in ``directory`` and verify it.

    Raises:
        CheckpointError: it is missing, damaged, or in a format newer than :data:`FORMAT_VERSION`.
    """
    description = _read_description(directory)
    weights = _read_weights(directory, description.get("weights_sha256"))
    try:
        checkpoint = Checkpoint(
            weights=weights,
            config=NarFormerV2Config(**description["config"]),
            # The first checkpoints were made before the vocabulary had versions.
            token_config=TokenConfig(**{"vocabulary": 1, **description["token_config"]}),
            **{name: description[name] for name in _PLAIN_FIELDS},
        )
        check_weights(weights, checkpoint.config)
    except (InputError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"checkpoint {directory}: {DESCRIPTION_FILE} does not describe a predictor: {error!r}"
        ) from error
    return checkpoint


_PLAIN_FIELDS = ("platform", "training_data", "seed", "metrics", "created_by")


def _description_text(checkpoint: Checkpoint, weights: bytes) -> str:
    description = {
        "format_version": FORMAT_VERSION,
        "config": asdict(checkpoint.config),
        "token_config": asdict(checkpoint.token_config),
        **{name: getattr(checkpoint, name) for name in _PLAIN_FIELDS},
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
    }
    try:
        return json.dumps(description, indent=2, allow_nan=False) + "\n"
    except (TypeError, ValueError) as error:
        raise CheckpointError(
            f"training_data and metrics of a checkpoint must be plain, finite JSON values: {error}"
        ) from error


def _read_description(directory: Path) -> dict[str, Any]:
    try:
        description: object = json.loads(_read(directory, DESCRIPTION_FILE))
    except ValueError as error:
        raise CheckpointError(
            f"checkpoint {directory}: {DESCRIPTION_FILE} is not JSON ({error}); the file is "
            "damaged: copy or train the checkpoint again"
        ) from error
    version = description.get("format_version") if isinstance(description, dict) else None
    if not isinstance(description, dict) or not isinstance(version, int) or version < 1:
        raise CheckpointError(
            f"checkpoint {directory}: {DESCRIPTION_FILE} names no format version; is this the "
            "directory of a checkpoint?"
        )
    if version > FORMAT_VERSION:
        raise CheckpointError(
            f"checkpoint {directory} has format version {version}, this version of tvm-costmodel "
            f"reads up to {FORMAT_VERSION}; upgrade it (the checkpoint was made by "
            f"{description.get('created_by')})"
        )
    return description


def _read_weights(directory: Path, digest: object) -> dict[str, npt.NDArray[np.float32]]:
    content = _read(directory, WEIGHTS_FILE)
    if hashlib.sha256(content).hexdigest() != digest:
        raise CheckpointError(
            f"checkpoint {directory}: {WEIGHTS_FILE} is not the file that {DESCRIPTION_FILE} was "
            "written with (SHA-256 differs); copy or train the checkpoint again"
        )
    try:
        return safetensors.numpy.load(content)
    except safetensors.SafetensorError as error:
        raise CheckpointError(
            f"checkpoint {directory}: {WEIGHTS_FILE} is not a safetensors file: {error}"
        ) from error


def _read(directory: Path, name: str) -> bytes:
    try:
        return (directory / name).read_bytes()
    except OSError as error:
        raise CheckpointError(
            f"checkpoint {directory}: cannot read {name}: {error.strerror}; expected a directory "
            f"with {DESCRIPTION_FILE} and {WEIGHTS_FILE}"
        ) from error
