"""What every toolchain guarantees, whatever compiles: one suite over all that run here."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from measure.client import Limits, Worker
from measure.device import short_target
from measure.drawing import data, draw
from measure.errors import BuildError
from measure.protocol import Protocol
from measure.toolchains import Toolchain, load_toolchain
from measure.weights import fill_weights
from relay_frontend.errors import CostModelError, InputError
from relay_frontend.kernel import Kernel
from relay_frontend.onnx import read_onnx

_QUICK = Protocol(
    name="quick-lq",
    warmup_s=0.0,
    min_sample_s=1e-3,
    min_samples=2,
    max_samples=3,
    kernel_repeats=2,
)
_LIMITS = Limits(start_s=120, build_s=60, round_s=30, kernels_s=30)


@pytest.fixture(
    scope="module",
    params=[
        pytest.param("tvm-relay", marks=pytest.mark.relay),
        pytest.param("tvm-relax", marks=pytest.mark.relax),
        pytest.param(
            "onnxruntime",
            marks=pytest.mark.skipif(
                importlib.util.find_spec("onnxruntime") is None,
                reason="ONNX Runtime is not installed in this interpreter",
            ),
        ),
    ],
)
def toolchain(request: pytest.FixtureRequest) -> Toolchain:
    return load_toolchain(request.param)


def _model(
    nodes: Sequence[NodeProto],
    shape: Sequence[int],
    parameters: dict[str, np.ndarray],
    element_type: int = TensorProto.FLOAT,
) -> ModelProto:
    """A network from ``x``, of ``shape`` and ``element_type``, to ``y``."""
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x", element_type, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in parameters.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture(scope="module")
def network() -> ModelProto:
    """Two equal convolutions, a pool, a dense layer; the weights are all equal, so to be filled."""
    nodes = [
        helper.make_node("Conv", ["x", "w0"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "w1"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["d"]),
        helper.make_node("GlobalAveragePool", ["d"], ["e"]),
        helper.make_node("Flatten", ["e"], ["f"]),
        helper.make_node("Gemm", ["f", "w2", "b2"], ["y"], transB=1),
    ]
    kernel = np.full((16, 16, 3, 3), 0.5, np.float32)
    dense = {"w2": np.ones((10, 16), np.float32), "b2": np.ones(10, np.float32)}
    return _model(nodes, [1, 16, 16, 16], {"w0": kernel, "w1": kernel, **dense})


@pytest.fixture(scope="module")
def without_parameters() -> ModelProto:
    nodes = [
        helper.make_node("AveragePool", ["x"], ["a"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Sigmoid", ["a"], ["b"]),
        helper.make_node("Add", ["a", "b"], ["c"]),
        helper.make_node("Softmax", ["c"], ["y"], axis=-1),
    ]
    return _model(nodes, [1, 4, 8, 8], {})


@pytest.fixture(scope="module")
def built(
    toolchain: Toolchain, network: ModelProto, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    directory = tmp_path_factory.mktemp("artifact") / "network"
    toolchain.build(fill_weights(network, 0), toolchain.default_target(), directory)
    return directory


@pytest.fixture(scope="module")
def worker(toolchain: Toolchain, tmp_path_factory: pytest.TempPathFactory) -> Any:
    with Worker(toolchain.name, limits=_LIMITS) as started:
        yield started


def test_versions_are_named(toolchain: Toolchain) -> None:
    versions = toolchain.versions()
    assert versions
    assert all(isinstance(v, str) and v for v in versions.values())
    assert versions["python"]


def test_the_default_target_makes_a_platform_name(toolchain: Toolchain) -> None:
    kind, _, cpu = short_target(toolchain.default_target()).partition("-")
    assert kind in {"llvm", "cpu"}
    assert cpu


def test_an_artifact_is_small_and_says_who_made_it(toolchain: Toolchain, built: Path) -> None:
    description = json.loads((built / "artifact.json").read_text())
    assert description["toolchain"] == toolchain.name
    assert description["versions"] == toolchain.versions()
    assert description["target"] == toolchain.default_target()
    assert sum(path.stat().st_size for path in built.iterdir()) < 500_000


def test_kernels_are_found_without_building(
    toolchain: Toolchain, network: ModelProto, built: Path
) -> None:
    kernels = toolchain.kernels(network, toolchain.default_target())
    assert kernels == toolchain.load(built).kernels
    assert kernels == toolchain.kernels(fill_weights(network, 9), toolchain.default_target())


def test_kernels_do_the_work_of_the_network(
    toolchain: Toolchain, network: ModelProto, built: Path
) -> None:
    kernels = toolchain.load(built).kernels
    flops = read_onnx(network).flops
    assert flops * 0.95 <= sum(kernel.flops for kernel in kernels) <= flops * 1.05
    assert sum("conv" in kernel.kind for kernel in kernels) == 2
    assert all(kernel.arguments and kernel.results for kernel in kernels)


def test_the_graph_is_that_of_the_network(toolchain: Toolchain, network: ModelProto) -> None:
    assert toolchain.graph(network).digest == read_onnx(network).digest


def test_every_kernel_call_gets_times(toolchain: Toolchain, built: Path) -> None:
    artifact = toolchain.load(built)
    times = artifact.time_kernels(number=20, repeat=3)
    assert times.shape == (3, len(artifact.kernels))
    assert (times >= 0).all()
    convolutions = [i for i, kernel in enumerate(artifact.kernels) if "conv" in kernel.kind]
    assert (times[:, convolutions] > 0).all()


def test_the_time_of_many_inferences_is_that_of_all(toolchain: Toolchain, built: Path) -> None:
    artifact = toolchain.load(built)
    artifact.time(10)
    single = min(artifact.time(1) for _ in range(100))
    assert artifact.time(100) > 10 * single > 0


def test_outputs_are_finite_and_depend_on_the_seed_alone(toolchain: Toolchain, built: Path) -> None:
    (first,) = toolchain.load(built, seed=3).outputs()
    (again,) = toolchain.load(built, seed=3).outputs()
    (other,) = toolchain.load(built, seed=4).outputs()
    assert first.shape == (1, 10)
    assert np.isfinite(first).all()
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)


def test_outputs_stay_after_more_inferences(toolchain: Toolchain, built: Path) -> None:
    artifact = toolchain.load(built)
    (before,) = artifact.outputs()
    kept = before.copy()
    artifact.time(5)
    (after,) = artifact.outputs()
    np.testing.assert_array_equal(before, kept)
    np.testing.assert_array_equal(after, kept)


def test_outputs_are_those_of_the_onnx_reference(
    toolchain: Toolchain, without_parameters: ModelProto, tmp_path: Path
) -> None:
    toolchain.build(without_parameters, toolchain.default_target(), tmp_path)
    (found,) = toolchain.load(tmp_path, seed=5).outputs()
    image = draw(data((1, 4, 8, 8), "float32"), 5, 0)
    (expected,) = ReferenceEvaluator(without_parameters).run(None, {"x": image})
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_indices_reach_all_rows_of_their_table(toolchain: Toolchain, tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Gather", ["rows", "x"], ["a"]),
        helper.make_node("Cast", ["a"], ["y"], to=TensorProto.FLOAT),
    ]
    network = _model(nodes, [2, 100], {"rows": 3 * np.arange(50)}, TensorProto.INT64)
    toolchain.build(network, toolchain.default_target(), tmp_path)
    (found,) = toolchain.load(tmp_path, seed=5).outputs()
    np.testing.assert_array_equal(found, 3 * draw(data((2, 100), "int64", 50), 5, 0))


@pytest.mark.parametrize("threads", ["1", "2"])
def test_outputs_do_not_depend_on_the_threads(
    toolchain: Toolchain, built: Path, threads: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (expected,) = toolchain.load(built).outputs()
    monkeypatch.setenv("TVM_NUM_THREADS", threads)
    (found,) = toolchain.load(built).outputs()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_a_fresh_process_runs_what_another_one_built(
    toolchain: Toolchain, built: Path, worker: Worker
) -> None:
    round_ = worker.measure("network", built, _QUICK)
    times = worker.time_kernels("network", built, _QUICK)
    assert len(round_.samples) >= _QUICK.min_samples
    assert (round_.samples > 0).all()
    assert times.kernels == toolchain.load(built).kernels
    assert times.samples.shape == (len(times.kernels), _QUICK.kernel_repeats)


def test_an_unknown_target_is_refused(
    toolchain: Toolchain, network: ModelProto, tmp_path: Path
) -> None:
    calls: list[Callable[[], Any]] = [
        lambda: toolchain.build(network, "no-such-target", tmp_path),
        lambda: toolchain.kernels(network, "no-such-target"),
    ]
    for call in calls:
        with pytest.raises(InputError, match="no-such-target"):
            call()
    assert not list(tmp_path.iterdir())


def test_a_directory_without_an_artifact_is_refused(toolchain: Toolchain, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="build first"):
        toolchain.load(tmp_path)


@pytest.mark.parametrize("change", [{"toolchain": "another"}, {"format": 0}])
def test_another_artifact_is_refused(
    toolchain: Toolchain, built: Path, tmp_path: Path, change: dict[str, Any]
) -> None:
    description = json.loads((built / "artifact.json").read_text())
    (tmp_path / "artifact.json").write_text(json.dumps({**description, **change}))
    with pytest.raises(InputError, match="build the network again"):
        toolchain.load(tmp_path)


def test_an_artifact_for_another_architecture_is_refused(
    toolchain: Toolchain, built: Path, tmp_path: Path
) -> None:
    description = json.loads((built / "artifact.json").read_text())
    description["architecture"] = "sparc"
    (tmp_path / "artifact.json").write_text(json.dumps(description))
    with pytest.raises(InputError, match=r"built for sparc.* this machine is \w+"):
        toolchain.load(tmp_path)


def test_an_operator_that_cannot_be_built_is_named(
    toolchain: Toolchain, worker: Worker, tmp_path: Path
) -> None:
    model = _model([helper.make_node("NoSuchOperator", ["x"], ["y"])], [1, 4], {})
    with pytest.raises(CostModelError, match="NoSuchOperator"):
        toolchain.build(model, toolchain.default_target(), tmp_path / "artifact")
    path = tmp_path / "network.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(BuildError, match="NoSuchOperator"):
        worker.build("network", path, toolchain.default_target(), tmp_path / "artifact")


def test_kernels_survive_the_description(toolchain: Toolchain, built: Path) -> None:
    kernels = toolchain.load(built).kernels
    assert tuple(Kernel.from_dict(kernel.to_dict()) for kernel in kernels) == kernels
