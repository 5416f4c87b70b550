"""The public measurements, where they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from tvm_costmodel.datasets import open_dataset
from tvm_costmodel.evaluation.metrics import kendall_tau

DATA = Path(__file__).parents[4] / "shared" / "data"

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"public data are not in {DATA}")


def test_nnlqp_has_1800_networks_to_train_and_200_to_test():
    dataset = open_dataset(f"cells:{DATA / 'nnlqp_nasbench201_2000.npz'}[count=60]")
    assert len(dataset) == 60
    assert 0.1 < dataset.targets.min() < dataset.targets.max() < 5
    assert all(100 < len(network.graph) < 500 for network in dataset.inputs)
    # Large networks take longer: the cells are decoded right.
    flops = [network.graph.flops for network in dataset.inputs]
    assert kendall_tau(flops, dataset.targets) > 0.3


def test_help_has_21_devices():
    path = DATA / "nb201_latency_help.npz"
    dataset = open_dataset(f"cells:{path}[count=30,eager=true]")
    assert len(set(dataset.platforms)) == 21
    assert len(dataset) == 21 * 30


def test_the_accuracies_are_of_all_cells():
    dataset = open_dataset(f"cells:{DATA / 'nb201_accuracy.npz'}")
    assert len(set(dataset.names)) == 15625
    assert dataset.targets.max() == pytest.approx(0.9437, abs=1e-3)
    assert 0.09 < dataset.targets.min() < 0.11  # a cell that knows nothing of the ten classes
