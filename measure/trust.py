"""Whether the label of a network is trusted: whether enough undisturbed rounds agree on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from measure.conditions import is_disturbed, unknown_counters

MAX_DISAGREEMENT = 0.02
"""Labels of rounds agree that lie this far apart at most, as a part of the lowest."""

_LIMIT = f"{100 * MAX_DISAGREEMENT:g} %"


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What one timing round says of its network's latency.

    Args:
        label_ms: the round's own label.
        started_at: with its zone.
        disturbed: whether it does not count.
        blind: what nobody tells of other work on the device meanwhile, in words; None where its
            counters tell it, or anchors around the round.
    """

    label_ms: float
    started_at: datetime
    disturbed: bool
    blind: str | None

    @classmethod
    def of_round(
        cls,
        label_ms: float,
        started_at: datetime,
        conditions: Mapping[str, Any],
        drift: float | None,
    ) -> Evidence:
        """The evidence of a round by its conditions and the drift of its block, if known."""
        return cls(
            label_ms=label_ms,
            started_at=started_at,
            disturbed=is_disturbed(conditions, drift),
            # A block that did not drift was undisturbed, even where there are no counters.
            blind=unknown_counters(conditions) if drift is None else None,
        )


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Whether a label is trusted, and why, or what to do where it is not."""

    trusted: bool
    reason: str


def judge(rounds: Sequence[Evidence], label_ms: float) -> Verdict:
    """Whether a majority of at least two undisturbed rounds agrees on the label ``label_ms``."""
    good = [entry for entry in rounds if not entry.disturbed]
    if not good:
        return _doubt(
            "every round was disturbed. Measure one more round while nothing else runs on the "
            "device."
        )
    if len(good) == 1:
        return _doubt(
            "there is only one undisturbed round. Measure one more round, which has to agree with "
            f"it within {_LIMIT}."
        )
    blind = [entry.blind for entry in good if entry.blind]
    if len(good) - len(blind) < 2:
        return _doubt(
            f"{blind[0]}, and no anchors were measured around the rounds. Measure two more rounds "
            "in a campaign with anchors, or serve the device with counters."
        )
    return _judge_agreement(good, label_ms)


def agree(labels_ms: Sequence[float], label_ms: float) -> bool:
    """Whether a majority of the rounds with ``labels_ms`` agrees on the label ``label_ms``."""
    return _is_majority(_agreeing(labels_ms, label_ms), labels_ms)


def percent(part: float) -> str:
    """A part of one in words, such as ``1.3 %``."""
    return f"{100 * part:.1f} %"


def _judge_agreement(good: Sequence[Evidence], label_ms: float) -> Verdict:
    labels_ms = [entry.label_ms for entry in good]
    agreeing = _agreeing(labels_ms, label_ms)
    if not _is_majority(agreeing, labels_ms):
        apart = max(labels_ms) / min(labels_ms) - 1
        return _doubt(
            f"the labels of {len(good)} undisturbed rounds lie {percent(apart)} apart (limit "
            f"{_LIMIT}). Measure one more round, to tell which of them is off."
        )
    times = [entry.started_at for entry in good]
    return Verdict(
        trusted=True,
        reason=f"Trusted: {len(agreeing)} of {len(good)} undisturbed rounds, the first and the "
        f"last {_duration((max(times) - min(times)).total_seconds())} apart, agree within "
        f"{percent(max(agreeing) / min(agreeing) - 1)} (limit {_LIMIT}).",
    )


def _doubt(reason: str) -> Verdict:
    return Verdict(trusted=False, reason=f"Not trusted: {reason}")


def _agreeing(labels_ms: Sequence[float], label_ms: float) -> Sequence[float]:
    """The most of ``labels_ms`` that agree with one another and with ``label_ms``."""
    # Whatever agrees lies within the limit of the lowest, which is one of these.
    limits = [(low, low * (1 + MAX_DISAGREEMENT)) for low in (*labels_ms, label_ms)]
    windows = [
        [other for other in labels_ms if low <= other <= high]
        for low, high in limits
        if low <= label_ms <= high
    ]
    return max(windows, key=len)


def _is_majority(some: Sequence[float], of_all: Sequence[float]) -> bool:
    return len(some) > len(of_all) / 2


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
