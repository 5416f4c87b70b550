"""How data are divided."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay_frontend.errors import InputError
from tests.tvm_costmodel.evaluation.examples import numbers
from tvm_costmodel.evaluation.protocols import (
    PROTOCOLS,
    Fixed,
    InDomain,
    LeaveOneFamilyOut,
    UnseenPlatform,
    describe,
    parse_protocol,
)


def families(dataset, indices):
    return Counter(dataset.families[i] for i in indices)


@given(
    count=st.integers(20, 80),
    parts=st.integers(2, 6),
    validation=st.sampled_from([0.0, 0.1, 0.3]),
    seed=st.integers(0, 99),
)
def test_in_domain_tests_each_input_once_over_all_folds(count, parts, validation, seed):
    dataset = numbers(count)
    protocol = InDomain(parts=parts, folds=parts, validation=validation, seed=seed)
    splits = protocol.splits(dataset)
    assert sorted(np.concatenate([split.test for split in splits])) == list(range(count))
    for split in splits:
        together = np.concatenate([split.train, split.validation, split.test])
        assert sorted(together) == list(range(count))


def test_in_domain_divides_within_each_family():
    dataset = numbers(400)
    (split,) = InDomain().splits(dataset)
    assert set(families(dataset, split.test).values()) == {10}
    assert set(families(dataset, split.train).values()) == {90}


def test_the_seed_of_a_protocol_decides_its_splits():
    dataset = numbers(80)
    tests = [InDomain(seed=seed).splits(dataset)[0].test.tolist() for seed in (0, 0, 1)]
    assert tests[0] == tests[1] != tests[2]


def test_leave_one_family_out_never_trains_on_what_it_tests():
    dataset = numbers()
    splits = LeaveOneFamilyOut().splits(dataset)
    assert [split.name for split in splits] == ["a", "b", "c", "d"]
    for split in splits:
        assert set(families(dataset, split.test)) == {split.name}
        assert set(families(dataset, split.train)) == set("abcd") - {split.name}
        assert not len(split.validation)


def test_a_family_to_watch_is_neither_trained_nor_tested():
    dataset = numbers()
    splits = LeaveOneFamilyOut(families=("b", "d"), validation=True).splits(dataset)
    assert [set(families(dataset, s.validation)) for s in splits] == [{"c"}, {"a"}]
    assert [set(families(dataset, s.train)) for s in splits] == [{"a", "d"}, {"b", "c"}]


def test_an_unseen_platform_gives_a_few_networks_of_every_family_to_learn_from():
    dataset = numbers(20, platforms=("p", "q", "r"))
    splits = UnseenPlatform(adapt=4).splits(dataset)
    assert [split.name for split in splits] == ["p", "q", "r"]
    for split in splits:
        own = [i for i in split.train if dataset.platforms[i] == split.name]
        assert set(families(dataset, own).values()) == {1}
        assert {dataset.platforms[i] for i in split.test} == {split.name}
        assert len(split.train) == 2 * 20 + 4
        assert len(split.test) == 16


def test_a_fixed_split_is_the_one_of_the_data():
    is_test = np.arange(40) >= 36
    (split,) = Fixed(validation=6).splits(numbers(is_test=is_test))
    assert split.train.tolist() == list(range(30))
    assert split.validation.tolist() == list(range(30, 36))
    assert split.test.tolist() == list(range(36, 40))


def test_the_first_inputs_train_and_all_test():
    splits = Fixed(train=(10, 20), validation=5).splits(numbers())
    assert [split.name for split in splits] == ["train 10", "train 20"]
    assert splits[0].train.tolist() == list(range(10))
    assert splits[0].validation.tolist() == list(range(10, 15))
    assert splits[1].test.tolist() == list(range(40))
    (split,) = Fixed(train=(10,), validation=5, test="rest").splits(numbers())
    assert split.test.tolist() == list(range(15, 40))


def test_each_platform_has_a_fixed_split_of_its_own():
    dataset = numbers(10, platforms=("p", "q"))
    splits = Fixed(train=(4,), test="rest").splits(dataset)
    assert [split.name for split in splits] == ["p train 4", "q train 4"]
    assert {dataset.platforms[i] for i in splits[1].train} == {"q"}


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_protocol_reads_back_from_its_description(name):
    protocol = parse_protocol(name)
    assert parse_protocol(describe(protocol)) == protocol


def test_options_of_a_protocol_are_given_in_brackets():
    assert parse_protocol("fixed[train=781+1563,validation=200]") == Fixed(
        train=(781, 1563), validation=200
    )
    assert parse_protocol("leave-one-family-out[families=vgg,validation=true]") == (
        LeaveOneFamilyOut(families=("vgg",), validation=True)
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("by-lot", "choose one of in-domain"),
        ("in-domain[colour=red]", "no option colour: known are folds, parts"),
        ("in-domain[folds=11]", "1 <= folds <= parts"),
        ("fixed[train=0]", "positive"),
        ("fixed[test=none]", "all or rest"),
    ],
)
def test_unknown_protocols_and_options_are_refused(text, message):
    with pytest.raises(InputError, match=message):
        parse_protocol(text)


@pytest.mark.parametrize(
    ("protocol", "dataset", "message"),
    [
        (InDomain(parts=10, folds=10), numbers(3, families="a"), "too few"),
        (LeaveOneFamilyOut(), numbers(families="a"), "at least 2 families"),
        (LeaveOneFamilyOut(families=("z",)), numbers(), "'z'"),
        (UnseenPlatform(), numbers(), "at least 2 platforms"),
        (UnseenPlatform(adapt=40), numbers(platforms="pq"), "40 networks to adapt to p"),
        (Fixed(), numbers(), "brings no split"),
        (Fixed(train=(40,), validation=1), numbers(), "there are 40"),
    ],
)
def test_data_that_cannot_be_divided_so_are_refused(protocol, dataset, message):
    with pytest.raises(InputError, match=message):
        protocol.splits(dataset)
