"""How good views are, and where they disagree."""

from __future__ import annotations

import pytest

from tests.tvm_costmodel.comparison.examples import KERNEL_SUM, KERNELS, LEARNED, PLATFORM, small
from tvm_costmodel.comparison.disagreement import (
    disagreeing_pair,
    disagreements,
    kind_totals,
)
from tvm_costmodel.comparison.summary import agreements, by_family, label_noise, summaries
from tvm_costmodel.comparison.tables import family_rows, rows_of, summary_rows

ROWS = small().on(PLATFORM)
PAIR = (LEARNED, KERNEL_SUM)


def test_views_are_summed_up_over_measured_networks():
    found = {summary.view: summary for summary in summaries(ROWS)}
    assert list(found) == [LEARNED, KERNEL_SUM, KERNELS, "roofline"]
    learned = found[LEARNED]
    assert learned.metrics.num_networks == 5
    assert learned.metrics.mape == pytest.approx((5 + 5 + 200 + 2.5 + 100 / 15) / 5)
    assert (learned.time_ms, learned.needs_build, learned.speed_up) == (5.0, False, 600.0)
    assert (found[KERNEL_SUM].needs_build, found[KERNEL_SUM].known) == (True, 2)
    assert found["roofline"].metrics.mape == pytest.approx(50)
    assert (found["roofline"].time_ms, found["roofline"].needs_build) == (None, None)


def test_families_and_ranks():
    assert {(f.family, f.view) for f in by_family(ROWS) if f.view == LEARNED} == {
        ("file", LEARNED), ("vgg", LEARNED), ("vit", LEARNED)
    }  # fmt: skip
    agreement = {(a.first, a.second): a for a in agreements(ROWS)}
    assert agreement["measured", KERNELS].kendall_tau == pytest.approx(1)
    assert agreement[PAIR].networks == 6


def test_noise_is_that_of_networks_measured_twice():
    noise = label_noise(ROWS)
    assert (noise.median, noise.p90) == pytest.approx((0.03, 0.04))
    assert label_noise(ROWS[-1:]) is None


def test_disagreement_is_told_by_the_kernels_that_make_it():
    assert disagreeing_pair(ROWS) == PAIR
    found = disagreements(ROWS, PAIR, count=3, of_a_family=1)
    assert [ROWS[d.row].network for d in found] == ["vit-0", "other", "vgg-0"]
    assert found[0].ratio == pytest.approx(90 / 33)
    assert (found[0].closer, found[1].closer) == (KERNEL_SUM, None)
    assert [part.kind for part in found[0].parts] == ["attention", "dense_add"]


def test_kinds_are_summed_over_networks():
    first = kind_totals(ROWS, PAIR, 2)[0]
    assert (first.kind, first.calls) == ("attention", 18)
    assert first.latency_ms[LEARNED] == pytest.approx(84.1)


def test_tables():
    brief, whole = rows_of(ROWS, brief=True), rows_of(ROWS)
    assert brief[0]["NAR-Former V2 error %"] == pytest.approx(5)
    assert "measured kernels ms" in brief[0]
    assert whole[-1]["measured ms"] is None
    assert whole[0]["kernel-sum kernels"] == "compiler"
    assert all(row.keys() == whole[0].keys() for row in whole)
    assert [row["family"] for row in family_rows(ROWS)] == ["file", "vgg", "vit"]
    assert [row["trained on"] for row in summary_rows(ROWS)] == [0, 2, None, None]
