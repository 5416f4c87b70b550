"""Models without their weights: small, and the same network."""

from __future__ import annotations

import numpy as np
import onnx

from measure.weights import fill_weights
from relay_frontend.canonical.canonicalize import canonicalize
from relay_frontend.onnx import read_network
from relay_frontend.onnx.weights import without_weights
from tests.networks import conv_bn_relu, model, zoo_network


def test_large_content_goes_and_types_stay():
    network = fill_weights(zoo_network("alexnet"), 0)
    size = len(network.SerializeToString())
    light = without_weights(network)
    assert len(light.SerializeToString()) < size / 50
    assert len(network.SerializeToString()) == size
    for tensor, smaller in zip(network.graph.initializer, light.graph.initializer, strict=True):
        assert (smaller.name, smaller.dims) == (tensor.name, tensor.dims)
        assert smaller.data_type == tensor.data_type
    assert canonicalize(read_network(light)).digest == canonicalize(read_network(network)).digest


def test_what_decides_shapes_and_values_stays():
    weights = {
        "shape": np.array([1, -1]),
        "bound": np.array(0.5, np.float32),
        "positions": np.arange(1000),
    }
    node = onnx.helper.make_node("Reshape", ["x", "shape"], ["y"])
    light = without_weights(model([node], weights=weights))
    contents = [onnx.numpy_helper.to_array(tensor) for tensor in light.graph.initializer]
    for content, expected in zip(contents, weights.values(), strict=True):
        np.testing.assert_array_equal(content, expected)


def test_external_tensors_stay_external():
    network = conv_bn_relu()
    tensor = network.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="missing.bin")
    smaller = without_weights(network).graph.initializer[0]
    assert smaller.data_location == onnx.TensorProto.EXTERNAL
    assert not smaller.external_data
