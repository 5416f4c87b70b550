"""Names with options, as people write them: ``nar-former-v2[preset=paper,width=128]``."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from relay_frontend.errors import InputError
from tvm_costmodel.predictors.options import parse_options

_FORM = re.compile(r"([^\[\]]+)(?:\[([^\[\]]*)\])?")
_COMMAS_OUTSIDE_OF_BRACKETS = re.compile(r",(?![^\[]*\])")


@dataclass(frozen=True)
class Spec:
    """A name and its options.

    Args:
        name: what stands before the brackets.
        text: what stands in them, without spaces.
    """

    name: str
    text: str = ""

    @classmethod
    def parse(cls, text: str) -> Spec:
        """``name`` or ``name[key=value,...]``.

        Raises:
            InputError: ``text`` has another form.
        """
        found = _FORM.fullmatch(text.strip())
        if found is None:
            raise InputError(f"{text!r}: expected a name, or name[key=value,key=value]")
        spec = cls(found[1].strip(), (found[2] or "").replace(" ", ""))
        _ = spec.options
        return spec

    @cached_property
    def options(self) -> dict[str, Any]:
        """The options by name; see :func:`tvm_costmodel.predictors.options.parse_options`."""
        return parse_options(self.text)

    def with_option(self, name: str, value: object) -> Spec:
        """The same with one more option, which takes the place of one of its name."""
        others = [part for part in self.text.split(",") if part.partition("=")[0] not in {"", name}]
        return Spec(self.name, ",".join([*others, f"{name}={value}"]))

    def as_part(self, name: str, option: Callable[[str], str | None]) -> Spec:
        """The spec of something else, which takes some of these options.

        Args:
            name: of the other.
            option: what an option is called there; None where it is none of its own.
        """
        pairs = [part.partition("=")[::2] for part in self.text.split(",") if part]
        kept = [f"{new}={value}" for key, value in pairs if (new := option(key)) is not None]
        return Spec(name, ",".join(kept))

    def __str__(self) -> str:
        return f"{self.name}[{self.text}]" if self.text else self.name


def parse_specs(text: str) -> list[Spec]:
    """The specs of a list by commas; those within brackets do not divide.

    Raises:
        InputError: one of them has another form.
    """
    return [Spec.parse(part) for part in _COMMAS_OUTSIDE_OF_BRACKETS.split(text) if part.strip()]
