"""Which Python runs a toolchain."""

from __future__ import annotations

import importlib.util
import re
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from measure import interpreters
from measure.errors import InterpreterError
from measure.interpreters import find_interpreter, running_generation


@pytest.fixture
def fake_tvm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty package ``tvm`` instead of the one of this environment."""
    package = tmp_path / "site-packages" / "tvm"
    package.mkdir(parents=True)
    spec = ModuleSpec("tvm", None, is_package=True)
    spec.submodule_search_locations = [str(package)]
    monkeypatch.setattr(interpreters.importlib.util, "find_spec", lambda _: spec)
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "here"))
    for variable in ("TVM_COSTMODEL_RELAY_PYTHON", "TVM_COSTMODEL_RELAX_PYTHON"):
        monkeypatch.delenv(variable, raising=False)
    return package


def make_python(path: Path) -> Path:
    path.parent.mkdir(parents=True)
    path.touch(mode=0o755)
    return path


def test_a_tvm_with_both_generations_counts_as_relay(fake_tvm: Path) -> None:
    assert running_generation() is None
    (fake_tvm / "relax").mkdir()
    assert running_generation() == "relax"
    (fake_tvm / "relay").mkdir()
    assert running_generation() == "relay"


def test_the_running_python_is_taken_if_it_fits(fake_tvm: Path) -> None:
    (fake_tvm / "relax").mkdir()
    assert find_interpreter("relax") == Path(sys.executable)


def test_the_variable_goes_before_the_sibling(
    fake_tvm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sibling = make_python(tmp_path / ".venv-relay" / "bin" / "python")
    assert find_interpreter("relay") == sibling
    named = make_python(tmp_path / "elsewhere" / "python")
    monkeypatch.setenv("TVM_COSTMODEL_RELAY_PYTHON", str(named))
    assert find_interpreter("relay") == named


def test_a_missing_python_is_reported_with_the_way_to_make_it(
    fake_tvm: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InterpreterError, match=r"\.venv-relay/bin/python.*make relay-env"):
        find_interpreter("relay")
    monkeypatch.setenv("TVM_COSTMODEL_RELAY_PYTHON", "/nowhere/python")
    with pytest.raises(InterpreterError, match="TVM_COSTMODEL_RELAY_PYTHON=/nowhere/python"):
        find_interpreter("relay")


def test_the_running_python_is_not_taken_for_its_own_sibling(
    fake_tvm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_python(tmp_path / ".venv" / "bin" / "python")
    monkeypatch.setattr(sys, "prefix", str(tmp_path / ".venv"))
    with pytest.raises(InterpreterError, match="no Python with"):
        find_interpreter("relax")


def test_onnx_runtime_runs_in_the_running_python_if_it_is_there(
    fake_tvm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = {"onnxruntime": True}
    original = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name: (
            (object() if installed[name] else None) if name in installed else original(name)
        ),
    )
    assert find_interpreter("onnxruntime") == Path(sys.executable)
    installed["onnxruntime"] = False
    with pytest.raises(InterpreterError, match=r"ONNX Runtime.*tvm-costmodel\[onnxruntime\]"):
        find_interpreter("onnxruntime")
    sibling = make_python(tmp_path / ".venv" / "bin" / "python")
    assert find_interpreter("onnxruntime") == sibling


def test_what_messages_tell_to_make_can_be_made() -> None:
    makefile = (Path(__file__).parents[2] / "Makefile").read_text(encoding="utf-8")
    commands = [command for *_, command in interpreters._ENVIRONMENTS.values()]
    told = {command.removeprefix("make ") for command in commands if command.startswith("make ")}
    assert len(told) == 2
    assert told <= set(re.findall(r"^([\w-]+):", makefile, re.MULTILINE))
