"""The cost model as its users call it."""

from __future__ import annotations

import sys

import pytest

from measure.errors import UnknownPlatformError
from measure.zoo import sample
from relay_frontend.errors import InputError
from relay_frontend.onnx import read_onnx
from tests.networks import conv_bn_relu
from tests.tvm_costmodel.measured import PLATFORM, invented_latency
from tvm_costmodel import CostModel, platforms, registry


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


def test_what_was_measured_is_not_estimated(fitted, tmp_path):
    from measure.database import Database  # noqa: PLC0415
    from measure.parquet import export_parquet, import_parquet  # noqa: PLC0415
    from tests.tvm_costmodel.measured import invented_measurements  # noqa: PLC0415

    with invented_measurements() as measured, Database.open(tmp_path / "m.db") as database:
        export_parquet(measured, tmp_path / "parquet")
        import_parquet(database, tmp_path / "parquet")
    model = CostModel.load("tvm-relax", checkpoints=fitted[0], database=str(tmp_path / "m.db"))
    known = sample("resnet", 0).model
    estimate = model.estimate(known)
    assert estimate.source == "measured"
    assert estimate.latency_ms == pytest.approx(invented_latency(read_onnx(known)), rel=0.02)
    assert model.estimate(sample("resnet", 99).model).source == "nar-former-v2"


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
    network = sample("squeezenet", 1).model
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
        assert CostModel.load(toolchain).estimate(sample("vgg", 3).model).latency_ms > 0
