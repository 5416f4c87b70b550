"""Learning from what measured kernels say of the kernels that fusion gives."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from relay_frontend.errors import InputError
from tvm_costmodel.learning.graphs import Graph, GraphBatch
from tvm_costmodel.predictors.matching import MeasuredShares
from tvm_costmodel.predictors.nar_former_v2.attribution import LatencyAndKernels, measured_rows


class Contributions(torch.nn.Module):
    """Answers with what it is told that each node contributes, times its prior."""

    def __init__(self, answers: list[float], prior: list[float] | None = None) -> None:
        super().__init__()
        self.answers = torch.nn.Parameter(torch.tensor(answers))
        self.prior = torch.tensor([1.0] * len(answers) if prior is None else prior)

    def factors(self, batch: GraphBatch) -> tuple[torch.Tensor, torch.Tensor]:
        assert len(self.answers) == len(batch.graph_index_N)
        return self.answers, self.prior


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


def test_a_compiled_model_is_refused_whose_contributions_are_not_compiled() -> None:
    batch = GraphBatch.from_graphs([_graph([0, 0, 1, 2])])
    objective = LatencyAndKernels("relative-squared", 1.0, [TWO_PARTS])
    compiled = torch.compile(Contributions([1.0] * 4), dynamic=True)
    with pytest.raises(InputError, match="compile=true does nothing where contributions"):
        objective(compiled, batch, torch.tensor([10.0]), torch.tensor([0]), torch.Generator())


def test_contributions_are_held_near_the_prior_where_there_is_one() -> None:
    batch = GraphBatch.from_graphs([_graph([0, 0, 1, 2])])
    model = Contributions([0.0, np.e**2, 7.0, 1.0], prior=[0.0, 1.0, 0.0, 1.0])
    losses = [
        LatencyAndKernels("relative-squared", 1.0, [TWO_PARTS], shrinkage=weight)(
            model, batch, torch.tensor([10.0]), torch.tensor([0]), torch.Generator()
        )
        for weight in (0.0, 3.0)
    ]
    assert (losses[1] - losses[0]).item() == pytest.approx(3.0 * 2**2 / 4)
    losses[1].backward()
    assert model.answers.grad is not None
    assert model.answers.grad.isfinite().all()
