"""The native reader of ONNX against its Python twin: the same graphs, or Python's own errors."""

from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.onnx_cpp2py_export.shape_inference import infer_shapes as infer_model

from measure.weights import fill_weights
from relay_frontend import load, native
from relay_frontend.canonical.canonicalize import canonicalize
from relay_frontend.errors import CostModelError, DynamicShapeError, NetworkError
from relay_frontend.onnx import read_network, read_onnx
from relay_frontend.onnx.weights import without_weights
from tests.networks import FAMILIES, LIGHT, TORCH_FILES, conv_bn_relu, light, model, zoo_network
from tests.relay_frontend.fuzzing import fuzz_case
from tests.relay_frontend.operator_cases import CASES

pytestmark = pytest.mark.skipif(
    native.module is None or not hasattr(native.module, "read_onnx"),
    reason="the native core was not built, or is turned off",
)

TORCH = sorted(TORCH_FILES.glob("*.onnx"))
NETWORKS = sorted(path.stem.removeprefix("light_") for path in LIGHT.glob("*.onnx"))
DTYPES = {
    name: TensorProto.DataType.Value(name)
    for name in (
        *("BOOL", "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64"),
        *("FLOAT16", "BFLOAT16", "FLOAT", "DOUBLE"),
    )
}

node = helper.make_node


def python(source, shapes=None):
    return canonicalize(read_network(source, shapes))


def assert_same(source, shapes=None):
    """Both readers make the same graph, and the native one was really used."""
    data = source if isinstance(source, bytes) else source.SerializeToString()
    graph = read_onnx(data, shapes)
    assert isinstance(graph, native.NativeOpGraph)
    assert graph.to_dict() == python(data, shapes).to_dict()
    return graph


def assert_left_to_python(source, error: type[CostModelError], match: str, shapes=None):
    data = source if isinstance(source, bytes) else source.SerializeToString()
    with pytest.raises(error, match=match):
        read_onnx(data, shapes)


# --- Types by simple rules ----------------------------------------------------------------------


def inferred(source, monkeypatch) -> bool:
    """Whether the native reader asks ONNX for the types of the whole network."""
    asked = []

    def infer(*arguments):
        asked.append(arguments)
        return infer_model(*arguments)

    monkeypatch.setattr("relay_frontend.onnx.native.infer_model", infer)
    assert_same(source)
    return bool(asked)


@pytest.mark.parametrize("family", ["nasbench201", "resnet", "vgg", "densenet", "googlenet"])
def test_networks_of_simple_operators_need_no_inference_of_onnx(family, monkeypatch):
    assert not inferred(zoo_network(family), monkeypatch)
    assert not inferred(fill_weights(zoo_network(family), 0), monkeypatch)


def declared(name: str, shape) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


@pytest.mark.parametrize(
    ("change", "asks"),
    [
        pytest.param(lambda m: None, False, id="as it is"),
        pytest.param(lambda m: m.graph.value_info.append(declared("r", (1, 8, 16, 16))), False,
                     id="declared as it is"),
        pytest.param(lambda m: m.graph.value_info.append(declared("r", None)), False,
                     id="declared without a shape"),
        pytest.param(lambda m: m.graph.value_info.append(declared("r", ("n", 8, 16, 16))), True,
                     id="declared with a symbol"),
        pytest.param(lambda m: m.graph.value_info.append(declared("other", (1,))), True,
                     id="something else is declared"),
        pytest.param(lambda m: m.graph.node[0].attribute.append(
            helper.make_attribute("auto_pad", "NOTSET")), False, id="no automatic padding"),
        pytest.param(lambda m: m.graph.node.append(node("Softmax", ["y"], ["z"])), True,
                     id="an operator without a rule"),
        pytest.param(lambda m: setattr(m, "ir_version", 3), True, id="an old format"),
    ],
)  # fmt: skip
def test_onnx_is_asked_where_a_rule_does_not_know(change, asks, monkeypatch):
    network = conv_bn_relu()
    change(network)
    if network.ir_version < 4:  # which wants initializers to be inputs
        for tensor in network.graph.initializer:
            network.graph.input.append(declared(tensor.name, tensor.dims))
    assert inferred(network, monkeypatch) is asks


# --- Networks ---------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_networks_of_the_zoo_are_the_same(family):
    network = zoo_network(family)
    graph = assert_same(network)
    assert assert_same(fill_weights(network, 0)).digest == graph.digest


@pytest.mark.parametrize("name", NETWORKS)
def test_real_networks_are_the_same(name):
    assert_same(light(name))


@pytest.mark.parametrize("path", TORCH, ids=lambda path: path.stem)
def test_networks_written_in_torch_are_the_same(path):
    assert_same(path.read_bytes())


@pytest.mark.parametrize("case", CASES, ids=str)
def test_each_operator_is_the_same(case):
    assert_same(case.model)


def test_a_file_and_a_model_are_read_like_bytes(tmp_path):
    path = tmp_path / "network.onnx"
    onnx.save(conv_bn_relu(), path)
    expected = assert_same(conv_bn_relu()).to_dict()
    for source in (path, str(path), conv_bn_relu()):
        graph = load(source)
        assert isinstance(graph, native.NativeOpGraph)
        assert graph.to_dict() == expected


# --- Constants --------------------------------------------------------------------------------


def clipped(dtype, low, high):
    """A clip between constants, whose values the graph shows."""
    types = [helper.make_tensor_value_info(name, DTYPES[dtype], [2, 3]) for name in "xy"]
    graph = helper.make_graph(
        [node("Clip", ["x", "low", "high"], ["y"])], "clip", types[:1], types[1:], [low, high]
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("raw", [True, False], ids=["raw", "typed"])
@pytest.mark.parametrize("dtype", [name for name in DTYPES if name != "BOOL"])
def test_small_constants_of_every_type_are_the_same(dtype, raw):
    numpy_type = helper.tensor_dtype_to_np_dtype(DTYPES[dtype])
    bounds = (-100, 100) if dtype.startswith(("I", "F", "B", "D")) else (3, 200)
    tiny = (6e-8, 6e4) if numpy_type.kind not in "iu" else (1, 127)
    for low, high in (bounds, tiny):
        tensors = []
        for name, value in (("low", low), ("high", high)):
            array = np.array(value).astype(numpy_type)
            content = array.tobytes() if raw else [array.item()]
            tensors.append(helper.make_tensor(name, DTYPES[dtype], [], content, raw=raw))
        graph = assert_same(clipped(dtype, *tensors))
        assert graph.operators[0].attrs["max"] == pytest.approx(high, rel=0.01)


@pytest.mark.parametrize("values", [[1, 0], [-(2**40)], [2**63 - 1], [-(2**63)]], ids=str)
def test_typed_integers_are_the_same(values):
    """Content that is not packed, as some writers have it, and of ten bytes a number."""
    packed = helper.make_tensor("low", TensorProto.INT64, [], [values[0]]).SerializeToString()
    high = helper.make_tensor("high", TensorProto.INT64, [], [2**62])
    assert_same(clipped("INT64", TensorProto.FromString(packed), high))


@pytest.mark.parametrize("training", [True, False])
def test_truth_values_are_the_same(training):
    weights = {"ratio": np.float32(0.5), "training": np.array(training)}
    dropout = node("Dropout", ["x", "ratio", "training"], ["y"])
    graph = assert_same(model([dropout], weights={k: np.array(v) for k, v in weights.items()}))
    assert len(graph) == int(training)


def test_constants_in_nodes_are_the_same():
    nodes = [
        node("Constant", [], ["low"], value_float=-0.5),
        node("Constant", [], ["high"], value=numpy_helper.from_array(np.float32(0.75))),
        node("Constant", [], ["shape"], value_ints=[1, 8, 256]),
        node("Constant", [], ["w"], value=numpy_helper.from_array(np.ones((256, 9), np.float32))),
        node("Clip", ["x", "low", "high"], ["c"]),
        node("Reshape", ["c", "shape"], ["r"]),
        node("MatMul", ["r", "w"], ["y"]),
    ]
    graph = assert_same(model(nodes))
    assert [operator.op for operator in graph] == ["clip", "reshape", "dense"]
    assert graph.param_bytes == 256 * 9 * 4


def test_values_computed_from_shapes_are_the_same():
    nodes = [
        node("Shape", ["x"], ["s"]),
        node("Gather", ["s", "one"], ["channels"], axis=0),
        node("Div", ["channels", "two"], ["half"]),
        node("Unsqueeze", ["half", "zero"], ["end"]),
        node("Slice", ["x", "zero", "end", "ones"], ["y"]),
    ]
    weights = {"one": np.array(1), "two": np.array(2), "zero": np.array([0]), "ones": np.array([1])}
    assert assert_same(model(nodes, weights=weights)).operators[0].shape == (1, 4, 16, 16)


def test_parameters_listed_as_inputs_are_the_same():
    old = conv_bn_relu()
    for tensor in old.graph.initializer:
        old.graph.input.append(
            helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        )
    assert len(assert_same(old).inputs) == 1


def test_external_weights_need_no_file():
    external = conv_bn_relu()
    for tensor in external.graph.initializer:
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="missing.bin")
    assert assert_same(external).digest == read_onnx(conv_bn_relu()).digest


# --- Shapes that the caller gives -----------------------------------------------------------------


def test_given_shapes_are_bound():
    dynamic = model([node("Relu", ["x"], ["y"])], input_shape=("batch", 3, "height", 8))
    assert assert_same(dynamic, {"x": (2, 3, 8, 8)}).inputs[0].shape == (2, 3, 8, 8)
    dynamic.graph.input[0].type.tensor_type.ClearField("shape")
    assert assert_same(dynamic, {"x": np.array([2, 3])}).inputs[0].shape == (2, 3)


@pytest.mark.parametrize(
    ("shapes", "error", "match"),
    [
        (None, DynamicShapeError, "dimension 0 is symbolic"),
        ({"x": (0, 3, 8, 8)}, NetworkError, "extents are positive"),
        ({"w": (1, 3)}, NetworkError, "no input named 'w'; the inputs are x"),
        ({"z": (1, 3)}, NetworkError, "no input named 'z'; the inputs are x"),
    ],
)
def test_shapes_that_do_not_fit_are_explained(shapes, error, match):
    dynamic = model(
        [node("Add", ["x", "w"], ["y"])], input_shape=("batch", 3, 8, 8), weights={"w": (8,)}
    )
    assert_left_to_python(dynamic, error, match, shapes)


# --- Weights ----------------------------------------------------------------------------------


def test_weights_are_not_needed():
    full = fill_weights(conv_bn_relu(), 0)
    full.graph.initializer.append(numpy_helper.from_array(np.ones((64, 64)), "unused"))
    light = without_weights(full)
    assert len(light.SerializeToString()) < len(full.SerializeToString()) / 8
    assert assert_same(full).to_dict() == assert_same(light).to_dict()


def test_content_in_typed_fields_is_skipped():
    network = model([node("MatMul", ["x", "w"], ["y"])], input_shape=(4, 256))
    expected = None
    for dtype, values in (
        (TensorProto.FLOAT, [0.5]),
        (TensorProto.DOUBLE, [0.5]),
        (TensorProto.INT32, [-1]),
        (TensorProto.INT64, [-1]),
        (TensorProto.UINT64, [2**63]),
    ):
        network.graph.initializer.append(helper.make_tensor("w", dtype, [256, 9], values * 2304))
        network.graph.input[0].type.tensor_type.elem_type = dtype
        network.graph.output[0].type.tensor_type.elem_type = dtype
        shape = assert_same(network).operators[0].shape
        assert expected in (None, shape)
        expected = shape
        del network.graph.initializer[:]


MEMORY = """
import resource, sys
from pathlib import Path
from relay_frontend import native
from relay_frontend.onnx import read_onnx
data = Path(sys.argv[1]).read_bytes()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
assert isinstance(read_onnx(data), native.NativeOpGraph)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_weights_take_no_memory(tmp_path):
    """A file of 200 MB, of which nearly all is one weight."""
    path = tmp_path / "heavy.onnx"
    columns = 200_000
    network = model([node("MatMul", ["x", "w"], ["y"])], input_shape=(4, 256))
    weight = TensorProto(name="w", dims=[256, columns], data_type=TensorProto.FLOAT)
    size = 256 * columns * 4
    head = weight.SerializeToString() + field(9, size)
    graph = network.graph.SerializeToString() + field(5, len(head) + size) + head
    network.ClearField("graph")
    with path.open("wb") as file:
        file.write(network.SerializeToString() + field(7, len(graph) + size) + graph)
        file.truncate(file.tell() + size)
    command = [sys.executable, "-c", MEMORY, str(path)]
    grown = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert int(grown) < 20_000  # kilobytes


def field(number, size):
    """The head of a field that holds ``size`` bytes."""
    head = bytearray([number * 8 + 2])
    while size > 127:
        head.append(size % 128 + 128)
        size //= 128
    return bytes([*head, size])


# --- What is left to Python -------------------------------------------------------------------


def test_functions_and_sparse_constants_are_left_to_python():
    twice = helper.make_function(
        "mine",
        "Twice",
        ["a"],
        ["b"],
        [node("Add", ["a", "a"], ["b"])],
        [helper.make_opsetid("", 17)],
    )
    calling = model([node("Twice", ["x"], ["y"], domain="mine")])
    calling.opset_import.append(helper.make_opsetid("mine", 1))
    calling.functions.append(twice)
    sparse = model([node("Add", ["x", "w"], ["y"])])
    values = numpy_helper.from_array(np.ones(1, np.float32), "w")
    indices = numpy_helper.from_array(np.zeros(1, np.int64))
    sparse.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [16]))
    for network in (calling, sparse):
        graph = load(network)
        assert not isinstance(graph, native.NativeOpGraph)
        assert [operator.op for operator in graph] == ["add"]


def relu(**changes):
    return model([node("Relu", ["x"], ["y"], name="act")], **changes)


def unsorted():
    return model([node("Relu", ["a"], ["y"], name="late"), node("Exp", ["x"], ["a"])])


def with_subgraph():
    branch = helper.make_graph([node("Relu", ["x"], ["t"])], "b", [], [])
    loop = node("If", ["k"], ["y"], name="choice", then_branch=branch, else_branch=branch)
    return model([loop], weights={"k": np.array(True)})


def made_twice():
    return model([node("Relu", ["x"], ["y"]), node("Exp", ["x"], ["y"], name="again")])


def of_a_custom_domain():
    network = model([node("Magic", ["x"], ["y"], name="spell", domain="mine")])
    network.opset_import.append(helper.make_opsetid("mine", 1))
    return network


def input_shaped_by_an_output():
    """Inference takes the shape of the output of the same name; the input has none."""
    network = relu()
    network.graph.output.append(network.graph.input[0])
    network.graph.input[0].type.tensor_type.ClearField("shape")
    return network


def with_short_data():
    network = model([node("Add", ["x", "c"], ["y"])], weights={"c": np.ones(16, np.float32)})
    network.graph.initializer[0].raw_data = bytes(12)
    return network


def sliced_where_nothing_is():
    """A window larger than the image: ONNX's own inference would end the process at the Slice."""
    nodes = [
        node("Conv", ["x", "w"], ["c"], name="wide", dilations=[50, 50]),
        node("Slice", ["c", "begin", "end", "axis"], ["y"]),
    ]
    bounds = {"begin": np.array([-5]), "end": np.array([-1]), "axis": np.array([-1])}
    return model(nodes, weights={"w": (8, 8, 3, 3), **bounds})


@pytest.mark.parametrize(
    ("network", "match"),
    [
        (sliced_where_nothing_is, "Conv 'wide': the type of its output 'c' cannot be inferred"),
        (unsorted, "Relu 'late' reads 'a'"),
        (with_subgraph, "If 'choice' has a subgraph"),
        (made_twice, "Exp 'again' produces 'y'"),
        (of_a_custom_domain, "spell"),
        (input_shaped_by_an_output, "input 'x' has no shape"),
        (with_short_data, "constant 'c'"),
        (lambda: relu(opset=99), "opset 99"),
        (lambda: relu(opset=0), "opset 0"),
        (lambda: relu(outputs=["z"]), "returns 'z'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_wrong_is_said_by_python(network, match):
    assert_left_to_python(network(), NetworkError, match)


@pytest.mark.parametrize("seed", range(300))
def test_no_strange_file_is_read_that_python_refuses(seed):
    data = fuzz_case(seed)
    try:
        graph = read_onnx(data)
    except CostModelError as error:
        with pytest.raises(type(error), match=re.escape(str(error))):
            python(data)
    else:
        assert str(graph.to_dict()) == str(python(data).to_dict())  # as text: nan is nan


@pytest.mark.parametrize(
    "tail",
    [
        b"\x3b",  # the start of a group
        b"\x38" + 10 * b"\xff" + b"\x01",  # a number of eleven bytes
        b"\x3a\xff\xff\xff\xff\x0f\x00",  # a length of more than the file
        b"\x3a",
    ],
    ids=["group", "number", "length", "end"],
)
def test_bytes_that_do_not_parse_are_refused(tail):
    data = conv_bn_relu().SerializeToString()
    assert_left_to_python(data + tail, NetworkError, "does not parse")
