"""Many networks: the same answers in the same order, whatever is between them."""

from __future__ import annotations

import itertools
import threading

import numpy as np
import pytest

pytest.importorskip("hypothesis")

from hypothesis import given, settings
from hypothesis import strategies as st

from measure.errors import BuildError, WorkerError
from measure.zoo import sample
from relay_frontend.errors import (
    CostModelError,
    DynamicShapeError,
    InputError,
    MissingDependencyError,
    NetworkError,
)
from relay_frontend.onnx import read_onnx
from tests.networks import conv_bn_relu, model
from tests.tvm_costmodel.measured import PLATFORM, invented_kernels
from tvm_costmodel import CostModel, Estimate
from tvm_costmodel.streaming import Remembering, stream

FAMILIES = ("nasbench201", "resnet", "mobilenet_v2", "squeezenet")


@pytest.fixture(scope="module")
def shipped() -> CostModel:
    return CostModel.load("tvm-relay")


@pytest.fixture(scope="module")
def networks() -> list[bytes]:
    return [sample(f, seed, "small").model.SerializeToString() for f in FAMILIES for seed in (0, 1)]


@pytest.fixture(scope="module")
def alone(shipped, networks) -> list[Estimate]:
    return [shipped.estimate(network) for network in networks]


def assert_equal(found: Estimate, expected: Estimate) -> None:
    assert isinstance(found, Estimate)
    assert found.digest == expected.digest
    values = ("latency_ms", "low_ms", "high_ms")
    for name in values:
        assert getattr(found, name) == pytest.approx(getattr(expected, name), rel=1e-5)
    for name in ("source", "platform", "checkpoint", "unknown_ops", "unlearned_ops"):
        assert getattr(found, name) == getattr(expected, name)


@settings(deadline=None, max_examples=25, derandomize=True)
@given(order=st.lists(st.integers(0, 7), max_size=30), workers=st.integers(1, 3))
def test_many_are_estimated_as_one_by_one_in_their_order(shipped, networks, alone, order, workers):
    found = list(shipped.estimate_many([networks[i] for i in order], workers=workers))
    assert len(found) == len(order)
    for estimate, i in zip(found, order, strict=True):
        assert_equal(estimate, alone[i])


def test_paths_bytes_and_models_mix(shipped, tmp_path):
    path = tmp_path / "network.onnx"
    path.write_bytes(conv_bn_relu().SerializeToString())
    given_ = [conv_bn_relu(), path, str(path), path.read_bytes()]
    assert len({e.latency_ms for e in shipped.estimate_many(given_)}) == 1


def test_what_cannot_be_read_gives_its_error_in_its_place(shipped, networks, alone):
    dynamic = model(conv_bn_relu().graph.node[2:3], input_shape=("n", 8, 4, 4))
    mixed = [networks[0], b"no network", networks[1], dynamic, "missing.onnx", 17, networks[2]]
    found = list(shipped.estimate_many(mixed))
    kinds = [type(answer) for answer in found]
    assert kinds == [
        *(Estimate, NetworkError, Estimate, DynamicShapeError, NetworkError, NetworkError),
        Estimate,
    ]
    for position, i in ((0, 0), (2, 1), (6, 2)):
        assert_equal(found[position], alone[i])
    assert "missing.onnx" in str(found[4])


def test_what_cannot_be_read_is_raised_where_asked_for(shipped, networks):
    found = shipped.estimate_many([networks[0], b"no network"], errors="raise")
    assert isinstance(next(found), Estimate)
    with pytest.raises(NetworkError, match="not an ONNX model"):
        next(found)


def test_shapes_hold_for_all(shipped):
    dynamic = model(conv_bn_relu().graph.node[2:3], ("n", 8, 4, 4))
    dynamic.graph.node[0].input[0], dynamic.graph.node[0].output[0] = "x", "y"
    (estimate,) = shipped.estimate_many([dynamic], shapes={"x": (2, 8, 4, 4)})
    assert isinstance(estimate, Estimate)


def test_what_was_measured_is_looked_up(fitted, measured_database):
    known = sample("resnet", 0, "small").model
    costs = CostModel.load(PLATFORM.name, checkpoints=fitted[0], database=measured_database)
    sources = [e.source for e in costs.estimate_many([known, sample("resnet", 99, "small").model])]
    assert sources == ["measured", "nar-former-v2"]
    (declined,) = costs.estimate_many([known], measured=False)
    assert declined.source == "nar-former-v2"


@pytest.mark.parametrize("options", [{"errors": "ignore"}, {"device": "cuda"}], ids=str)
def test_options_that_cannot_be_are_refused(shipped, options, monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match=r"errors is|device cuda: torch finds none"):
        list(shipped.estimate_many([], **options))


def test_a_device_needs_torch(shipped, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tvm_costmodel.learning.runtime", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'tvm-costmodel\[train\]'"):
        shipped.estimate_many([], device="cuda")


def test_torch_gives_the_same(shipped, networks):
    pytest.importorskip("torch")
    from tvm_costmodel.learning.runtime import TorchRuntime  # noqa: PLC0415

    graphs = [read_onnx(network) for network in networks]
    learned = shipped.nar_former_v2
    runtime = TorchRuntime(learned.directory, "cpu")
    np.testing.assert_allclose(learned.predict(graphs), learned.predict(graphs, runtime), rtol=1e-5)
    assert learned.predict([], runtime).shape == (0,)


# --- Kernel-sum ---------------------------------------------------------------------------------


class Finder:
    """A compiler that rejects, or dies of, networks of such names."""

    made = 0
    closed = 0

    def __init__(self, platform):
        assert platform == PLATFORM.name
        Finder.made += 1

    def __enter__(self):
        return self

    def __exit__(self, *_):
        Finder.closed += 1

    def find(self, network):
        name = network.graph.name
        if name == "rejected":
            raise BuildError("build", name, "ValueError", "no schedule")
        if name == "deadly":
            raise WorkerError("the worker died")
        return invented_kernels(read_onnx(network))


@pytest.fixture
def by_kernels(fitted, monkeypatch) -> CostModel:
    monkeypatch.setattr("tvm_costmodel.answering.KernelFinder", Finder)
    monkeypatch.setattr(Finder, "made", 0)
    monkeypatch.setattr(Finder, "closed", 0)
    return CostModel.load(PLATFORM.name, predictor="kernel-sum", checkpoints=fitted[0])


def named(name):
    network = conv_bn_relu()
    network.graph.name = name
    return network


def test_kernel_sum_asks_one_worker_and_tells_what_it_rejects(by_kernels, networks):
    mixed = [networks[0], b"no network", named("rejected"), networks[1]]
    found = list(by_kernels.estimate_many(mixed))
    assert [type(answer) for answer in found] == [Estimate, NetworkError, BuildError, Estimate]
    assert (Finder.made, Finder.closed) == (1, 1)
    assert found[3] == by_kernels.estimate(networks[1])
    with pytest.raises(BuildError, match="no schedule"):
        list(by_kernels.estimate_many(mixed[2:], errors="raise"))


def test_a_worker_that_fails_is_no_answer_and_is_closed(by_kernels, networks):
    found = by_kernels.estimate_many([networks[0], named("deadly")])
    assert isinstance(next(found), Estimate)
    with pytest.raises(WorkerError):
        next(found)
    assert (Finder.made, Finder.closed) == (1, 1)


def test_kernel_sum_asks_nobody_where_no_kernels_are_needed(by_kernels):
    assert list(by_kernels.estimate_many([])) == []
    assert [type(answer) for answer in by_kernels.estimate_many([b""])] == [NetworkError]
    assert Finder.made == 0


def test_kernel_sum_takes_no_device(by_kernels):
    with pytest.raises(InputError, match=r"device is 'cuda': kernel-sum .* 'cpu' alone"):
        by_kernels.estimate_many([], device="cuda")


# --- The stream itself --------------------------------------------------------------------------


def sizes(graphs):
    return np.array([float(len(graph)) for graph in graphs], dtype=np.float32)


def test_no_more_is_read_ahead_than_promised():
    graph, taken = read_onnx(conv_bn_relu()), []
    endless = (taken.append(i) or i for i in itertools.count())
    answers = stream(endless, lambda _: graph, sizes, read_here=lambda _: False, workers=2, batch=4)
    for position in range(40):
        next(answers)
        assert len(taken) <= position + 1 + (2 + 1) * 4
    answers.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("estimate")]


def test_bugs_are_not_taken_for_networks():
    def fail(_):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(stream([1], fail, sizes, read_here=lambda _: False))


def test_what_the_source_raises_ends_the_stream():
    def source():
        yield 1
        raise OSError("the disk is gone")

    graph = read_onnx(conv_bn_relu())
    with pytest.raises(OSError, match="the disk is gone"):
        list(stream(source(), lambda _: graph, sizes, read_here=lambda _: False))


def test_some_are_read_by_the_calling_thread():
    graph, threads = read_onnx(conv_bn_relu()), {}

    def read(network):
        threads[network] = threading.current_thread() is threading.main_thread()
        return graph

    answers = stream(range(10), read, sizes, read_here=lambda n: n % 2 == 0, workers=2, batch=3)
    assert len(list(answers)) == 10
    assert threads == {n: n % 2 == 0 for n in range(10)}


def test_equal_networks_are_predicted_once(networks):
    graphs = [read_onnx(network) for network in networks]
    asked = []

    def predict(new):
        asked.append([graph.digest for graph in new])
        return sizes(new)

    remembering = Remembering(predict, limit=3)
    some = [graphs[0], graphs[1], graphs[0]]
    np.testing.assert_array_equal(remembering(some), sizes(some))
    np.testing.assert_array_equal(
        remembering([graphs[1], graphs[2]]), sizes([graphs[1], graphs[2]])
    )
    assert [len(digests) for digests in asked] == [2, 1]
    remembering(graphs)
    assert len(remembering._known) == 3
    assert list(remembering([])) == []


def test_errors_are_of_this_package(shipped):
    assert all(isinstance(e, CostModelError) for e in shipped.estimate_many([b"", b"\0", None]))
