"""Versions of the database's tables: a new one gets the latest, an older one is upgraded.

Each file of ``versions`` is one step of Alembic's, and its revision the schema version that it
makes, with four digits. A change of ``measure.database.schema`` needs the next step and a
``SCHEMA_VERSION`` that is one higher; a test sees that the steps give exactly those tables.
"""

from __future__ import annotations

import threading
from pathlib import Path

import sqlalchemy
from sqlalchemy import Connection, Engine, text

from measure.database.engine import for_writing
from measure.database.schema import SCHEMA_VERSION
from measure.errors import DatabaseError

_OURS = {"networks", "measurements"}
# Any number will do that other programs on the server are unlikely to lock.
_UPGRADE_LOCK = 0x7C057
# It keeps what it works on in global variables.
_alembic = threading.Lock()


def prepare(engine: Engine, location: str) -> None:
    """Make the tables in an empty database, or bring those there to the latest version.

    All in one transaction, so that a failure changes nothing; of several processes one does it.

    Raises:
        DatabaseError: the tables are none of ours, or newer than this program.
    """
    with engine.connect() as connection:
        if _version(connection, location) == SCHEMA_VERSION:
            return
    with _alembic, for_writing(engine).begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _UPGRADE_LOCK})
        version = _version(connection, location)
        if version != SCHEMA_VERSION:
            upgrade(connection, since=version)


def upgrade(connection: Connection, *, since: int, to: int = SCHEMA_VERSION) -> None:
    """Take the steps after version ``since``, within the transaction of ``connection``."""
    from alembic import command  # noqa: PLC0415 (slow to import, seldom needed)
    from alembic.config import Config  # noqa: PLC0415

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    if since == 1:
        # It was made before there were steps.
        command.stamp(config, _revision(1))
    command.upgrade(config, _revision(to))


def _version(connection: Connection, location: str) -> int:
    """The schema version of a database; 0 where it is empty."""
    tables = set(sqlalchemy.inspect(connection).get_table_names())
    if not tables:
        return 0
    if not tables >= _OURS:
        raise DatabaseError(
            f"{location}: a database, but none of measurements (its tables: "
            f"{', '.join(sorted(tables))}); give another path"
        )
    if "alembic_version" in tables:
        found = connection.scalar(text("SELECT version_num FROM alembic_version"))
    else:
        found = connection.scalar(text("SELECT value FROM meta WHERE key = 'schema_version'"))
    if str(found).isdigit() and 1 <= int(str(found)) <= SCHEMA_VERSION:
        return int(str(found))
    raise DatabaseError(
        f"{location}: schema version {found}, but this program knows versions 1 to "
        f"{SCHEMA_VERSION}; use the program that wrote it, or a newer one"
    )


def _revision(version: int) -> str:
    return f"{version:04d}"
