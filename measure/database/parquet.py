"""The measurement database as Parquet files, one per table, and back.

Self-contained for other programs: platforms and blocks are referred to by what names them, samples
are lists of numbers in ms, moments have their zone, and nested values (fingerprints, conditions,
tensor types) are JSON. Jobs and devices are left out: they are the state of one installation.

A table that would make too large a file becomes several, ``kernels-1-of-3.parquet``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
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
    update,
)
from sqlalchemy.orm import Session

from measure.database import Database
from measure.database.schema import (
    SCHEMA_VERSION,
    AnchorRoundRow,
    Base,
    BlockRow,
    FailureRow,
    KernelRow,
    KernelTimingRow,
    MeasurementRow,
    NetworkRow,
    PlatformRow,
    ProtocolRow,
    SamplesType,
    UtcDateTime,
)
from measure.database.store import check_platform, check_protocol
from measure.errors import DatabaseError

# In the order in which rows refer to rows, with the schema version that brought them.
_TABLES: dict[type[Base], int] = {
    NetworkRow: 1,
    PlatformRow: 1,
    ProtocolRow: 1,
    BlockRow: 2,
    AnchorRoundRow: 2,
    MeasurementRow: 1,
    KernelRow: 1,
    KernelTimingRow: 2,
    FailureRow: 1,
}
_VERSION_KEY = b"measure.schema_version"
_INSERT_ROWS = 5000
_MAX_FILE_BYTES = 8_000_000

_Record = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class _Field:
    """A column as it is exported; one that refers to a surrogate key has ``refers_to``."""

    name: str
    column: Column[Any]
    arrow_type: pa.DataType
    refers_to: type[Base] | None


def export_parquet(database: Database, directory: Path) -> dict[str, int]:
    """Write every table to ``directory``; gives the number of rows by table.

    Rows are sorted by what identifies them, so that equal databases give equal files.
    """
    directory.mkdir(parents=True, exist_ok=True)
    counts: dict[str, int] = {}
    with database.session() as session:
        for table in _TABLES:
            records = list(_records(session, _fields(table)))
            keys = _identifying(table)
            records.sort(key=lambda record: [record[key] for key in keys])
            schema = pa.schema(
                [(field.name, field.arrow_type) for field in _fields(table)],
                metadata={_VERSION_KEY: str(SCHEMA_VERSION)},
            )
            _write(pa.Table.from_pylist(records, schema), directory, table.__tablename__)
            counts[table.__tablename__] = len(records)
    return counts


def load_parquet(directory: Path) -> Database:
    """A database in memory with what :func:`export_parquet` wrote; enough to train from.

    Raises:
        DatabaseError: a file is missing, no Parquet, or of a newer schema version.
    """
    database = Database.in_memory()
    import_parquet(database, directory)
    return database


def import_parquet(database: Database, directory: Path) -> dict[str, int]:
    """Add to ``database`` what it lacks of an export; gives the number of new rows by table.

    Rows that it has already, by what identifies them, stay as they are, but what is unknown in
    them (the end of a block) is filled in. All of it in one transaction. Exports of older schema
    versions are read too: what they lack is empty.

    Raises:
        DatabaseError: a file is missing, no Parquet, or of a newer schema version.
        PlatformChangedError: both know a platform by the same name that is not the same.
        ProtocolError: both know a protocol by the same name with other settings.
    """
    first = _files(directory, NetworkRow.__tablename__)[0]
    version = _version(_read_file(first), first)
    tables = {
        table: _read_table(directory, table) for table, since in _TABLES.items() if since <= version
    }
    counts: dict[str, int] = dict.fromkeys((table.__tablename__ for table in _TABLES), 0)
    with database.transaction() as session:
        for table, records in tables.items():
            counts[table.__tablename__] = _add(session, table, records)
    return counts


def _write(records: pa.Table, directory: Path, name: str) -> None:
    """Write a table as one file, or as several of about equal size where it is too large."""
    whole = _serialized(records)
    parts = -(-len(whole) // _MAX_FILE_BYTES)
    if parts == 1:
        files = {directory / f"{name}.parquet": whole}
    else:
        size = -(-records.num_rows // parts)
        files = {
            directory / f"{name}-{part + 1}-of-{parts}.parquet": _serialized(
                records.slice(part * size, size)
            )
            for part in range(parts)
        }
    for path, data in files.items():
        path.write_bytes(data)
    for path in _present(directory, name):
        if path not in files:
            path.unlink()


def _serialized(records: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(records, sink, compression="zstd", compression_level=9)
    return sink.getvalue().to_pybytes()  # type: ignore[no-any-return]


def _present(directory: Path, name: str) -> list[Path]:
    """The files of a table that are there."""
    pattern = re.compile(rf"{name}(-\d+-of-\d+)?\.parquet")
    return [path for path in directory.glob(f"{name}*.parquet") if pattern.fullmatch(path.name)]


def _files(directory: Path, name: str) -> list[Path]:
    """The files of a table that must be there."""
    parts = {path.stem.rpartition("-of-")[2] for path in _present(directory, name)} - {name}
    if len(parts) != 1:
        return [directory / f"{name}.parquet"]
    count = parts.pop()
    return [directory / f"{name}-{part + 1}-of-{count}.parquet" for part in range(int(count))]


def _read_file(path: Path) -> pa.Table:
    try:
        return pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise DatabaseError(
            f"{path}: cannot be read as Parquet ({error}); expected the files of an export"
        ) from error


def _version(records: pa.Table, path: Path) -> int:
    found = (records.schema.metadata or {}).get(_VERSION_KEY, b"unknown").decode()
    if found.isdigit() and 1 <= int(found) <= SCHEMA_VERSION:
        return int(found)
    raise DatabaseError(
        f"{path}: schema version {found}, but this program knows versions 1 to "
        f"{SCHEMA_VERSION}; use the program that wrote it, or a newer one"
    )


def _read_table(directory: Path, table: type[Base]) -> list[_Record]:
    """The rows of a table; a column that is newer than the file is null."""
    paths = _files(directory, table.__tablename__)
    records = pa.concat_tables([_read_file(path) for path in paths])
    current = _version(records, paths[0]) == SCHEMA_VERSION
    for field in _fields(table):
        if field.name not in records.column_names:
            if current or not field.column.nullable:
                raise DatabaseError(f"{paths[0]}: no column {field.name!r}; export it again")
            records = records.append_column(
                field.name, pa.nulls(records.num_rows, field.arrow_type)
            )
    return records.to_pylist()  # type: ignore[no-any-return]


def _add(session: Session, table: type[Base], records: list[_Record]) -> int:
    """Insert the rows that are new, and fill in what is unknown in the others."""
    fields = _fields(table)
    keys = _identifying(table)
    nullable = [field for field in fields if field.column.nullable]
    identity = [field for field in fields if field.name in keys]
    known = {
        tuple(record[key] for key in keys): record
        for record in _records(session, [*identity, *nullable])
    }
    ids = {other: _ids(session, other) for other in _referred(fields)}
    agree = _agreement(session, table)
    new: list[_Record] = []
    for record in records:
        stored = known.get(tuple(record[key] for key in keys))
        row = _from_record(record, fields, ids)
        if stored is None:
            new.append(row)
            continue
        agree(row)
        filled = {
            field.column.name: row[field.column.name]
            for field in nullable
            if stored[field.name] is None and record[field.name] is not None
        }
        if filled:
            same = [field.column == row[field.column.name] for field in identity]
            session.execute(update(_sql_table(table)).where(*same).values(filled))
    for start in range(0, len(new), _INSERT_ROWS):
        session.execute(insert(table), new[start : start + _INSERT_ROWS])
    return len(new)


def _agreement(session: Session, table: type[Base]) -> Callable[[_Record], None]:
    """What sees that a row here and one of the export under the same name are the same."""
    if table is PlatformRow:
        platforms = {row.name: row for row in session.scalars(select(PlatformRow))}
        return lambda row: check_platform(platforms[row["name"]], PlatformRow(**row))
    if table is ProtocolRow:
        protocols = {row.name: row.settings for row in session.scalars(select(ProtocolRow))}
        return lambda row: check_protocol(row["name"], protocols[row["name"]], row["settings"])
    return lambda _row: None


def _fields(table: type[Base]) -> list[_Field]:
    """All columns but the surrogate key, which means nothing outside of one database."""
    return [_field(column) for column in _sql_table(table).columns if column.name != "id"]


def _field(column: Column[Any]) -> _Field:
    for key in column.foreign_keys:
        if key.column.name == "id":
            (other,) = (table for table in _TABLES if table.__tablename__ == key.column.table.name)
            return _Field(
                name=column.name.removesuffix("_id"),
                column=column,
                arrow_type=pa.string(),
                refers_to=other,
            )
    name = f"{column.name}_ms" if isinstance(column.type, SamplesType) else column.name
    return _Field(name=name, column=column, arrow_type=_arrow_type(column), refers_to=None)


def _arrow_type(column: Column[Any]) -> pa.DataType:
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


def _identifying(table: type[Base]) -> list[str]:
    """Exported names of the columns that tell rows apart."""
    sql_table = _sql_table(table)
    for constraint in sql_table.constraints:
        if isinstance(constraint, UniqueConstraint):
            return [_field(column).name for column in constraint.columns]
    return [column.name for column in sql_table.primary_key]


def _sql_table(table: type[Base]) -> Table:
    sql_table = inspect(table).local_table
    assert isinstance(sql_table, Table)
    return sql_table


def _referred(fields: list[_Field]) -> set[type[Base]]:
    return {field.refers_to for field in fields if field.refers_to is not None}


def _ids(session: Session, table: type[Base]) -> dict[str, int]:
    """The surrogate key by the name that the export uses for it."""
    (name,) = _identifying(table)
    columns = _sql_table(table).columns
    return dict(session.execute(select(columns[name], columns["id"])).tuples().all())


def _records(session: Session, fields: list[_Field]) -> Iterator[_Record]:
    """The rows of a table as they are exported."""
    names = {
        other: {key: name for name, key in _ids(session, other).items()}
        for other in _referred(fields)
    }
    for values in session.execute(select(*(field.column for field in fields))):
        record: _Record = {}
        for field, value in zip(fields, values, strict=True):
            if field.refers_to is not None:
                record[field.name] = None if value is None else names[field.refers_to][value]
            elif isinstance(field.column.type, JSON):
                record[field.name] = json.dumps(value, sort_keys=True)
            else:
                record[field.name] = value
        yield record


def _from_record(
    record: Mapping[str, Any], fields: list[_Field], ids: Mapping[type[Base], Mapping[str, int]]
) -> _Record:
    row: _Record = {}
    for field in fields:
        value = record[field.name]
        if field.refers_to is not None:
            value = None if value is None else ids[field.refers_to][value]
        elif isinstance(field.column.type, JSON):
            value = json.loads(value)
        row[field.column.name] = value
    return row
