"""Options change nested configurations by name."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from relay_frontend.errors import InputError
from tvm_costmodel.predictors.options import known_options, override, parse_options


@dataclass(frozen=True, kw_only=True)
class Inner:
    """Two settings that must be changed together, and others."""

    low: int = 0
    high: int = 1
    kind: Literal["none", "some"] = "some"
    bounds: tuple[int, ...] = (1, 2)
    labels: tuple[str, ...] = ()
    rate: float | None = 0.5
    patience: int | None = None
    state: Path | None = None

    def __post_init__(self) -> None:
        if self.low >= self.high:
            raise InputError(f"{self.low} is not below {self.high}")


@dataclass(frozen=True, kw_only=True)
class Outer:
    """A setting that only some inner ones allow."""

    inner: Inner = field(default_factory=Inner)
    second: Inner = field(default_factory=lambda: Inner(low=3, high=9))
    weight: float = 0.0

    def __post_init__(self) -> None:
        if self.weight and self.inner.kind == "some":
            raise InputError("a weight needs the kind none")


def changed(text: str) -> Any:
    config, left = override(Outer(), parse_options(text))
    assert not left
    return config


@pytest.mark.parametrize(
    "text",
    ["inner.low=5,inner.high=6", "inner.high=6,inner.low=5"],
)
def test_options_of_one_configuration_are_set_together(text):
    config = changed(text)
    assert (config.inner.low, config.inner.high) == (5, 6)
    assert config.second == Outer().second


@pytest.mark.parametrize("text", ["weight=1,inner.kind=none", "inner.kind=none,weight=1"])
def test_options_of_several_configurations_are_set_together(text):
    config = changed(text)
    assert (config.weight, config.inner.kind) == (1.0, "none")
    assert isinstance(config.weight, float)


def test_what_does_not_fit_together_is_refused():
    with pytest.raises(InputError, match="5 is not below 1"):
        changed("inner.low=5")
    with pytest.raises(InputError, match="needs the kind none"):
        changed("weight=1")


def test_none_is_no_value_no_values_or_the_name_of_a_choice():
    inner = changed("inner.rate=none,inner.bounds=none,inner.kind=none").inner
    assert (inner.rate, inner.bounds, inner.kind) == (None, (), "none")


def test_none_is_refused_where_a_value_is_needed():
    with pytest.raises(InputError, match="'weight' is None, but a number was expected"):
        changed("weight=none")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("inner.patience=ten", "'inner.patience' is 'ten', but a whole number or none was"),
        ("inner.patience=true", "is True, but a whole number or none was"),
        ("inner.rate=fast", "is 'fast', but a number or none was"),
        ("inner.bounds=a", "is 'a', but a whole number, or several joined by [+], was"),
        ("inner.bounds=1+a", r"is \(1, 'a'\), but a whole number, or several"),
        ("inner.low=1+2", r"is \(1, 2\), but a whole number was"),
        ("inner.kind=3", "is 3, but none or some was"),
        ("inner.state=3", "is 3, but a path or none was"),
    ],
)
def test_a_value_of_another_type_is_named_with_what_was_expected(text, message):
    with pytest.raises(InputError, match=message):
        changed(text)


def test_a_value_gets_the_type_of_its_field():
    inner = changed("inner.rate=1,inner.state=run.pt,inner.labels=input+none").inner
    assert isinstance(inner.rate, float)
    assert inner.state == Path("run.pt")
    assert inner.labels == ("input", "none")


def test_one_value_or_several_make_a_tuple():
    config = changed("inner.bounds=4,second.bounds=5+6")
    assert (config.inner.bounds, config.second.bounds) == ((4,), (5, 6))


def test_a_name_that_several_configurations_have_is_asked_for_with_its_path():
    with pytest.raises(InputError, match=r"could be any of inner\.low, second\.low"):
        changed("low=1")


def test_unknown_options_are_left():
    config, left = override(Outer(), {"weight": 0, "depth": 3})
    assert (config, left) == (Outer(), {"depth": 3})
    assert {"weight", "inner.kind"} < set(known_options(config))
