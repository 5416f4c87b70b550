"""Protocols: what predictors learn from, and what they are tested on.

The splits of a protocol are drawn from a seed of its own, so that all predictors and all their
repetitions meet the same ones.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from relay_frontend.errors import InputError
from tvm_costmodel.datasets.dataset import Dataset
from tvm_costmodel.predictors.options import known_options, override
from tvm_costmodel.specs import Spec

IntArray = npt.NDArray[np.int64]
_NONE: IntArray = np.empty(0, dtype=np.int64)


@dataclass(frozen=True, eq=False, kw_only=True)
class Split:
    """Indices into a data set; training and validation inputs share none.

    Args:
        name: what is tested: a family, a platform, a part.
        train: what predictors are fitted to.
        test: what they are tested on.
        validation: what they may watch while fitting, and be chosen by.
    """

    name: str
    train: IntArray
    test: IntArray
    validation: IntArray = field(default_factory=lambda: _NONE)


class SplitProtocol(ABC):
    """Divides a data set. Subclasses are frozen dataclasses of their options."""

    name: ClassVar[str]

    choosing: ClassVar[tuple[str, ...]] = ()
    """Options that choose among the splits, and change none of them."""

    @abstractmethod
    def splits(self, dataset: Dataset[Any]) -> list[Split]:
        """The splits of ``dataset``, each to be fitted and tested on its own.

        Raises:
            InputError: ``dataset`` cannot be divided so.
        """


@dataclass(frozen=True, kw_only=True)
class InDomain(SplitProtocol):
    """Training and test networks of the same families, as in the paper's table 1.

    The networks of each family (on each platform) are shuffled and cut into equal parts; a split
    tests one of them and trains on the rest. The paper has 1,800 networks of each family to train
    and 200 to test: one of ten parts.

    Args:
        parts: that a family is cut into.
        folds: how many of them are tested, each in a split; all of them is cross-validation.
        validation: share of the training networks that is held back to watch.
        seed: of the shuffling.
    """

    name: ClassVar[str] = "in-domain"
    choosing: ClassVar[tuple[str, ...]] = ("folds",)
    parts: int = 10
    folds: int = 1
    validation: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.folds <= self.parts or self.parts < 2 or not 0 <= self.validation < 1:
            raise InputError(
                f"in-domain: expected 1 <= folds <= parts, at least 2 parts and a share for "
                f"validation below 1, got {self}"
            )

    def splits(self, dataset: Dataset[Any]) -> list[Split]:
        """One for each fold, named ``part 1`` and so on."""
        rng = np.random.default_rng(self.seed)
        part = np.empty(len(dataset), dtype=np.int64)
        for members in _groups(dataset):
            # Each group begins with another part, or else small ones would all end in the first.
            start = rng.integers(self.parts)
            part[rng.permutation(members)] = (start + np.arange(len(members))) % self.parts
        return [self._split(dataset, part, number) for number in range(self.folds)]

    def _split(self, dataset: Dataset[Any], part: IntArray, number: int) -> Split:
        train, test = np.flatnonzero(part != number), np.flatnonzero(part == number)
        if not len(train) or not len(test):
            raise InputError(
                f"in-domain: {len(dataset)} inputs are too few for {self.parts} parts: take fewer "
                "parts, or more data"
            )
        held_back = round(self.validation * len(train))
        rng = np.random.default_rng([self.seed, number])
        validation = np.sort(rng.choice(train, held_back, replace=False))
        return Split(
            name=f"part {number + 1}",
            train=np.setdiff1d(train, validation),
            validation=validation,
            test=test,
        )


@dataclass(frozen=True, kw_only=True)
class LeaveOneFamilyOut(SplitProtocol):
    """Test networks of a family that no training network is of, as in the paper's table 2.

    Args:
        families: to test; by default all of them, one after the other.
        validation: whether another family is taken from the training ones to watch and to choose
            by: the one after the tested one, in the order of their names.
    """

    name: ClassVar[str] = "leave-one-family-out"
    choosing: ClassVar[tuple[str, ...]] = ("families",)
    families: tuple[str, ...] = ()
    validation: bool = False

    def splits(self, dataset: Dataset[Any]) -> list[Split]:
        """One for each tested family, named after it."""
        families = np.array(dataset.families)
        known = sorted(set(dataset.families))
        tested = self.families or tuple(known)
        unknown = sorted(set(tested) - set(known))
        if unknown or len(known) < 2 + self.validation:
            raise InputError(
                f"leave-one-family-out needs at least {2 + self.validation} families"
                f"{f', among them {unknown[0]!r}' if unknown else ''}; data set {dataset.name} has "
                f"{', '.join(known)}"
            )
        splits = []
        for family in tested:
            watched = known[(known.index(family) + 1) % len(known)] if self.validation else None
            splits.append(
                Split(
                    name=family,
                    train=np.flatnonzero((families != family) & (families != watched)),
                    validation=np.flatnonzero(families == watched) if watched else _NONE,
                    test=np.flatnonzero(families == family),
                )
            )
        return splits


@dataclass(frozen=True, kw_only=True)
class UnseenPlatform(SplitProtocol):
    """A platform with few measurements, beside others with many.

    Trained on everything that was measured on the other platforms and on ``adapt`` networks of the
    tested one, drawn evenly from its families; tested on its other networks.

    Args:
        platforms: to test; by default all of them, one after the other.
        adapt: networks of the tested platform to learn from.
        seed: of their choice.
    """

    name: ClassVar[str] = "unseen-platform"
    choosing: ClassVar[tuple[str, ...]] = ("platforms",)
    platforms: tuple[str, ...] = ()
    adapt: int = 10
    seed: int = 0

    def splits(self, dataset: Dataset[Any]) -> list[Split]:
        """One for each tested platform, named after it."""
        platforms = np.array(dataset.platforms)
        known = sorted(set(dataset.platforms))
        tested = self.platforms or tuple(known)
        unknown = sorted(set(tested) - set(known))
        if unknown or len(known) < 2:
            raise InputError(
                f"unseen-platform needs at least 2 platforms"
                f"{f', among them {unknown[0]!r}' if unknown else ''}; data set {dataset.name} has "
                f"{', '.join(known)}"
            )
        splits = []
        for platform in tested:
            own = np.flatnonzero(platforms == platform)
            if not 0 <= self.adapt < len(own):
                raise InputError(
                    f"unseen-platform: {self.adapt} networks to adapt to {platform}, which has "
                    f"{len(own)}"
                )
            known_ones = self._drawn(dataset, own)
            splits.append(
                Split(
                    name=platform,
                    train=np.union1d(np.flatnonzero(platforms != platform), known_ones),
                    test=np.setdiff1d(own, known_ones),
                )
            )
        return splits

    def _drawn(self, dataset: Dataset[Any], own: IntArray) -> IntArray:
        """``adapt`` of ``own``: of each family in turn, in a random order."""
        rng = np.random.default_rng(self.seed)
        shuffled = rng.permutation(own)
        turn: dict[str, int] = {}
        turns = []
        for index in shuffled:
            family = dataset.families[index]
            turns.append(turn.setdefault(family, 0))
            turn[family] += 1
        return np.sort(shuffled[np.argsort(turns, kind="stable")][: self.adapt])


@dataclass(frozen=True, kw_only=True)
class Fixed(SplitProtocol):
    """The split that the data came with, or their first inputs to train, on each platform.

    With ``train``, as the paper's tables 3 and 4 have it: the first ``train`` inputs to train, the
    next ``validation`` to watch, and all to test (or the rest, where predictors are not tested on
    what they learned).

    Args:
        train: how many of the first inputs; several numbers are several splits. Without it the
            data must bring their split.
        validation: how many of the next.
        test: ``all``, or ``rest`` for what is neither trained nor watched.
    """

    name: ClassVar[str] = "fixed"
    choosing: ClassVar[tuple[str, ...]] = ("train",)
    train: tuple[int, ...] = ()
    validation: int = 0
    test: str = "all"

    def __post_init__(self) -> None:
        if any(count < 1 for count in self.train) or self.validation < 0:
            raise InputError(f"fixed: expected positive numbers of inputs, got {self}")
        if self.test not in {"all", "rest"}:
            raise InputError(f"fixed: test={self.test!r}, expected all or rest")

    def splits(self, dataset: Dataset[Any]) -> list[Split]:
        """One for each platform and number of training inputs."""
        splits = []
        platforms = sorted(set(dataset.platforms))
        for platform in platforms:
            own = np.flatnonzero(np.array(dataset.platforms) == platform)
            prefix = f"{platform} " if len(platforms) > 1 else ""
            if not self.train:
                splits.append(self._brought(dataset, own, f"{prefix}split of the data"))
            splits += [self._first(own, count, f"{prefix}train {count}") for count in self.train]
        return splits

    def _brought(self, dataset: Dataset[Any], own: IntArray, name: str) -> Split:
        if dataset.is_test is None:
            raise InputError(
                f"data set {dataset.name} brings no split into training and test inputs: say how "
                "many of the first train, fixed[train=781,validation=200], or choose in-domain"
            )
        test = dataset.is_test[own]
        train = own[~test]
        held_back = len(train) - self.validation
        if held_back < 1 or not test.any():
            raise InputError(
                f"fixed: data set {dataset.name} has {len(train)} training and {test.sum()} test "
                f"inputs, of the former {self.validation} were asked for validation"
            )
        return Split(
            name=name, train=train[:held_back], validation=train[held_back:], test=own[test]
        )

    def _first(self, own: IntArray, count: int, name: str) -> Split:
        end = count + self.validation
        if end > len(own) or (self.test == "rest" and end == len(own)):
            raise InputError(
                f"fixed: {count} inputs to train and {self.validation} for validation were asked "
                f"for, and there are {len(own)}"
            )
        test = own if self.test == "all" else own[end:]
        return Split(name=name, train=own[:count], validation=own[count:end], test=test)


PROTOCOLS: dict[str, type[SplitProtocol]] = {
    protocol.name: protocol for protocol in (InDomain, LeaveOneFamilyOut, UnseenPlatform, Fixed)
}


def parse_protocol(text: str) -> SplitProtocol:
    """The protocol with its options: ``in-domain``, ``leave-one-family-out[families=vgg+resnet]``.

    Raises:
        InputError: there is no such protocol or option.
    """
    spec = Spec.parse(text)
    if spec.name not in PROTOCOLS:
        raise InputError(f"unknown protocol {spec.name!r}: choose one of {', '.join(PROTOCOLS)}")
    default: Any = PROTOCOLS[spec.name]()
    protocol, left = override(default, spec.options)
    if left:
        raise InputError(
            f"protocol {spec.name} has no option {', '.join(left)}: known are "
            f"{', '.join(known_options(default))}"
        )
    found: SplitProtocol = protocol
    return found


def describe(protocol: SplitProtocol) -> str:
    """The protocol with all options that a split of it depends on.

    What they choose among the splits is left out, so that a split of one name is one and the same
    whichever others are tested beside it.
    """
    names = [name for name in known_options(protocol) if name not in protocol.choosing]
    text = ",".join(f"{name}={getattr(protocol, name)}" for name in names)
    return f"{protocol.name}[{text}]"


def _groups(dataset: Dataset[Any]) -> Sequence[IntArray]:
    """The inputs of each family on each platform."""
    groups: dict[tuple[str, str], list[int]] = {}
    for index, key in enumerate(zip(dataset.platforms, dataset.families, strict=True)):
        groups.setdefault(key, []).append(index)
    return [np.array(groups[key]) for key in sorted(groups)]
