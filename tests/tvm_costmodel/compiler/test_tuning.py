"""Tuning tasks by what they are predicted to take."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("hypothesis")
pytest.importorskip("tvm", reason="needs a TVM")

from hypothesis import given
from hypothesis import strategies as st

from relay_frontend import kernels, load
from relay_frontend.errors import InputError, NetworkError
from relay_frontend.kernel import Kernel
from tests.networks import zoo_network
from tests.tvm_costmodel.compiler.modules import imported
from tvm_costmodel import CostModel
from tvm_costmodel.compiler import task_weights
from tvm_costmodel.compiler.tuning import budget, kernel_latencies

TARGET = json.dumps({"kind": "llvm", "num-cores": 2})


@given(
    parts=st.lists(st.integers(0, 1000), min_size=1, max_size=12),
    trials=st.integers(0, 500),
    least=st.integers(0, 20),
)
def test_all_trials_are_given_and_larger_shares_get_more(parts, trials, least):
    shares = (np.array(parts) + 1e-6) / (sum(parts) + 1e-6 * len(parts))
    given_ = budget(shares, trials, least)
    assert given_.sum() == trials
    assert given_.min() >= min(least, trials // len(parts))
    order = np.argsort(-shares, kind="stable")
    assert all(np.diff(given_[order]) <= 0)


def test_no_tasks_get_no_trials():
    assert len(budget(np.zeros(0), 10, 8)) == 0


def kernel(flops: int, *operators: int) -> Kernel:
    return Kernel(name="k", kind="k", arguments=(), results=(), flops=flops, operators=operators)


def test_an_operator_of_several_kernels_counts_once():
    found = kernel_latencies(
        [kernel(9, 0, 1), kernel(29, 1), kernel(5), kernel(0, 2)], np.array([1.0, 4.0, 0.5])
    )
    np.testing.assert_allclose(found, [1.0 + 4.0 * 10 / 40, 4.0 * 30 / 40, 0.0, 0.5])


@pytest.mark.relax
@pytest.mark.parametrize("family", ["resnet", "nasbench201", "mobilenet_v3"])
def test_tasks_share_what_the_network_takes(family):
    mod, _ = imported(zoo_network(family))
    model = CostModel.load("tvm-relax")
    weights = task_weights(mod, model, TARGET, trials=100)
    assert sum(w.share for w in weights) == pytest.approx(1)
    assert sum(w.latency_ms for w in weights) == pytest.approx(
        model.estimate(mod).latency_ms, rel=1e-4
    )
    assert sum(w.trials for w in weights) == 100
    shares = [w.share for w in weights]
    assert shares == sorted(shares, reverse=True)
    assert sum(w.calls for w in weights) == len(kernels(mod, TARGET))
    assert all(w.calls == int(w.task.weight) for w in weights)


@pytest.mark.relax
def test_the_convolutions_of_most_flops_come_first():
    mod, _ = imported(zoo_network("vgg"))
    heaviest = max(load(mod), key=lambda operator: operator.flops)
    first = task_weights(mod, "tvm-relax", TARGET)[0]
    assert heaviest.op == "conv2d"
    assert "conv2d" in first.name
    assert first.trials == 0


@pytest.mark.relax
def test_what_cannot_be_weighed_is_refused():
    mod, _ = imported(zoo_network("squeezenet"))
    with pytest.raises(InputError, match="trials=-1"):
        task_weights(mod, "tvm-relax", trials=-1)
    with pytest.raises(NetworkError, match="of a Relax module, not of str"):
        task_weights("model.onnx", "tvm-relax")


@pytest.mark.relay
def test_a_relay_module_has_no_tasks_of_metaschedule():
    mod, _ = imported(zoo_network("squeezenet"))
    with pytest.raises(NetworkError, match="not of a relay module"):
        task_weights(mod, "tvm-relay")
