"""One network, one digest: from ONNX, from Relay and from Relax."""

from __future__ import annotations

import pytest

from measure.weights import fill_weights
from measure.zoo import sample
from relay_frontend.onnx import read_onnx
from tests.networks import FAMILIES, conv_bn_relu, light

# The whole set of light networks agrees; DenseNet and Inception v2 take longest to import.
LIGHT_NETWORKS = (
    "bvlc_alexnet",
    "densenet121",
    "inception_v1",
    "inception_v2",
    "resnet50",
    "shufflenet",
    "squeezenet",
    "vgg19",
    "zfnet512",
)


@pytest.fixture(params=[*FAMILIES, *LIGHT_NETWORKS, "residual block"])
def network(request):
    if request.param in FAMILIES:
        return sample(request.param, 1).model
    return conv_bn_relu() if request.param == "residual block" else light(request.param)


@pytest.mark.relax
def test_relax_gives_the_digest_of_onnx(network):
    from relay_frontend.onnx_to_relax import import_onnx  # noqa: PLC0415
    from relay_frontend.relax import read_relax  # noqa: PLC0415

    graph = read_relax(import_onnx(network))
    assert graph.unknown_ops == ()
    assert graph.digest == read_onnx(network).digest


@pytest.mark.relax
def test_relax_agrees_where_parameters_are_constants():
    from tvm.relax.frontend.onnx import from_onnx  # noqa: PLC0415

    from relay_frontend.relax import read_relax  # noqa: PLC0415

    network = sample("mobilenet_v2", 0).model
    module = from_onnx(fill_weights(network, 0))
    assert read_relax(module).digest == read_onnx(network).digest


@pytest.mark.relay
def test_relay_gives_the_digest_of_onnx(network):
    from relay_frontend.onnx_to_relay import import_onnx  # noqa: PLC0415
    from relay_frontend.relay import read_relay  # noqa: PLC0415

    module, params = import_onnx(fill_weights(network, 0))
    graph = read_relay(module, params)
    assert graph.unknown_ops == ()
    assert graph.digest == read_onnx(network).digest
    assert read_relay(module).digest == graph.digest, "parameters are found by their use"
