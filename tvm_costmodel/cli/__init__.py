"""The command line: ``tvm-costmodel COMMAND``, one module for each subject.

Commands import what is heavy, or an optional package, only when they run.
"""

from __future__ import annotations

from tvm_costmodel.cli.app import main

__all__ = ["main"]
