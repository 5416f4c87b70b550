"""NAR-Former V2 as a predictor of networks and of cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from relay_frontend.errors import InputError
from relay_frontend.fusion import fuse
from relay_frontend.tokens import NUM_COSTS, tokenize
from relay_frontend.vocabulary import OPERATORS, index
from tests.tvm_costmodel.predictors.networks import (
    OTHER_PLATFORM,
    PLATFORM,
    accuracies,
    latencies,
    small_cells,
    small_networks,
)
from tvm_costmodel.checkpoint import load_checkpoint
from tvm_costmodel.errors import CheckpointError
from tvm_costmodel.learning.graphs import GraphBatch
from tvm_costmodel.learning.losses import RankingAndConsistency
from tvm_costmodel.learning.trainer import TrainingConfig
from tvm_costmodel.predictors.base import Network
from tvm_costmodel.predictors.nar_former_v2.config import (
    AccuracyNarFormerV2Config,
    LatencyNarFormerV2Config,
)
from tvm_costmodel.predictors.nar_former_v2.latency import CostPrior, sum_over_graphs
from tvm_costmodel.predictors.nar_former_v2.predictor import (
    AccuracyNarFormerV2,
    LatencyNarFormerV2,
)
from tvm_costmodel.predictors.nar_former_v2.presets import LATENCY_PRESETS
from tvm_costmodel.runtime import NumpyPredictor

NETWORKS = small_networks()
LATENCIES = latencies(NETWORKS)
TRAINING = TrainingConfig(epochs=3, batch_size=4, device="cpu")
RELATIONS = ("forward", "backward", "siblings", "kernel")


def latency_config(**switches: Any) -> LatencyNarFormerV2Config:
    config = LatencyNarFormerV2Config()
    return replace(config, model=replace(config.model, width=16, **switches))


def accuracy_config(num_blocks: int) -> AccuracyNarFormerV2Config:
    config = AccuracyNarFormerV2Config()
    return replace(config, model=replace(config.model, width=16, num_blocks=num_blocks))


def fitted(**switches: Any) -> LatencyNarFormerV2:
    predictor = LatencyNarFormerV2(latency_config(**switches), TRAINING)
    predictor.fit(NETWORKS, LATENCIES)
    return predictor


def test_model_has_the_sizes_of_its_tokens() -> None:
    config = LatencyNarFormerV2Config()
    tokens = replace(config.tokens, values=("logarithm",), costs=True)
    predictor = LatencyNarFormerV2(replace(config, tokens=tokens))
    assert predictor.config.model.num_features == tokens.num_features
    assert predictor.config.model.num_static == tokens.num_static
    assert AccuracyNarFormerV2().config.model.num_features == 128


def test_contributions_of_operators_sum_to_the_latency() -> None:
    predictor = fitted(readout="contributions", relations=RELATIONS)
    network = NETWORKS[3]
    parts = predictor.contributions(network)
    assert parts.shape == (len(network.graph),)
    assert (parts >= 0).all()
    assert parts.sum() == pytest.approx(predictor.predict([network])[0], rel=1e-5)


def test_saved_predictor_is_read_without_torch(tmp_path) -> None:
    predictor = fitted(readout="contributions", relations=RELATIONS)
    predictor.facts = {"platform": PLATFORM, "training_data": {"networks": 12}, "metrics": {}}
    predictor.save(tmp_path / "saved")
    checkpoint = load_checkpoint(tmp_path / "saved")
    assert checkpoint.platform == PLATFORM
    assert checkpoint.training_data == {"networks": 12}
    tokens = [tokenize(network.graph, checkpoint.token_config) for network in NETWORKS]
    kernels = [fuse(network.graph) for network in NETWORKS]
    plain = NumpyPredictor(checkpoint.weights, checkpoint.config)
    found = plain.predict(tokens, kernels)
    np.testing.assert_allclose(found, predictor.predict(NETWORKS), rtol=1e-5)
    parts = plain.contributions(tokens[3], kernels[3])
    np.testing.assert_allclose(parts, predictor.contributions(NETWORKS[3]), rtol=1e-4)


def best(networks: Sequence[Network] = NETWORKS, **options: Any) -> LatencyNarFormerV2:
    config = LATENCY_PRESETS["best"]()
    config = replace(config, model=replace(config.model, width=16), **options)
    predictor = LatencyNarFormerV2(config, TRAINING)
    predictor.fit(networks, LATENCIES)
    return predictor


def without_kernels() -> list[Network]:
    return [replace(network, kernels=None, kernel_ms=None) for network in NETWORKS]


def test_preset_best_is_read_without_torch(tmp_path) -> None:
    predictor = best()
    predictor.facts = {"platform": PLATFORM, "training_data": {"networks": 12}, "metrics": {}}
    predictor.save(tmp_path / "saved")
    checkpoint = load_checkpoint(tmp_path / "saved")
    plain = NumpyPredictor(checkpoint.weights, checkpoint.config)
    tokens = [tokenize(network.graph, checkpoint.token_config) for network in NETWORKS]
    found = plain.predict(tokens, [fuse(network.graph) for network in NETWORKS])
    np.testing.assert_allclose(found, predictor.predict(NETWORKS), rtol=1e-5)
    parts = plain.contributions(tokens[3])
    np.testing.assert_allclose(parts, predictor.contributions(NETWORKS[3]), rtol=1e-4)


def test_measured_kernels_teach_what_kernels_contribute() -> None:
    config = LATENCY_PRESETS["best"]()
    model = replace(config.model, width=16, prior="none")
    config = replace(config, model=model, shrinkage=0.0, operator_dropout=0.0)
    training = replace(TRAINING, epochs=30, learning_rate=1e-2)
    networks = [mostly_first(network) for network in NETWORKS]
    errors = []
    for weight in (10.0, 0.0):
        predictor = LatencyNarFormerV2(replace(config, kernel_weight=weight), training)
        predictor.fit(networks, LATENCIES)
        errors.append(np.mean([misattributed(network, predictor) for network in networks]))
    assert errors[0] < 0.3 * errors[1]


def mostly_first(network: Network) -> Network:
    """The network as if its first kernel took most of the time, which no latency tells."""
    assert network.kernel_ms is not None
    kernel_ms = network.kernel_ms / network.kernel_ms.sum()
    kernel_ms[0] += 3
    return replace(network, kernel_ms=kernel_ms)


def misattributed(network: Network, predictor: LatencyNarFormerV2) -> float:
    """The share of the latency that other kernels contribute than those that take it."""
    assert network.kernel_ms is not None
    parts = np.bincount(fuse(network.graph), predictor.contributions(network))
    shares = network.kernel_ms / network.kernel_ms.sum()
    return float(np.abs(parts / parts.sum() - shares).sum() / 2)


def test_operators_that_no_training_network_has_count_as_their_category() -> None:
    predictor = best(operator_dropout=0.5)
    known = {operator.op for network in NETWORKS for operator in network.graph}
    assert set(predictor.config.tokens.operators) == known
    unnamed = best(operator_dropout=0.0)
    assert unnamed.config.tokens.operators == ()


def test_categories_of_operators_that_no_training_network_has_are_told_apart() -> None:
    predictor = best(operator_dropout=0.5)
    categories = [OPERATORS[known].category for known in ("conv2d", "relu")]
    rows = torch.zeros(2, predictor.config.tokens.num_features)
    for row, category in enumerate(categories):
        rows[row, index(category)] = 1.0
    seen = predictor.model.input_norm(rows)
    assert (seen[0] != seen[1]).nonzero().ravel().tolist() == sorted(map(index, categories))


@pytest.mark.parametrize("networks", [NETWORKS, without_kernels()], ids=["kernels", "latencies"])
def test_prior_has_the_rates_that_fit_what_was_measured(networks) -> None:
    # Kernels take 10 us each here, which operators do not tell.
    predictor = best(networks, tokens=replace(LATENCY_PRESETS["best"]().tokens, fused=True))
    prior = predictor.model.readout.prior
    batch = GraphBatch.from_graphs(predictor.encode(NETWORKS))
    sums = sum_over_graphs(prior(batch.node_features_NC), batch).numpy()
    assert (prior.rates >= 0).all()
    # 10 us for each (one is a reshape that no compiler runs) and 1 ms for 10 MFLOPs.
    np.testing.assert_allclose(sums, LATENCIES, atol=0.011, rtol=0.05)


def test_prior_is_not_rounded_while_learning_in_bfloat16() -> None:
    prior = CostPrior()
    prior.rates.copy_(torch.rand(len(prior.rates)))
    features = 20 * torch.rand(9, NUM_COSTS)
    with torch.autocast("cpu", torch.bfloat16):
        found = prior(features)
    torch.testing.assert_close(found, prior(features))


def test_predictor_that_needs_torch_says_so_without_it(tmp_path) -> None:
    fitted(attention="global").save(tmp_path / "saved")
    with pytest.raises(CheckpointError, match="attention='global' needs torch"):
        load_checkpoint(tmp_path / "saved")
    assert LatencyNarFormerV2.load(tmp_path / "saved").config.model.attention == "global"


def test_platforms_share_a_model_and_are_told_apart(tmp_path) -> None:
    others = [replace(network, platform=OTHER_PLATFORM) for network in NETWORKS]
    predictor = LatencyNarFormerV2(
        latency_config(), replace(TRAINING, epochs=15, learning_rate=6e-3)
    )
    predictor.fit([*NETWORKS, *others], np.concatenate([LATENCIES, 3 * LATENCIES]))
    assert predictor.config.platforms == (PLATFORM, OTHER_PLATFORM)
    ratio = predictor.predict(others) / predictor.predict(NETWORKS)
    assert (ratio > 1.3).all()
    predictor.save(tmp_path / "saved")
    loaded = LatencyNarFormerV2.load(tmp_path / "saved")
    np.testing.assert_array_equal(loaded.predict(others), predictor.predict(others))
    with pytest.raises(InputError, match="is for platform 'toaster', but the predictor knows"):
        predictor.predict([replace(NETWORKS[0], platform="toaster")])


def test_one_platform_is_no_part_of_the_model() -> None:
    predictor = fitted()
    moved = [replace(NETWORKS[0], platform="toaster")]
    assert predictor.config.platforms == ()
    np.testing.assert_array_equal(predictor.predict(moved), predictor.predict(NETWORKS[:1]))


def test_cells_are_learned_with_ranking_and_consistency() -> None:
    cells = small_cells()
    config = accuracy_config(2)
    predictor = AccuracyNarFormerV2(config, replace(TRAINING, loss="squared"))
    assert isinstance(predictor.objective(cells), RankingAndConsistency)
    predictor.fit(cells, accuracies(cells))
    alone = AccuracyNarFormerV2(replace(config, copies=0), replace(TRAINING, loss="squared"))
    assert not isinstance(alone.objective(cells), RankingAndConsistency)
    alone.fit(cells, accuracies(cells))
    assert not np.allclose(predictor.predict(cells), alone.predict(cells))


def test_consistency_is_taught_by_copies_that_are_numbered_otherwise() -> None:
    cells = small_cells()[:3]
    predictor = AccuracyNarFormerV2(accuracy_config(1))
    model = predictor.make_model()
    seen: list[Any] = []
    model.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
    objective: Any = predictor.objective(cells)
    batch = GraphBatch.from_graphs(predictor.encode(cells))
    index = torch.arange(3)
    objective(model, batch, torch.ones(3), index, torch.Generator().manual_seed(0))
    original, copy = seen
    labels = slice(0, 64)
    for graph in range(3):
        mine, theirs = (
            b.node_features_NC[b.graph_index_N == graph][:, labels].numpy()
            for b in (original, copy)
        )
        np.testing.assert_array_equal(np.unique(mine, axis=0), np.unique(theirs, axis=0))
        assert mine.shape == theirs.shape
    assert original.edge_index_2E.shape == copy.edge_index_2E.shape
    assert not torch.equal(original.edge_index_2E, copy.edge_index_2E)
