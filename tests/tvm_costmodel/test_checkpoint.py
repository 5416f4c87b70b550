"""Checkpoints come back as they were saved, or with an error that says what is wrong."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from relay_frontend.errors import CostModelError
from relay_frontend.onnx import read_onnx
from relay_frontend.tokens import TokenConfig, tokenize
from tests.tvm_costmodel.graphs import SMALL, random_tokens
from tvm_costmodel.checkpoint import (
    DESCRIPTION_FILE,
    FORMAT_VERSION,
    WEIGHTS_FILE,
    CheckpointError,
    Saved,
    from_plain,
    load_checkpoint,
    read_saved,
    write_saved,
)
from tvm_costmodel.predictors.nar_former_v2.config import LatencyNarFormerV2Config
from tvm_costmodel.runtime import NumpyPredictor
from tvm_costmodel.weights import weight_shapes

DATA = Path(__file__).parents[1] / "data"
VERSION_1 = Path(__file__).parent / "checkpoints" / "v1"
VERSION_1_OF_NETWORKS = DATA / "checkpoints" / "v1"
"""What format version 1 wrote: every later version must read it and predict the same."""
V1_PREDICTION = 2.7777748107910156  # of nnlqp_resnet18.onnx in ms, by the code of format version 1


def description() -> Saved:
    """What a predictor would write that was fitted on a platform."""
    rng = np.random.default_rng(0)
    config = LatencyNarFormerV2Config(tokens=TokenConfig(node_position=True), model=SMALL)
    return Saved(
        predictor="nar-former-v2",
        task="latency",
        config=asdict(config),
        training={"epochs": 3, "seed": 7},
        fitted_on={"inputs": 1800, "targets": [0.5, 9.0]},
        facts={
            "platform": "epyc7-2c/tvm-relay/llvm-znver3/t2/float32",
            "training_data": {"networks": 1800, "families": ["resnet", "vgg"]},
            "metrics": {"mape": 3.2, "kendall_tau": None},
        },
        weights={
            name: np.asarray(rng.uniform(-0.3, 0.3, shape), dtype=np.float32)
            for name, shape in weight_shapes(SMALL).items()
        },
    )


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    directory = tmp_path / "checkpoint"
    write_saved(description(), directory)
    return directory


def edit_description(directory: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    path = directory / DESCRIPTION_FILE
    description = json.loads(path.read_text())
    edit(description)
    path.write_text(json.dumps(description))


def test_everything_comes_back(saved: Path) -> None:
    expected, found = description(), read_saved(saved)
    for name in ("predictor", "task", "training", "fitted_on", "facts", "created_by"):
        assert getattr(found, name) == getattr(expected, name), name
    assert from_plain(LatencyNarFormerV2Config, found.config) == from_plain(
        LatencyNarFormerV2Config, expected.config
    )
    assert found.weights.keys() == expected.weights.keys()
    for name, weight in expected.weights.items():
        np.testing.assert_array_equal(found.weights[name], weight, strict=True)


def test_what_an_estimate_needs_is_read_without_torch(saved: Path) -> None:
    expected, loaded = description(), load_checkpoint(saved)
    assert loaded.config == SMALL
    assert loaded.token_config == TokenConfig(node_position=True)
    assert loaded.platform == expected.facts["platform"]
    assert loaded.training_data == expected.facts["training_data"]
    assert loaded.metrics == expected.facts["metrics"]
    assert (loaded.seed, loaded.created_by) == (7, expected.created_by)
    graphs = [random_tokens(n, seed=n) for n in (3, 11)]
    np.testing.assert_array_equal(
        NumpyPredictor(loaded.weights, loaded.config).predict(graphs),
        NumpyPredictor(expected.weights, SMALL).predict(graphs),
    )


def test_format_version_1_still_predicts_what_it_did() -> None:
    loaded = load_checkpoint(VERSION_1)
    graphs = [random_tokens(n, seed=n) for n in (1, 5, 12)]
    predicted = NumpyPredictor(loaded.weights, loaded.config).predict(graphs)
    np.testing.assert_allclose(predicted, [8.434799, 8.805780, 11.996904], rtol=1e-5)
    assert loaded.platform == "epyc7-2c/tvm-relay/llvm-znver3/t2/float32"


def test_format_version_1_predicts_networks_as_it_did() -> None:
    loaded = load_checkpoint(VERSION_1_OF_NETWORKS)
    tokens = tokenize(read_onnx(DATA / "nnlqp_resnet18.onnx"), loaded.token_config)
    predicted = NumpyPredictor(loaded.weights, loaded.config).predict([tokens])
    np.testing.assert_allclose(predicted, [V1_PREDICTION], rtol=1e-5)
    assert loaded.training_data["networks"] == 3
    assert loaded.metrics == {"in_domain": {"mape": 3.2}, "interval": [0.9, 1.1]}
    assert (loaded.seed, loaded.created_by) == (4, "0.1.0")


def test_format_version_1_is_read_by_the_predictor_too() -> None:
    pytest.importorskip("torch", reason="the predictor needs torch")
    from tvm_costmodel.predictors.base import Network  # noqa: PLC0415
    from tvm_costmodel.predictors.nar_former_v2.predictor import (  # noqa: PLC0415
        LatencyNarFormerV2,
    )

    predictor = LatencyNarFormerV2.load(VERSION_1_OF_NETWORKS)
    graph = read_onnx(DATA / "nnlqp_resnet18.onnx")
    network = Network(name="resnet18", family="resnet", platform="any", graph=graph)
    np.testing.assert_allclose(predictor.predict([network]), [V1_PREDICTION], rtol=1e-5)


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
    assert description["config"]["model"]["width"] == SMALL.width


def test_existing_checkpoint_is_never_overwritten(saved: Path) -> None:
    before = (saved / DESCRIPTION_FILE).read_bytes()
    with pytest.raises(CheckpointError, match="never overwritten"):
        write_saved(replace(description(), task="accuracy"), saved)
    assert (saved / DESCRIPTION_FILE).read_bytes() == before
    assert [p.name for p in saved.parent.iterdir()] == [saved.name]


def test_failure_while_writing_leaves_no_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(*_: object, **__: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full_disk)
    with pytest.raises(OSError, match="No space left"):
        write_saved(description(), tmp_path / "checkpoint")
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
    with pytest.raises(CheckpointError, match="no safetensors file"):
        load_checkpoint(saved)


def test_newer_format_asks_for_an_upgrade(saved: Path) -> None:
    edit_description(saved, lambda d: d.update(format_version=3, config={}))
    with pytest.raises(CheckpointError, match=r"has format 3, .* reads up to 2: update"):
        load_checkpoint(saved)


@pytest.mark.parametrize("content", ["[]", "{}", '{"format_version": "1"}'])
def test_json_of_something_else_is_refused(saved: Path, content: str) -> None:
    (saved / DESCRIPTION_FILE).write_text(content)
    with pytest.raises(CheckpointError, match="names no format version"):
        load_checkpoint(saved)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda d: d.pop("facts"), "facts"),
        (lambda d: d["facts"].pop("platform"), "platform"),
        (lambda d: d["config"]["model"].update(heads=4), "heads"),
        (lambda d: d["config"]["model"].update(width="16"), "str"),
        (lambda d: d["config"]["model"].update(width=32), "has shape"),
        (lambda d: d["config"]["model"].update(num_blocks=1), r"blocks\.1.*is unknown"),
        (lambda d: d["config"]["model"].update(num_blocks=3), r"blocks\.2.*is missing"),
        (lambda d: d["config"]["tokens"].update(colour="red"), "colour"),
        (lambda d: d.update(config=None), "mapping"),
        (lambda d: d.update(predictor="nnlp"), "holds the latency predictor 'nnlp'"),
        (lambda d: d.update(task="accuracy"), "holds the accuracy predictor"),
    ],
)
def test_description_of_another_predictor_is_refused(
    saved: Path, edit: Callable[[dict[str, Any]], None], message: str
) -> None:
    edit_description(saved, edit)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(saved)


@pytest.mark.parametrize("metrics", [{"mape": float("nan")}, {"mape": np.float32(3.0)}])
def test_descriptions_that_are_not_plain_json_are_not_saved(
    tmp_path: Path, metrics: dict[str, Any]
) -> None:
    with pytest.raises(CheckpointError, match="plain, finite JSON values"):
        write_saved(replace(description(), facts=metrics), tmp_path / "checkpoint")
    assert list(tmp_path.iterdir()) == []


def test_errors_derive_from_the_root_of_the_project() -> None:
    assert issubclass(CheckpointError, CostModelError)
