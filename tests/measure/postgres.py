"""A PostgreSQL server of the tests' own."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_INSTALL = "install Debian's package postgresql, or put initdb and pg_ctl on the PATH"
# The server refuses to run as root.
_USER = "postgres"


class PostgresMissingError(Exception):
    """What a server needs is not installed."""


class PostgresServer:
    """A running server, and empty places in it; none is ever used twice."""

    def __init__(self, socket: Path) -> None:
        self._url = f"postgresql://{_USER}@/postgres?host={socket}"
        self._numbers = itertools.count()

    def create(self) -> str:
        """The URL of a place where there is nothing yet.

        It is a schema of its own; a database would be copied from a template, which takes longer
        than most tests.
        """
        import psycopg  # noqa: PLC0415 (may be missing)

        name = f"test{next(self._numbers)}"
        with psycopg.connect(self._url) as connection:
            connection.execute(f"CREATE SCHEMA {name}".encode())
        return f"{self._url}&options=-csearch_path%3D{name}"


@contextmanager
def running_server() -> Iterator[PostgresServer]:
    """Start a server in a directory of its own, and stop it at the end.

    Raises:
        PostgresMissingError: there is no server, or no driver.
    """
    try:
        import psycopg  # noqa: F401, PLC0415
    except ImportError as error:
        raise PostgresMissingError(f"{error}: pip install 'psycopg[binary]'") from error
    programs = _programs()
    # Not below pytest's directory, which is closed to other users.
    root = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
    account = _account(root)
    with _stopped_at_the_end(programs / "pg_ctl", root, account):
        data = root / "data"
        initdb = ["-U", _USER, "--auth=trust", "--no-sync", "-E", "UTF8", "--locale=C"]
        _run([programs / "initdb", "-D", data, *initdb], account, root)
        # Another zone than ours shows what is taken for UTC and is not.
        options = f"-c listen_addresses='' -c timezone=Asia/Tokyo -c fsync=off -k {root}"
        start = ["-w", "-l", root / "log", "-o", options, "start"]
        _run([programs / "pg_ctl", "-D", data, *start], account, root)
        yield PostgresServer(root)


@contextmanager
def _stopped_at_the_end(pg_ctl: Path, root: Path, account: dict[str, Any]) -> Iterator[None]:
    """Whatever ends these tests, a kill included: stop the server and remove its directory."""
    script = 'cat; "$0" -D "$1/data" -m immediate stop; rm -rf "$1"'
    with subprocess.Popen(
        ["sh", "-c", script, pg_ctl, root],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,
        **account,
    ):
        # Leaving closes the pipe and waits.
        yield


def _programs() -> Path:
    """The directory of the server's programs; Debian keeps it off the PATH."""
    candidates = [Path(found).resolve().parent for found in [shutil.which("pg_ctl")] if found]
    candidates += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    if config := shutil.which("pg_config"):
        asked = subprocess.run([config, "--bindir"], capture_output=True, text=True, check=True)
        candidates.append(Path(asked.stdout.strip()))
    for directory in candidates:
        if all((directory / program).exists() for program in ("initdb", "pg_ctl", "postgres")):
            return directory
    raise PostgresMissingError(f"no PostgreSQL server: {_INSTALL}")


def _account(root: Path) -> dict[str, Any]:
    """As whom the server runs, to whom ``root`` then belongs."""
    if os.geteuid() != 0:
        return {}
    try:
        shutil.chown(root, _USER, _USER)
    except LookupError as error:
        raise PostgresMissingError(f"{error}: {_INSTALL}") from error
    return {"user": _USER, "group": _USER, "extra_groups": []}


def _run(command: list[str | Path], account: dict[str, Any], root: Path) -> None:
    # Not a pipe: the server would hold it open.
    with tempfile.TemporaryFile("w+") as output:
        done = subprocess.run(
            command,
            stdout=output,
            stderr=output,
            stdin=subprocess.DEVNULL,
            cwd=root,
            check=False,
            **account,
        )
        if done.returncode:
            output.seek(0)
            log = root / "log"
            raise RuntimeError(output.read() + (log.read_text() if log.exists() else ""))
