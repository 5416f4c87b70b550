"""The report in a browser without a network: clicked through, and checked for accessibility."""

from __future__ import annotations

import os
import shutil

import pytest

from tests.tvm_costmodel.comparison.examples import small
from tvm_costmodel.comparison.report import report_data, report_page

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def browser_path() -> str:
    """A browser of this machine; skips the test with a reason where there is none."""
    pytest.importorskip("vl_convert", reason="the report's charts need vl-convert-python")
    pytest.importorskip("playwright", reason="the browser test needs playwright")
    path = os.environ.get("TVM_COSTMODEL_BROWSER") or next(
        filter(None, map(shutil.which, BROWSERS)), None
    )
    if path is None:
        pytest.skip("no browser: install chromium, or set TVM_COSTMODEL_BROWSER to one")
    return path


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The page of the small comparison, opened offline; fails where the console complains."""
    path = browser_path()
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 (optional)

    file = tmp_path_factory.mktemp("report") / "report.html"
    file.write_text(report_page(report_data(small())), encoding="utf-8")
    complaints: list[str] = []
    requests: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        context = browser.new_context(offline=True, viewport={"width": 1280, "height": 900})
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(file.as_uri())
        page.wait_for_selector("html[data-ready=yes]", timeout=60_000)
        yield page
        browser.close()
    assert complaints == []
    assert requests == [file.as_uri()]


def labels(page) -> list[str]:
    return page.locator("#platform-0-parts .role-axis-label text").all_text_contents()


def test_all_charts_are_drawn(report):
    charts = report.locator("figure[data-chart]")
    names = [charts.nth(i).get_attribute("data-chart") for i in range(charts.count())]
    assert names == [
        "scatter",
        "histogram",
        "within",
        "families",
        "ranks",
        "parts",
        "kinds",
        "cost",
    ]
    assert report.locator("figure[data-chart] svg").count() == len(names)


def test_choosing_a_network_shows_its_kernels(report):
    report.select_option("#platform-0-network", value="0")
    assert "measured 10 ms" in report.locator(".answer").inner_text()
    assert "conv2d_add_relu 1×64×56×56 · 8 calls" in labels(report)
    report.select_option("#platform-0-network", label="vit-0")
    assert "attention 1×8×196×64 · 12 calls" in labels(report)
    assert "NAR-Former V2 90 ms" in report.locator(".answer").inner_text()


def test_a_button_of_the_disagreements_chooses_its_network(report):
    report.locator("button.show").first.click()
    assert report.locator("#platform-0-network option:checked").inner_text() == "vit-0"


def test_a_point_names_its_network_and_a_click_chooses_it(report):
    points = report.locator("#platform-0-scatter .mark-symbol path")
    points.nth(0).scroll_into_view_if_needed()
    points.nth(0).hover(force=True)
    shown = report.locator("#vg-tooltip-element").inner_text()
    assert "vgg-0" in shown
    assert "10.5" in shown
    points.nth(1).click(force=True)  # the second network of that name
    assert report.locator("#platform-0-network").input_value() == "1"
    assert "measured 20 ms" in report.locator(".answer").inner_text()


def test_a_family_can_be_highlighted(report):
    report.select_option("#platform-0-scatter select", "vit")
    opacities = report.locator("#platform-0-scatter .mark-symbol path").evaluate_all(
        "paths => paths.map(path => path.getAttribute('opacity'))"
    )
    assert {float(value) for value in opacities} == {0.75, 0.04}
    report.select_option("#platform-0-scatter select", "all")


def test_tables_hold_what_charts_show(report):
    report.locator("details.all summary").click()
    cells = report.locator("details.all tbody tr").first.locator("th, td").all_text_contents()
    assert cells[:4] == ["vgg-0", "vgg", "50", "10"]


@pytest.mark.parametrize("media", ["screen", "print"])
def test_axe_finds_nothing(report, media):
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="needs axe-playwright-python"
    )
    report.emulate_media(media=media)
    results = axe.Axe().run(report)
    assert results.violations_count == 0, results.generate_report()
    report.emulate_media(media="screen")


def test_the_page_fits_a_narrow_screen(report):
    report.set_viewport_size({"width": 390, "height": 800})
    assert report.evaluate("document.documentElement.scrollWidth") <= 390
    report.set_viewport_size({"width": 1280, "height": 900})
