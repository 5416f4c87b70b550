"""Checkpoints come back as they were saved, or with an error that says what is wrong."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from relay_frontend.errors import CostModelError, InputError
from relay_frontend.tokens import TokenConfig
from tests.tvm_costmodel.graphs import SMALL, random_tokens
from tvm_costmodel.checkpoint import (
    DESCRIPTION_FILE,
    FORMAT_VERSION,
    WEIGHTS_FILE,
    Checkpoint,
    CheckpointError,
    load_checkpoint,
    save_checkpoint,
)
from tvm_costmodel.runtime import NumpyPredictor, weight_shapes

VERSION_1 = Path(__file__).parent / "checkpoints" / "v1"
"""What format version 1 wrote: every later version must read it and predict the same."""


def checkpoint() -> Checkpoint:
    rng = np.random.default_rng(0)
    return Checkpoint(
        weights={
            name: rng.uniform(-0.3, 0.3, shape).astype(np.float32)
            for name, shape in weight_shapes(SMALL).items()
        },
        config=replace(SMALL, latency_scale=12.5),
        token_config=TokenConfig(node_position=True),
        platform="epyc7-2c/tvm-relay/llvm-znver3/t2/float32",
        training_data={"networks": 1800, "families": ["resnet", "vgg"]},
        seed=7,
        metrics={"mape": 3.2, "kendall_tau": None},
    )


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    directory = tmp_path / "checkpoint"
    save_checkpoint(checkpoint(), directory)
    return directory


def edit_description(directory: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    path = directory / DESCRIPTION_FILE
    description = json.loads(path.read_text())
    edit(description)
    path.write_text(json.dumps(description))


def test_everything_comes_back(saved: Path) -> None:
    expected, loaded = checkpoint(), load_checkpoint(saved)
    assert loaded.config == expected.config
    assert loaded.token_config == expected.token_config
    assert loaded.platform == expected.platform
    assert loaded.training_data == expected.training_data
    assert loaded.seed == expected.seed
    assert loaded.metrics == expected.metrics
    assert loaded.created_by == expected.created_by
    assert loaded.weights.keys() == expected.weights.keys()
    assert all(np.array_equal(loaded.weights[k], w) for k, w in expected.weights.items())


def test_loaded_checkpoint_predicts_as_before(saved: Path) -> None:
    graphs = [random_tokens(n, seed=n) for n in (3, 11)]
    before, loaded = checkpoint(), load_checkpoint(saved)
    np.testing.assert_array_equal(
        NumpyPredictor(loaded.weights, loaded.config).predict(graphs),
        NumpyPredictor(before.weights, before.config).predict(graphs),
    )


def test_format_version_1_still_predicts_what_it_did() -> None:
    loaded = load_checkpoint(VERSION_1)
    graphs = [random_tokens(n, seed=n) for n in (1, 5, 12)]
    predicted = NumpyPredictor(loaded.weights, loaded.config).predict(graphs)
    np.testing.assert_allclose(predicted, [8.434799, 8.805780, 11.996904], rtol=1e-5)
    assert loaded.platform == "epyc7-2c/tvm-relay/llvm-znver3/t2/float32"


def test_estimating_needs_no_torch() -> None:
    code = (
        "import sys; from pathlib import Path; sys.modules['torch'] = None\n"
        "from tvm_costmodel.checkpoint import load_checkpoint\n"
        "from tvm_costmodel.runtime import NumpyPredictor\n"
        "checkpoint = load_checkpoint(Path(sys.argv[1]))\n"
        "NumpyPredictor(checkpoint.weights, checkpoint.config)\n"
        "print('loaded')"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, str(VERSION_1)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert result.stdout == "loaded\n"


def test_directory_holds_two_plain_files_and_leaves_nothing_beside_it(saved: Path) -> None:
    assert sorted(p.name for p in saved.iterdir()) == [DESCRIPTION_FILE, WEIGHTS_FILE]
    assert [p.name for p in saved.parent.iterdir()] == [saved.name]
    description = json.loads((saved / DESCRIPTION_FILE).read_text())
    assert description["format_version"] == FORMAT_VERSION
    assert description["config"]["width"] == SMALL.width


def test_existing_checkpoint_is_never_overwritten(saved: Path) -> None:
    before = (saved / DESCRIPTION_FILE).read_bytes()
    with pytest.raises(CheckpointError, match="never overwritten"):
        save_checkpoint(replace(checkpoint(), seed=8), saved)
    assert (saved / DESCRIPTION_FILE).read_bytes() == before
    assert [p.name for p in saved.parent.iterdir()] == [saved.name]


def test_failure_while_writing_leaves_no_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(*_: object, **__: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full_disk)
    with pytest.raises(OSError, match="No space left"):
        save_checkpoint(checkpoint(), tmp_path / "checkpoint")
    assert list(tmp_path.iterdir()) == []


def test_missing_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"absent: cannot read checkpoint.json: No such file"):
        load_checkpoint(tmp_path / "absent")


def test_missing_weights_are_named(saved: Path) -> None:
    (saved / WEIGHTS_FILE).unlink()
    with pytest.raises(CheckpointError, match=r"cannot read weights.safetensors: No such file"):
        load_checkpoint(saved)


def test_truncated_description_is_called_damaged(saved: Path) -> None:
    path = saved / DESCRIPTION_FILE
    path.write_text(path.read_text()[:40])
    with pytest.raises(CheckpointError, match=r"checkpoint.json is not JSON .* damaged"):
        load_checkpoint(saved)


def test_one_flipped_bit_in_the_weights_is_found(saved: Path) -> None:
    path = saved / WEIGHTS_FILE
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(CheckpointError, match="SHA-256 differs"):
        load_checkpoint(saved)


def test_weights_in_another_format_are_refused(saved: Path) -> None:
    content = b"\x80\x04K\x01."  # a pickle
    (saved / WEIGHTS_FILE).write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    edit_description(saved, lambda d: d.update(weights_sha256=digest))
    with pytest.raises(CheckpointError, match="not a safetensors file"):
        load_checkpoint(saved)


def test_newer_format_asks_for_an_upgrade(saved: Path) -> None:
    edit_description(saved, lambda d: d.update(format_version=2, created_by="9.1", config={}))
    with pytest.raises(CheckpointError, match=r"format version 2.* up to 1; upgrade.*by 9\.1"):
        load_checkpoint(saved)


@pytest.mark.parametrize("content", ["[]", "{}", '{"format_version": "1"}'])
def test_json_of_something_else_is_refused(saved: Path, content: str) -> None:
    (saved / DESCRIPTION_FILE).write_text(content)
    with pytest.raises(CheckpointError, match="names no format version"):
        load_checkpoint(saved)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda d: d.pop("platform"), "platform"),
        (lambda d: d["config"].update(heads=4), "heads"),
        (lambda d: d["config"].update(width="16"), "config|str"),
        (lambda d: d["config"].update(width=32), "has shape"),
        (lambda d: d["token_config"].update(colour="red"), "colour"),
        (lambda d: d.update(config=None), "mapping"),
    ],
)
def test_description_of_another_predictor_is_refused(
    saved: Path, edit: Callable[[dict[str, Any]], None], message: str
) -> None:
    edit_description(saved, edit)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(saved)


def test_weights_that_do_not_fit_are_not_saved(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"weight 'blocks\.0"):
        save_checkpoint(replace(checkpoint(), weights={}), tmp_path / "checkpoint")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("metrics", [{"mape": float("nan")}, {"mape": np.float32(3.0)}])
def test_descriptions_that_are_not_plain_json_are_not_saved(
    tmp_path: Path, metrics: dict[str, Any]
) -> None:
    with pytest.raises(CheckpointError, match="plain, finite JSON values"):
        save_checkpoint(replace(checkpoint(), metrics=metrics), tmp_path / "checkpoint")
    assert list(tmp_path.iterdir()) == []


def test_errors_derive_from_the_root_of_the_project() -> None:
    assert issubclass(CheckpointError, CostModelError)
