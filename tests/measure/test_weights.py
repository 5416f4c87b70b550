from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from measure.weights import fill_weights, strip_weights
from measure.zoo import FAMILIES, sample
from relay_frontend.errors import InputError, NetworkError

LIGHT_MODELS = Path(onnx.__file__).parent / "backend/test/data/light"

CONV, BIAS = (8, 3, 3, 3), (8,)


def dataless(name: str, shape: tuple[int, ...], data_type: int = TensorProto.FLOAT) -> TensorProto:
    return TensorProto(name=name, dims=shape, data_type=data_type)


def constant(name: str, shape: tuple[int, ...], value: float = 0.0) -> TensorProto:
    return numpy_helper.from_array(np.full(shape, value, np.float32), name)


def convolution(*initializers: TensorProto, ir_version: int = 8, opset: int = 17) -> ModelProto:
    """``y = conv(x, w, b)``; initializers are graph inputs too where the IR version wants it."""
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 3, 8, 8))]
    if ir_version < 4:
        inputs += [helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in initializers]
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w", "b"], ["y"])],
        "convolution",
        inputs,
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 8, 6, 6))],
        initializer=initializers,
    )
    opset_imports = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, ir_version=ir_version, opset_imports=opset_imports)


def arrays(model: ModelProto) -> dict[str, npt.NDArray[np.generic]]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def by_name(items: Iterable[NodeProto | TensorProto]) -> dict[str, NodeProto | TensorProto]:
    return {item.name: item for item in items}


def run(model: ModelProto) -> npt.NDArray[np.float32]:
    shape = [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim]
    x = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    outputs = ReferenceEvaluator(model).run(None, {model.graph.input[0].name: x})
    assert isinstance(outputs, list)
    return np.asarray(outputs[0])


def weightless_initializers() -> ModelProto:
    return convolution(dataless("w", CONV), dataless("b", BIAS), ir_version=3, opset=9)


def weightless_nodes() -> ModelProto:
    return strip_weights(convolution(constant("w", CONV), constant("b", BIAS)))


@pytest.mark.parametrize("weightless", [weightless_initializers, weightless_nodes])
def test_both_weightless_forms_become_initializers_with_values(
    weightless: Callable[[], ModelProto],
) -> None:
    filled = fill_weights(weightless(), seed=0)
    onnx.checker.check_model(filled, full_check=True)
    assert [node.op_type for node in filled.graph.node] == ["Conv"]
    assert [value.name for value in filled.graph.input] == ["x"]
    values = arrays(filled)
    assert {name: array.shape for name, array in values.items()} == {"w": CONV, "b": BIAS}
    assert all(len(np.unique(array)) == array.size for array in values.values())
    assert np.isfinite(run(filled)).all()


def test_kernels_are_normal_with_variance_of_one_over_fan_in() -> None:
    filled = fill_weights(convolution(dataless("w", (8, 64, 9, 9)), dataless("b", BIAS)), seed=0)
    weight = arrays(filled)["w"].astype(np.float64)
    assert weight.mean() == pytest.approx(0.0, abs=1e-3)
    assert weight.var() == pytest.approx(1 / (64 * 9 * 9), rel=0.03)


@pytest.mark.parametrize(
    ("op", "attributes", "fan_in"),
    [("MatMul", {}, 50), ("Gemm", {}, 50), ("Gemm", {"transB": 1}, 400)],
)
def test_fan_in_of_a_matrix_follows_from_its_use(
    op: str, attributes: dict[str, Any], fan_in: int
) -> None:
    inner = 400 if attributes else 50
    graph = helper.make_graph(
        [helper.make_node(op, ["x", "w"], ["y"], **attributes)],
        "dense",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, inner))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 450 - inner))],
        initializer=[dataless("w", (50, 400))],
    )
    weight = arrays(fill_weights(helper.make_model(graph), seed=0))["w"].astype(np.float64)
    assert weight.var() == pytest.approx(1 / fan_in, rel=0.05)


def test_vectors_are_positive_and_near_one() -> None:
    model = convolution(dataless("w", (999, 3, 3, 3)), dataless("b", (999,)))
    bias = arrays(fill_weights(model, seed=0))["b"]
    assert 0.5 <= float(bias.min()) < 0.6
    assert 1.4 < float(bias.max()) <= 1.5


def test_data_stays_unless_it_is_constant() -> None:
    ramp = numpy_helper.from_array(np.arange(8, dtype=np.float32), "b")
    values = arrays(fill_weights(convolution(constant("w", CONV, 0.02), ramp), seed=0))
    np.testing.assert_array_equal(values["b"], np.arange(8, dtype=np.float32))
    assert len(np.unique(values["w"])) == values["w"].size


def test_seed_decides_the_values_and_the_model_is_left_alone() -> None:
    model = weightless_nodes()
    before = model.SerializeToString()
    first, again, other = (fill_weights(model, seed) for seed in (1, 1, 2))
    assert first.SerializeToString() == again.SerializeToString()
    assert (arrays(first)["w"] != arrays(other)["w"]).all()
    assert model.SerializeToString() == before


def test_equal_parameters_get_different_values() -> None:
    graph = sample("resnet", 0, "small").model.graph
    filled = fill_weights(sample("resnet", 0, "small").model, seed=0)
    assert len(graph.node) > len(filled.graph.node)
    blobs = [array.tobytes() for array in arrays(filled).values()]
    assert len(set(blobs)) == len(blobs)


def upsampling(scales: TensorProto) -> ModelProto:
    """A network whose output shape hangs on a float initializer and on an integer one."""
    shape = numpy_helper.from_array(np.array([2, 2], np.int64), "shape")
    graph = helper.make_graph(
        [
            helper.make_node("Reshape", ["x", "shape"], ["r"]),
            helper.make_node("Resize", ["r", "", "scales"], ["s"]),
            helper.make_node("Clip", ["s", "low"], ["y"]),
        ],
        "upsampling",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (4,))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (4, 4))],
        initializer=[shape, scales, constant("low", (), 0.5)],
    )
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])


@pytest.mark.parametrize("change", [lambda model: fill_weights(model, 0), strip_weights])
def test_shapes_scales_and_scalars_stay(change: Callable[[ModelProto], ModelProto]) -> None:
    model = upsampling(constant("scales", (2,), 2.0))
    changed = change(model)
    assert changed.SerializeToString() == model.SerializeToString()
    assert run(changed).shape == (4, 4)


@pytest.mark.parametrize(
    "initializer",
    [dataless("scales", (2,)), dataless("axes", (1,), TensorProto.INT64)],
    ids=["scales", "integer"],
)
def test_missing_data_that_is_no_parameter_is_an_error_naming_it(initializer: TensorProto) -> None:
    model = upsampling(constant("scales", (2,), 2.0))
    kept = [t for t in model.graph.initializer if t.name != initializer.name]
    del model.graph.initializer[:]
    model.graph.initializer.extend([*kept, initializer])
    with pytest.raises(NetworkError, match=f"{initializer.name}.*no data"):
        fill_weights(model, seed=0)


def test_constant_of_shape_that_is_no_parameter_stays_a_node() -> None:
    value = numpy_helper.from_array(np.array([1], np.int64))
    graph = helper.make_graph(
        [
            helper.make_node("ConstantOfShape", ["two"], ["ones"], value=value),
            helper.make_node("Expand", ["x", "ones"], ["y"]),
        ],
        "expand",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (3, 4))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (3, 4))],
        initializer=[numpy_helper.from_array(np.array([2], np.int64), "two")],
    )
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    assert fill_weights(model, seed=0).SerializeToString() == model.SerializeToString()


def test_shape_initializer_with_another_reader_stays() -> None:
    model = weightless_nodes()
    model.graph.node.append(helper.make_node("Identity", ["w.shape"], ["z"]))
    model.graph.output.append(helper.make_tensor_value_info("z", TensorProto.INT64, (4,)))
    filled = fill_weights(model, seed=0)
    onnx.checker.check_model(filled, full_check=True)
    assert set(arrays(filled)) == {"w.shape", "w", "b"}


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_stripping_and_filling_keep_names_types_and_shapes(dtype: type[np.floating]) -> None:
    weights = {"w": np.ones(CONV, dtype), "b": np.ones(BIAS, dtype)}
    model = convolution(*(numpy_helper.from_array(array, name) for name, array in weights.items()))
    stripped = strip_weights(model)
    assert set(arrays(stripped)) == {"w.shape", "b.shape"}
    refilled = arrays(fill_weights(stripped, seed=0))
    assert {n: (a.dtype, a.shape) for n, a in refilled.items()} == {
        name: (array.dtype, array.shape) for name, array in weights.items()
    }


def test_old_ir_version_is_stripped_to_valid_onnx() -> None:
    model = convolution(dataless("w", CONV), constant("b", BIAS), ir_version=3, opset=9)
    stripped = strip_weights(model)
    onnx.checker.check_model(stripped, full_check=True)
    assert [value.name for value in stripped.graph.input] == ["x"]


def test_stripping_an_opset_without_constant_of_shape_is_an_error() -> None:
    with pytest.raises(InputError, match=r"'convolution' has opset 8.*version_converter"):
        strip_weights(convolution(dataless("w", CONV), dataless("b", BIAS), opset=8))


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_zoo_network_comes_back_from_filling_and_stripping(family: str) -> None:
    model = sample(family, 1, "small").model
    stripped = strip_weights(fill_weights(model, seed=0))
    onnx.checker.check_model(stripped, full_check=True)
    assert by_name(stripped.graph.node) == by_name(model.graph.node)
    assert by_name(stripped.graph.initializer) == by_name(model.graph.initializer)


def test_filled_zoo_network_computes_finite_varied_numbers() -> None:
    logits = run(fill_weights(sample("mobilenet_v2", 3, "small").model, seed=0))
    assert np.isfinite(logits).all()
    assert float(logits.std()) > 1e-3


@pytest.mark.parametrize(
    "name", ["densenet121", "inception_v1", "inception_v2", "resnet50", "shufflenet", "squeezenet"]
)
def test_light_models_of_onnx_are_filled(name: str) -> None:
    model = onnx.load(LIGHT_MODELS / f"light_{name}.onnx")
    filled = fill_weights(model, seed=0)
    graph = filled.graph
    assert "ConstantOfShape" not in {node.op_type for node in graph.node}
    assert len(graph.input) == 1
    operands = {name for node in graph.node for name in node.input}
    before = {tensor.name: tensor for tensor in model.graph.initializer}
    for tensor in graph.initializer:
        array = numpy_helper.to_array(tensor)
        if tensor.data_type == TensorProto.FLOAT and array.size >= 2:
            assert len(np.unique(array.ravel()[:1000])) > 1, tensor.name
        else:
            assert tensor == before[tensor.name]
        assert tensor.name in operands or tensor.name in before
    stripped = strip_weights(filled)
    onnx.checker.check_model(stripped, full_check=True)
    assert stripped.ByteSize() < 300_000
