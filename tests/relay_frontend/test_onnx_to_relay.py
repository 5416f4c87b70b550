"""Relay modules imported from ONNX: those of TVM's importer, sooner."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

pytest.importorskip("tvm.relay", reason="needs a TVM with Relay")

import tvm
from tvm import relay
from tvm.relay.frontend import common
from tvm.relay.frontend import onnx as importer

from measure.weights import fill_weights
from relay_frontend import onnx_to_relay
from relay_frontend.errors import DynamicShapeError, NetworkError
from relay_frontend.onnx_to_relay import import_onnx

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
    assert params.keys() == expected_params.keys()
    for key, array in params.items():
        np.testing.assert_array_equal(array.numpy(), expected_params[key].numpy())


def test_importing_is_quicker_than_with_tvm() -> None:
    model = _light("shufflenet")
    times = []
    for import_ in (import_onnx, _from_onnx):
        start = time.perf_counter()
        import_(model)
        times.append(time.perf_counter() - start)
    assert times[0] < times[1] / 2


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
