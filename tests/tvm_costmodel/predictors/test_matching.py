"""Finding the kernels that fusion gives among measured ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from relay_frontend.fusion import fuse, kernels_of
from relay_frontend.graph import Operator, OpGraph, TensorType
from relay_frontend.kernel import NO_KERNEL, Kernel
from tests.tvm_costmodel.predictors.networks import small_networks
from tvm_costmodel.predictors.base import Network
from tvm_costmodel.predictors.matching import measured_shares

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
        (replace(kernel, kind=f"{kernel.kind}_NCHWc", results=_blocked(kernel)), time)
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
    unlike = [(replace(k, kind="", flops=7 * k.flops + 1), time) for k, time in kernels[1:3]]
    found = measured_shares(measured([kernels[0], *unlike, *kernels[3:]]), GROUPS)
    assert found.parts.tolist()[:4] == [0, 1, 1, 3]
    total = sum(time for _, time in kernels)
    assert found.shares[1] == pytest.approx((kernels[1][1] + kernels[2][1]) / total)
    assert found.shares[2] == 0


def test_nothing_is_known_of_a_network_whose_kernels_were_not_timed() -> None:
    found = measured_shares(replace(NETWORK, kernels=None, kernel_ms=None), GROUPS)
    assert not found.shares.any()


def test_shares_of_a_network_sum_to_one() -> None:
    for network in NETWORKS:
        shares = measured_shares(network, fuse(network.graph)).shares
        assert shares.sum() == pytest.approx(1)


def product(kind: str, data: tuple[int, ...], weight: tuple[int, ...], *result: int) -> Kernel:
    return Kernel(
        name=f"fused_{kind}",
        kind=kind,
        arguments=(TensorType(data), TensorType(weight)),
        results=(TensorType(result),),
        flops=2 * int(np.prod(result)) * data[-1],
    )


def test_an_attention_is_its_two_products_and_its_softmax_wherever_they_run() -> None:
    rows = TensorType((192, 192))
    heads = TensorType((1, 12, 192, 16))
    dense = [
        Operator(op="dense", inputs=(-1,), type=rows, flops=2 * 192**3, param_bytes=4 * 192**2)
        for _ in range(3)
    ]
    split = [Operator(op="reshape", inputs=(i,), type=heads) for i in range(3)]
    attention = Operator(op="attention", inputs=(3, 4, 5), type=heads, flops=12 * 192**2 * 70)
    graph = OpGraph((rows,), (*dense, *split, attention), (6,))
    groups = fuse(graph)
    assert [kernel.kind for kernel in kernels_of(graph, groups)][-1] == "attention"
    # As TVM has them: the values are computed after the scores, and a product of heads has as many
    # FLOPs and results as one of rows.
    one = product("nn_contrib_dense_pack", (192, 192), (6, 192, 32), 192, 192)
    scores = product("nn_batch_matmul", (12, 192, 16), (12, 16, 192), 12, 192, 192)
    softmax = replace(scores, name="fused_nn_softmax", kind="nn_softmax", flops=5)
    mixed = product("nn_batch_matmul", (12, 192, 192), (12, 192, 16), 12, 192, 16)
    assert mixed.flops == one.flops
    network = Network(
        name="bert",
        family="bert",
        platform="x",
        graph=graph,
        kernels=(one, one, scores, softmax, one, mixed),
        kernel_ms=np.array([1.0, 2.0, 10.0, 20.0, 4.0, 30.0]),
    )
    found = measured_shares(network, groups)
    owners = {int(groups[i]): share for i, share in [(0, 1), (1, 2), (2, 4), (6, 60)]}
    expected = [owners.get(kernel, 0) / 67 for kernel in range(len(found.shares))]
    assert found.shares == pytest.approx(expected)
