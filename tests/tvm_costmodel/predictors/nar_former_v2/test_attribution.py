"""What measured kernels say of the kernels that fusion gives, and learning from it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from relay_frontend.fusion import fuse
from relay_frontend.graph import TensorType
from relay_frontend.kernel import NO_KERNEL, Kernel
from tests.tvm_costmodel.predictors.networks import small_networks
from tvm_costmodel.learning.graphs import Graph, GraphBatch
from tvm_costmodel.predictors.base import Network
from tvm_costmodel.predictors.nar_former_v2.attribution import (
    LatencyAndKernels,
    MeasuredShares,
    measured_rows,
    measured_shares,
)

NETWORKS = small_networks()
NETWORK = NETWORKS[3]
GROUPS = fuse(NETWORK.graph)


def measured(kernels: list[tuple[Kernel, float]]) -> Network:
    """The network with other kernels, and times that only count relative to each other."""
    return replace(
        NETWORK,
        kernels=tuple(kernel for kernel, _ in kernels),
        kernel_ms=np.array([time for _, time in kernels]),
    )


def its_kernels() -> list[tuple[Kernel, float]]:
    """As a compiler has them: a reshape that moves nothing is none."""
    assert NETWORK.kernels is not None
    kernels = [kernel for kernel in NETWORK.kernels if kernel.name != NO_KERNEL]
    return [(kernel, float(1 + i)) for i, kernel in enumerate(kernels)]


def layout_change() -> Kernel:
    type_ = TensorType((1, 1, 8, 8, 16))
    return Kernel(
        name="fused_layout_transform",
        kind="layout_transform",
        arguments=(type_,),
        results=(type_,),
        flops=0,
    )


def test_kernels_that_fusion_gives_have_the_shares_of_the_measured_ones() -> None:
    kernels = its_kernels()
    found = measured_shares(measured(kernels), GROUPS)
    total = sum(time for _, time in kernels)
    assert found.parts.tolist() == list(range(GROUPS.max() + 1))
    assert NETWORK.kernels is not None
    runs = np.array([kernel.name != NO_KERNEL for kernel in NETWORK.kernels])
    assert found.shares[runs] == pytest.approx([time / total for _, time in kernels])
    assert not found.shares[~runs].any()


def test_kernels_in_blocked_layouts_are_found_by_flops_and_elements() -> None:
    kernels = its_kernels()
    blocked = [
        (replace(kernel, kind="nn_contrib_conv2d_NCHWc", results=_blocked(kernel)), time)
        for kernel, time in kernels
    ]
    expected = measured_shares(measured(kernels), GROUPS)
    found = measured_shares(measured(blocked), GROUPS)
    np.testing.assert_array_equal(found.shares, expected.shares)


def _blocked(kernel: Kernel) -> tuple[TensorType, ...]:
    (result,) = kernel.results
    return (TensorType((result.num_elements // 2, 2)),)


def test_a_change_of_layout_counts_to_the_kernel_after_it() -> None:
    kernels = its_kernels()
    changed = [*kernels[:2], (layout_change(), 5.0), *kernels[2:]]
    shares = measured_shares(measured(changed), GROUPS).shares
    total = sum(time for _, time in changed)
    assert shares[1] == pytest.approx(kernels[1][1] / total)
    assert shares[2] == pytest.approx((kernels[2][1] + 5.0) / total)


def test_an_element_wise_kernel_that_was_not_fused_counts_to_the_one_before_it() -> None:
    kernels = its_kernels()
    kernel, time = kernels[1]
    alone = replace(kernel, flops=kernel.flops - kernel.flops // 100)
    left = replace(kernel, name="relu", kind="relu", flops=kernel.flops // 100)
    split = [kernels[0], (alone, time), (left, 3.0), *kernels[2:]]
    shares = measured_shares(measured(split), GROUPS).shares
    assert shares[1] == pytest.approx((time + 3.0) / sum(t for _, t in split))


def test_kernels_that_are_only_known_together_are_one_part() -> None:
    kernels = its_kernels()
    unlike = [(replace(k, flops=7 * k.flops + 1), time) for k, time in kernels[1:3]]
    found = measured_shares(measured([kernels[0], *unlike, *kernels[3:]]), GROUPS)
    assert found.parts.tolist()[:4] == [0, 1, 1, 3]
    total = sum(time for _, time in kernels)
    assert found.shares[1] == pytest.approx((kernels[1][1] + kernels[2][1]) / total)
    assert found.shares[2] == 0


def test_nothing_is_known_of_a_network_whose_kernels_were_not_timed() -> None:
    found = measured_shares(replace(NETWORK, kernels=None, kernel_ms=None), GROUPS)
    assert not found.shares.any()


class Contributions(torch.nn.Module):
    """Answers with what it is told that each node contributes."""

    def __init__(self, answers: list[float]) -> None:
        super().__init__()
        self.answers = torch.nn.Parameter(torch.tensor(answers))

    def contributions(self, batch: GraphBatch) -> torch.Tensor:
        assert len(self.answers) == len(batch.graph_index_N)
        return self.answers


def _graph(groups: list[int]) -> Graph:
    return Graph(
        node_features=np.zeros((len(groups), 1), dtype=np.float32),
        edge_index=np.zeros((2, 0), dtype=np.int64),
        static_features=np.zeros(1, dtype=np.float32),
        group_index=np.array(groups),
    )


NOTHING = MeasuredShares(np.array([0]), np.array([0.0]))
TWO_PARTS = MeasuredShares(np.array([0, 1, 1]), np.array([0.25, 0.5, 0.0]))


def test_rows_are_parts_and_whole_networks_where_nothing_is_known() -> None:
    values = np.array([[1.0, 10.0], [2.0, 20.0], [4.0, 40.0], [8.0, 80.0], [16.0, 160.0]])
    groups = [np.array([0, 0]), np.array([2, 0, 1])]
    sums, times, weights = measured_rows(values, groups, [NOTHING, TWO_PARTS], np.array([3.0, 8.0]))
    assert sums.tolist() == [[3, 30], [8, 80], [20, 200]]
    assert times.tolist() == [3, 2, 4]
    assert weights.tolist() == [1, 0.25, 0.5]


def test_rows_leave_out_parts_that_were_not_measured() -> None:
    known = MeasuredShares(np.array([0, 1]), np.array([0.0, 0.5]))
    groups = [np.array([0, 1])]
    sums, times, weights = measured_rows(np.array([[1.0], [2.0]]), groups, [known], np.array([4.0]))
    assert (sums.tolist(), times.tolist(), weights.tolist()) == ([[2]], [2], [0.5])


def test_the_loss_of_kernels_is_that_of_the_formula() -> None:
    batch = GraphBatch.from_graphs([_graph([0]), _graph([0, 0, 1, 2])])
    known = [TWO_PARTS, MeasuredShares(np.array([0]), np.array([0.9])), NOTHING]
    objective = LatencyAndKernels("relative-squared", 2.0, known)
    model = Contributions([5.0, 1.0, 2.0, 4.0, 2.0])
    latencies = torch.tensor([10.0, 8.0])
    loss = objective(model, batch, latencies, torch.tensor([2, 0]), torch.Generator())
    latency = ((5 / 10 - 1) ** 2 + (9 / 8 - 1) ** 2) / 2
    kernels = (0.25 * (3 / 2 - 1) ** 2 + 0.5 * (6 / 4 - 1) ** 2) / 2
    assert loss.item() == pytest.approx(latency + 2.0 * kernels)
    loss.backward()
    assert model.answers.grad is not None
    assert model.answers.grad.isfinite().all()


def test_shares_of_a_network_sum_to_one() -> None:
    for network in NETWORKS:
        shares = measured_shares(network, fuse(network.graph)).shares
        assert shares.sum() == pytest.approx(1)
