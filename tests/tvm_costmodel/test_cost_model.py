"""The cost model as its users call it."""

from __future__ import annotations

import math
import shutil
import sys

import numpy as np
import pytest
from onnx import helper

from measure.database import Database
from measure.errors import UnknownPlatformError
from measure.records import Latency
from measure.zoo import sample
from relay_frontend.errors import InputError
from relay_frontend.onnx import read_onnx
from tests.networks import conv_bn_relu, model
from tests.tvm_costmodel.measured import PLATFORM, invented_latency
from tvm_costmodel import CostModel, choose, platforms, registry
from tvm_costmodel.checkpoint import CheckpointError
from tvm_costmodel.predictors.blending import FILE, BlendDescription
from tvm_costmodel.registry import platform_directory


def test_an_estimate_says_what_it_is(fitted):
    estimate = CostModel.load(PLATFORM.name, checkpoints=fitted[0]).estimate(conv_bn_relu())
    assert 0 < estimate.low_ms <= estimate.high_ms
    assert estimate.latency_ms > 0
    assert estimate.source == "nar-former-v2"
    assert estimate.platform == PLATFORM.name
    assert "12 networks" in estimate.checkpoint
    assert estimate.digest == read_onnx(conv_bn_relu()).digest


def test_a_network_may_be_a_path_bytes_or_a_model(fitted, tmp_path):
    model = CostModel.load("tvm-relax", checkpoints=fitted[0])
    network = conv_bn_relu()
    path = tmp_path / "network.onnx"
    path.write_bytes(network.SerializeToString())
    latencies = {
        model.estimate(n).latency_ms for n in (network, path, str(path), path.read_bytes())
    }
    assert len(latencies) == 1


def test_what_was_measured_is_not_estimated(fitted, measured_database):
    model = CostModel.load("tvm-relax", checkpoints=fitted[0], database=measured_database)
    known = sample("resnet", 0, "small").model
    estimate = model.estimate(known)
    assert estimate.source == "measured"
    assert estimate.platform == PLATFORM.name
    assert estimate.digest == read_onnx(known).digest
    assert estimate.latency_ms == pytest.approx(invented_latency(read_onnx(known)), rel=0.02)
    assert estimate.checkpoint == "2 timing rounds"
    # The rounds are 1 % apart, and the label is the lower quartile of both.
    assert estimate.low_ms == pytest.approx(estimate.latency_ms)
    assert estimate.high_ms == pytest.approx(1.01 * estimate.latency_ms)


def test_what_was_not_measured_is_estimated(fitted, measured_database):
    model = CostModel.load("tvm-relax", checkpoints=fitted[0], database=measured_database)
    assert model.estimate(sample("resnet", 99, "small").model).source == "nar-former-v2"


def test_a_measurement_can_be_declined(fitted, measured_database):
    known = sample("resnet", 0, "small").model
    plain = CostModel.load("tvm-relax", checkpoints=fitted[0])
    model = CostModel.load("tvm-relax", checkpoints=fitted[0], database=measured_database)
    assert model.estimate(known, measured=False) == plain.estimate(known)


def test_a_measurement_on_another_platform_is_none(fitted, tmp_path):
    Database.open(tmp_path / "empty.db").close()
    model = CostModel.load("tvm-relax", checkpoints=fitted[0], database=tmp_path / "empty.db")
    assert model.estimate(sample("resnet", 0, "small").model).source == "nar-former-v2"


def test_measurements_need_no_checkpoint(measured_database, tmp_path):
    options = {"checkpoints": tmp_path, "database": measured_database}
    model = CostModel.load("tvm-relax", **options)
    assert (model.platform, model.has_checkpoint) == (PLATFORM.name, False)
    assert model.estimate(sample("resnet", 0, "small").model).source == "measured"
    with pytest.raises(CheckpointError, match=rf"no checkpoint .*{PLATFORM.name}.* train"):
        model.estimate(sample("resnet", 99, "small").model)
    by_kernels = CostModel.load("tvm-relax", predictor="kernel-sum", **options)
    assert by_kernels.estimate(sample("resnet", 0, "small").model).source == "measured"
    (streamed,) = by_kernels.estimate_many([sample("resnet", 0, "small").model])
    assert streamed.source == "measured"


def test_without_checkpoint_and_measurements_there_is_no_model(measured_database, tmp_path):
    with pytest.raises(UnknownPlatformError, match=f"known are: {PLATFORM.name}"):
        CostModel.load("toaster", checkpoints=tmp_path, database=measured_database)
    with pytest.raises(UnknownPlatformError, match="known are: none"):
        CostModel.load(PLATFORM.name, checkpoints=tmp_path)


def test_a_damaged_checkpoint_is_no_missing_one(measured_database, tmp_path):
    (tmp_path / PLATFORM.name.replace("/", "__") / "nar-former-v2").mkdir(parents=True)
    with pytest.raises(CheckpointError, match="cannot read"):
        CostModel.load("tvm-relax", checkpoints=tmp_path, database=measured_database)


def test_looking_up_opens_the_database_once_and_reads_one_network(
    fitted, measured_database, monkeypatch
):
    model = CostModel.load("tvm-relax", checkpoints=fitted[0], database=measured_database)

    def refuse(*_arguments):
        raise AssertionError("reads more than was asked for")

    for name in ("open", "latencies", "networks"):
        monkeypatch.setattr(Database, name, refuse)
    for _ in range(2):
        assert model.estimate(sample("resnet", 0, "small").model).source == "measured"


class Stored:
    """A database in which every network has the same latency."""

    def __init__(self, latency):
        self._latency = latency

    def latency(self, _network, platform):
        assert platform == PLATFORM.name
        return self._latency


@pytest.fixture
def measured_as(fitted):
    """The cost model where every network was measured with the given latency."""
    directory = registry.platform_directory(PLATFORM.name, fitted[0])
    return lambda latency: CostModel(PLATFORM.name, "nar-former-v2", directory, Stored(latency))


def test_an_only_round_has_the_spread_of_its_samples_as_interval(measured_as):
    samples = np.linspace(1.0, 2.0, 11)
    only = Latency(label_ms=1.25, rounds=(samples,), protocol="v2-lq", noise=None, disturbed=True)
    estimate = measured_as(only).estimate(sample("resnet", 99, "small").model)
    assert (estimate.latency_ms, estimate.source) == (1.25, "measured")
    assert (estimate.low_ms, estimate.high_ms) == pytest.approx((1.1, 1.9))
    assert estimate.checkpoint == "1 timing round, disturbed"


def test_rounds_that_differ_by_more_than_the_label_make_an_interval_to_choose_by(measured_as):
    rounds = (np.full(5, 1.0), np.full(5, 2.7))
    noisy = Latency(label_ms=1.0, rounds=rounds, protocol="v2-lq", noise=1.16, disturbed=False)
    model = measured_as(noisy)
    estimate = model.estimate(conv_bn_relu())
    assert (estimate.low_ms, estimate.latency_ms, estimate.high_ms) == (1.0, 1.0, 2.7)
    choice = choose([conv_bn_relu(), sample("resnet", 99, "small").model], model)
    assert len(choice.contenders) == 2


def test_an_operator_outside_of_the_vocabulary_is_never_looked_up(fitted):
    network, twin = (
        model([helper.make_node("Hardmax", ["x"], ["y"], axis=axis)]) for axis in (1, 2)
    )
    assert read_onnx(network).digest == read_onnx(twin).digest

    class Untouched:
        def latency(self, network, platform):
            raise AssertionError("may find the measurement of another network")

    directory = registry.platform_directory(PLATFORM.name, fitted[0])
    cost_model = CostModel(PLATFORM.name, "nar-former-v2", directory, Untouched())
    assert cost_model.estimate(network).source == "nar-former-v2"


@pytest.mark.relax
def test_a_relax_module_gets_the_estimate_of_its_onnx(fitted):
    from relay_frontend.relax.importer import import_onnx  # noqa: PLC0415

    model = CostModel.load("tvm-relax", checkpoints=fitted[0])
    network = conv_bn_relu()
    assert model.estimate(import_onnx(network)).latency_ms == model.estimate(network).latency_ms


@pytest.mark.relax
def test_kernel_sum_takes_modules_and_onnx(fitted):
    from relay_frontend.relax.importer import import_onnx  # noqa: PLC0415

    model = CostModel.load("tvm-relax", predictor="kernel-sum", checkpoints=fitted[0])
    network = sample("squeezenet", 1, "small").model
    from_module = model.estimate(import_onnx(network))
    assert from_module.source == "kernel-sum"
    assert from_module.latency_ms == pytest.approx(model.estimate(network).latency_ms)


@pytest.mark.relay
def test_a_relay_module_gets_the_estimate_of_its_onnx_without_torch():
    from relay_frontend.relay.importer import import_onnx  # noqa: PLC0415

    model = CostModel.load("tvm-relay")
    module, params = import_onnx(conv_bn_relu())
    estimate = model.estimate(module, params=params)
    assert estimate.latency_ms == model.estimate(conv_bn_relu()).latency_ms
    assert "torch" not in sys.modules


@pytest.mark.relax
def test_kernel_sum_guesses_without_a_compiler(fitted, monkeypatch):
    def nobody(*_arguments: object) -> None:
        raise AssertionError("no compiler is to be asked")

    monkeypatch.setattr("tvm_costmodel.answering.KernelFinder", nobody)
    options = {"predictor": "kernel-sum", "checkpoints": fitted[0]}
    model = CostModel.load("tvm-relax", kernels="guess", **options)
    network = sample("resnet", 1, "small").model
    estimate = model.estimate(network)
    assert estimate.source == "kernel-sum"
    assert 0 < estimate.latency_ms < np.inf
    explained = model.explain(network)
    assert explained.estimate == estimate
    added = sum(kernel.latency_ms for kernel in explained.contributions.kernels)
    assert added == pytest.approx(estimate.latency_ms)
    assert model.estimate_graph(read_onnx(network)) == estimate
    low, high = fitted[1]["kernel-sum"]["guess"]["interval"]
    interval = (estimate.low_ms / estimate.latency_ms, estimate.high_ms / estimate.latency_ms)
    assert interval == pytest.approx((low, high))
    with pytest.raises(InputError, match="does not tell a compiler's kernels"):
        CostModel.load("tvm-relax", **options).estimate_graph(read_onnx(network))
    with pytest.raises(InputError, match="choose one of compiler, guess"):
        CostModel.load("tvm-relax", kernels="mine", **options)


@pytest.mark.relax
@pytest.mark.parametrize("kernels", ["compiler", "guess"])
def test_a_blend_is_the_mean_of_both(fitted, kernels):
    def load(predictor: str) -> CostModel:
        options = {"predictor": predictor, "kernels": kernels}
        return CostModel.load("tvm-relax", checkpoints=fitted[0], **options)

    network = sample("squeezenet", 1, "small").model
    blend = load("blend").estimate(network)
    parts = [load(name).estimate(network).latency_ms for name in ("nar-former-v2", "kernel-sum")]
    assert blend.source == "blend"
    assert blend.latency_ms == pytest.approx(math.sqrt(parts[0] * parts[1]))
    found = fitted[1]["blend"]
    low, high = (found if kernels == "compiler" else found["guess"])["interval"]
    assert (blend.low_ms, blend.high_ms) == (blend.latency_ms * low, blend.latency_ms * high)
    (many,) = load("blend").estimate_many([network])
    assert many == blend
    explained = load("blend").explain(network)
    assert explained.estimate == blend
    assert explained.contributions is None
    assert "mean of two sums" in explained.missing
    assert explained.grounds is not None


def test_a_blend_without_its_parts_is_no_checkpoint(fitted, tmp_path):
    home = platform_directory(PLATFORM.name, tmp_path)
    shutil.copytree(platform_directory(PLATFORM.name, fitted[0]) / "blend", home / "blend")
    with pytest.raises(CheckpointError, match="nar-former-v2"):
        CostModel.load("tvm-relax", predictor="blend", checkpoints=tmp_path)
    unmeasured = BlendDescription(weight=0.5).encode()
    (home / "blend" / FILE).write_bytes(unmeasured)
    with pytest.raises(CheckpointError, match="how good the blend is"):
        CostModel.load("tvm-relax", predictor="blend", checkpoints=tmp_path)


@pytest.mark.relay
def test_kernel_sum_refuses_a_process_in_which_it_would_crash():
    from tvm import relay  # noqa: F401, PLC0415

    with pytest.raises(InputError, match="estimate in another process"):
        CostModel.load("tvm-relay", predictor="kernel-sum")


def test_an_unknown_platform_lists_those_there_are(fitted):
    with pytest.raises(UnknownPlatformError, match="known are: testium-1-1c/tvm-relax"):
        CostModel.load("toaster", checkpoints=fitted[0])


def test_an_ambiguous_platform_lists_the_candidates():
    known = ["a/tvm-relay/llvm/t1/float32", "b/tvm-relay/llvm/t1/float32"]
    with pytest.raises(UnknownPlatformError, match="ambiguous"):
        registry.resolve_platform("tvm-relay", known)
    assert registry.resolve_platform("a/tvm-relay", known) == known[0]


def test_an_unknown_predictor_lists_those_there_are(fitted):
    with pytest.raises(InputError, match="choose one of nar-former-v2, kernel-sum"):
        CostModel.load("tvm-relax", predictor="oracle", checkpoints=fitted[0])


def test_the_package_ships_a_checkpoint_for_each_toolchain():
    toolchains = {name.split("/")[1] for name in platforms()}
    assert toolchains == {"tvm-relay", "tvm-relax"}
    for toolchain in toolchains:
        assert CostModel.load(toolchain).estimate(sample("vgg", 3, "small").model).latency_ms > 0
