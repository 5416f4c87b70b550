"""The open measurement database: its transactions, and what all parts of its facade share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from sqlalchemy import Engine, select
from sqlalchemy.exc import DatabaseError as SqlError
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.pool import QueuePool

from measure.database.engine import for_writing, make_engine
from measure.database.migrations import prepare
from measure.database.schema import PlatformRow
from measure.errors import DatabaseError, UnknownPlatformError

if TYPE_CHECKING:
    from typing_extensions import Self


class OpenDatabase:
    """An open database; a context manager. Threads may share it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._reading = sessionmaker(engine, expire_on_commit=False)
        self._writing = sessionmaker(for_writing(engine), expire_on_commit=False)

    @classmethod
    def open(cls, location: str | Path) -> Self:
        """Open the database at a path or an SQLAlchemy URL; it is made where there is none.

        A database of an older version is upgraded.

        Raises:
            DatabaseError: the file is no measurement database, of a newer schema version, or
                cannot be read or made.
        """
        text = str(location)
        engine = make_engine(text if "://" in text else f"sqlite:///{text}")
        with ExitStack() as on_failure:
            on_failure.callback(engine.dispose)
            try:
                prepare(engine, text)
            except SqlError as error:
                raise DatabaseError(
                    f"{text}: cannot be used as a measurement database ({error.orig}); give the "
                    "path of one, or of a new file in a directory that exists"
                ) from error
            on_failure.pop_all()
        return cls(engine)

    @classmethod
    def in_memory(cls) -> Self:
        """An empty database that vanishes when it is closed."""
        # Its one connection is the database; whoever needs it waits for it.
        engine = make_engine(
            "sqlite://",
            poolclass=QueuePool,
            pool_size=1,
            max_overflow=0,
            connect_args={"check_same_thread": False},
        )
        prepare(engine, "memory")
        return cls(engine)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    @contextmanager
    def session(self) -> Iterator[Session]:
        """A session in one transaction that reads."""
        with self._reading.begin() as session:
            yield session

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """A session in one transaction that writes: it commits, or rolls back on an error."""
        with self._writing.begin() as session:
            yield session


def platform_id(session: Session, name: str) -> int:
    """The key of the platform ``name``.

    Raises:
        UnknownPlatformError: there is none; the message lists those there are.
    """
    found = session.scalar(select(PlatformRow.id).filter_by(name=name))
    if found is None:
        known = session.scalars(select(PlatformRow.name).order_by(PlatformRow.name)).all()
        raise UnknownPlatformError(
            f"nothing was measured on platform {name!r}; this database has "
            + (", ".join(known) or "no platforms yet")
        )
    return found


def utc(seconds: float) -> datetime:
    """The moment ``seconds`` after the epoch."""
    return datetime.fromtimestamp(seconds, timezone.utc)


def now() -> datetime:
    """This moment."""
    return datetime.now(timezone.utc)
