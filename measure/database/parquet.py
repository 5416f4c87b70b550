"""The measurement database as Parquet files, one per table, and back.

Self-contained for other programs: rows are referred to by what identifies them, such as the name of
a platform, samples are lists of numbers in ms, moments have their zone, and nested values
(fingerprints, conditions, tensor types) are JSON. Jobs and devices are left out: they are the state
of one installation.

A table that would make too large a file becomes several, ``kernels-1-of-3.parquet``.
"""

from __future__ import annotations

import json
import re
import tempfile
import zlib
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import insert, select, update
from sqlalchemy.orm import Session

from measure.database import Database
from measure.database.columns import (
    TABLES,
    Field,
    Key,
    Record,
    fields_of,
    identifying,
    make_rows,
    names_of,
    read_records,
    sql_table,
    values_of,
)
from measure.database.schema import (
    SCHEMA_VERSION,
    ZLIB,
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
)
from measure.database.store import check_kernels, check_platform, check_protocol
from measure.errors import DatabaseError
from relay_frontend.kernel import Kernel

_VERSION_KEY = b"measure.schema_version"
_INSERT_ROWS = 5000
_MAX_FILE_BYTES = 8_000_000
_UNRECORDED = {
    "attempt": 0,
    "started_at": None,
    "duration_s": None,
    "inner_count": None,
    "conditions": "{}",
    "block": None,
}
"""A timing of kernels of which version 1 kept the samples alone."""
_OF_A_NETWORK = ("network", "platform")
_COUNTED: dict[type[Base], tuple[str, str]] = {
    MeasurementRow: ("round", "started_at"),
    KernelTimingRow: ("attempt", "started_at"),
    FailureRow: ("attempt", "at"),
}
"""Tables whose rows every database counts on its own, with their counter and their moment."""
_UNFINISHED = ".unfinished-"


def export_parquet(database: Database, directory: Path) -> dict[str, int]:
    """Write every table to ``directory``; gives the number of rows by table.

    Rows are sorted by what identifies them, so that equal databases give equal files. An export
    that is there already is replaced when all of the new one is written.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=_UNFINISHED, dir=directory) as unfinished:
        counts = _write_all(database, Path(unfinished))
        written = sorted(Path(unfinished).iterdir())
        for path in written:
            path.replace(directory / path.name)
    names = {path.name for path in written}
    for table in TABLES:
        for path in _present(directory, table.__tablename__):
            if path.name not in names:
                path.unlink()
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

    Rows that it has already, by what identifies them, stay as they are, but a block that was open
    gets its end. Rounds, timings of kernels and failures, which every database counts on its own,
    are told apart by when they began, and numbered anew where another has their number here. All of
    it in one transaction. Exports of older schema versions are read too: what they lack is empty.

    Raises:
        DatabaseError: a file is missing, no Parquet, or of a newer schema version.
        PlatformChangedError: both know a platform by the same name that is not the same.
        ProtocolError: both know a protocol by the same name with other settings.
        KernelsChangedError: both timed kernels of the same network on the same platform, but not
            the same kernels.
    """
    first = _files(directory, NetworkRow.__tablename__)[0]
    version = _version(_read_file(first), first)
    tables = {
        table: _read_table(directory, table, version)
        for table, since in TABLES.items()
        if since <= version
    }
    if version < TABLES[KernelSamplesRow]:
        _split_kernels(tables)
    counts: dict[str, int] = dict.fromkeys((table.__tablename__ for table in TABLES), 0)
    with database.transaction() as session:
        for table in TABLES:
            if table is KernelRow:
                _check_kernels(session, tables[table])
            if table in _COUNTED:
                renumbered = _renumber(session, table, tables.get(table, []))
                if table is KernelTimingRow:
                    _follow(renumbered, tables[KernelSamplesRow])
            counts[table.__tablename__] = _add(session, table, tables.get(table, []))
    return counts


def _write_all(database: Database, directory: Path) -> dict[str, int]:
    counts: dict[str, int] = {}
    with database.session() as session:
        for table in TABLES:
            records = list(read_records(session, fields_of(table)))
            keys = names_of(identifying(table))
            records.sort(key=lambda record: values_of(record, keys))
            schema = pa.schema(
                [
                    column
                    for field in fields_of(table)
                    for column in zip(field.names, field.arrow_types, strict=True)
                ],
                metadata={_VERSION_KEY: str(SCHEMA_VERSION)},
            )
            _write(pa.Table.from_pylist(records, schema), directory, table.__tablename__)
            counts[table.__tablename__] = len(records)
    return counts


def _write(records: pa.Table, directory: Path, name: str) -> None:
    """Write a table as one file, or as several of about equal size where it is too large."""
    whole = _serialized(records)
    parts = -(-len(whole) // _MAX_FILE_BYTES)
    if parts == 1:
        files = {f"{name}.parquet": whole}
    else:
        size = -(-records.num_rows // parts)
        files = {
            f"{name}-{part + 1}-of-{parts}.parquet": _serialized(records.slice(part * size, size))
            for part in range(parts)
        }
    for file, data in files.items():
        (directory / file).write_bytes(data)


def _serialized(records: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(records, sink, compression="zstd", compression_level=15)
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


def _read_table(directory: Path, table: type[Base], version: int) -> list[Record]:
    """The rows of a table; a column that is newer than the file is null.

    Networks were once exported as they are stored, each compressed by itself.
    """
    paths = _files(directory, table.__tablename__)
    records = pa.concat_tables([_read_file(path) for path in paths])
    for field in fields_of(table):
        for name, arrow_type in zip(field.names, field.arrow_types, strict=True):
            if name in records.column_names:
                continue
            if (older := name + ZLIB) in records.column_names:
                content = map(zlib.decompress, records[older].to_pylist())
                records = records.append_column(name, pa.array(content, arrow_type))
                continue
            filled = field.column.nullable or (table, name) == (KernelTimingRow, "attempt")
            if version == SCHEMA_VERSION or not filled:
                raise DatabaseError(f"{paths[0]}: no column {name!r}; export it again")
            records = records.append_column(name, pa.nulls(records.num_rows, arrow_type))
    return records.to_pylist()  # type: ignore[no-any-return]


def _split_kernels(tables: dict[type[Base], list[Record]]) -> None:
    """Before version 3 there was one timing of the kernels, whose samples stood with them."""
    timings = {
        values_of(record, _OF_A_NETWORK): {**record, "attempt": 0}
        for record in tables.get(KernelTimingRow, [])
    }
    tables[KernelSamplesRow] = [{**kernel, "attempt": 0} for kernel in tables[KernelRow]]
    for kernel in tables[KernelRow]:
        key = values_of(kernel, _OF_A_NETWORK)
        timings.setdefault(key, dict(zip(_OF_A_NETWORK, key, strict=True)) | _UNRECORDED)
    tables[KernelTimingRow] = list(timings.values())


def _renumber(session: Session, table: type[Base], records: list[Record]) -> dict[Key, int]:
    """Give ``records`` the numbers of the same rows here, and free ones to those that are new.

    Returns:
        The new numbers, by what identified a row in the export, of those that have another.
    """
    counter, moment = _COUNTED[table]
    identity = identifying(table)
    keys = names_of(identity)
    counted = [name for name in keys if name != counter]
    when = [field for field in fields_of(table) if moment in field.names]
    moments: dict[Key, dict[int, Any]] = defaultdict(dict)
    for row in read_records(session, [*identity, *when]):
        moments[values_of(row, counted)][row[counter]] = row[moment]
    taken = {key: set(numbers) for key, numbers in moments.items()}
    renumbered: dict[Key, int] = {}
    for record in records:
        key = values_of(record, counted)
        used = taken.setdefault(key, set())
        number = _number(record[counter], record[moment], moments.get(key, {}), used)
        used.add(number)
        if number != record[counter]:
            renumbered[values_of(record, keys)] = number
            record[counter] = number
    return renumbered


def _number(number: int, moment: Any, known: Mapping[int, Any], used: Collection[int]) -> int:
    """The number of the known row of this moment; where there is none, ``number`` or a free one."""
    same = [other for other, known_moment in known.items() if known_moment == moment]
    if same:
        return number if number in same else same[0]
    return max(used) + 1 if number in used else number


def _follow(renumbered: Mapping[Key, int], samples: list[Record]) -> None:
    """Give the samples of kernels the numbers of their timings."""
    keys = names_of(identifying(KernelTimingRow))
    for record in samples:
        record["attempt"] = renumbered.get(values_of(record, keys), record["attempt"])


def _add(session: Session, table: type[Base], records: list[Record]) -> int:
    """Insert the rows that are new, and fill in what is unknown of the blocks that are not."""
    fields = fields_of(table)
    identity = identifying(table)
    keys = names_of(identity)
    filled = [field for field in fields if table is BlockRow and field.column.nullable]
    known = {
        values_of(record, keys): record for record in read_records(session, [*identity, *filled])
    }
    agree = _agreement(session, table)
    new: list[Record] = []
    for record, row in zip(records, make_rows(session, fields, records), strict=True):
        stored = known.get(values_of(record, keys))
        if stored is None:
            new.append(row)
            continue
        agree(row)
        _fill(session, table, [f for f in filled if stored[f.names[0]] is None], row)
    for start in range(0, len(new), _INSERT_ROWS):
        session.execute(insert(table), new[start : start + _INSERT_ROWS])
    return len(new)


def _fill(
    session: Session, table: type[Base], unknown: Sequence[Field], row: Mapping[str, Any]
) -> None:
    """Set the columns that are unknown of a stored row, as far as ``row`` knows them."""
    values = {
        field.column.name: row[field.column.name]
        for field in unknown
        if row[field.column.name] is not None
    }
    if values:
        same = [field.column == row[field.column.name] for field in identifying(table)]
        session.execute(update(sql_table(table)).where(*same).values(values))


def _agreement(session: Session, table: type[Base]) -> Callable[[Record], None]:
    """What sees that a row here and one of the export under the same name are the same."""
    if table is PlatformRow:
        platforms = {row.name: row for row in session.scalars(select(PlatformRow))}
        return lambda row: check_platform(platforms[row["name"]], PlatformRow(**row))
    if table is ProtocolRow:
        protocols = {row.name: row.settings for row in session.scalars(select(ProtocolRow))}
        return lambda row: check_protocol(row["name"], protocols[row["name"]], row["settings"])
    return lambda _row: None


def _check_kernels(session: Session, records: list[Record]) -> None:
    """See that the kernels of an export are those that are known of the same networks.

    Raises:
        KernelsChangedError: they are others.
    """
    stored = _by_network(read_records(session, fields_of(KernelRow)))
    new = _by_network(records)
    for key in stored.keys() & new.keys():
        if stored[key] != new[key]:
            network, platform = key
            check_kernels(network, platform, _calls(stored[key]), _calls(new[key]))


def _by_network(records: Iterable[Record]) -> dict[Key, dict[int, Record]]:
    """The records of kernels by network and platform, and by their place in the order of calls."""
    names = names_of(fields_of(KernelRow))
    found: dict[Key, dict[int, Record]] = defaultdict(dict)
    for record in records:
        kernel = {name: record[name] for name in names}
        found[values_of(record, _OF_A_NETWORK)][record["index"]] = kernel
    return found


def _calls(kernels: Mapping[int, Record]) -> list[Kernel]:
    """Exported kernels in the order of their calls."""
    nested = ("arguments", "results")
    return [
        Kernel.from_dict(kernel | {name: json.loads(kernel[name]) for name in nested})
        for _, kernel in sorted(kernels.items())
    ]
