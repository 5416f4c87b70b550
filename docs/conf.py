"""How Sphinx makes the pages and the reference into one site (``make docs``)."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

import typer
from typer.cli import get_docs_for_click

sys.path.insert(0, str(Path(__file__).parent.parent))

from tvm_costmodel.cli.app import app as command_line

project = "tvm-costmodel"
release = version = version_of("tvm-costmodel")
root_doc = "README"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_title = "tvm-costmodel"
html_show_copyright = False
myst_heading_anchors = 3
# Pages link to sources too, which are no pages; tests follow every link.
suppress_warnings = ["myst.xref_missing"]
autodoc_typehints = "description"
autodoc_member_order = "bysource"
napoleon_numpy_docstring = False


CONTENTS = {
    "Start": ["quick-start", "concepts"],
    "How to": [
        *("how-to/relay-pipeline", "how-to/relax-pipeline", "how-to/search-loop"),
        *("how-to/measure-device", "how-to/compare-predictors", "how-to/cpp"),
    ],
    "How it works": ["measuring", "tokens", "operators", "explaining", "evaluating", "comparing"],
    "Results": ["results/README"],
    "Reference": ["reference/tvm_costmodel", "reference/*"],
}
"""The menu; the first page is its readable form."""


def complete(_app: Any, page: str, source: list[str]) -> None:
    """Append the menu to the first page, and to that of the command line what commands say."""
    if page == root_doc:
        source[0] += "".join(_menu(caption, pages) for caption, pages in CONTENTS.items())
    if page == "results/README":
        source[0] += _menu("Tables", ["*"])
    if page.startswith("results/") and not source[0].startswith("# "):  # a table alone
        source[0] = f"# {page.removeprefix('results/')}\n\n{source[0]}"
    if page == "reference/command-line":
        command = typer.main.get_command(command_line)
        context = typer.Context(command, info_name="tvm-costmodel")
        text = get_docs_for_click(obj=command, ctx=context, name="tvm-costmodel")
        source[0] += "\n" + text.partition("\n")[2]  # the page has its title


def _menu(caption: str, pages: Iterable[str]) -> str:
    lines = ("```{toctree}", ":hidden:", ":glob:", f":caption: {caption}", "", *pages, "```")
    return "\n" + "\n".join(lines) + "\n"


def setup(app: Any) -> None:
    """Sphinx calls it."""
    app.connect("source-read", complete)
