"""Texts of options, and the values that they become."""

from __future__ import annotations

import pytest

from measure.zoo import FAMILIES
from relay_frontend.errors import InputError
from tvm_costmodel.cli.options import parse_duration, parse_families, parse_shapes


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("2h", 7200.0), ("90m", 5400.0), ("45s", 45.0), ("45", 45.0), ("1.5h", 5400.0)],
)
def test_durations(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "h", "2d", "-1s", "2 hours", "0m", "nan", "1e3"])
def test_a_text_that_is_no_duration_is_named_with_what_was_expected(text):
    with pytest.raises(InputError, match=f"duration {text!r}: expected such as 2h, 90m, 45s"):
        parse_duration(text)


def test_all_means_every_family():
    assert parse_families("all") == list(FAMILIES)
    assert parse_families("vgg, resnet,") == ["vgg", "resnet"]
    assert parse_families("") == []


def test_the_last_sign_of_equality_divides_name_and_shape():
    assert parse_shapes(["a=b=1,3", "x=2"]) == {"a=b": (1, 3), "x": (2,)}
    with pytest.raises(InputError, match="expected name=1,3,224,224"):
        parse_shapes(["=1,3"])
