"""Tuned Relax: records of MetaSchedule are made, kept apart, and applied."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tvm.relax.backend.cpu_generic", reason="TVM 0.16 has an early Relax")

from onnx import ModelProto, TensorProto, helper

from measure.client import Worker
from measure.toolchains.relax import RelaxToolchain
from measure.toolchains.tuned import TunedRelaxToolchain
from measure.toolchains.tuning import database_digest, tune
from measure.weights import constant_parameter
from relay_frontend.errors import InputError
from relay_frontend.relax import kernels as relax_kernels
from relay_frontend.relax.importer import import_onnx

pytestmark = pytest.mark.relax

_TARGET = json.dumps({"kind": "llvm", "mcpu": "x86-64-v3", "num-cores": 2})
_VARIABLE = "TVM_COSTMODEL_TUNING"


def _network(channels: int) -> ModelProto:
    """A convolution, a pool and a dense layer."""
    made = [
        constant_parameter("w", (channels, 8, 3, 3)),
        constant_parameter("v", (10, channels)),
    ]
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("GlobalAveragePool", ["b"], ["c"]),
        helper.make_node("Flatten", ["c"], ["d"]),
        helper.make_node("Gemm", ["d", "v"], ["y"], transB=1),
    ]
    graph = helper.make_graph(
        [*(node for node, _ in made), *nodes],
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 8, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 10])],
        [tensor for _, tensor in made],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("database")
    assert tune(_network(16), _TARGET, directory, trials=2) == 3
    return directory


@pytest.fixture
def toolchain(database: Path, monkeypatch: pytest.MonkeyPatch) -> TunedRelaxToolchain:
    monkeypatch.setenv(_VARIABLE, str(database))
    return TunedRelaxToolchain()


def test_what_has_records_is_not_tuned_again(database: Path) -> None:
    before = database_digest(database)
    assert tune(_network(16), _TARGET, database, trials=2) == 0
    assert database_digest(database) == before


def test_the_convolution_is_scheduled_by_its_record(
    toolchain: TunedRelaxToolchain, database: Path
) -> None:
    target = relax_kernels.parse_target(_TARGET)
    tuned = toolchain._fuse(_network(16), target)
    plain = relax_kernels.fuse(import_onnx(_network(16)), target)
    name = relax_kernels.fused_kernels(plain)[0].name
    assert name == "fused_conv2d_relu"
    assert tuned.unscheduled[name].script() == plain.mod[name].script()
    assert tuned.mod[name].script() != plain.mod[name].script()


def test_outputs_and_kernels_are_those_without_schedules(
    toolchain: TunedRelaxToolchain, tmp_path: Path
) -> None:
    plain = RelaxToolchain()
    toolchain.build(_network(16), _TARGET, tmp_path / "tuned")
    plain.build(_network(16), _TARGET, tmp_path / "plain")
    tuned_artifact, plain_artifact = (
        toolchain.load(tmp_path / "tuned", seed=2),
        plain.load(tmp_path / "plain", seed=2),
    )
    np.testing.assert_allclose(
        tuned_artifact.outputs()[0], plain_artifact.outputs()[0], rtol=1e-4, atol=1e-5
    )
    assert tuned_artifact.kernels == plain_artifact.kernels
    assert toolchain.kernels(_network(16), _TARGET) == plain_artifact.kernels
    assert tuned_artifact.time_kernels(2, 3).shape == (3, len(plain_artifact.kernels))
    with pytest.raises(InputError, match="tvm-relax-tuned"):
        plain.load(tmp_path / "tuned")


def test_versions_tell_one_database_from_another(
    toolchain: TunedRelaxToolchain, database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions = toolchain.versions()
    assert versions == {**RelaxToolchain().versions(), "tuning": database_digest(database)}
    for path in database.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    monkeypatch.setenv(_VARIABLE, str(tmp_path))
    assert toolchain.versions() == versions
    records = tmp_path / "database_tuning_record.json"
    records.write_text("".join(records.read_text().splitlines(keepends=True)[:-1]))
    assert toolchain.versions()["tuning"] != versions["tuning"]


def test_a_worker_finds_the_database(toolchain: TunedRelaxToolchain) -> None:
    assert os.environ[_VARIABLE]
    with Worker("tvm-relax-tuned") as worker:
        assert worker.describe().versions == toolchain.versions()


def test_kernels_without_records_are_refused_by_name(
    toolchain: TunedRelaxToolchain, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"no records of the kernels .*fused_conv2d_relu"):
        toolchain.build(_network(24), _TARGET, tmp_path)
    other = json.dumps({"kind": "llvm", "mcpu": "x86-64-v2", "num-cores": 2})
    with pytest.raises(InputError, match="x86-64-v2"):
        toolchain.kernels(_network(16), other)


def test_a_missing_database_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(_VARIABLE, raising=False)
    with pytest.raises(InputError, match=f"set {_VARIABLE}"):
        TunedRelaxToolchain().versions()
    monkeypatch.setenv(_VARIABLE, str(tmp_path))
    with pytest.raises(InputError, match="no MetaSchedule database"):
        TunedRelaxToolchain().kernels(_network(16), _TARGET)
    assert not list(tmp_path.iterdir())


def test_candidates_run_on_a_cpu_alone(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="on a CPU"):
        tune(_network(16), '{"kind": "cuda", "arch": "sm_90"}', tmp_path / "database", trials=1)
    assert not (tmp_path / "database").exists()
