"""What the README and the pages beside it show, runs."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest

from measure.database import Database
from measure.database.parquet import export_parquet
from measure.interpreters import running_generation
from tests.networks import conv_bn_relu
from tvm_costmodel import platforms
from tvm_costmodel.cli import main

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
PAGES = (README, ROOT / "docs" / "tvm.md")


def blocks(language: str, page: Path = README) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


def snippets() -> list[object]:
    return [
        pytest.param(code, id=f"{page.stem}-{position}")
        for page in PAGES
        for position, code in enumerate(blocks("python", page))
    ]


def needed_generation(code: str) -> str | None:
    """The generation of TVM that a snippet speaks of; any will do for its functions alone."""
    if re.search(r"relay_frontend\.relax|tvm import relax", code):
        return "relax"
    return "relay" if re.search(r"relay_frontend\.relay|tvm import relay", code) else None


@pytest.fixture
def model_in_cwd(tmp_path, monkeypatch):
    """A directory with the files that the commands name, the measurements without content."""
    (tmp_path / "model.onnx").write_bytes(conv_bn_relu().SerializeToString())
    for name in ("measurements.db", "copy.db"):
        with Database.open(tmp_path / name) as database:
            export_parquet(database, tmp_path / "parquet")
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("model_in_cwd")
@pytest.mark.parametrize("code", snippets())
def test_python_snippets_run(code):
    needed = needed_generation(code)
    if needed not in (None, running_generation()):
        pytest.skip(f"needs a TVM with {needed}")
    if "import tvm\n" in code:
        pytest.importorskip("tvm")
    exec(compile(code, "a snippet", "exec"), {})


def shell_lines() -> list[str]:
    lines = "\n".join(blocks("sh")).replace("\\\n", " ").splitlines()
    return [line.split("#")[0].strip() for line in lines if line.startswith("tvm-costmodel")]


# These build, measure or never end; tests/measure and those of the command line do so in the small.
SLOW = ("measure", "train", "evaluate", "compare", "demo", "serve", "tracker")


@pytest.mark.usefixtures("model_in_cwd")
@pytest.mark.parametrize("line", [x for x in shell_lines() if x.split()[1] not in SLOW])
def test_commands_run(line, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", shlex.split(line))
    with pytest.raises(SystemExit) as exit_:
        main()
    assert exit_.value.code == 0
    assert capsys.readouterr().out


@pytest.mark.parametrize("line", [x for x in shell_lines() if x.split()[1] in SLOW])
def test_options_of_slow_commands_exist(line, monkeypatch, capsys):
    command, *arguments = shlex.split(line)[1:]
    monkeypatch.setattr(sys, "argv", ["tvm-costmodel", command, "--help"])
    with pytest.raises(SystemExit):
        main()
    shown = capsys.readouterr().out
    options = [argument.split("=")[0] for argument in arguments if argument.startswith("--")]
    assert all(option in shown for option in options)


def test_every_shipped_platform_is_in_the_readme():
    text = README.read_text(encoding="utf-8")
    assert all(platform in text for platform in platforms())


def test_the_table_of_operators_is_that_of_the_vocabulary_and_the_tests():
    from tools.operator_table import PAGE, page  # noqa: PLC0415

    assert PAGE.read_text(encoding="utf-8") == "".join(page()), "run tools/operator_table.py"
