"""Make the Relay environment in .venv-relay; say what to install where no Python 3.10 is found.

In continuous integration (``CI`` set) a missing Python 3.10 is a failure, so that Relay is tested.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
ENVIRONMENT = ROOT / ".venv-relay"
INSTALLED = ENVIRONMENT / "installed"
SOURCES = (
    *(ROOT / name for name in ("pyproject.toml", "constraints-relay.txt", "CMakeLists.txt")),
    *(ROOT / "cmake").glob("*.cmake"),
    *(
        source
        for package in ("relay_frontend", "tvm_costmodel")
        for extension in ("cc", "h")
        for source in (ROOT / package).rglob(f"*.{extension}")
    ),
)


def candidates() -> Iterator[str]:
    """Places where a Python 3.10 may be: the caller's choice, the path, pyenv, uv."""
    if chosen := os.environ.get("PYTHON310"):
        yield chosen
    if on_path := shutil.which("python3.10"):
        yield on_path
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    yield from map(str, sorted(pyenv.glob("versions/3.10.*/bin/python"), reverse=True))
    uv = Path.home() / ".local/share/uv/python"
    yield from map(str, sorted(uv.glob("cpython-3.10.*/bin/python3.10"), reverse=True))


def works(python: str) -> bool:
    """Whether ``python`` is a Python 3.10 that can make environments."""
    check = "import sys, venv, ensurepip; assert sys.version_info[:2] == (3, 10)"
    try:
        run = subprocess.run([python, "-c", check], capture_output=True, check=False)
    except OSError:
        return False
    return run.returncode == 0


def main() -> int:
    """Install what is missing or out of date."""
    if INSTALLED.exists() and all(
        INSTALLED.stat().st_mtime >= source.stat().st_mtime for source in SOURCES
    ):
        return 0
    python = next(filter(works, candidates()), None)
    if python is None:
        print(
            "Relay is skipped: no Python 3.10 found. Install one (pyenv install 3.10, or "
            "uv python install 3.10), or name it: PYTHON310=/path/to/python3.10"
        )
        return 1 if os.environ.get("CI") else 0
    subprocess.run([python, "-m", "venv", ENVIRONMENT], check=True)
    install = [ENVIRONMENT / "bin/python", "-m", "pip", "install", "--quiet"]
    # Python compiles what is imported by itself; all of what is installed would take a minute.
    install += ["--disable-pip-version-check", "--no-compile"]
    install += ["-c", ROOT / "constraints-relay.txt"]
    packages = [f"{ROOT}[relay,measure,kernel-sum]", "pytest", "hypothesis"]
    subprocess.run([*install, "-e", *packages], check=True, cwd=ROOT)
    INSTALLED.touch()
    return 0


if __name__ == "__main__":
    sys.exit(main())
