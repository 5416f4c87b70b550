"""The example in C++ is compiled as its page says, loaded, and asked."""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest

from tests.test_docs import ROOT, blocks

PAGE = ROOT / "docs" / "how-to" / "cpp.md"
SOURCE = ROOT / "examples" / "cpp" / "fastest.cc"

pytestmark = pytest.mark.relax  # Relay's TVM is older than tvm-ffi


@pytest.fixture(scope="module")
def directory(tmp_path_factory) -> Path:
    """Where the library has been built, by the line that the page shows."""
    if shutil.which("c++") is None:
        pytest.skip("needs a C++ compiler")
    (line,) = blocks("sh", PAGE)
    directory = tmp_path_factory.mktemp("example")
    (directory / "examples").symlink_to(ROOT / "examples")
    tvm_ffi = pytest.importorskip("tvm_ffi")
    beside = Path(tvm_ffi.__file__).parents[4] / "bin"  # an environment may see another's packages
    path = os.pathsep.join([sysconfig.get_path("scripts"), str(beside), os.environ["PATH"]])
    subprocess.run(line, shell=True, check=True, cwd=directory, env={**os.environ, "PATH": path})
    return directory


def test_the_page_shows_the_source():
    (shown,) = blocks("cpp", PAGE)
    assert shown in SOURCE.read_text(encoding="utf-8")


def test_the_library_answers_as_the_page_says(directory, monkeypatch, capsys):
    monkeypatch.chdir(directory)
    (code,) = (code for code in blocks("python", PAGE) if "libfastest" in code)
    exec(compile(code, "a snippet", "exec"), {})
    assert capsys.readouterr().out.splitlines() == ["1"]


def test_errors_reach_the_caller_of_the_library(directory):
    import tvm_ffi  # noqa: PLC0415

    import tvm_costmodel.compiler  # noqa: F401, PLC0415 (registers the function)

    library = tvm_ffi.load_module(str(directory / "libfastest.so"))
    assert library.fastest([], "tvm-relax") == -1
    with pytest.raises(RuntimeError, match="unknown platform 'toaster'"):
        library.fastest(["model.onnx"], "toaster")
