"""The tables of the database as other programs see them: rows as records of plain values.

Rows are referred to by what identifies them, such as the name of a platform; surrogate keys mean
nothing outside of one database.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from sqlalchemy import (
    JSON,
    Column,
    Float,
    Integer,
    LargeBinary,
    Table,
    UniqueConstraint,
    inspect,
    select,
)
from sqlalchemy.orm import Session

from measure.database.schema import (
    ZLIB,
    AnchorRoundRow,
    Base,
    BlockRow,
    FailureRow,
    KernelRow,
    KernelSamplesRow,
    KernelTimingRow,
    MeasurementRow,
    NetworkRow,
    PlatformRow,
    ProtocolRow,
    SamplesType,
    UtcDateTime,
    compressed,
)

TABLES: dict[type[Base], int] = {
    NetworkRow: 1,
    PlatformRow: 1,
    ProtocolRow: 1,
    BlockRow: 2,
    AnchorRoundRow: 2,
    MeasurementRow: 1,
    KernelRow: 1,
    KernelTimingRow: 2,
    KernelSamplesRow: 3,
    FailureRow: 1,
}
"""In the order in which rows refer to rows, with the schema version that brought them."""

Record = dict[str, Any]
Key = tuple[Any, ...]


@dataclass(frozen=True, kw_only=True)
class Field:
    """A column as it is exported, by its name and type there.

    One that refers to the surrogate key of another table, ``refers_to``, is exported as all that
    identifies the other row.
    """

    names: tuple[str, ...]
    column: Column[Any]
    arrow_types: tuple[pa.DataType, ...]
    refers_to: type[Base] | None = None

    @property
    def is_compressed(self) -> bool:
        """Whether the column holds compressed bytes, which an export does not."""
        return bool(self.column.name.endswith(ZLIB))


def fields_of(table: type[Base]) -> list[Field]:
    """All columns but the surrogate key."""
    return [_field(column) for column in sql_table(table).columns if column.name != "id"]


def identifying(table: type[Base]) -> list[Field]:
    """The columns that tell rows apart."""
    columns = sql_table(table)
    for constraint in columns.constraints:
        if isinstance(constraint, UniqueConstraint):
            return [_field(column) for column in constraint.columns]
    return [_field(column) for column in columns.primary_key]


def sql_table(table: type[Base]) -> Table:
    """The table itself."""
    found = inspect(table).local_table
    assert isinstance(found, Table)
    return found


def names_of(fields: Iterable[Field]) -> tuple[str, ...]:
    """The exported names of ``fields``."""
    return tuple(name for field in fields for name in field.names)


def values_of(record: Mapping[str, Any], names: Iterable[str]) -> Key:
    """The values of a record under ``names``."""
    return tuple(record[name] for name in names)


def read_records(session: Session, fields: Sequence[Field]) -> Iterator[Record]:
    """The rows of a table as they are exported."""
    identities = {
        other: {key: identity for identity, key in _ids(session, other).items()}
        for other in _referred(fields)
    }
    for values in session.execute(select(*(field.column for field in fields))):
        record: Record = {}
        for field, value in zip(fields, values, strict=True):
            if field.refers_to is not None:
                unknown = (None,) * len(field.names)
                identity = unknown if value is None else identities[field.refers_to][value]
                record.update(zip(field.names, identity, strict=True))
            elif isinstance(field.column.type, JSON):
                record[field.names[0]] = json.dumps(value, sort_keys=True)
            elif field.is_compressed:
                record[field.names[0]] = zlib.decompress(value)
            else:
                record[field.names[0]] = value
        yield record


def make_rows(
    session: Session, fields: Sequence[Field], records: Iterable[Record]
) -> Iterator[Record]:
    """The inverse of :func:`read_records`: rows of a table, whose columns have their SQL names."""
    ids = {other: _ids(session, other) for other in _referred(fields)}
    for record in records:
        row: Record = {}
        for field in fields:
            values = values_of(record, field.names)
            value = values[0]
            if field.refers_to is not None:
                value = None if value is None else ids[field.refers_to][values]
            elif isinstance(field.column.type, JSON):
                value = json.loads(value)
            elif field.is_compressed:
                value = compressed(value)
            row[field.column.name] = value
        yield row


def _field(column: Column[Any]) -> Field:
    for key in column.foreign_keys:
        if key.column.name == "id":
            (other,) = (table for table in TABLES if table.__tablename__ == key.column.table.name)
            identity = identifying(other)
            names = names_of(identity)
            return Field(
                # A platform's name is ``platform`` where it stands for the platform.
                names=(column.name.removesuffix("_id"),) if len(names) == 1 else names,
                column=column,
                arrow_types=tuple(kind for field in identity for kind in field.arrow_types),
                refers_to=other,
            )
    name = column.name.removesuffix(ZLIB)
    if isinstance(column.type, SamplesType):
        name += "_ms"
    return Field(names=(name,), column=column, arrow_types=(_arrow_type(column),))


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


def _referred(fields: Iterable[Field]) -> set[type[Base]]:
    return {field.refers_to for field in fields if field.refers_to is not None}


def _ids(session: Session, table: type[Base]) -> dict[Key, int]:
    """The surrogate key by what identifies a row in the export."""
    identity = identifying(table)
    names = names_of(identity)
    key = Field(names=("id",), column=sql_table(table).columns["id"], arrow_types=(pa.int64(),))
    records = read_records(session, [*identity, key])
    return {values_of(record, names): record["id"] for record in records}
