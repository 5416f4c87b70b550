"""The base package is enough beside a TVM, in each of the two environments."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("tvm", reason="needs a TVM")

ROOT = Path(__file__).parents[3]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=300
    )


def test_a_pipeline_estimates_without_torch():
    module = "tests.tvm_costmodel.compiler.without_torch"
    done = run("-m", module)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("estimated ")


def test_a_missing_tvm_is_named():
    code = "import sys; sys.modules['tvm'] = None; import tvm_costmodel.compiler"
    done = run("-c", code)
    assert "MissingDependencyError: tvm_costmodel.compiler needs a TVM" in done.stderr
    assert "pip install 'tvm-costmodel[relax]'" in done.stderr
