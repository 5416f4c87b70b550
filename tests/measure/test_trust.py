"""Which labels are trusted."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from measure.trust import Evidence, agree, judge

MOMENT = datetime(2026, 1, 1, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("labels_ms", "label_ms", "expected"),
    [
        ([10.0, 10.1], 10.0, True),
        ([10.0, 10.3], 10.0, False),
        # Two windows of two rounds: the tighter one is not the one with the label.
        ([10.00, 10.15, 10.30], 10.00, True),
        ([10.30, 10.00, 10.15], 10.30, True),
        ([10.0, 10.6, 10.65], 10.0, False),
        ([10.0, 10.01, 11.0, 12.0], 10.0, False),
        # The label itself must agree with the rounds, above and below them.
        ([10.0, 10.1], 9.95, True),
        ([10.0, 10.1], 9.8, False),
        ([10.0, 10.1], 10.3, False),
        ([10.0, 10.1], 20.0, False),
    ],
)
def test_a_majority_has_to_agree_with_the_label(
    labels_ms: list[float], label_ms: float, expected: bool
) -> None:
    assert agree(labels_ms, label_ms) == expected


def test_the_verdict_is_about_the_rounds_that_agree_with_the_label() -> None:
    rounds = [
        Evidence(label_ms=label_ms, started_at=MOMENT, disturbed=False, blind=None)
        for label_ms in (10.30, 10.00, 10.15)
    ]
    verdict = judge(rounds, 10.00)
    assert verdict.trusted
    assert "2 of 3 undisturbed rounds" in verdict.reason
    assert "agree within 1.5 %" in verdict.reason
    assert not judge(rounds, 10.80).trusted
