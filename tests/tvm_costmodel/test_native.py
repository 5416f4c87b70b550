"""The native runtime: which one is chosen, and that nothing that is given to it can harm it."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.tvm_costmodel.graphs import SMALL, random_tokens, tokens_with_edges
from tvm_costmodel import native
from tvm_costmodel.native import NativePredictor, instruction_sets, make_runtime
from tvm_costmodel.runtime import NumpyPredictor
from tvm_costmodel.weights import weight_shapes

needs_native = pytest.mark.skipif(native.module is None, reason="there is no native runtime here")

KERNELS = replace(SMALL, relations=("undirected", "kernel"))


def weights_for(config, seed=0):
    rng = np.random.default_rng(seed)
    shapes = weight_shapes(config)
    return {n: rng.uniform(-0.5, 0.5, shape).astype(np.float32) for n, shape in shapes.items()}


@needs_native
def test_native_code_is_chosen_where_it_was_built():
    chosen = make_runtime(weights_for(SMALL), SMALL)
    assert isinstance(chosen, NativePredictor)
    assert instruction_sets()[-1] == "baseline"


def test_numpy_is_chosen_where_there_is_no_native_code(monkeypatch):
    monkeypatch.setattr(native, "module", None)
    assert isinstance(make_runtime(weights_for(SMALL), SMALL), NumpyPredictor)
    assert instruction_sets() == ()


def test_the_environment_variable_turns_it_off():
    code = "from tvm_costmodel import native; print(native.module)"
    environment = {**os.environ, "TVM_COSTMODEL_NATIVE": "0", "PYTHONPATH": str(Path.cwd())}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "None\n"


@needs_native
def test_weights_that_are_large_leave_numbers():
    weights = {n: 1e3 * w for n, w in weights_for(SMALL).items()}
    graphs = [random_tokens(12, seed=0)]
    expected = NumpyPredictor(weights, SMALL).predict(graphs)
    np.testing.assert_allclose(NativePredictor(weights, SMALL).predict(graphs), expected, rtol=1e-5)


@needs_native
def test_what_is_not_a_number_stays_so():
    tokens = random_tokens(5, seed=0)
    tokens.node_features[2, 3] = np.nan
    assert np.isnan(NativePredictor(weights_for(SMALL), SMALL).predict([tokens])).all()


@needs_native
def test_arrays_in_any_layout_are_read():
    tokens = random_tokens(9, seed=0)
    turned = replace(
        tokens,
        node_features=np.asfortranarray(tokens.node_features),
        edge_index=np.asfortranarray(tokens.edge_index).astype(np.int32),
        static_features=np.repeat(tokens.static_features, 2)[::2],
    )
    plain = NativePredictor(weights_for(SMALL), SMALL)
    np.testing.assert_array_equal(plain.predict([turned]), plain.predict([tokens]))


@needs_native
def test_edges_count_in_any_order():
    tokens = random_tokens(15, seed=0)
    shuffled = replace(tokens, edge_index=tokens.edge_index[:, ::-1])
    plain = NativePredictor(weights_for(SMALL), SMALL)
    np.testing.assert_allclose(plain.predict([shuffled]), plain.predict([tokens]), rtol=1e-6)


@needs_native
@pytest.mark.parametrize("node", [-1, 4, 2**40])
@pytest.mark.parametrize("row", [0, 1])
def test_edges_to_nodes_that_are_not_there_are_refused(row, node):
    tokens = tokens_with_edges(4, [(0, 1), (1, 2)])
    tokens.edge_index[row, 1] = node
    with pytest.raises(ValueError, match="edge_index"):
        NativePredictor(weights_for(SMALL), SMALL).predict([tokens])


@needs_native
def test_kernels_of_too_few_nodes_are_refused():
    with pytest.raises(ValueError, match="kernels"):
        NativePredictor(weights_for(KERNELS), KERNELS).predict(
            [random_tokens(4, seed=0)], [np.zeros(3, np.int64)]
        )


@needs_native
def test_instructions_that_the_processor_lacks_are_refused():
    with pytest.raises(ValueError, match="this processor has no vax"):
        NativePredictor(weights_for(SMALL), SMALL, instructions="vax")


@needs_native
def test_threads_share_a_runtime():
    plain = NativePredictor(weights_for(SMALL), SMALL)
    graphs = [random_tokens(n % 40, seed=n) for n in range(400)]
    expected = np.array([plain.predict([graph])[0] for graph in graphs])
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda graph: plain.predict([graph])[0], graphs))
    np.testing.assert_array_equal(found, expected)
