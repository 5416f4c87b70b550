"""Opening a database: durable commits, and tables of the version that this program knows."""

from __future__ import annotations

from typing import Any

import sqlalchemy
from sqlalchemy import Engine, create_engine, event, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from measure.errors import DatabaseError
from measure.schema import SCHEMA_VERSION, Base, Meta


def make_engine(url: str, **options: Any) -> Engine:
    """An engine for ``url`` that commits durably; ``options`` go to ``create_engine``.

    Raises:
        DatabaseError: the URL is malformed, or its driver is not installed.
    """
    try:
        engine = create_engine(make_url(url), **options)
    except (ArgumentError, ImportError) as error:
        raise DatabaseError(f"{url}: no usable database URL ({error})") from error
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _configure_sqlite)
    return engine


def _configure_sqlite(connection: Any, _record: Any) -> None:
    """Per connection: waits for another writer instead of failing, and keeps what it commits."""
    cursor = connection.cursor()
    for pragma in ("busy_timeout=30000", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def prepare(engine: Engine, location: str) -> None:
    """Make the tables in an empty database, or see that those there are ours.

    Raises:
        DatabaseError: they are not, or of another version.
    """
    with engine.begin() as connection:
        tables = set(sqlalchemy.inspect(connection).get_table_names())
        if not tables:
            Base.metadata.create_all(connection)
            version = {"key": "schema_version", "value": str(SCHEMA_VERSION)}
            connection.execute(sqlalchemy.insert(Meta).values(version))
            return
        if Meta.__tablename__ not in tables:
            raise DatabaseError(
                f"{location}: a database, but none of measurements (its tables: "
                f"{', '.join(sorted(tables))}); give another path"
            )
        found = connection.scalar(select(Meta.value).filter_by(key="schema_version"))
        if found != str(SCHEMA_VERSION):
            raise DatabaseError(
                f"{location}: schema version {found}, but this program knows version "
                f"{SCHEMA_VERSION}; use the program that wrote it, or a newer one"
            )
