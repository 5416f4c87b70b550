"""Relay's toolchain builds, loads and times networks."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

pytest.importorskip("tvm.relay", reason="needs a TVM with Relay")

import tvm
from tvm.contrib import graph_executor

from measure.toolchains.relay import KernelNamesError, RelayArtifact, RelayToolchain
from measure.weights import fill_weights
from relay_frontend.errors import InputError
from relay_frontend.kernel import Kernel
from relay_frontend.relay import kernels as relay_kernels
from relay_frontend.relay.importer import import_onnx
from tests.measure.toolchains.checks import check_code_for_aarch64, check_forked_child

pytestmark = pytest.mark.relay

TOOLCHAIN = RelayToolchain()
TARGET = "llvm -mtriple=x86_64-linux-gnu -mcpu=x86-64-v3"


def _network(
    nodes: Sequence[NodeProto], rows: int, columns: int, parameters: Mapping[str, np.ndarray]
) -> ModelProto:
    """A network from ``x``, float32 ``[rows, columns]``, to ``y``."""
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [rows, columns])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in parameters.items()],
    )
    opset = helper.make_opsetid("", 17)
    return helper.make_model(graph, opset_imports=[opset], ir_version=8)


def _lookup() -> ModelProto:
    """Rows of the input, by indices."""
    gather = helper.make_node("Gather", ["x", "indices"], ["y"], axis=0)
    return _network([gather], 10, 4, {"indices": np.array([1, 9, 3])})


def test_the_default_target_is_the_cpu_of_this_machine() -> None:
    target = tvm.target.Target(TOOLCHAIN.default_target())
    assert target.kind.name == "llvm"
    assert target.attrs["mcpu"] == tvm.target.codegen.llvm_get_system_cpu()
    assert str(target.attrs["mtriple"]).startswith(os.uname().machine)


def test_versions_name_what_decides_the_code() -> None:
    versions = TOOLCHAIN.versions()
    assert versions["tvm"] == tvm.__version__
    assert set(versions) == {"tvm", "tvm_commit", "llvm", "python"}
    assert all(versions.values())


def test_an_artifact_holds_no_weights(directory: Path, artifact: RelayArtifact) -> None:
    parameters = sum(kernel.read_bytes for kernel in artifact.kernels)
    assert sum(path.stat().st_size for path in directory.iterdir()) < parameters
    with np.load(directory / "tables.npz") as tables:
        assert not tables.files


def test_integer_parameters_are_kept(tmp_path: Path) -> None:
    TOOLCHAIN.build(_lookup(), TARGET, tmp_path)
    with np.load(tmp_path / "tables.npz") as tables:
        (name,) = tables.files
        assert tables[name].tolist() == [1, 9, 3]
    (rows,) = TOOLCHAIN.load(tmp_path, seed=5).outputs()
    image = np.random.default_rng(5).standard_normal((10, 4), dtype=np.float32)
    np.testing.assert_array_equal(rows, image[[1, 9, 3]])


def test_drawn_weights_keep_the_scale_of_those_that_were_built(
    network: ModelProto, artifact: RelayArtifact
) -> None:
    module, params = import_onnx(fill_weights(network, 0))
    factory = relay_kernels.fuse(module, TARGET, params).build()
    executor = graph_executor.GraphModule(factory["default"](tvm.cpu()))
    image = np.random.default_rng(0).standard_normal((1, 3, 32, 32), dtype=np.float32)
    executor.set_input("input", image)
    executor.run()
    expected = executor.get_output(0).numpy().std()
    assert expected / 3 < artifact.outputs()[0].std() < expected * 3


def test_values_that_are_not_finite_are_visible(directory: Path, tmp_path: Path) -> None:
    description = json.loads((directory / "artifact.json").read_text())
    for weight in description["weights"].values():
        weight.update(mean=float("inf"), low=float("-inf"), high=float("inf"))
    for path in directory.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "artifact.json").write_text(json.dumps(description))
    assert not np.isfinite(TOOLCHAIN.load(tmp_path).outputs()[0]).all()


def test_times_belong_to_their_kernels(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Softmax", ["x"], ["a"]),
        helper.make_node("Gemm", ["a", "weight"], ["b"], transB=1),
        helper.make_node("Softmax", ["b"], ["y"]),
    ]
    weight = np.arange(1024 * 512, dtype=np.float32).reshape(1024, 512)
    TOOLCHAIN.build(_network(nodes, 8, 512, {"weight": weight}), TARGET, tmp_path)
    artifact = TOOLCHAIN.load(tmp_path)
    times = artifact.time_kernels(number=3, repeat=5).min(axis=0)
    dense = [index for index, kernel in enumerate(artifact.kernels) if "dense" in kernel.kind]
    assert dense == [int(times.argmax())]


def test_an_artifact_runs_in_a_forked_child(directory: Path, artifact: RelayArtifact) -> None:
    check_forked_child(TOOLCHAIN, directory, artifact)


def test_kernels_under_other_names_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def renamed(fused: relay_kernels.FusedModule) -> tuple[Kernel, ...]:
        return tuple(
            Kernel.from_dict({**kernel.to_dict(), "name": "elsewhere"})
            for kernel in original(fused)
        )

    original = relay_kernels.fused_kernels
    monkeypatch.setattr(relay_kernels, "fused_kernels", renamed)
    with pytest.raises(KernelNamesError, match="elsewhere"):
        TOOLCHAIN.build(_lookup(), TARGET, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("target", ["llvm -mcpu=znver3", "cuda -arch=sm_90"])
def test_a_target_without_a_triple_is_refused(tmp_path: Path, target: str) -> None:
    with pytest.raises(InputError, match="a named triple"):
        TOOLCHAIN.build(_lookup(), target, tmp_path)


@pytest.mark.parametrize("processor", ["-mcpu=cortex-a72", "-mattr=+neon"])
def test_code_for_aarch64_is_object_files(
    network: ModelProto, tmp_path: Path, processor: str
) -> None:
    target = f"llvm -mtriple=aarch64-linux-gnu {processor}"
    check_code_for_aarch64(TOOLCHAIN, network, target, tmp_path)
