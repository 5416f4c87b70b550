"""Nothing that a campaign has acknowledged is lost, whenever and however often it is killed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.measure.campaign.killing import kill_many

pytestmark = pytest.mark.once


def test_a_campaign_that_is_killed_again_and_again_ends_as_an_uninterrupted_one(
    tmp_path: Path,
) -> None:
    report = kill_many(kills=4, count=6, seed=1, directory=tmp_path)
    assert report.acknowledged > 0
