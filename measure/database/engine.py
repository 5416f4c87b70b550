"""Engines for the databases that are supported: durable commits, and two kinds of transactions.

A transaction that writes says so from the start. SQLite then takes the write lock at once and
waits for it; a reader that turns into a writer would fail where another process wrote meanwhile.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.orm import Session

from measure.database.schema import Base
from measure.errors import DatabaseError

_DIALECTS = {"sqlite": sqlite, "postgresql": postgresql}
_WRITES = "measure_writes"
_BUSY_S = 60


def make_engine(url: str, **options: Any) -> Engine:
    """An engine for ``url`` that commits durably; ``options`` go to ``create_engine``.

    Raises:
        DatabaseError: the URL is malformed, of another kind of database, or needs a driver that is
            not installed.
    """
    try:
        parsed = make_url(url)
        if parsed.drivername in ("postgresql", "postgres"):
            parsed = parsed.set(drivername="postgresql+psycopg")
        engine = create_engine(parsed, **options)
    except ModuleNotFoundError as error:
        raise DatabaseError(
            f"{url}: the driver {error.name!r} is not installed; for PostgreSQL: "
            "pip install 'tvm-costmodel[postgres]'"
        ) from error
    except ArgumentError as error:
        raise DatabaseError(f"{url}: no usable database URL ({error})") from error
    if engine.dialect.name not in _DIALECTS:
        raise DatabaseError(
            f"{url}: a database of {engine.dialect.name}, but expected the path of an SQLite file "
            "or a URL postgresql://..."
        )
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _configure_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def for_writing(engine: Engine) -> Engine:
    """The same engine, with transactions that write."""
    return engine.execution_options(**{_WRITES: True})


def insert_missing(session: Session, table: type[Base], rows: Iterable[Mapping[str, Any]]) -> None:
    """Insert ``rows``, except for those that the table has already, from whichever process."""
    values = [dict(row) for row in rows]
    if values:
        dialect = _DIALECTS[session.get_bind().dialect.name]
        session.execute(dialect.insert(table).on_conflict_do_nothing(), values)


def _configure_sqlite(connection: Any, _record: Any) -> None:
    """Per connection: waits for another writer instead of failing, and keeps what it commits."""
    # The driver would begin transactions by itself, but not those that change tables.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout={_BUSY_S * 1000}")
    _use_wal(cursor)
    for pragma in ("synchronous=FULL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _use_wal(cursor: Any) -> None:
    """Only the first connection to a new file has to change its mode.

    Others that do so at the same moment are told that it is locked, whatever their time-out is.
    """
    deadline = time.monotonic() + _BUSY_S
    while cursor.execute("PRAGMA journal_mode").fetchone()[0] not in ("wal", "memory"):
        if time.monotonic() > deadline:
            raise sqlite3.OperationalError("another process keeps the file locked")
        with contextlib.suppress(sqlite3.OperationalError):
            cursor.execute("PRAGMA journal_mode=WAL")
            continue
        time.sleep(0.01)


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get(_WRITES)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
