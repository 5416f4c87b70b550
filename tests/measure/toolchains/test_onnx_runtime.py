"""ONNX Runtime's toolchain: what is special to it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper
from onnx.reference import ReferenceEvaluator

pytest.importorskip("onnxruntime", reason="needs ONNX Runtime")

from measure.drawing import data, draw
from measure.toolchains import onnx_runtime
from measure.toolchains.onnx_runtime import OnnxRuntimeArtifact, OnnxRuntimeToolchain
from measure.weights import constant_parameter, fill_weights
from measure.zoo import sample
from relay_frontend.errors import InputError, NetworkError
from relay_frontend.graph import TensorType
from relay_frontend.kernel import Kernel

TOOLCHAIN = OnnxRuntimeToolchain()
TARGET = TOOLCHAIN.default_target()
_V2 = "cx16 lahf_lm popcnt sse4_1 sse4_2 ssse3 "
_V3 = "avx avx2 bmi1 bmi2 f16c fma abm movbe xsave "
_V4 = "avx512f avx512bw avx512cd avx512dq avx512vl "


@pytest.fixture(scope="module")
def artifact(network: ModelProto, tmp_path_factory: pytest.TempPathFactory) -> OnnxRuntimeArtifact:
    path = tmp_path_factory.mktemp("artifact")
    TOOLCHAIN.build(fill_weights(network, 0), TARGET, path)
    return TOOLCHAIN.load(path, seed=7)


def _model(
    nodes: Sequence[NodeProto], shape: Sequence[int], parameters: dict[str, tuple[int, ...]]
) -> ModelProto:
    """A network from ``x``, of ``shape``, to ``y``."""
    made = [constant_parameter(name, dims) for name, dims in parameters.items()]
    graph = helper.make_graph(
        [*(node for node, _ in made), *nodes],
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [tensor for _, tensor in made],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _kernels(
    nodes: Sequence[NodeProto], shape: Sequence[int], parameters: dict[str, tuple[int, ...]]
) -> tuple[Kernel, ...]:
    return TOOLCHAIN.kernels(_model(nodes, shape, parameters), TARGET)


def test_outputs_are_those_of_the_reference_with_weights_of_the_same_seed(
    network: ModelProto, artifact: OnnxRuntimeArtifact
) -> None:
    image = draw(data((1, 3, 32, 32), "float32"), 7, 0)
    (expected,) = ReferenceEvaluator(fill_weights(network, 7)).run(None, {"input": image})
    np.testing.assert_allclose(artifact.outputs()[0], expected, rtol=1e-4, atol=1e-5)


def test_an_artifact_is_the_network_without_weights(tmp_path: Path, network: ModelProto) -> None:
    TOOLCHAIN.build(fill_weights(network, 0), TARGET, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"network.onnx", "artifact.json"}
    assert (tmp_path / "network.onnx").stat().st_size < 20_000


def test_another_target_or_device_is_refused(network: ModelProto, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="of this machine alone"):
        TOOLCHAIN.build(network, "cpu -mcpu=z80", tmp_path)
    with pytest.raises(InputError, match="rpc://host:9190/key"):
        TOOLCHAIN.load(tmp_path, device="rpc://host:9190/key")


@pytest.mark.parametrize(
    ("flags", "level"),
    [
        ("sse sse2", "x86-64"),
        (_V2, "x86-64-v2"),
        (_V2 + "avx avx2 f16c fma ", "x86-64-v2"),
        (_V2 + _V3, "x86-64-v3"),
        (_V2 + _V4, "x86-64-v2"),
        (_V2 + _V3 + _V4, "x86-64-v4"),
    ],
)
def test_the_target_is_the_level_of_the_cpu(
    flags: str, level: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_runtime.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(onnx_runtime, "_cpu_flags", lambda: set(flags.split()))
    assert TOOLCHAIN.default_target() == f"cpu -mcpu={level}"


def test_an_architecture_without_levels_is_a_target(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_runtime.platform, "machine", lambda: "aarch64")
    assert TOOLCHAIN.default_target() == "cpu -mcpu=aarch64"


def test_a_fused_convolution_is_one_kernel() -> None:
    conv = helper.make_node("Conv", ["x", "w", "b"], ["a"], pads=[1, 1, 1, 1])
    relu = helper.make_node("Relu", ["a"], ["y"])
    shapes = {"w": (16, 16, 3, 3), "b": (16,)}
    found = [k for k in _kernels([conv, relu], [1, 16, 8, 8], shapes) if "conv" in k.kind]
    (kernel,) = found
    results = 16 * 8 * 8
    assert kernel.kind.endswith("conv_relu")
    assert TensorType((16, 16, 3, 3)) in kernel.arguments
    assert kernel.results == (TensorType((1, 16, 8, 8)),)
    assert kernel.flops == results * (2 * 16 * 9 + 1 + 1)


def test_a_sum_is_fused_into_a_convolution() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"]),
        helper.make_node("Conv", ["a", "v"], ["b"]),
        helper.make_node("Add", ["b", "a"], ["y"]),
    ]
    shapes = {"w": (16, 16, 1, 1), "v": (16, 16, 1, 1)}
    kinds = [kernel.kind for kernel in _kernels(nodes, [1, 16, 8, 8], shapes)]
    assert "add" not in kinds
    assert any(kind.endswith("conv_add") for kind in kinds)


def test_a_dense_layer_counts_its_products() -> None:
    gemm = helper.make_node("Gemm", ["x", "w", "b"], ["y"], transB=1)
    (kernel,) = _kernels([gemm], [3, 20], {"w": (10, 20), "b": (10,)})
    assert kernel.kind == "gemm"
    assert kernel.arguments == (TensorType((3, 20)), TensorType((10, 20)), TensorType((10,)))
    assert kernel.flops == 3 * 10 * (2 * 20 + 1)


def test_nodes_without_names_are_told_apart() -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("Tanh", ["a"], ["b"]),
        helper.make_node("Tanh", ["b"], ["y"], name="Tanh_node_1"),
    ]
    names = [kernel.name for kernel in _kernels(nodes, [1, 8], {})]
    assert len(set(names)) == 3


def test_a_function_that_is_inlined_has_kernels() -> None:
    """ONNX Runtime gives the nodes of which it makes HardSwish no names."""
    nodes = [
        helper.make_node("HardSwish", ["x"], ["a"]),
        helper.make_node("Sin", ["a"], ["b"]),
        helper.make_node("HardSwish", ["b"], ["y"]),
    ]
    kernels = _kernels(nodes, [2, 8], {})
    assert sum(kernel.kind == "sin" for kernel in kernels) == 1
    assert len({kernel.name for kernel in kernels}) == len(kernels) > 1
    assert all(kernel.results == (TensorType((2, 8)),) for kernel in kernels)


def test_a_branch_is_one_kernel() -> None:
    def branch(op: str) -> object:
        output = helper.make_tensor_value_info("z", TensorProto.FLOAT, [1, 8])
        return helper.make_graph(
            [helper.make_node(op, ["x"], ["z"], name="inner")], op, [], [output]
        )

    nodes = [
        helper.make_node("ReduceMax", ["x"], ["m"], keepdims=0, name="max"),
        helper.make_node("Cast", ["m"], ["c"], to=TensorProto.BOOL, name="cast"),
        helper.make_node(
            "If", ["c"], ["y"], name="if", then_branch=branch("Exp"), else_branch=branch("Sin")
        ),
    ]
    assert [kernel.name for kernel in _kernels(nodes, [1, 8], {})] == ["max", "cast", "if"]


def test_kernels_are_the_same_in_every_session(tmp_path: Path) -> None:
    """Sessions differ in the numbers in names, and in the order of parallel branches."""
    network = sample("googlenet", 1, "small").model
    TOOLCHAIN.build(network, TARGET, tmp_path)
    artifact = TOOLCHAIN.load(tmp_path)
    names = [kernel.name for kernel in artifact.kernels]
    assert len(set(names)) == len(names)
    assert not any("_token_" in name for name in names)
    assert all(TOOLCHAIN.kernels(network, TARGET) == artifact.kernels for _ in range(3))
    assert artifact.time_kernels(1, 3).shape == (3, len(names))


def test_kernels_follow_what_they_read(artifact: OnnxRuntimeArtifact) -> None:
    kinds = [kernel.kind for kernel in artifact.kernels]
    assert kinds[-1] == "gemm"
    assert "conv" in kinds[0]


def test_times_belong_to_their_kernels(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Softmax", ["x"], ["a"]),
        helper.make_node("Gemm", ["a", "w"], ["b"], transB=1),
        helper.make_node("Softmax", ["b"], ["y"]),
    ]
    TOOLCHAIN.build(_model(nodes, [8, 512], {"w": (2048, 512)}), TARGET, tmp_path)
    artifact = TOOLCHAIN.load(tmp_path)
    times = artifact.time_kernels(number=5, repeat=5).min(axis=0)
    assert artifact.kernels[int(times.argmax())].kind == "gemm"


def test_a_profile_of_many_inferences_is_taken_in_parts(
    artifact: OnnxRuntimeArtifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[int] = []
    profile = onnx_runtime._profile

    def counted(content: bytes, bounds: dict[str, int], seed: int, number: int) -> object:
        runs.append(number)
        return profile(content, bounds, seed, number)

    monkeypatch.setattr(onnx_runtime, "_profile", counted)
    monkeypatch.setattr(onnx_runtime, "_MAX_EVENTS", 4 * len(artifact.kernels))
    artifact.time_kernels(number=10, repeat=1)
    assert runs == [4, 4, 2]


def test_kernels_that_another_version_built_are_refused(
    network: ModelProto, tmp_path: Path
) -> None:
    TOOLCHAIN.build(network, TARGET, tmp_path)
    description = json.loads((tmp_path / "artifact.json").read_text())
    description["kernels"][0]["name"] = "elsewhere"
    (tmp_path / "artifact.json").write_text(json.dumps(description))
    with pytest.raises(InputError, match="elsewhere"):
        TOOLCHAIN.load(tmp_path).time_kernels(1, 1)


def test_values_that_are_not_finite_are_visible(tmp_path: Path) -> None:
    nodes = [helper.make_node("Neg", ["x"], ["a"]), helper.make_node("Log", ["a"], ["b"])]
    nodes.append(helper.make_node("Add", ["b", "x"], ["y"]))
    TOOLCHAIN.build(_model(nodes, [1, 64], {}), TARGET, tmp_path)
    assert not np.isfinite(TOOLCHAIN.load(tmp_path).outputs()[0]).all()


def test_a_network_that_does_not_run_fails_in_the_build(tmp_path: Path) -> None:
    node = helper.make_node("Conv", ["x", "w"], ["y"])
    with pytest.raises(NetworkError, match=r"ONNX Runtime cannot run the network: .*Conv"):
        TOOLCHAIN.build(_model([node], [1, 3, 8, 8], {"w": (4, 5, 1, 1)}), TARGET, tmp_path)
    assert not list(tmp_path.iterdir())
