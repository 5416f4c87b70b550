"""``python -m tvm_costmodel.cli``."""

from __future__ import annotations

from tvm_costmodel.cli import main

main()
