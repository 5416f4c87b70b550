"""Data sets as such, and those measured here."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from measure.database.parquet import export_parquet
from relay_frontend.cells import Cell
from relay_frontend.errors import InputError
from relay_frontend.graph import Operator, OpGraph, TensorType
from relay_frontend.kernel import Kernel
from tests.tvm_costmodel.measured import PLATFORM, invented_latency, invented_measurements
from tvm_costmodel.datasets import open_dataset
from tvm_costmodel.datasets.dataset import Dataset
from tvm_costmodel.datasets.measured import measured
from tvm_costmodel.predictors.base import Network
from tvm_costmodel.predictors.digests import inputs_digest

NUMBERS = Dataset(
    name="numbers",
    task="latency",
    inputs=(10, 20, 30),
    names=("ten", "twenty", "thirty"),
    families=("a", "b", "a"),
    platforms=("p", "p", "q"),
    targets=np.array([1.0, 2.0, 3.0]),
    noise=np.array([0.01, np.nan, 0.03]),
)


def test_a_subset_takes_of_every_column():
    chosen = NUMBERS.subset([2, 0])
    assert chosen.inputs == (30, 10)
    assert chosen.names == ("thirty", "ten")
    assert chosen.platforms == ("q", "p")
    assert chosen.targets.tolist() == [3.0, 1.0]
    assert chosen.noise.tolist() == [0.03, 0.01]


def test_families_and_platforms_can_be_selected():
    assert NUMBERS.select(families=["a"]).inputs == (10, 30)
    assert NUMBERS.select(families=["a"], platforms=["q"]).inputs == (30,)
    with pytest.raises(InputError, match="no family 'c'; there are a, b"):
        NUMBERS.select(families=["c"])


def test_predictions_are_compared_with_targets_of_their_own_where_there_are_any():
    assert NUMBERS.expected is NUMBERS.targets
    tested = dataclasses.replace(NUMBERS, test_targets=np.array([4.0, 5.0, 6.0]))
    assert tested.subset([1]).expected.tolist() == [5.0]


def test_the_digest_tells_other_data():
    same = dataclasses.replace(NUMBERS, name="another", targets=NUMBERS.targets.copy())
    assert same.digest == NUMBERS.digest
    assert dataclasses.replace(NUMBERS, targets=NUMBERS.targets + 1e-9).digest != NUMBERS.digest
    assert dataclasses.replace(NUMBERS, names=("one", "two", "three")).digest != NUMBERS.digest
    for change in (
        {"inputs": (10, 20, 31)},
        {"noise": np.array([0.01, np.nan, 0.02])},
        {"noise": None},
        {"is_test": np.array([True, False, False])},
    ):
        assert dataclasses.replace(NUMBERS, **change).digest != NUMBERS.digest, change


def network(**changes) -> Network:
    """One that was measured, but for what changes."""
    kernels = (Kernel(name="f", kind="relu", arguments=(FLOATS,), results=(FLOATS,), flops=9),)
    values = {"graph": graph(), "kernels": kernels, "kernel_ms": np.array([0.5]), **changes}
    return Network(name="n", family="f", platform="p", **values)


def graph(op: str = "relu", flops: int = 9) -> OpGraph:
    operator = Operator(op=op, inputs=(-1,), type=FLOATS, flops=flops)
    return OpGraph(inputs=(FLOATS,), operators=(operator,), outputs=(0,))


FLOATS = TensorType((3, 3))


def test_the_digest_tells_what_is_learned_of_networks():
    assert inputs_digest([network()]) == inputs_digest([network()])
    kernel = network().kernels[0]
    others = [
        {"graph": graph(op="sigmoid")},
        {"graph": graph(flops=18)},  # as a reader may count that has changed since
        {"kernels": (dataclasses.replace(kernel, flops=18),)},
        {"kernels": (dataclasses.replace(kernel, arguments=(FLOATS, FLOATS)),)},
        {"kernels": None, "kernel_ms": None},
        {"kernel_ms": np.array([0.5 + 1e-9])},
        {"cell": Cell(("input", "output"), ((0, 1),))},
    ]
    digests = {inputs_digest([network(**change)]) for change in ({}, *others)}
    assert len(digests) == 1 + len(others)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inputs": (), "names": ()}, "nothing in it"),
        ({"names": ("ten",)}, "lengths"),
        ({"targets": np.array([1.0, 0.0, 3.0])}, "twenty has 0"),
        ({"test_targets": np.array([1.0, 2.0, np.nan])}, "thirty has nan"),
    ],
)
def test_what_cannot_be_learned_is_refused(change, message):
    with pytest.raises(InputError, match=message):
        dataclasses.replace(NUMBERS, **change)


def test_measured_networks_come_with_kernels_noise_and_latency():
    with invented_measurements(6) as database:
        told = []
        dataset = measured(database, [PLATFORM.name], progress=lambda *at: told.append(at))
    assert len(dataset) == 6
    assert told[-1] == (6, 6)
    assert set(dataset.families) == {"resnet", "vgg", "squeezenet"}
    for network, target, noise in zip(dataset.inputs, dataset.targets, dataset.noise, strict=True):
        # The lower quartile over two rounds that differ by 1 %.
        assert target == pytest.approx(invented_latency(network.graph))
        assert noise == pytest.approx(0.01, abs=1e-3)
        assert network.kernel_ms.sum() == pytest.approx(target)
        assert len(network.kernel_ms) == len(network.kernels)


def test_a_parquet_directory_reads_as_a_database_does(tmp_path):
    with invented_measurements(4) as database:
        export_parquet(database, tmp_path)
        expected = measured(database, [PLATFORM.name])
    found = open_dataset(f"{tmp_path}[kernels=true]", ["tvm-relax"])
    assert found.digest == expected.digest
    assert found.inputs[0].graph == expected.inputs[0].graph


def test_an_unknown_option_is_named(tmp_path):
    with pytest.raises(InputError, match="no option 'colour'; known are none"):
        open_dataset(f"nnlqp:{tmp_path}[colour=red]")
    with pytest.raises(InputError, match="no option 'progress'; known are image_set, trust"):
        open_dataset(f"nasbench201:{tmp_path}[progress=1]")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nasbench201:x.pbz2[trust=no]", "'trust' is 'no', but true or false was expected"),
        ("help:x[trust=1]", "'trust' is 1, but true or false was expected"),
        ("cells:x.npz[eager=no]", "'eager' is 'no', but true or false"),
        ("cells:x.npz[count=abc]", "'count' is 'abc', but a whole number or none was expected"),
        ("x.db[kernels=no]", "'kernels' is 'no', but true or false"),
    ],
)
def test_an_option_of_another_type_is_refused(text, message):
    with pytest.raises(InputError, match=message):
        open_dataset(text)


def test_data_of_no_platform_are_not_asked_for_one(tmp_path):
    with pytest.raises(InputError, match="belong to no platform"):
        open_dataset(f"nasbench101:{tmp_path}", ["gpu"])


def test_data_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        open_dataset(str(tmp_path / "none.db"))
