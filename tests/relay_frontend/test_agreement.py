"""One network, one digest: from ONNX, from Relay and from Relax."""

from __future__ import annotations

import onnx
import pytest

from measure.weights import fill_weights
from relay_frontend.onnx import read_onnx
from tests.networks import DATA, FAMILIES, LIGHT_NETWORKS, conv_bn_relu, light, zoo_network

_WITH_PARAMETERS_IN_SUMS = {"convnext", "vit", "bert"}
"""They add or multiply parameters, which without names look like inputs of the network."""


@pytest.fixture(params=[*FAMILIES, *LIGHT_NETWORKS, "nnlqp_resnet18", "residual block"])
def network(request):
    if request.param in FAMILIES:
        return zoo_network(request.param)
    if request.param == "nnlqp_resnet18":
        return onnx.load(DATA / "nnlqp_resnet18.onnx")
    return conv_bn_relu() if request.param == "residual block" else light(request.param)


@pytest.mark.relax
def test_relax_gives_the_digest_of_onnx(network):
    from relay_frontend.relax import read_relax  # noqa: PLC0415
    from relay_frontend.relax.importer import import_onnx  # noqa: PLC0415

    graph = read_relax(import_onnx(network))
    assert graph.unknown_ops == ()
    assert graph.digest == read_onnx(network).digest


@pytest.mark.relax
def test_relax_agrees_where_parameters_are_constants():
    from tvm.relax.frontend.onnx import from_onnx  # noqa: PLC0415

    from relay_frontend.relax import read_relax  # noqa: PLC0415

    network = zoo_network("mobilenet_v2")
    module = from_onnx(fill_weights(network, 0))
    assert read_relax(module).digest == read_onnx(network).digest


@pytest.mark.relay
def test_relay_gives_the_digest_of_onnx(network):
    from relay_frontend.relay import read_relay  # noqa: PLC0415
    from relay_frontend.relay.importer import import_onnx  # noqa: PLC0415

    module, params = import_onnx(fill_weights(network, 0))
    graph = read_relay(module, params)
    assert graph.unknown_ops == ()
    assert graph.digest == read_onnx(network).digest


@pytest.mark.relay
@pytest.mark.parametrize("family", sorted(set(FAMILIES) - _WITH_PARAMETERS_IN_SUMS))
def test_relay_finds_parameters_by_their_use(family):
    from relay_frontend.relay import read_relay  # noqa: PLC0415
    from relay_frontend.relay.importer import import_onnx  # noqa: PLC0415

    network = zoo_network(family)
    module, _ = import_onnx(fill_weights(network, 0))
    assert read_relay(module).digest == read_onnx(network).digest
