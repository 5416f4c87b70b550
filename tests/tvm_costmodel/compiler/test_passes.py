"""Estimates in passes, instruments and global functions of the TVM of this interpreter."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("tvm", reason="needs a TVM")

import tvm

from relay_frontend.errors import NetworkError
from tests.networks import conv_bn_relu
from tests.tvm_costmodel.compiler.modules import PLATFORM, imported, simplifications
from tvm_costmodel import CostModel
from tvm_costmodel.compiler import ATTRIBUTES, EstimateLatency, LatencyInstrument

FIRST = simplifications()[0].info.name
SECOND = simplifications()[1].info.name


@pytest.fixture(scope="module")
def model() -> CostModel:
    return CostModel.load(PLATFORM)


@pytest.fixture
def network():
    return imported(conv_bn_relu())


def number(value) -> float:
    """What an attribute holds; Relay's TVM makes numbers of its IR of it."""
    return float(getattr(value, "value", value))


# --- EstimateLatency ----------------------------------------------------------------------------


def test_functions_are_annotated_with_the_estimate(model, network):
    mod, params = network
    estimate = model.estimate(mod, params=params)
    found = EstimateLatency(PLATFORM, params=params)(mod)["main"].attrs
    assert number(found["latency_ms"]) == pytest.approx(estimate.latency_ms, rel=1e-6)
    assert number(found["latency_low_ms"]) == pytest.approx(estimate.low_ms, rel=1e-6)
    assert number(found["latency_high_ms"]) == pytest.approx(estimate.high_ms, rel=1e-6)
    assert str(found["latency_source"]) == "nar-former-v2"
    assert str(found["latency_platform"]) == model.platform
    assert str(found["latency_checkpoint"]) == estimate.checkpoint
    assert set(ATTRIBUTES) <= {str(name) for name in found.keys()}  # noqa: SIM118 (TVM's map)


def test_the_given_module_stays_as_it_was(network):
    mod, params = network
    before = mod.script() if hasattr(mod, "script") else mod.astext()
    EstimateLatency(PLATFORM, params=params)(mod)
    assert (mod.script() if hasattr(mod, "script") else mod.astext()) == before
    assert not mod["main"].attrs or "latency_ms" not in mod["main"].attrs


def test_it_is_a_pass_like_others(model, network):
    mod, params = network
    first, second = simplifications()
    pipeline = tvm.transform.Sequential([first, EstimateLatency(model, params=params), second])
    with tvm.transform.PassContext(opt_level=3):
        result = pipeline(mod)
    expected = model.estimate(first(mod), params=params).latency_ms
    assert number(result["main"].attrs["latency_ms"]) == pytest.approx(expected, rel=1e-6)
    assert EstimateLatency(model).info.name == "EstimateLatency"


def test_any_function_may_be_annotated(model, network):
    mod, params = network
    renamed = tvm.IRModule({tvm.ir.GlobalVar("network"): mod["main"]})
    result = EstimateLatency(model, functions="network", params=params)(renamed)
    expected = model.estimate(mod, params=params).latency_ms
    assert number(result["network"].attrs["latency_ms"]) == pytest.approx(expected, rel=1e-6)
    assert [str(v.name_hint) for v in result.get_global_vars()] == ["network"]


def test_a_missing_function_is_named(model, network):
    with pytest.raises(NetworkError, match=r"no function 'f'; its functions are: main"):
        EstimateLatency(model, functions=["f"]).transform_module(network[0], None)
    with pytest.raises(Exception, match="no function 'f'"):  # TVM passes it on
        EstimateLatency(model, functions=["f"])(network[0])


# --- LatencyInstrument --------------------------------------------------------------------------


def test_an_instrument_tells_what_passes_do(model, network):
    mod, params = network
    instrument = LatencyInstrument(PLATFORM, passes=[FIRST, SECOND], params=params)
    with tvm.transform.PassContext(opt_level=3, instruments=[instrument]):
        tvm.transform.Sequential(simplifications())(mod)
    assert {run.name for run in instrument.latencies} == {FIRST, SECOND}
    run = instrument.latencies[0]
    assert run.before.latency_ms == pytest.approx(model.estimate(mod, params=params).latency_ms)
    assert run.change_ms == pytest.approx(run.after.latency_ms - run.before.latency_ms)
    header, *lines = instrument.report().splitlines()
    assert header.split() == ["pass", "before", "after", "change", "ms"]
    assert len(lines) == len(instrument.latencies)
    assert lines[0].split()[0] == run.name


def test_other_passes_cost_nothing(model, network):
    instrument = LatencyInstrument(model, passes="NoSuchPass")
    with tvm.transform.PassContext(opt_level=3, instruments=[instrument]):
        tvm.transform.Sequential(simplifications())(network[0])
    assert instrument.latencies == []
    assert len(instrument.report().splitlines()) == 1


def test_what_cannot_be_read_does_not_stop_the_pipeline(model, network):
    @tvm.transform.module_pass(opt_level=0, name="Drop")
    def drop(mod, _context):
        return tvm.IRModule({tvm.ir.GlobalVar("other"): mod["main"]})

    mod, params = network
    instrument = LatencyInstrument(model, passes=["Drop"], params=params)
    with tvm.transform.PassContext(instruments=[instrument]):
        drop(mod)
    (run,) = instrument.latencies
    assert run.before.latency_ms > 0
    assert isinstance(run.after, NetworkError)
    assert run.change_ms is None
    assert "unread" in instrument.report()


def test_a_pass_that_fails_leaves_nothing_behind(model, network):
    @tvm.transform.module_pass(opt_level=0, name="Fail")
    def fail(_mod, _context):
        raise ValueError("on purpose")

    mod, params = network
    instrument = LatencyInstrument(model, passes=["Fail", FIRST], params=params)
    with (
        pytest.raises(Exception, match="on purpose"),
        tvm.transform.PassContext(instruments=[instrument]),
    ):
        fail(mod)
    with tvm.transform.PassContext(instruments=[instrument]):
        simplifications()[0](mod)
    assert {run.name for run in instrument.latencies} == {FIRST}


# --- Global functions ---------------------------------------------------------------------------


def test_other_languages_find_a_global_function(model, network, tmp_path):
    mod, _ = network
    estimate = model.estimate(mod)
    ask, ask_all = (
        tvm.get_global_func(name)
        for name in ("tvm_costmodel.estimate", "tvm_costmodel.estimate_json")
    )
    assert ask(mod, PLATFORM) == pytest.approx(estimate.latency_ms)
    whole = json.loads(ask_all(mod, model.platform))
    assert whole["source"] == "nar-former-v2"
    assert whole["digest"] == estimate.digest
    path = tmp_path / "network.onnx"
    path.write_bytes(conv_bn_relu().SerializeToString())
    assert ask(str(path), PLATFORM) == pytest.approx(model.estimate(path).latency_ms)
    with pytest.raises(Exception, match="unknown platform 'toaster'"):
        ask(mod, "toaster")
