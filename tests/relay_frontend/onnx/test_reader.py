"""Reading ONNX: canonical operators, true edges, clear errors."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from relay_frontend import load
from relay_frontend.canonical.canonicalize import canonicalize
from relay_frontend.errors import DynamicShapeError, InputError, NetworkError
from relay_frontend.onnx import read_network, read_onnx
from tests.networks import conv_bn_relu, light, model

node = helper.make_node


def ops(graph):
    return [operator.op for operator in graph]


def test_batch_norm_and_biases_join_their_linear_operator():
    graph = read_onnx(conv_bn_relu())
    assert ops(graph) == ["conv2d", "relu", "add", "global_avg_pool2d", "reshape", "dense"]
    assert graph.operators[0].attrs["has_bias"]
    assert graph.operators[0].attrs["padding"] == (1, 1, 1, 1)
    assert graph.operators[5].attrs["has_bias"]


def test_edges_follow_the_data_and_inputs_are_negative():
    graph = read_onnx(conv_bn_relu())
    assert graph.edges == ((0, 1), (1, 2), (2, 3), (3, 4), (4, 5))
    assert graph.operators[2].inputs == (1, -1)


def test_batch_norm_stays_where_the_convolution_has_another_consumer():
    graph = read_onnx(
        model(
            [
                node("Conv", ["x", "w"], ["c"]),
                node("BatchNormalization", ["c", "s", "b", "m", "v"], ["n"]),
                node("Add", ["n", "c"], ["y"]),
            ],
            weights=dict.fromkeys("sbmv", (8,)) | {"w": (8, 8, 1, 1)},
        )
    )
    assert ops(graph) == ["conv2d", "batch_norm", "add"]


def test_no_ops_vanish():
    graph = read_onnx(
        model(
            [
                node("Identity", ["x"], ["a"]),
                node("Dropout", ["a"], ["b"]),
                node("Reshape", ["b", "same"], ["c"]),
                node("Relu", ["c"], ["y"]),
            ],
            weights={"same": np.array([1, 8, 16, 16])},
        )
    )
    assert ops(graph) == ["relu"]
    assert graph.operators[0].inputs == (-1,)


def test_padding_folds_into_the_convolution_after_it():
    graph = read_onnx(
        model(
            [
                node("Pad", ["x", "pads"], ["p"]),
                node("Conv", ["p", "w"], ["y"], pads=[1, 0, 0, 0]),
            ],
            weights={"pads": np.array([0, 0, 1, 2, 0, 0, 3, 4]), "w": (4, 8, 3, 3)},
        )
    )
    assert ops(graph) == ["conv2d"]
    assert graph.operators[0].attrs["padding"] == (2, 2, 3, 4)


@pytest.mark.parametrize(("lower", "padding"), [("UPPER", (0, 0, 1, 1)), ("LOWER", (1, 1, 0, 0))])
def test_auto_padding_becomes_explicit(lower, padding):
    graph = read_onnx(
        model(
            [node("Conv", ["x", "w"], ["y"], auto_pad=f"SAME_{lower}", strides=[2, 2])],
            weights={"w": (4, 8, 3, 3)},
        )
    )
    assert graph.operators[0].attrs["padding"] == padding
    assert graph.operators[0].shape == (1, 4, 8, 8)


def test_clip_at_zero_without_upper_bound_is_relu():
    graph = read_onnx(
        model([node("Clip", ["x", "low"], ["y"])], weights={"low": np.array(0, np.float32)})
    )
    assert ops(graph) == ["relu"]


def test_an_unknown_operator_becomes_its_category_and_is_listed():
    graph = read_onnx(model([node("Shrink", ["x"], ["e"]), node("Det", ["e"], ["y"])]))
    assert ops(graph) == ["elementwise", "opaque"]
    assert graph.unknown_ops == ("Det", "Shrink")
    assert graph.operators[0].flops == 8 * 16 * 16


def test_networks_that_differ_in_an_unknown_operator_have_digests_of_their_own():
    hardmax, shrink = (read_onnx(model([node(op, ["x"], ["y"])])) for op in ("Hardmax", "Shrink"))
    assert hardmax.operators == shrink.operators
    assert hardmax.digest != shrink.digest


def test_graphs_are_equal_whatever_their_operators_are_called():
    first, second = (read_onnx(model([node("Relu", ["x"], ["y"], name=name)])) for name in "ab")
    assert [operator.source for operator in (*first, *second)] == ["a", "b"]
    assert first == second


def test_a_symbolic_batch_is_named_and_can_be_bound():
    dynamic = model([node("Relu", ["x"], ["y"])], input_shape=("batch", 3, 8, 8))
    with pytest.raises(DynamicShapeError, match=r"'x': dimension 0 is symbolic \('batch'\)"):
        read_onnx(dynamic)
    assert read_onnx(dynamic, {"x": (2, 3, 8, 8)}).batch_size == 2


def test_binding_an_input_that_is_not_there_is_an_error():
    with pytest.raises(NetworkError, match="no input named 'z'; the inputs are x"):
        read_onnx(model([node("Relu", ["x"], ["y"])]), {"z": (1,)})


def test_a_file_that_is_no_network_is_named(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("no network")
    with pytest.raises(NetworkError, match=r"notes\.txt: not an ONNX model"):
        load(path)
    with pytest.raises(NetworkError, match=r"missing\.onnx: cannot be read"):
        load(tmp_path / "missing.onnx")


def test_a_model_without_operators_is_no_network():
    empty = model([])
    with pytest.raises(NetworkError, match=r"given model: .* \(it has no operators\)"):
        load(empty)
    with pytest.raises(NetworkError, match=r"given bytes: .* \(it has no operators\)"):
        load(empty.SerializeToString())


def test_arguments_for_other_kinds_of_networks_are_refused():
    network = model([node("Relu", ["x"], ["y"])])
    with pytest.raises(InputError, match=r"are for a torch\.nn\.Module, not for onnx"):
        load(network, example_inputs=(np.zeros(3),))
    with pytest.raises(InputError, match="params is the text 'weight': give a collection"):
        load(network, params="weight")


def test_networks_of_a_stream_share_the_names_of_parameters():
    network = model([node("Relu", ["x"], ["y"])])
    assert load(network, params=["weight"]) == load(network)


def test_an_object_that_is_no_network_is_named():
    with pytest.raises(NetworkError, match="cannot read a network from int"):
        load(3)


def test_inconsistent_shapes_are_reported_with_the_node():
    bad = model([node("Conv", ["x", "w"], ["y"], name="broken")], weights={"w": (4, 3, 3, 3)})
    with pytest.raises(NetworkError, match=r"Conv 'broken': 8 channels, but .* for 3"):
        read_onnx(bad)


def test_a_missing_value_is_reported_with_its_consumer():
    bad = model([node("Relu", ["nowhere"], ["y"], name="act")])
    with pytest.raises(NetworkError, match="Relu 'act' reads 'nowhere'"):
        read_onnx(bad)


def test_weights_names_and_metadata_do_not_change_the_digest():
    plain, other = conv_bn_relu(), conv_bn_relu()
    other.producer_name = "someone else"
    for proto in other.graph.node:
        proto.name = f"renamed_{proto.name}"
    other.graph.initializer[0].raw_data = bytes(len(other.graph.initializer[0].raw_data))
    assert read_onnx(plain).digest == read_onnx(other).digest


def test_the_digest_is_stable_across_versions():
    assert read_onnx(conv_bn_relu()).digest == (
        "213947dd57a9c2680aa2b8a35d9334d05e622bcf27699ee8e7b556e657fd3c0b"
    )


def test_attributes_change_the_digest():
    wide = conv_bn_relu()
    wide.graph.node[0].attribute[0].ints[:] = [2, 2, 2, 2]
    wide.graph.node[0].attribute.append(helper.make_attribute("dilations", [2, 2]))
    assert read_onnx(wide).digest != read_onnx(conv_bn_relu()).digest


@pytest.mark.parametrize(
    ("name", "operators", "gflops", "mparams"),
    [  # GFLOPs and parameters as published (2 x multiply-adds)
        ("resnet50", 123, 8.2, 25.5),
        ("vgg19", 44, 39.3, 143.7),
        ("squeezenet", 65, 0.7, 1.24),
        ("densenet121", 367, 5.7, 8.0),
        ("inception_v1", 142, 2.9, 7.0),
    ],
)
def test_real_networks_have_their_published_costs(name, operators, gflops, mparams):
    graph = read_onnx(light(name))
    assert len(graph) == operators
    assert graph.unknown_ops == ()
    assert graph.flops / 1e9 == pytest.approx(gflops, rel=0.03)
    assert graph.param_bytes / 4e6 == pytest.approx(mparams, rel=0.01)


def test_networks_with_and_without_weights_are_the_same():
    weightless = light("squeezenet")
    from measure.weights import fill_weights  # noqa: PLC0415

    assert read_onnx(weightless).digest == read_onnx(fill_weights(weightless, 0)).digest


def test_a_model_can_be_given_as_bytes():
    assert read_onnx(conv_bn_relu().SerializeToString()).digest == read_onnx(conv_bn_relu()).digest


def test_truncated_bytes_are_no_model():
    with pytest.raises(NetworkError):
        read_onnx(conv_bn_relu().SerializeToString()[:-40])


def test_control_flow_is_refused_by_name():
    branch = helper.make_graph([node("Relu", ["x"], ["t"])], "b", [], [])
    loop = model(
        [node("If", ["cond"], ["y"], name="choice", then_branch=branch, else_branch=branch)],
        weights={"cond": np.array(True)},
    )
    with pytest.raises(NetworkError, match=r"If 'choice' has a subgraph"):
        read_onnx(loop)


def custom_network(name, domain="my.ops", value_info=()):
    network = model([node(name, ["x"], ["h"], name="spell", domain=domain), node("Relu", "h", "y")])
    network.opset_import.append(helper.make_opsetid(domain, 1))
    network.graph.value_info.extend(value_info)
    return network


def test_a_custom_domain_is_reported():
    for name in ("Magic", "Gelu"):
        with pytest.raises(NetworkError, match=rf"{name} 'spell': the type of its output 'h'"):
            read_onnx(custom_network(name))


def test_a_custom_operator_of_known_type_is_outside_of_the_vocabulary():
    hidden = helper.make_tensor_value_info("h", TensorProto.FLOAT, [1, 8, 16, 16])
    graph = read_onnx(custom_network("Gelu", "com.microsoft", [hidden]))
    assert ops(graph) == ["elementwise", "relu"]
    assert graph.unknown_ops == ("com.microsoft.Gelu",)


def test_functions_of_the_model_are_inlined():
    function = helper.make_function(
        "my.ops", "Magic", ["a"], ["b"], [node("Tanh", ["a"], ["b"])], [helper.make_opsetid("", 17)]
    )
    network = custom_network("Magic")
    network.functions.append(function)
    assert ops(read_onnx(network)) == ["tanh", "relu"]


def test_functions_that_never_end_are_refused():
    network = custom_network("Magic")
    calls = [
        node("Magic", ["a"], ["c"], domain="my.ops"),
        node("Magic", ["c"], ["b"], domain="my.ops"),
    ]
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("my.ops", 1)]
    network.functions.append(helper.make_function("my.ops", "Magic", ["a"], ["b"], calls, opsets))
    with pytest.raises(NetworkError, match=r"function my\.ops\.Magic .* calls itself"):
        read_onnx(network)


def test_functions_that_grow_without_bound_are_refused():
    network = custom_network("F40")
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("my.ops", 1)]
    for level in range(41):
        called, domain = (f"F{level - 1}", "my.ops") if level else ("Relu", "")
        calls = [
            node(called, ["a"], ["c"], domain=domain),
            node(called, ["c"], ["b"], domain=domain),
        ]
        network.functions.append(
            helper.make_function("my.ops", f"F{level}", ["a"], ["b"], calls, opsets)
        )
    with pytest.raises(NetworkError, match="more than 2000000 operators"):
        read_onnx(network)


def test_an_opset_from_the_future_is_refused():
    network = model([node("Relu", ["x"], ["y"])], opset=99)
    with pytest.raises(NetworkError, match="opset 99, but ONNX is known up to opset 28"):
        read_onnx(network)


def test_external_data_is_never_opened(tmp_path):
    network = conv_bn_relu()
    tensor = network.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=str(tmp_path / "missing.bin"))
    assert read_onnx(network).digest == read_onnx(conv_bn_relu()).digest


def test_values_that_are_made_twice_are_reported():
    network = model([node("Relu", ["x"], ["y"]), node("Tanh", ["x"], ["y"], name="again")])
    with pytest.raises(NetworkError, match="Tanh 'again' produces 'y', which is there already"):
        read_onnx(network)


def test_a_circle_is_reported():
    network = model([node("Add", ["x", "b"], ["a"], name="first"), node("Relu", ["a"], ["b"])])
    network.graph.output[0].name = "b"
    with pytest.raises(NetworkError, match="Add 'first' reads 'b', which no node before it"):
        read_onnx(network)


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (node("MatMul", ["x", ""], ["y"], name="it"), "MatMul.*it"),
        (node("Concat", ["x"], ["y"], name="it", axis=9), "Concat.*it"),
        (node("Relu", [], ["y"], name="it"), "Relu.*it"),
        (node("Softmax", ["x"], ["y"], name="it", axis=b"one"), "Softmax 'it'"),
        (node("Conv", ["x", "w"], ["y"], name="it", strides=[0, 1]), "Conv.*it"),
        (node("Gather", ["x", ""], ["y"], name="it"), "Gather.*it"),
        (node("Add", ["x", ""], ["y"], name="it"), "Add.*it"),
        (node("Add", ["x", "x", "x"], ["y"], name="it"), "Add 'it' has 3 operands, but takes 2"),
        (node("Where", ["x"], ["y"], name="it"), "Where.*it"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.op_type,
)
def test_malformed_nodes_are_named(broken, reason):
    with pytest.raises(NetworkError, match=reason):
        read_onnx(model([broken], weights={"w": (4, 8, 3, 3)}))


def test_a_name_that_is_no_text_is_reported():
    data = model([node("Relu", ["x"], ["y"], name="name")]).SerializeToString()
    with pytest.raises(NetworkError, match="not UTF-8"):
        read_onnx(data.replace(b"Relu", b"R\xff\xfeu"))


def test_huge_extents_allocate_nothing():
    """A vector of 2 ** 40 numbers that is never made, and shapes computed from its length."""
    network = model(
        [
            node("ConstantOfShape", ["huge"], ["zeros"]),
            node("Add", ["zeros", "zeros"], ["sum"]),
            node("Shape", ["sum"], ["length"]),
            node("Concat", ["length", "length"], ["twice"], axis=0),
            node("Expand", ["x", "twice"], ["y"]),
        ],
        input_shape=(1, 1),
        weights={"huge": np.array([2**40])},
    )
    (expand,) = read_onnx(network)
    assert expand.shape == (2**40, 2**40)


def test_shapes_computed_from_shapes_are_followed():
    """Halves of a dimension are out of reach for ONNX's inference; all behind them is typed too."""
    network = model(
        [
            node("Shape", ["x"], ["shape"]),
            node("Gather", ["shape", "one"], ["channels"]),
            node("Div", ["channels", "two"], ["half"]),
            node("Slice", ["x", "zero", "half", "one"], ["part"]),
            node("GlobalAveragePool", ["part"], ["pooled"]),
            node("Flatten", ["pooled"], ["y"]),
        ],
        weights={"zero": np.array([0]), "one": np.array([1]), "two": np.array([2])},
    )
    graph = canonicalize(read_network(network))
    assert ops(graph) == ["slice", "global_avg_pool2d", "reshape"]
    assert graph.operators[2].shape == (1, 4)


def test_operators_without_inference_have_the_type_of_their_operand():
    network = model(
        [
            node("GroupNormalization", ["x", "s", "b"], ["n"], num_groups=2),
            node("Conv", ["n", "w"], ["y"]),
        ],
        weights={"s": (8,), "b": (8,), "w": (4, 8, 1, 1)},
        opset=21,
    )
    assert [(o.op, o.shape) for o in read_onnx(network)] == [
        ("group_norm", (1, 8, 16, 16)),
        ("conv2d", (1, 4, 16, 16)),
    ]


def test_old_opsets_without_inference_are_read():
    nodes = [node("Relu", ["x"], ["r"]), node("Add", ["r", "b"], ["y"], broadcast=1, axis=1)]
    assert ops(read_onnx(model(nodes, weights={"b": (8,)}, opset=5))) == ["relu", "add"]


def test_attributes_that_change_the_operator_put_it_outside_of_the_vocabulary():
    variants = [
        node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2], dilations=[2, 2]),
        node("Pad", ["x", "widths"], ["y"], mode="wrap"),
        node("CumSum", ["x", "axis"], ["y"], reverse=1),
        node("LpNormalization", ["x"], ["y"], p=1),
        node("Resize", ["x", "", "scales"], ["y"], mode="linear", antialias=1),
        node("DequantizeLinear", ["q", "blocks"], ["y"], axis=1, block_size=4),
    ]
    weights = {
        "widths": np.array([0, 0, 1, 1, 0, 0, 1, 1]),
        "axis": np.array(1),
        "scales": np.array([1, 1, 2, 2], np.float32),
        "blocks": (1, 2, 16, 16),
    }
    for variant in variants[:-1]:
        graph = read_onnx(model([variant], weights=weights, opset=21))
        assert graph.unknown_ops == (variant.op_type,)
    nodes = [node("Cast", ["x"], ["q"], to=TensorProto.INT8), variants[-1]]
    assert read_onnx(model(nodes, weights=weights, opset=21)).unknown_ops == ("DequantizeLinear",)


def test_weights_are_not_copied():
    network = model([node("MatMul", ["x", "w"], ["y"])], (1, 1024), {"w": (1024, 1024)})
    tracemalloc.start()
    try:
        read_network(network)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_depth_is_no_limit():
    count = 3000
    nodes = [node("Relu", [f"v{i}"], [f"v{i + 1}"]) for i in range(count)]
    network = model([node("Tanh", ["x"], ["v0"]), *nodes], outputs=[f"v{count}"])
    assert len(canonicalize(read_network(network))) == count + 1


def test_large_constants_inside_of_nodes_need_no_content():
    """Their type is read, the rest is left alone."""
    weight = numpy_helper.from_array(np.zeros((16, 1000), np.float32))
    network = model([node("Constant", [], ["w"], value=weight), node("MatMul", ["x", "w"], ["y"])])
    assert ops(read_onnx(network)) == ["dense"]
