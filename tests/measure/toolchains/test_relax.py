"""Relax's toolchain builds, loads and times networks."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("tvm.relax.backend.cpu_generic", reason="TVM 0.16 has an early Relax")

import tvm
from tvm.relax.backend.cuda import pipeline

from measure.device import short_target
from measure.toolchains.relax import RelaxToolchain
from relay_frontend.errors import InputError
from relay_frontend.relax import kernels as relax_kernels
from relay_frontend.relax.importer import import_onnx
from tests.measure.toolchains.checks import check_code_for_aarch64, check_forked_child

if TYPE_CHECKING:
    from pathlib import Path

    from onnx import ModelProto

    from measure.toolchains.relax import RelaxArtifact

pytestmark = pytest.mark.relax

TOOLCHAIN = RelaxToolchain()
TARGET = '{"kind": "llvm"}'
_AARCH64 = '{"kind": "llvm", "mtriple": "aarch64-linux-gnu", "mcpu": "cortex-a72"}'
_CUDA = '{"kind": "cuda", "arch": "sm_90"}'


def test_the_default_target_is_the_cpu_of_this_machine() -> None:
    target = tvm.target.Target(TOOLCHAIN.default_target())
    assert target.kind.name == "llvm"
    assert target.attrs["mcpu"] == tvm.target.codegen.llvm_get_system_cpu()


def test_versions_name_what_decides_the_code() -> None:
    versions = TOOLCHAIN.versions()
    assert versions["tvm"] == tvm.__version__
    assert set(versions) == {"tvm", "tvm-ffi", "llvm", "python"}


def test_an_artifact_holds_no_weights(directory: Path, artifact: RelaxArtifact) -> None:
    files = {path.name for path in directory.iterdir()}
    parameters = sum(kernel.read_bytes for kernel in artifact.kernels)
    assert files == {"network.so", "artifact.json"}
    assert (directory / "network.so").stat().st_size < parameters


def test_calls_of_one_kernel_share_its_time(artifact: RelaxArtifact) -> None:
    times = artifact.time_kernels(number=1, repeat=2)
    names = [kernel.name for kernel in artifact.kernels]
    repeated = [name for name in names if names.count(name) > 1]
    assert repeated
    same = [index for index, name in enumerate(names) if name == repeated[0]]
    assert (times[:, same] == times[:, same[:1]]).all()


def test_an_artifact_runs_in_a_forked_child(directory: Path, artifact: RelaxArtifact) -> None:
    check_forked_child(TOOLCHAIN, directory, artifact)


@pytest.mark.parametrize(
    ("target", "message"),
    [('{"kind": "vulkan"}', "builds for llvm and cuda"), ("no-such-kind", "TVM rejects target")],
)
def test_a_wrong_target_is_refused(
    network: ModelProto, tmp_path: Path, target: str, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        TOOLCHAIN.build(network, target, tmp_path)


def test_code_for_aarch64_is_object_files(network: ModelProto, tmp_path: Path) -> None:
    check_code_for_aarch64(TOOLCHAIN, network, _AARCH64, tmp_path)


@pytest.fixture(scope="module")
def cuda(network: ModelProto, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cuda")
    TOOLCHAIN.build(network, _CUDA, path)
    return path


def test_kernels_for_cuda_are_those_for_a_cpu(network: ModelProto) -> None:
    assert TOOLCHAIN.kernels(network, _CUDA) == TOOLCHAIN.kernels(network, TARGET)


def test_a_library_for_cuda_holds_every_kernel_for_the_device(
    network: ModelProto, cuda: Path
) -> None:
    library = (cuda / "network.so").read_bytes()
    for kernel in TOOLCHAIN.kernels(network, _CUDA):
        assert f"{kernel.name}_kernel".encode() in library


def test_a_library_for_cuda_is_not_run(cuda: Path) -> None:
    with pytest.raises(InputError, match="networks are run on CPUs alone"):
        TOOLCHAIN.load(cuda)


def test_kernels_for_cuda_compile(network: ModelProto, tmp_path: Path) -> None:
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        pytest.skip("nvcc, CUDA's compiler, is not installed")
    source = tmp_path / "kernels.cu"
    source.write_text(_device_source(network))
    binary = tmp_path / "kernels.cubin"
    subprocess.run([nvcc, "-arch=sm_90", "-cubin", "-o", binary, source], check=True, timeout=120)
    assert binary.read_bytes()[:4] == b"\x7fELF"


def _device_source(network: ModelProto) -> str:
    """What TVM generates for the device; a library keeps it as source where there is no driver."""
    target = relax_kernels.parse_target(_CUDA)
    fused = relax_kernels.fuse(import_onnx(network), target)
    lowering = tvm.transform.Sequential(
        [*pipeline.dataflow_lower_passes(target), *pipeline.finalize_passes(target)]
    )
    (host,) = tvm.compile(fused.mod, target, relax_pipeline=lowering).mod.imports
    (device,) = host.imports
    return str(device.inspect_source())


def test_an_artifact_of_cuda_is_listed_with_its_target(cuda: Path) -> None:
    description = json.loads((cuda / "artifact.json").read_text())
    assert description["target"] == _CUDA
    assert short_target(_CUDA) == "cuda-sm_90"
