"""Places for a measurement database: every test that asks for one runs on each kind."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from measure.database import Database
from tests.measure.databases import fill
from tests.measure.postgres import PostgresMissingError, PostgresServer, running_server

BACKENDS = ("sqlite", pytest.param("postgresql", marks=pytest.mark.once))


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    try:
        with running_server() as server:
            yield server
    except PostgresMissingError as error:
        if os.environ.get("CI"):
            pytest.fail(f"CI needs a PostgreSQL server: {error}")
        pytest.skip(str(error))


@pytest.fixture(params=BACKENDS)
def location(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where there is no database yet."""
    if request.param == "sqlite":
        return str(tmp_path / "latencies.db")
    server: PostgresServer = request.getfixturevalue("postgres_server")
    return server.create()


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file to copy, which takes a hundredth of the time that making one does."""
    path = tmp_path_factory.mktemp("original") / "latencies.db"
    with Database.open(path) as database:
        fill(database)
    return path


@pytest.fixture
def database(location: str, original: Path) -> Iterator[Database]:
    """A database with a platform, the standard protocol and the networks A and B."""
    on_a_server = "://" in location
    if not on_a_server:
        shutil.copyfile(original, location)
    with Database.open(location) as database:
        if on_a_server:
            fill(database)
        yield database
