"""Where measurements are read from: a database that exists, or a directory of Parquet files."""

from __future__ import annotations

from pathlib import Path

from measure.database import Database
from relay_frontend.errors import InputError


def open_existing(database: str) -> Database:
    """The measurement database at a path or URL, which a slip of the pen shall not make.

    Raises:
        InputError: there is no such file, or it is no measurement database.
    """
    if "://" not in database and not Path(database).is_file():
        raise InputError(f"no measurements in {database!r}: there is no such file")
    return Database.open(database)


def open_measurements(data: str) -> Database:
    """What was measured, from a database or from a directory of Parquet files.

    Raises:
        InputError: there is nothing of the kind.
    """
    if Path(data).is_dir():
        from measure.database.parquet import load_parquet  # noqa: PLC0415 (needs pyarrow)

        return load_parquet(Path(data))
    return open_existing(data)
