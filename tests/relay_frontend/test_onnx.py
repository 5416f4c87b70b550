"""Reading ONNX: canonical operators, true edges, clear errors."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper

from relay_frontend import load
from relay_frontend.errors import DynamicShapeError, NetworkError
from relay_frontend.onnx import read_onnx
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
    graph = read_onnx(model([node("Erf", ["x"], ["e"]), node("Det", ["e"], ["y"])]))
    assert ops(graph) == ["elementwise", "opaque"]
    assert graph.unknown_ops == ("Det", "Erf")
    assert graph.operators[0].flops == 8 * 16 * 16


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


def test_a_custom_domain_is_reported():
    custom = model([node("Magic", ["x"], ["y"], name="spell", domain="my.ops")])
    custom.opset_import.append(onnx.helper.make_opsetid("my.ops", 1))
    with pytest.raises(NetworkError, match="spell"):
        read_onnx(custom)
