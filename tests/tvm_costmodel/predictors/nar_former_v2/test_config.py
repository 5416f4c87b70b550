"""Configurations refuse what makes no sense; presets have names."""

from __future__ import annotations

from typing import Any

import pytest

from relay_frontend.errors import InputError
from relay_frontend.tokens import TokenConfig
from tvm_costmodel.predictors import create
from tvm_costmodel.predictors.nar_former_v2.config import (
    LatencyNarFormerV2Config,
    NarFormerV2Config,
)
from tvm_costmodel.predictors.nar_former_v2.presets import ACCURACY_PRESETS, LATENCY_PRESETS


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"width": 0}, "width must be positive, got 0"),
        ({"branch_scale": 0.0}, "branch_scale must be positive, got 0.0"),
        ({"branch_scale": float("nan")}, "branch_scale must be positive, got nan"),
        ({"width": 20, "ffn_groups": 8}, r"ffn_groups \(8\) must divide width \(20\)"),
        ({"dropout": 1.0}, "dropout must be 0 to below 1"),
        ({"attention": "softmax"}, "attention is 'softmax': choose from graph, global, mean"),
        ({"relations": ("cousins",)}, "relations is 'cousins': choose from undirected, forward"),
        ({"relations": ()}, "relations must be distinct and at least one"),
        ({"relations": ("forward", "forward")}, "relations must be distinct"),
        ({"num_static": 0}, "set static to False"),
        ({"prior": "costs"}, "prior is 'costs', but the readout 'pooled' does not tell"),
    ],
)
def test_impossible_configuration_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        NarFormerV2Config(**values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kernel_weight": -1.0}, "kernel_weight must be 0 or more"),
        ({"kernel_weight": 1.0}, "choose the readout 'contributions'"),
        ({"shrinkage": -1.0}, "shrinkage must be 0 or more"),
        ({"shrinkage": 1.0}, "choose the prior 'costs'"),
        ({"operator_dropout": 1.0}, "operator_dropout must be 0 to below 1"),
        (
            {"operator_dropout": 0.1, "tokens": TokenConfig(op_type="position")},
            "needs tokens whose op_type is one-hot",
        ),
        (
            {"model": NarFormerV2Config(prior="costs", readout="contributions")},
            "prior 'costs' reads the costs of operators",
        ),
    ],
)
def test_what_a_predictor_cannot_learn_so_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        LatencyNarFormerV2Config(**values)


def test_cells_have_no_costs_for_a_prior() -> None:
    pytest.importorskip("torch", reason="the predictor needs torch")
    with pytest.raises(InputError, match="prior 'costs' reads costs, which cells do not have"):
        create("nar-former-v2", "accuracy", readout="contributions", prior="costs")


def test_presets_are_trained_for_the_papers_epochs_unless_options_say_otherwise() -> None:
    pytest.importorskip("torch", reason="the predictor needs torch")
    made: Any = [
        create("nar-former-v2", **options)
        for options in ({"preset": "best"}, {"preset": "best", "epochs": 3}, {"preset": "paper"})
    ]
    assert [predictor.training.epochs for predictor in made] == [50, 3, 50]


def test_paper_preset_is_the_text_to_the_letter() -> None:
    config = LATENCY_PRESETS["paper"]()
    assert config.tokens.node_position
    assert config.model == NarFormerV2Config()
    assert (config.model.width, config.model.num_blocks) == (512, 2)
    cells = ACCURACY_PRESETS["paper"]().model
    assert (cells.width, cells.num_blocks, cells.readout) == (512, 6, "hierarchical")


def test_reference_preset_is_the_public_code() -> None:
    latency, accuracy = LATENCY_PRESETS["reference"](), ACCURACY_PRESETS["reference"]()
    assert not latency.tokens.node_position
    for model in (latency.model, accuracy.model):
        assert model.activation
        assert model.group_norm
        assert (model.dropout, model.branch_scale) == (0.05, 1e-4)


@pytest.mark.parametrize("task", ["latency", "accuracy"])
def test_presets_are_chosen_and_changed_by_name(task: Any) -> None:
    pytest.importorskip("torch", reason="the predictor needs torch")
    made: Any = create("nar-former-v2", task, preset="reference", width=64, relations="forward")
    assert made.config.model.width == 64
    assert made.config.model.relations == ("forward",)
    assert made.config.model.activation
    with pytest.raises(InputError, match="no preset 'best-ever': known are paper, reference"):
        create("nar-former-v2", task, preset="best-ever")
