"""The native core against its Python twins: the same graphs, digests and tokens, bit for bit."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from relay_frontend import native
from relay_frontend.canonical.canonicalize import canonicalize
from relay_frontend.fusion import fuse
from relay_frontend.graph import OpGraph, TensorType
from relay_frontend.nodes import INPUT, Network, Node, constant
from relay_frontend.onnx import read_network, read_onnx
from relay_frontend.tokens import TokenConfig, tokenize
from tests.networks import FAMILIES, model, zoo_network
from tests.relay_frontend.native_formulas import random_network
from tests.relay_frontend.native_graphs import describe, malformed
from tests.relay_frontend.token_configs import CONFIGS

needs_native = pytest.mark.skipif(
    native.module is None, reason="the native core was not built, or is turned off"
)

ALL_CONFIGS = (
    *CONFIGS,
    TokenConfig(vocabulary=1, frequencies=3, shape_dims=2, node_position=True),
    TokenConfig(values=("real",), input_dims=9, divisors=(2,), node_position=True, costs=True),
    TokenConfig(values=("logarithm",), costs=True, fused=True),
)


def build(network: Network) -> OpGraph:
    graph = native.attempt("build", *describe(network))
    assert graph is not None
    return graph


def assert_same(graph: OpGraph, expected: OpGraph) -> None:
    assert graph.to_dict() == expected.to_dict()
    assert graph == expected
    totals = ("batch_size", "flops", "param_bytes", "memory_bytes", "digest", "edges")
    assert {n: getattr(graph, n) for n in totals} == {n: getattr(expected, n) for n in totals}
    for config in ALL_CONFIGS:
        ours, theirs = tokenize(graph, config), tokenize(expected, config)
        for name in ("node_features", "edge_index", "static_features"):
            a, b = getattr(ours, name), getattr(theirs, name)
            assert (a.dtype, a.shape) == (b.dtype, b.shape), name
            assert a.tobytes() == b.tobytes(), name
    ours, theirs = fuse(graph), fuse(expected)
    assert (ours.dtype, ours.tolist()) == (theirs.dtype, theirs.tolist())


@needs_native
@settings(max_examples=400, deadline=None)
@given(st.randoms(use_true_random=True))
def test_random_networks_are_the_same_in_both(rng):
    network = random_network(rng)
    described = describe(network)
    expected = canonicalize(network)
    assert_same(native.NativeOpGraph(native.module.build(*described)), expected)


@needs_native
@pytest.mark.parametrize("family", FAMILIES)
def test_tokens_and_kernels_of_the_zoo_are_the_same(family):
    graph = read_onnx(zoo_network(family))
    assert isinstance(graph, native.NativeOpGraph)
    assert_same(graph, pickle.loads(pickle.dumps(graph)))


def chain(length: int) -> Network:
    x = node = Node(INPUT, TensorType((1, 8)), source="x")
    for i in range(length):
        node = Node("relu" if i % 3 else "add", x.type, [node] if i % 3 else [node, x])
    return Network([x], [node])


@needs_native
def test_a_deep_network_needs_no_recursion():
    assert_same(build(chain(4_000)), canonicalize(chain(4_000)))
    assert len(build(chain(100_000))) == 100_000


@needs_native
def test_a_native_graph_survives_pickling_as_a_plain_one():
    graph = build(chain(5))
    again = pickle.loads(pickle.dumps(graph))
    assert type(again) is OpGraph
    assert again == graph
    assert hash(again) == hash(graph)


@needs_native
@pytest.mark.parametrize(
    ("dtype", "shape"),
    [("float8_e4m3fn", (1, 8)), ("float32", (2**40, 2**40)), ("float32", (-1, 8))],
)
def test_what_the_native_core_cannot_represent_is_left_to_python(dtype, shape):
    x = Node(INPUT, TensorType(shape, dtype), source="x")
    network = Network([x], [Node("relu", x.type, [x])])
    assert native.attempt("build", *describe(network)) is None


@needs_native
@settings(max_examples=400, deadline=None)
@given(st.randoms(use_true_random=True))
def test_malformed_networks_do_not_crash_the_native_core(rng):
    graph = native.attempt("build", *describe(malformed(rng)))
    if graph is not None:
        assert len(tokenize(graph).node_features) == len(graph)
        assert len(graph.digest) == 64


@needs_native
def test_token_arrays_outlive_their_graph():
    tokens = tokenize(build(chain(50)))
    before = tokens.node_features.copy()
    for _ in range(20):
        build(chain(50))
    np.testing.assert_array_equal(tokens.node_features, before)
    assert tokens.node_features.flags.writeable


@needs_native
def test_a_constant_output_is_dropped_by_both():
    x = Node(INPUT, TensorType((1, 8)), source="x")
    fixed = constant(TensorType((3,)))
    network = Network([x], [Node("exp", x.type, [x]), fixed, x])
    assert_same(build(network), canonicalize(network))


@needs_native
def test_the_locale_of_the_process_does_not_matter(tmp_path):
    """The decimal sign is a point, in formulas and in attributes, also where C has a comma."""
    locale = tmp_path / "de_DE.UTF-8"
    if shutil.which("localedef") is None or not Path("/usr/share/i18n/locales/de_DE").exists():
        pytest.skip("nothing to make a locale of")
    subprocess.run(["localedef", "-i", "de_DE", "-f", "UTF-8", locale], check=True)
    nodes = [
        helper.make_node("LeakyRelu", ["x"], ["a"], alpha=0.1),
        helper.make_node("Pow", ["a", "half"], ["y"]),
    ]
    network = model(nodes, weights={"half": np.array(0.5, np.float32)})
    path = tmp_path / "network.onnx"
    path.write_bytes(network.SerializeToString())
    script = (
        "import locale; locale.setlocale(locale.LC_ALL, ''); import sys\n"
        "assert locale.localeconv()['decimal_point'] == ','\n"
        "from relay_frontend import load, native; graph = load(sys.argv[1])\n"
        "assert isinstance(graph, native.NativeOpGraph)\n"
        "print(*[operator.op for operator in graph], graph.digest)\n"
    )
    environment = {**os.environ, "LOCPATH": str(tmp_path), "LC_ALL": "de_DE.UTF-8"}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    command = [sys.executable, "-c", script, path]
    found = subprocess.run(command, check=True, env=environment, capture_output=True, text=True)
    digest = canonicalize(read_network(network)).digest
    assert found.stdout.split() == ["leaky_relu", "sqrt", digest]


def test_the_environment_variable_turns_the_native_core_off():
    script = "from relay_frontend import native; assert native.module is None"
    environment = {"TVM_COSTMODEL_NATIVE": "0", "PYTHONPATH": str(Path.cwd())}
    subprocess.run([sys.executable, "-c", script], check=True, env=environment)
