"""ONNX networks become Relax functions of their inputs and their parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pytest.importorskip("tvm.relax.backend.cpu_generic", reason="TVM 0.16 has an early Relax")

import tvm_ffi
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from tvm import relax

from measure.weights import fill_weights, strip_weights
from relay_frontend.errors import DynamicShapeError, NetworkError
from relay_frontend.relax.importer import import_onnx

if TYPE_CHECKING:
    import tvm

pytestmark = pytest.mark.relax


def _tensor(name: str, *shape: int) -> TensorProto:
    values = np.random.default_rng(len(name)).standard_normal(shape)
    return numpy_helper.from_array(values.astype(np.float32), name)


def _model(
    nodes: list[NodeProto],
    initializers: list[TensorProto],
    shape: tuple[Any, ...] = (1, 3, 8, 8),
    opset: int = 13,
) -> ModelProto:
    """A network with input ``x``, whose last node writes ``y``."""
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        initializers,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=7)


def _conv_net() -> ModelProto:
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["y"]),
    ]
    return _model(nodes, [_tensor("w", 4, 3, 3, 3), _tensor("b", 4)])


def _listing_initializers_as_inputs(model: ModelProto) -> ModelProto:
    listed = ModelProto()
    listed.CopyFrom(model)
    listed.ir_version = 3
    for tensor in model.graph.initializer:
        listed.graph.input.append(
            helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        )
    return listed


def _without_data(model: ModelProto) -> ModelProto:
    bare = ModelProto()
    bare.CopyFrom(model)
    for tensor in bare.graph.initializer:
        tensor.ClearField("raw_data")
    return bare


def _operators(mod: tvm.IRModule) -> list[str]:
    return [
        str(binding.value.op.name)
        for block in mod["main"].body.blocks
        for binding in block.bindings
        if hasattr(binding.value, "op")
    ]


def _output_shape(mod: tvm.IRModule) -> list[int]:
    return [int(dim) for dim in mod["main"].ret_ty.shape]


def test_parameters_follow_the_inputs_and_have_no_values() -> None:
    mod = import_onnx(_conv_net())
    main = mod["main"]
    constants: list[Any] = []
    relax.analysis.post_order_visit(
        main, lambda e: constants.append(e) if type(e).__name__ == "GenericConst" else None
    )
    assert [param.name for param in main.params] == ["x", "w", "b"]
    assert int(main.attrs["num_input"]) == 1
    assert constants == []


@pytest.mark.parametrize(
    "variant",
    [_listing_initializers_as_inputs, _without_data, strip_weights, lambda m: fill_weights(m, 0)],
    ids=["listed-as-inputs", "without-data", "constant-of-shape", "filled"],
)
def test_every_form_of_the_weights_gives_the_same_module(variant: Any) -> None:
    network = _conv_net()
    assert tvm_ffi.structural_equal(import_onnx(variant(network)), import_onnx(network))


def test_the_model_itself_is_not_changed() -> None:
    network = _listing_initializers_as_inputs(_conv_net())
    before = network.SerializeToString(deterministic=True)
    import_onnx(network)
    assert network.SerializeToString(deterministic=True) == before


def test_scalars_and_shapes_stay_constants() -> None:
    nodes = [
        helper.make_node("Mul", ["x", "two"], ["m"]),
        helper.make_node("Resize", ["m", "", "scales"], ["r"], mode="nearest"),
        helper.make_node("Reshape", ["r", "shape"], ["y"]),
    ]
    scales = numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "scales")
    shape = numpy_helper.from_array(np.array([3, 16, -1]), "shape")
    two = numpy_helper.from_array(np.array(2, np.float32), "two")
    mod = import_onnx(_model(nodes, [scales, shape, two]))
    assert [param.name for param in mod["main"].params] == ["x"]
    assert _output_shape(mod) == [3, 16, 16]


def test_sum_becomes_additions() -> None:
    mod = import_onnx(_model([helper.make_node("Sum", ["x", "x", "x", "x"], ["y"])], []))
    assert _operators(mod) == ["relax.add"] * 3


def test_dropout_vanishes() -> None:
    nodes = [helper.make_node("Dropout", ["x"], ["d"]), helper.make_node("Relu", ["d"], ["y"])]
    assert _operators(import_onnx(_model(nodes, []))) == ["relax.nn.relu"]


def test_networks_of_opset_8_import() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], kernel_shape=[3, 3]),
        helper.make_node("BatchNormalization", ["c", "g", "b", "m", "v"], ["n"], momentum=0.9),
        helper.make_node("LRN", ["n"], ["l"], size=5),
        helper.make_node("Dropout", ["l"], ["d"], ratio=0.4),
        helper.make_node("Reshape", ["d", "shape"], ["f"]),
        helper.make_node("Gemm", ["f", "dense", "bias"], ["y"], alpha=1.0, beta=1.0, transB=1),
    ]
    nodes[1].attribute.append(helper.make_attribute("spatial", 1))
    weights = [_tensor("w", 4, 3, 3, 3), *(_tensor(name, 4) for name in "gbmv")]
    weights += [_tensor("dense", 10, 144), _tensor("bias", 10)]
    shape = numpy_helper.from_array(np.array([1, -1]), "shape")
    network = _listing_initializers_as_inputs(_model(nodes, [*weights, shape], opset=8))
    mod = import_onnx(network)
    assert len(mod["main"].params) == 1 + len(weights)
    assert _output_shape(mod) == [1, 10]


def test_a_symbolic_dimension_is_named() -> None:
    network = _model([helper.make_node("Relu", ["x"], ["y"])], [], ("batch", 3, 8, 8))
    with pytest.raises(DynamicShapeError, match=r"dimension 0 \(batch\) of input 'x'"):
        import_onnx(network)


def test_a_symbolic_dimension_can_be_bound() -> None:
    network = _model([helper.make_node("Relu", ["x"], ["y"])], [], ("batch", 3, 8, 8))
    assert _output_shape(import_onnx(network, {"x": (2, 3, 8, 8)})) == [2, 3, 8, 8]


def test_an_unsupported_operator_is_named() -> None:
    network = _model([helper.make_node("Frobnicate", ["x"], ["y"])], [])
    with pytest.raises(NetworkError, match=r"'net'.*Frobnicate"):
        import_onnx(network)
