"""The report: its data, its size, and that it is the same page each time."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

from relay_frontend.errors import MissingDependencyError
from tests.tvm_costmodel.comparison.examples import small, synthetic
from tvm_costmodel.comparison import Comparison
from tvm_costmodel.comparison.report import check_library, report_data, report_page

GOLDEN = Path(__file__).parent / "report_data.json"
"""Of `small`; made anew by ``python -m tests.tvm_costmodel.comparison.test_report``."""


@pytest.fixture
def library():
    pytest.importorskip("vl_convert", reason="the report's charts need vl-convert-python")


def as_json(comparison: Comparison) -> str:
    return json.dumps(report_data(comparison), indent=1, ensure_ascii=False) + "\n"


def test_the_data_are_those_of_the_golden_file():
    assert as_json(small()) == GOLDEN.read_text(encoding="utf-8")


@pytest.mark.usefixtures("library")
def test_the_same_comparison_gives_the_same_page():
    pages = {report_page(report_data(small())) for _ in range(2)}
    assert len(pages) == 1


@pytest.mark.usefixtures("library")
def test_a_page_of_500_networks_is_under_3_mb():
    page = report_page(report_data(synthetic(500)))
    assert len(page.encode()) < 3_000_000


@pytest.mark.usefixtures("library")
def test_the_page_loads_nothing_and_takes_names_as_text():
    page = report_page(report_data(small()))
    own = page.partition('<script type="application/json"')[0]
    assert not re.findall(r"\ssrc=|<link\b|@import|url\(|https?:", own)
    assert "default-src 'none'" in page
    assert "mine &lt;&amp;&gt; &quot;&lt;/script&gt;&quot;" in page
    assert page.count("</script>") == page.count("<script") == 3


@pytest.mark.usefixtures("library")
def test_what_was_not_measured_makes_a_page_without_what_needs_it():
    rows = small().rows[-1:]
    page = report_page(report_data(Comparison(rows=rows)))
    assert "None of these networks was measured" in page
    assert 'data-chart="parts"' in page
    assert 'data-chart="scatter"' not in page


def test_without_the_plotting_library_the_install_line_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    with pytest.raises(MissingDependencyError, match=r"tvm-costmodel\[report\]"):
        check_library()


if __name__ == "__main__":
    GOLDEN.write_text(as_json(small()), encoding="utf-8")
