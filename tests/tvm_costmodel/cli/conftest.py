"""Running the command line within this process."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from tvm_costmodel.cli import main

Result = tuple[int, str, str]


@pytest.fixture
def run(monkeypatch, capsys) -> Callable[..., Result]:
    """Run the command line; gives exit code, standard output and standard error."""

    def run_(*arguments: object) -> Result:
        monkeypatch.setattr(sys, "argv", ["tvm-costmodel", *map(str, arguments)])
        code = 0
        try:
            main()
        except SystemExit as exit_:
            code = exit_.code if isinstance(exit_.code, int) else int(exit_.code is not None)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run_


@pytest.fixture
def write(tmp_path) -> Callable[..., Path]:
    """Write a network to a file of the test's directory."""

    def write_(network: onnx.ModelProto, name: str = "network.onnx") -> Path:
        path = tmp_path / name
        path.write_bytes(network.SerializeToString())
        return path

    return write_
