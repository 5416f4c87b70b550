"""The measurement database as Parquet files, one per table, and back.

Self-contained for other programs: platforms are referred to by name, samples are lists of numbers
in ms, moments have their zone, and nested values (fingerprints, conditions, tensor types) are JSON.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import (
    JSON,
    Column,
    Float,
    Integer,
    LargeBinary,
    Table,
    UniqueConstraint,
    insert,
    inspect,
    select,
)
from sqlalchemy.orm import Session

from measure.database import Database, check_platform
from measure.errors import DatabaseError
from measure.schema import (
    SCHEMA_VERSION,
    Base,
    FailureRow,
    KernelRow,
    MeasurementRow,
    NetworkRow,
    PlatformRow,
    ProtocolRow,
    SamplesType,
    UtcDateTime,
)

# In the order in which rows refer to rows.
_TABLES: tuple[type[Base], ...] = (
    NetworkRow,
    PlatformRow,
    ProtocolRow,
    MeasurementRow,
    KernelRow,
    FailureRow,
)
_VERSION_KEY = b"measure.schema_version"
_INSERT_ROWS = 5000


def export_parquet(database: Database, directory: Path) -> dict[str, int]:
    """Write every table to ``directory``; gives the number of rows by table.

    Rows are sorted by what identifies them, so that equal databases give equal files.
    """
    directory.mkdir(parents=True, exist_ok=True)
    counts: dict[str, int] = {}
    with database.session() as session:
        platforms = {row.id: row.name for row in session.scalars(select(PlatformRow))}
        for table in _TABLES:
            rows = [_to_record(row, platforms) for row in session.scalars(select(table))]
            keys = _identifying(table)
            rows.sort(key=lambda record: [record[key] for key in keys])
            schema = pa.schema(
                [(_exported_name(column), _arrow_type(column)) for column in _columns(table)],
                metadata={_VERSION_KEY: str(SCHEMA_VERSION)},
            )
            path = directory / f"{table.__tablename__}.parquet"
            pq.write_table(pa.Table.from_pylist(rows, schema), path, compression="zstd")
            counts[table.__tablename__] = len(rows)
    return counts


def load_parquet(directory: Path) -> Database:
    """A database in memory with what :func:`export_parquet` wrote; enough to train from.

    Raises:
        DatabaseError: a file is missing, no Parquet, or of another schema version.
    """
    database = Database.in_memory()
    import_parquet(database, directory)
    return database


def import_parquet(database: Database, directory: Path) -> dict[str, int]:
    """Add to ``database`` what it lacks of an export; gives the number of new rows by table.

    Rows that it has already, by what identifies them, stay as they are.

    Raises:
        DatabaseError: a file is missing, no Parquet, or of another schema version.
        PlatformChangedError: both know a platform by the same name that is not the same.
    """
    tables = {table: _read(directory, table) for table in _TABLES}
    counts: dict[str, int] = {}
    with database.session() as session:
        for table, records in tables.items():
            new = list(_new_rows(session, table, records))
            for start in range(0, len(new), _INSERT_ROWS):
                session.execute(insert(table), new[start : start + _INSERT_ROWS])
            counts[table.__tablename__] = len(new)
    return counts


def _read(directory: Path, table: type[Base]) -> pa.Table:
    path = directory / f"{table.__tablename__}.parquet"
    try:
        records = pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise DatabaseError(
            f"{path}: cannot be read as Parquet ({error}); expected the files of an export"
        ) from error
    version = (records.schema.metadata or {}).get(_VERSION_KEY, b"unknown").decode()
    if version != str(SCHEMA_VERSION):
        raise DatabaseError(
            f"{path}: schema version {version}, but this program knows version {SCHEMA_VERSION}; "
            "use the program that wrote it, or a newer one"
        )
    return records


def _new_rows(session: Session, table: type[Base], records: pa.Table) -> Iterator[dict[str, Any]]:
    known_platforms = {row.name: row for row in session.scalars(select(PlatformRow))}
    ids = {name: row.id for name, row in known_platforms.items()}
    names = {row.id: name for name, row in known_platforms.items()}
    keys = _identifying(table)
    known = {
        tuple(record[key] for key in keys)
        for record in (_to_record(row, names) for row in session.scalars(select(table)))
    }
    for record in records.to_pylist():
        if tuple(record[key] for key in keys) not in known:
            yield _from_record(table, record, ids)
        elif table is PlatformRow:
            check_platform(
                known_platforms[record["name"]], PlatformRow(**_from_record(table, record, ids))
            )


def _columns(table: type[Base]) -> list[Column[Any]]:
    """All columns but the surrogate key, which means nothing outside of one database."""
    return [column for column in _sql_table(table).columns if column.name != "id"]


def _identifying(table: type[Base]) -> list[str]:
    """Exported names of the columns that tell rows apart."""
    sql_table = _sql_table(table)
    for constraint in sql_table.constraints:
        if isinstance(constraint, UniqueConstraint):
            return [_exported_name(column) for column in constraint.columns]
    return [column.name for column in sql_table.primary_key]


def _sql_table(table: type[Base]) -> Table:
    sql_table = inspect(table).local_table
    assert isinstance(sql_table, Table)
    return sql_table


def _exported_name(column: Column[Any]) -> str:
    if isinstance(column.type, SamplesType):
        return f"{column.name}_ms"
    return "platform" if column.name == "platform_id" else column.name


def _arrow_type(column: Column[Any]) -> pa.DataType:
    if column.name == "platform_id":
        return pa.string()
    for sql_type, arrow_type in (
        (SamplesType, pa.list_(pa.float64())),
        (UtcDateTime, pa.timestamp("us", tz="UTC")),
        (Integer, pa.int64()),
        (Float, pa.float64()),
        (LargeBinary, pa.binary()),
    ):
        if isinstance(column.type, sql_type):
            return arrow_type
    return pa.string()


def _to_record(row: Base, platforms: Mapping[int, str]) -> dict[str, Any]:
    record: dict[str, Any] = {}
    for column in _columns(type(row)):
        value = getattr(row, column.name)
        if column.name == "platform_id":
            value = platforms[value]
        elif isinstance(column.type, JSON):
            value = json.dumps(value, sort_keys=True)
        record[_exported_name(column)] = value
    return record


def _from_record(
    table: type[Base], record: Mapping[str, Any], platforms: Mapping[str, int]
) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for column in _columns(table):
        value = record[_exported_name(column)]
        if column.name == "platform_id":
            value = platforms[value]
        elif isinstance(column.type, JSON):
            value = json.loads(value)
        row[column.name] = value
    return row
