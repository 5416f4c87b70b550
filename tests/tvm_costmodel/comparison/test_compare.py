"""Asking predictors and measurements of the same networks."""

from __future__ import annotations

import math
from dataclasses import replace

import onnx
import pytest
from onnx import helper

from measure.database import Database
from measure.zoo import sample
from tests.networks import model
from tests.tvm_costmodel.measured import PLATFORM
from tvm_costmodel.campaigns import LocalNetwork
from tvm_costmodel.comparison import CompareConfig, compare

GUESS = "guess"


def named(name: str, network: onnx.ModelProto) -> LocalNetwork:
    return LocalNetwork(name=name, family="file", seed=0, model=network)


@pytest.fixture
def database(measured_database):
    with Database.open(measured_database) as opened:
        yield opened


@pytest.fixture
def asked(fitted, database):
    """Compares on networks, by default those of the database."""

    def ask(networks=None, databases=(database,), **options):
        stored = database.networks(PLATFORM.name)
        config = CompareConfig(checkpoints=str(fitted[0]), **options)
        chosen = stored if networks is None else networks
        return compare(lambda: chosen, [PLATFORM.name], databases, config)

    return ask


def test_measured_networks_have_all_views_and_need_no_compiler(asked, database):
    comparison = asked()
    latencies = database.latencies(PLATFORM.name)
    assert len(comparison.rows) == len(latencies) == 12
    for row in comparison.rows:
        assert {row.predictions[p].kernels for p in row.predictions} == {None, "database"}
        assert row.predictions["kernel-sum"].needs_build
        assert not row.predictions["nar-former-v2"].needs_build
        assert all(p.latency_ms > 0 and p.time_ms > 0 for p in row.predictions.values())
        assert row.predictions["kernel-sum"].is_known
        assert 0 < row.roofline_ms <= row.measured_kernels_ms * (1 + 1e-9)
        assert row.measured_ms in {latency.label_ms for latency in latencies.values()}
        assert row.measuring_s == 2.0
        sums = [
            math.fsum(part.latency_ms.get(view, 0.0) for part in row.parts)
            for view in ("kernel-sum", "measured-kernels")
        ]
        expected = [row.predictions["kernel-sum"].latency_ms, row.measured_kernels_ms]
        assert sums == pytest.approx(expected, rel=1e-5)
    assert "the best that any of" in comparison.notes[PLATFORM.name][0]


def test_a_blend_is_between_both_and_takes_the_time_of_both(asked):
    names = ("nar-former-v2", "kernel-sum", "blend")
    for row in asked(predictors=names).rows:
        network, kernels, blend = (row.predictions[name] for name in names)
        expected = math.sqrt(network.latency_ms * kernels.latency_ms)
        assert blend.latency_ms == pytest.approx(expected)
        assert (blend.kernels, blend.needs_build, blend.is_known) == ("database", True, True)
        assert all("blend" not in part.latency_ms for part in row.parts)


def test_a_predictor_that_adds_operators_up_tells_its_parts(fitted_contributions, database):
    config = CompareConfig(checkpoints=str(fitted_contributions), predictors=["nar-former-v2"])
    networks = database.networks(PLATFORM.name)[:2]
    comparison = compare(lambda: networks, [PLATFORM.name], [database], config)
    for row in comparison.rows:
        told = math.fsum(part.latency_ms.get("nar-former-v2", 0.0) for part in row.parts)
        assert told == pytest.approx(row.predictions["nar-former-v2"].latency_ms, rel=1e-5)


def test_without_times_equal_input_gives_an_equal_comparison(asked):
    first, second = asked(times=False), asked(times=False)
    assert first == second
    assert all(p.time_ms is None for row in first.rows for p in row.predictions.values())


def test_guessed_kernels_need_no_build_and_no_measurements(asked):
    comparison = asked([sample("resnet", 100, "small")], databases=(), kernels=GUESS)
    (row,) = comparison.rows
    assert row.predictions["kernel-sum"].kernels == GUESS
    assert not row.predictions["kernel-sum"].needs_build
    assert (row.measured_ms, row.measured_kernels_ms, row.roofline_ms) == (None, None, None)
    assert row.error_percent("kernel-sum") is None
    assert all("kernel-sum" in part.latency_ms for part in row.parts)


def test_a_network_not_measured_gets_its_roofline_from_the_platforms_peak(asked):
    (row,) = asked([sample("resnet", 100, "small")], kernels=GUESS).rows
    assert row.measured_ms is None
    assert row.roofline_ms > 0


def test_without_a_compiler_kernels_are_guessed_and_a_note_says_so(asked, monkeypatch, tmp_path):
    monkeypatch.setenv("TVM_COSTMODEL_RELAX_PYTHON", str(tmp_path / "none"))
    monkeypatch.setattr("measure.interpreters.running_generation", lambda: None)
    comparison = asked([sample("resnet", 100, "small")])
    assert comparison.rows[0].predictions["kernel-sum"].kernels == GUESS
    assert any("are guessed" in note for note in comparison.notes[PLATFORM.name])


def test_a_network_that_cannot_be_read_is_left_out_and_named(asked):
    good = sample("resnet", 100, "small")
    bad = named("bad", replace_shape(good.model))
    comparison = asked([bad, good], kernels=GUESS)
    assert [row.network for row in comparison.rows] == [good.name]
    assert any(note.startswith("bad was left out: ") for note in comparison.notes[PLATFORM.name])


def replace_shape(network: onnx.ModelProto) -> onnx.ModelProto:
    """A copy whose first extent is a symbol."""
    copy = onnx.ModelProto()
    copy.CopyFrom(network)
    copy.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "n"
    return copy


def test_what_was_measured_of_unknown_operators_is_not_looked_up(asked):
    network = named("hardmax", model([helper.make_node("Hardmax", ["x"], ["y"])]))
    (row,) = asked([network], kernels=GUESS).rows
    assert row.unknown_ops == ("Hardmax",)
    assert row.measured_ms is None


def test_latencies_of_another_platform_are_named_as_such(asked):
    comparison = asked(measured_on={PLATFORM.name: "other/tvm-relax/llvm/t1/float32"})
    assert all(row.measured_ms is None for row in comparison.rows)
    assert "measured on another platform" in comparison.notes[PLATFORM.name][0]


def test_rows_of_one_platform(asked):
    comparison = asked(times=False)
    other = replace(comparison.rows[0], platform="other")
    both = replace(comparison, rows=(*comparison.rows, other))
    assert both.platforms() == [PLATFORM.name, "other"]
    assert both.on("other") == [other]
