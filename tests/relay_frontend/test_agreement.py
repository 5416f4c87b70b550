"""One network, one digest and the same tokens: from ONNX, from Relay and from Relax."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from measure.weights import fill_weights
from relay_frontend import OpGraph, tokenize
from relay_frontend.onnx import read_onnx
from tests.networks import DATA, FAMILIES, LIGHT_NETWORKS, conv_bn_relu, light, zoo_network
from tests.relay_frontend.token_configs import CONFIGS

_WITH_PARAMETERS_IN_SUMS = {"convnext", "vit", "bert"}
"""They add or multiply parameters, which without names look like inputs of the network."""


@pytest.fixture(params=[*FAMILIES, *LIGHT_NETWORKS, "nnlqp_resnet18", "residual block"])
def network(request):
    if request.param in FAMILIES:
        return zoo_network(request.param)
    if request.param == "nnlqp_resnet18":
        return onnx.load(DATA / "nnlqp_resnet18.onnx")
    return conv_bn_relu() if request.param == "residual block" else light(request.param)


def assert_same(graph: OpGraph, expected: OpGraph) -> None:
    assert graph.unknown_ops == ()
    assert graph.digest == expected.digest
    for config in CONFIGS:
        found, wanted = tokenize(graph, config), tokenize(expected, config)
        assert np.array_equal(found.edge_index, wanted.edge_index)
        # Importers round the numbers in attributes, each in its own way.
        for name in ("node_features", "static_features"):
            a, b = getattr(found, name), getattr(wanted, name)
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5, err_msg=f"{name}, {config}")


@pytest.mark.relax
def test_relax_gives_the_graph_of_onnx(network):
    from relay_frontend.relax import read_relax  # noqa: PLC0415
    from relay_frontend.relax.importer import import_onnx  # noqa: PLC0415

    assert_same(read_relax(import_onnx(network)), read_onnx(network))


@pytest.mark.relax
def test_relax_agrees_where_parameters_are_constants():
    from tvm.relax.frontend.onnx import from_onnx  # noqa: PLC0415

    from relay_frontend.relax import read_relax  # noqa: PLC0415

    network = zoo_network("mobilenet_v2")
    module = from_onnx(fill_weights(network, 0))
    assert read_relax(module).digest == read_onnx(network).digest


@pytest.mark.relay
def test_relay_gives_the_graph_of_onnx(network):
    from relay_frontend.relay import read_relay  # noqa: PLC0415
    from relay_frontend.relay.importer import import_onnx  # noqa: PLC0415

    module, params = import_onnx(fill_weights(network, 0))
    assert_same(read_relay(module, params), read_onnx(network))


@pytest.mark.relay
@pytest.mark.parametrize("family", sorted(set(FAMILIES) - _WITH_PARAMETERS_IN_SUMS))
def test_relay_finds_parameters_by_their_use(family):
    from relay_frontend.relay import read_relay  # noqa: PLC0415
    from relay_frontend.relay.importer import import_onnx  # noqa: PLC0415

    network = zoo_network(family)
    module, _ = import_onnx(fill_weights(network, 0))
    assert read_relay(module).digest == read_onnx(network).digest
