"""FLOPs and FLOPs+MAC."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("scipy", reason="training needs SciPy")

from tests.tvm_costmodel.predictors.networks import small_networks
from tvm_costmodel.predictors.linear import Flops, FlopsMac

NETWORKS = small_networks()
FLOPS = np.array([network.graph.flops for network in NETWORKS], dtype=np.float64)
BYTES = np.array([network.graph.memory_bytes for network in NETWORKS], dtype=np.float64)


def test_a_linear_law_is_found():
    law = 0.02 + 3e-7 * FLOPS + 5e-8 * BYTES
    predictor = FlopsMac()
    predictor.fit(NETWORKS, law)
    np.testing.assert_allclose(predictor.predict(NETWORKS), law, rtol=1e-6)
    found = predictor.describe()["ms_per"]
    assert found == pytest.approx({"constant": 0.02, "flops": 3e-7, "memory_bytes": 5e-8})


def test_more_work_never_takes_less_time():
    falling = 1 / FLOPS
    predictor = Flops()
    predictor.fit(NETWORKS, falling)
    assert predictor.describe()["ms_per"]["flops"] == 0
    assert len(set(predictor.predict(NETWORKS))) == 1


def test_the_error_that_counts_is_the_relative_one():
    one, other = NETWORKS[0], NETWORKS[-1]
    targets = np.array([1.0, 10.0])
    predictor = Flops()
    predictor.fit([one, one, other], np.array([1.0, 1.2, 10.0]))
    best = (1 + 1 / 1.2) / (1 + 1 / 1.2**2)  # minimizes the squared relative errors of both labels
    assert predictor.predict([one, other]) == pytest.approx([best, targets[1]])
