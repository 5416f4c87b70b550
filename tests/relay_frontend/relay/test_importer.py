"""Relay modules imported from ONNX: those of TVM's importer, sooner."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

pytest.importorskip("tvm.relay", reason="needs a TVM with Relay")

import tvm
from tvm import relay
from tvm.relay.frontend import common
from tvm.relay.frontend import onnx as importer

from measure.weights import fill_weights
from relay_frontend.errors import DynamicShapeError, NetworkError
from relay_frontend.relay import importer as onnx_to_relay
from relay_frontend.relay.importer import import_onnx

pytestmark = pytest.mark.relay

_LIGHT = Path(onnx.__file__).parent / "backend/test/data/light"
_PATCHED = (
    (common, "infer_type"),
    (importer, "infer_type"),
    (common, "infer_value"),
    (importer, "infer_value"),
    (importer, "_get_convert_map"),
    (importer, "matmul_out_dtype"),
    (onnx.checker, "check_model"),
)


def _network(
    nodes: Sequence[NodeProto],
    input_shape: Sequence[int | str],
    parameters: Mapping[str, np.ndarray] | None = None,
    opset: int = 17,
) -> ModelProto:
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, input_shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in (parameters or {}).items()],
    )
    opsets = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def _light(name: str) -> ModelProto:
    return fill_weights(onnx.load(_LIGHT / f"light_{name}.onnx"), seed=0)


def _from_onnx(model: ModelProto) -> tuple[tvm.IRModule, dict[str, tvm.nd.NDArray]]:
    with onnx_to_relay._onnx_mapping():
        return relay.frontend.from_onnx(model, freeze_params=False)


def _result_shape(module: tvm.IRModule) -> tuple[int, ...]:
    type_ = relay.transform.InferType()(module)["main"].ret_type
    return tuple(int(n) for n in type_.shape)


@pytest.mark.parametrize("name", ["inception_v1", "shufflenet", "squeezenet"])
def test_the_module_is_that_of_tvm(name: str) -> None:
    model = _light(name)
    module, params = import_onnx(model)
    expected, expected_params = _from_onnx(model)
    tvm.ir.assert_structural_equal(module, expected, map_free_vars=True)
    used = {var.name_hint for var in expected["main"].params}
    assert params.keys() == expected_params.keys() & used
    for key, array in params.items():
        np.testing.assert_array_equal(array.numpy(), expected_params[key].numpy())


def test_types_of_the_whole_graph_are_not_inferred_for_each_operator(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, passes = _light("shufflenet"), []
    infer_types = relay.transform.InferType
    monkeypatch.setattr(
        relay.transform, "InferType", lambda: passes.append("InferType") or infer_types()
    )
    _from_onnx(model)
    with_tvm = len(passes)
    passes.clear()
    import_onnx(model)
    assert len(passes) < with_tvm / 20


def test_networks_of_ir_version_3_that_list_parameters_as_inputs_are_imported() -> None:
    model = _light("squeezenet")
    values = {tensor.name: tensor for tensor in model.graph.initializer}
    model.graph.input.extend(
        helper.make_tensor_value_info(name, tensor.data_type, tensor.dims)
        for name, tensor in values.items()
    )
    model.ir_version = 3
    module, params = import_onnx(model)
    data = [var.name_hint for var in module["main"].params if var.name_hint not in params]
    assert data == ["data_0"]


def test_nothing_global_is_left_behind() -> None:
    before = [getattr(module, name) for module, name in _PATCHED]
    import_onnx(_network([helper.make_node("Relu", ["x"], ["y"])], [1, 3]))
    with pytest.raises(NetworkError):
        import_onnx(_network([helper.make_node("Unknown", ["x"], ["y"])], [1, 3]))
    after = [getattr(module, name) for module, name in _PATCHED]
    assert all(a is b for a, b in zip(before, after, strict=True))
    assert "onnx.mapping" not in sys.modules


def test_the_model_is_left_as_it_was() -> None:
    model = _network([helper.make_node("Relu", ["x"], ["y"])], [1, 3])
    before = model.SerializeToString(deterministic=True)
    import_onnx(model)
    assert model.SerializeToString(deterministic=True) == before


def test_symbolic_dimensions_are_bound_by_the_caller() -> None:
    model = _network([helper.make_node("Relu", ["x"], ["y"])], ["batch", 3])
    module, _ = import_onnx(model, {"x": (4, 3)})
    assert _result_shape(module) == (4, 3)


def test_an_unbound_dimension_is_named() -> None:
    model = _network([helper.make_node("Relu", ["x"], ["y"])], ["batch", 3])
    with pytest.raises(DynamicShapeError, match=r"'x'.*dimension 0 \(batch\)"):
        import_onnx(model)


def test_shapes_of_unknown_inputs_are_refused() -> None:
    model = _network([helper.make_node("Relu", ["x"], ["y"])], [1, 3])
    with pytest.raises(NetworkError, match=r"\['z'\].*\['x'\]"):
        import_onnx(model, {"z": (1, 3)})


def test_an_unknown_operator_is_named() -> None:
    model = _network([helper.make_node("Unknown", ["x"], ["y"])], [1, 3])
    with pytest.raises(NetworkError, match="Unknown"):
        import_onnx(model)


@pytest.mark.parametrize(
    "error", [AttributeError, IndexError, NotImplementedError, RuntimeError, tvm.TVMError]
)
def test_whatever_stops_the_importer_is_an_error_of_the_network(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stumble(*_: object, **__: object) -> None:
        raise error("stumbled")

    monkeypatch.setattr(relay.frontend, "from_onnx", stumble)
    with pytest.raises(NetworkError, match=r"'network': .* importer failed: stumbled"):
        import_onnx(_network([helper.make_node("Relu", ["x"], ["y"])], [1, 3]))


def test_shapes_that_parameters_decide_become_static() -> None:
    scales = {"scales": np.array([1, 1, 2, 2], np.float32)}
    resize = helper.make_node("Resize", ["x", "", "scales"], ["y"], mode="nearest")
    module, params = import_onnx(_network([resize], [1, 4, 8, 8], scales))
    assert _result_shape(module) == (1, 4, 16, 16)
    assert not params


def test_a_shape_that_data_decides_is_refused() -> None:
    nodes = [
        helper.make_node("Cast", ["x"], ["repeats"], to=TensorProto.INT64),
        helper.make_node("Tile", ["table", "repeats"], ["y"]),
    ]
    model = _network(nodes, [2], {"table": np.ones((3, 4), np.float32)})
    with pytest.raises(DynamicShapeError, match="depend on its data"):
        import_onnx(model)


@pytest.mark.parametrize("shape", [(1, 5, 8), (1, 2, 5, 8)])
def test_stacked_matrices_meet_a_parameter_in_one_dense_layer(shape: tuple[int, ...]) -> None:
    weight = np.ones((8, 6), np.float32)
    matmul = helper.make_node("MatMul", ["x", "w"], ["y"])
    module, params = import_onnx(_network([matmul], shape, {"w": weight}))
    operators = relay.analysis.list_op_freqs(module)
    assert _result_shape(module) == (*shape[:-1], 6)
    assert set(params) == {"w"}
    assert int(operators["nn.dense"]) == 1
    assert "nn.batch_matmul" not in operators


# --- What TVM lacks or gets wrong -------------------------------------------------------------


def _results(model: ModelProto, *values: np.ndarray) -> list[np.ndarray]:
    module, params = import_onnx(model)
    executor = relay.create_executor("graph", module, tvm.cpu(), _TARGET, params)
    result = executor.evaluate()(*values)
    return [item.numpy() for item in result] if isinstance(result, list) else [result.numpy()]


_TARGET = "llvm -mtriple=x86_64-linux-gnu"
_ONE_OPERATOR = {
    "sum over two axes": (("ReduceSum", {}), (2, 3, 4), {"axes": np.array([0, 2])}, 17),
    "mean over no axes": (
        ("ReduceMean", {"noop_with_empty_axes": 1}),
        (2, 3),
        {"axes": np.zeros(0, np.int64)},
        18,
    ),
    "mean over an axis": (("ReduceMean", {"keepdims": 0}), (2, 3), {"axes": np.array([-1])}, 18),
    "axes of 1 in front and behind": (("Unsqueeze", {}), (2, 3), {"axes": np.array([0, -1])}, 17),
    "padded axes": (
        ("Pad", {}),
        (2, 3, 4),
        {"pads": np.array([1, 2]), "value": np.float32(1.5), "axes": np.array([1])},
        18,
    ),
    "parts of which the last is smaller": (
        ("Split", {"num_outputs": 3, "axis": 1}),
        (2, 7),
        {},
        18,
    ),
    "scaled product": (
        ("Gemm", {"alpha": 0.5, "beta": 2.0}),
        (2, 3),
        {"w": np.arange(12, dtype=np.float32).reshape(3, 4), "b": np.ones(4, np.float32)},
        17,
    ),
    "unit length": (("LpNormalization", {"axis": 1}), (2, 3), {}, 17),
    "groups of channels": (
        ("GroupNormalization", {"num_groups": 2}),
        (1, 4, 3),
        {"s": np.array([1.0, 2.0], np.float32), "b": np.array([0.5, 0.0], np.float32)},
        18,
    ),
    "approximate gelu": (("Gelu", {"approximate": "tanh"}), (2, 3), {}, 20),
    "maximum of a line": (
        ("MaxPool", {"kernel_shape": [3], "pads": [1, 1], "strides": [2]}),
        (1, 2, 8),
        {},
        17,
    ),
    "mean of a line": (("AveragePool", {"kernel_shape": [2]}), (1, 2, 8), {}, 17),
    "bounds that are none": (("Clip", {}), (2, 3), {}, 17),
}


@pytest.mark.parametrize("name", _ONE_OPERATOR)
def test_the_module_computes_what_onnx_says(name: str) -> None:
    (op_type, attrs), shape, parameters, opset = _ONE_OPERATOR[name]
    outputs = [f"y{i}" for i in range(attrs.get("num_outputs", 1))]
    graph = helper.make_graph(
        [helper.make_node(op_type, ["x", *parameters], outputs, **attrs)],
        name,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, None) for output in outputs],
        [numpy_helper.from_array(np.asarray(v), key) for key, v in parameters.items()],
    )
    opsets = [helper.make_opsetid("", opset)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    value = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    expected = ReferenceEvaluator(model).run(None, {"x": value})
    for result, wanted in zip(_results(model, value), expected, strict=True):
        np.testing.assert_allclose(result, wanted, rtol=1e-4, atol=1e-5)


def test_the_mean_of_several_tensors_is_taken_element_by_element() -> None:
    model = _network([helper.make_node("Mean", ["x", "z"], ["y"])], [2, 3])
    model.graph.input.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, [2, 3]))
    x, z = np.full((2, 3), 1.0, np.float32), np.full((2, 3), 4.0, np.float32)
    np.testing.assert_allclose(_results(model, x, z)[0], np.full((2, 3), 2.5))


def test_the_value_of_padding_may_be_computed() -> None:
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["value"], keepdims=0),
        helper.make_node("Pad", ["x", "pads", "value"], ["y"]),
    ]
    model = _network(nodes, [2, 3], {"pads": np.array([0, 1, 0, 2])})
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    expected = np.pad(x, [(0, 0), (1, 2)], constant_values=5.0)
    np.testing.assert_array_equal(_results(model, x)[0], expected)


def test_softmax_was_one_distribution_over_all_axes_behind_its_own() -> None:
    model = _network([helper.make_node("Softmax", ["x"], ["y"], axis=1)], [2, 3, 4], opset=11)
    value = np.random.default_rng(0).standard_normal((2, 3, 4)).astype(np.float32)
    powers = np.exp(value)
    expected = powers / powers.sum(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(_results(model, value)[0], expected, rtol=1e-4)


def test_axes_that_data_decides_are_refused() -> None:
    nodes = [
        helper.make_node("Cast", ["x"], ["axes"], to=TensorProto.INT64),
        helper.make_node("ReduceSum", ["table", "axes"], ["y"]),
    ]
    model = _network(nodes, [1], {"table": np.ones((3, 4), np.float32)})
    with pytest.raises(NetworkError, match="depends on data"):
        import_onnx(model)
