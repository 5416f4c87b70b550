"""What the README and the documentation show, runs or is understood; their links lead somewhere."""

from __future__ import annotations

import importlib.util
import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer

from measure.database import Database
from measure.database.parquet import export_parquet
from measure.interpreters import running_generation
from measure.rpc.address import RpcAddress, is_remote
from measure.toolchains import TOOLCHAINS
from measure.zoo import sample
from tests.networks import LIGHT, conv_bn_relu
from tvm_costmodel import CostModel, platforms
from tvm_costmodel.cli import main
from tvm_costmodel.cli.app import app
from tvm_costmodel.cli.options import parse_families, parse_names
from tvm_costmodel.evaluation.candidates import candidate
from tvm_costmodel.evaluation.protocols import parse_protocol
from tvm_costmodel.registry import SHIPPED
from tvm_costmodel.specs import Spec, parse_specs

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
DATA_CARD = ROOT / "data" / "README.md"
PAGES = (README, *sorted((ROOT / "docs").rglob("*.md")))
LINKING = (*PAGES, DATA_CARD, ROOT / "tests" / "data" / "README.md")


def blocks(language: str, page: Path) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT).with_suffix(""))


@cache
def of_the_zoo() -> bytes:
    return sample("resnet", 0).model.SerializeToString()


@pytest.fixture
def model_in_cwd(tmp_path, monkeypatch):
    """A directory with the files that examples name, the measurements without content."""
    (tmp_path / "model.onnx").write_bytes(conv_bn_relu().SerializeToString())
    (tmp_path / "resnet-standard-00000.onnx").write_bytes(of_the_zoo())
    (tmp_path / "resnet50.onnx").write_bytes((LIGHT / "light_resnet50.onnx").read_bytes())
    for name in ("measurements.db", "copy.db"):
        with Database.open(tmp_path / name) as database:
            export_parquet(database, tmp_path / "parquet")
    (tmp_path / "checkpoints").symlink_to(SHIPPED)  # in place of what `train` has left
    monkeypatch.chdir(tmp_path)


# --- Python -------------------------------------------------------------------------------------


def snippets() -> list[object]:
    return [
        pytest.param(code, id=f"{name_of(page)}-{position}")
        for page in PAGES
        for position, code in enumerate(blocks("python", page))
        if "libfastest" not in code  # built first, by the test of the example
    ]


def needed_generation(code: str) -> str | None:
    """The generation of TVM that a snippet speaks of; any will do for its functions alone."""
    if re.search(r"relay_frontend\.relax|tvm import relax", code):
        return "relax"
    return "relay" if re.search(r"relay_frontend\.relay|tvm import relay", code) else None


@pytest.mark.usefixtures("model_in_cwd")
@pytest.mark.parametrize("code", snippets())
def test_python_snippets_run(code):
    needed = needed_generation(code)
    if needed not in (None, running_generation()):
        pytest.skip(f"needs a TVM with {needed}")
    if re.search(r"^import tvm\b", code, re.MULTILINE):
        pytest.importorskip("tvm")
    if "tune_tasks" not in code:
        exec(compile(code, "a snippet", "exec"), {})
        return
    # In a process of its own, for it starts TVM's threads; with few trials, which take seconds.
    code = re.sub(r"trials=\d+", "trials=2", code)
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


# --- The shell ----------------------------------------------------------------------------------


def commands() -> list[tuple[Path, str]]:
    """All lines of all pages, comments aside."""
    lines = []
    for page in (*PAGES, DATA_CARD):
        text = "\n".join(blocks("sh", page)).replace("\\\n", " ")
        stripped = (re.sub(r"\s#.*", "", line).strip() for line in text.splitlines())
        lines += [(page, line) for line in stripped if line]
    return lines


def ours(*, slow: bool) -> list[object]:
    return [
        pytest.param(line, id=f"{name_of(page)}: {line}")
        for page, line in dict.fromkeys(commands())
        if line.startswith("tvm-costmodel")
        and (page == DATA_CARD or line.split()[1] in SLOW) == slow
    ]


# These build, measure or never end; tests/measure and those of the command line do so in the small.
# Those of the data card work on the data of the repository.
SLOW = ("measure", "train", "evaluate", "compare", "demo", "serve", "tracker")


@pytest.mark.usefixtures("model_in_cwd")
@pytest.mark.parametrize("line", ours(slow=False))
def test_commands_run(line, monkeypatch, capsys):
    # As from a shell: XGBoost, a part of blends too, does not run where Relay's TVM was imported.
    if "kernel-sum" in line or "blend" in line:
        command = [sys.executable, "-m", "tvm_costmodel.cli", *shlex.split(line)[1:]]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        assert done.stdout
        return
    monkeypatch.setattr(sys, "argv", shlex.split(line))
    with pytest.raises(SystemExit) as exit_:
        main()
    assert exit_.value.code == 0
    assert capsys.readouterr().out


def understood(line: str) -> dict[str, Any]:
    """The values of a command's parameters by name, as the command line reads them."""
    command: Any = typer.main.get_command(app)
    words = shlex.split(line)[1:]
    while hasattr(command, "commands"):
        command = command.commands[words.pop(0)]
    values: dict[str, Any] = command.make_context(command.name, words).params
    return values


@pytest.mark.parametrize("line", ours(slow=True))
def test_slow_commands_are_understood(line):
    values = understood(line)
    parse_families(values.get("zoo") or "")
    parse_protocol(values.get("protocol") or "in-domain")
    assert set(parse_names(values.get("toolchain") or "")) <= set(TOOLCHAINS)
    data = Spec.parse(values.get("data") or "data").name
    assert not data.startswith("data/") or (ROOT / data).is_dir()
    for device in filter(is_remote, values.get("device") or ()):
        RpcAddress.parse(device)
    for spec in parse_specs(values.get("predictors") or ""):
        if importlib.util.find_spec("torch"):
            candidate(spec, "accuracy" if data.startswith("nasbench") else "latency")


@pytest.mark.parametrize(
    "line", ["evaluate --database x", "measure --zoo vgg --count many", "compare --kernels mine"]
)
def test_what_is_no_option_or_value_is_not_understood(line):
    with pytest.raises(Exception, match=r"No such option|valid integer|is not one of"):
        understood(f"tvm-costmodel {line}")


def test_other_commands_are_known():
    made = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for page, line in commands():
        program, *arguments = shlex.split(line)
        if program == "make":
            assert set(arguments) <= set(made), (page, line)
        elif program == "pip":
            assert arguments == ["install", "."], (page, line)
        elif program == "python":
            assert (ROOT / arguments[0]).is_file(), (page, line)
        else:  # the compiler is run by the test of the example
            assert program in ("tvm-costmodel", "c++"), (page, line)


def test_extras_that_are_named_exist():
    declared = re.findall(r"^([\w-]+) = \[", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for extras in re.findall(r"'(?:\.|tvm-costmodel)\[([\w,-]+)\]'", text):
            assert set(extras.split(",")) <= set(declared), (page, extras)


# --- Links --------------------------------------------------------------------------------------


def anchors(page: Path) -> set[str]:
    """What GitHub calls the headings of a page."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    headings = re.findall(r"^#+ (.*)", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", LINKING, ids=name_of)
def test_links_lead_somewhere(page):
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?:", link):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_every_page_is_on_the_first_one():
    docs = ROOT / "docs"
    index = (docs / "README.md").read_text(encoding="utf-8")
    pages = [page.relative_to(docs) for page in docs.rglob("*.md") if "results" not in page.parts]
    assert all(f"({page})" in index for page in pages if str(page) != "README.md")


# --- What is printed ----------------------------------------------------------------------------


def test_every_shipped_platform_is_in_the_readme():
    text = README.read_text(encoding="utf-8")
    assert all(platform in text for platform in platforms())


def test_the_explanation_that_is_shown_is_that_of_the_shipped_checkpoint():
    page = (ROOT / "docs" / "explaining.md").read_text(encoding="utf-8")
    explanation = CostModel.load("tvm-relay").explain(LIGHT / "light_resnet50.onnx")
    estimate = explanation.estimate
    shown = f"{estimate.latency_ms:.1f} ms ({estimate.low_ms:.1f} to {estimate.high_ms:.1f})"
    assert shown in page, f"show it anew in docs/explaining.md: {shown}"
    assert explanation.grounds.verdict in page


def test_the_table_of_operators_is_that_of_the_vocabulary_and_the_tests():
    from tools.operator_table import PAGE, page  # noqa: PLC0415

    assert PAGE.read_text(encoding="utf-8") == "".join(page()), "run tools/operator_table.py"


@pytest.mark.relax
def test_the_site_is_made_without_a_warning(tmp_path):
    pytest.importorskip("furo", reason="needs pip install 'tvm-costmodel[docs]'")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html"]
    command += [str(ROOT / "docs"), str(tmp_path / "site"), "-d", str(tmp_path / "read")]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    reference = (tmp_path / "site" / "reference" / "tvm_costmodel.html").read_text()
    assert 'id="tvm_costmodel.CostModel.estimate_many"' in reference
