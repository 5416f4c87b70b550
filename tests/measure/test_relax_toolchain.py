"""Relax's toolchain builds, loads and times networks."""

from __future__ import annotations

import multiprocessing
from typing import TYPE_CHECKING

import numpy as np
import pytest

pytest.importorskip("tvm.relax.backend.cpu_generic", reason="TVM 0.16 has an early Relax")

import tvm

from measure.toolchains.relax import RelaxToolchain
from measure.zoo.mobilenet_v2 import InvertedResiduals, MobileNetV2Config, build
from relay_frontend.errors import InputError

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from pathlib import Path

    from onnx import ModelProto

    from measure.toolchains.relax import RelaxArtifact

pytestmark = pytest.mark.relax

_TARGET = '{"kind": "llvm"}'


@pytest.fixture(scope="module")
def network() -> ModelProto:
    stages = (
        InvertedResiduals(expansion=4, width=16, depth=2, stride=1),
        InvertedResiduals(expansion=4, width=32, depth=1, stride=2),
    )
    return build(MobileNetV2Config(stem_width=16, stages=stages, head_width=64, input_size=32))


@pytest.fixture(scope="module")
def directory(network: ModelProto, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("artifact") / "network"
    RelaxToolchain().build(network, _TARGET, path)
    return path


@pytest.fixture(scope="module")
def artifact(directory: Path) -> RelaxArtifact:
    return RelaxToolchain().load(directory)


def _load_and_time(directory: Path, connection: Connection) -> None:
    artifact = RelaxToolchain().load(directory)
    connection.send((artifact.time(1), artifact.outputs()))


def test_the_default_target_is_the_cpu_of_this_machine() -> None:
    target = tvm.target.Target(RelaxToolchain().default_target())
    assert target.kind.name == "llvm"
    assert target.attrs["mcpu"] == tvm.target.codegen.llvm_get_system_cpu()


def test_versions_name_what_decides_the_code() -> None:
    versions = RelaxToolchain().versions()
    assert versions["tvm"] == tvm.__version__
    assert set(versions) == {"tvm", "tvm-ffi", "llvm", "python"}


def test_an_artifact_holds_no_weights(directory: Path, artifact: RelaxArtifact) -> None:
    files = {path.name for path in directory.iterdir()}
    parameters = sum(kernel.read_bytes for kernel in artifact.kernels)
    assert files == {"network.so", "artifact.json"}
    assert (directory / "network.so").stat().st_size < parameters


def test_outputs_are_finite_and_depend_on_the_seed_alone(
    directory: Path, artifact: RelaxArtifact
) -> None:
    (logits,) = artifact.outputs()
    (again,) = RelaxToolchain().load(directory).outputs()
    (other,) = RelaxToolchain().load(directory, seed=1).outputs()
    assert logits.shape == (1, 1000)
    assert np.isfinite(logits).all()
    np.testing.assert_array_equal(logits, again)
    assert not np.allclose(logits, other)


def test_kernels_are_found_without_building(network: ModelProto, artifact: RelaxArtifact) -> None:
    assert RelaxToolchain().kernels(network, _TARGET) == artifact.kernels


def test_every_kernel_call_gets_positive_times(artifact: RelaxArtifact) -> None:
    times = artifact.time_kernels(number=2, repeat=30)
    assert times.shape == (30, len(artifact.kernels))
    assert (times > 0).all()


def test_calls_of_one_kernel_share_its_time(artifact: RelaxArtifact) -> None:
    times = artifact.time_kernels(number=1, repeat=2)
    names = [kernel.name for kernel in artifact.kernels]
    repeated = [name for name in names if names.count(name) > 1]
    assert repeated
    same = [index for index, name in enumerate(names) if name == repeated[0]]
    assert (times[:, same] == times[:, same[:1]]).all()


def test_an_artifact_runs_in_a_forked_child(directory: Path, artifact: RelaxArtifact) -> None:
    expected = artifact.outputs()
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_load_and_time, args=(directory, sender))
    child.start()
    assert receiver.poll(20), "the child gave no answer"
    seconds, outputs = receiver.recv()
    child.join(5)
    assert child.exitcode == 0
    assert seconds > 0
    np.testing.assert_array_equal(outputs[0], expected[0])


@pytest.mark.parametrize(
    ("target", "message"), [('{"kind": "cuda"}', "no CPU"), ("no-such-kind", "TVM rejects target")]
)
def test_a_wrong_target_is_refused(
    network: ModelProto, tmp_path: Path, target: str, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        RelaxToolchain().build(network, target, tmp_path)


def test_an_empty_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no artifact"):
        RelaxToolchain().load(tmp_path)


def test_an_artifact_of_another_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / "artifact.json").write_text('{"toolchain": "tvm-relax", "format": 0}')
    with pytest.raises(InputError, match="build the network again"):
        RelaxToolchain().load(tmp_path)
