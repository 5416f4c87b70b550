"""Data sets as such, and those measured here."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from measure.database.parquet import export_parquet
from relay_frontend.errors import InputError
from tests.tvm_costmodel.measured import PLATFORM, invented_latency, invented_measurements
from tvm_costmodel.datasets import open_dataset
from tvm_costmodel.datasets.dataset import Dataset
from tvm_costmodel.datasets.measured import measured

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
    with pytest.raises(InputError, match="'colour'"):
        open_dataset(f"nnlqp:{tmp_path}[colour=red]")


def test_data_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        open_dataset(str(tmp_path / "none.db"))
