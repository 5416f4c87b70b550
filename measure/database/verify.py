"""Looking for what should not be in a database: damage, and values that cannot be true."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from sqlalchemy import LargeBinary, Select, func, select, text, type_coerce
from sqlalchemy.exc import DatabaseError as SqlError
from sqlalchemy.orm import Session

from measure.database.connection import OpenDatabase
from measure.database.schema import (
    AnchorRoundRow,
    BlockRow,
    KernelRow,
    KernelSamplesRow,
    KernelTimingRow,
    MeasurementRow,
    NetworkRow,
    PlatformRow,
)
from relay_frontend.errors import CostModelError
from relay_frontend.onnx import read_onnx

_BATCH = {"yield_per": 1000}


def problems(database: OpenDatabase) -> list[str]:
    """What is wrong with the database, one line each; nothing where all is well."""
    found: list[str] = []
    try:
        with database.session() as session:
            if session.get_bind().dialect.name == "sqlite":
                found.extend(_damage(session))
            found.extend(_bad_samples(session))
            found.extend(_partial_timings(session))
            found.extend(_bad_networks(session))
    except SqlError as error:
        found.append(f"cannot be read to the end: {error.orig}")
    return found


def _damage(session: Session) -> Iterator[str]:
    """What SQLite finds itself; PostgreSQL lets no reference break, and checks what it reads."""
    for (message,) in session.execute(text("PRAGMA integrity_check")):
        if message != "ok":
            yield f"damaged: {message}"
    for table, row, referred, _ in session.execute(text("PRAGMA foreign_key_check")):
        yield f"row {row} of {table} refers to a row of {referred} that is not there"


def _bad_samples(session: Session) -> Iterator[str]:
    """Rounds and kernel calls whose samples are no latencies."""
    rounds = _samples(MeasurementRow, MeasurementRow.network, MeasurementRow.round)
    kernels = _samples(KernelSamplesRow, KernelTimingRow.network, KernelSamplesRow.index)
    anchors = _samples(AnchorRoundRow, AnchorRoundRow.network, AnchorRoundRow.position)
    for kind, query in (
        ("round", rounds.join(PlatformRow)),
        ("kernel call", kernels.join(KernelTimingRow).join(PlatformRow)),
        ("anchor round at the", anchors.join(BlockRow).join(PlatformRow)),
    ):
        for number, network, platform, data in session.execute(query, execution_options=_BATCH):
            if wrong := _wrong(data):
                yield f"{kind} {number} of {network} on {platform}: {wrong}"


def _samples(
    table: type[MeasurementRow | KernelSamplesRow | AnchorRoundRow], network: Any, number: Any
) -> Select[Any]:
    """The stored bytes of the samples with what tells whose they are."""
    data = type_coerce(table.samples, LargeBinary)
    return select(number, network, PlatformRow.name, data).select_from(table)


def _partial_timings(session: Session) -> Iterator[str]:
    """Timings of kernels that have not samples of each kernel."""
    calls = (
        select(func.count())
        .select_from(KernelRow)
        .where(
            KernelRow.network == KernelTimingRow.network,
            KernelRow.platform_id == KernelTimingRow.platform_id,
        )
        .scalar_subquery()
    )
    timed = (
        select(func.count())
        .select_from(KernelSamplesRow)
        .where(KernelSamplesRow.timing_id == KernelTimingRow.id)
        .scalar_subquery()
    )
    query = (
        select(KernelTimingRow.attempt, KernelTimingRow.network, PlatformRow.name, calls, timed)
        .join(PlatformRow)
        .where(calls != timed)
    )
    for attempt, network, platform, expected, found in session.execute(query).tuples():
        yield (
            f"timing {attempt} of the kernels of {network} on {platform}: samples of {found} of "
            f"{expected} kernel calls"
        )


def _wrong(data: bytes) -> str | None:
    if not data or len(data) % 8:
        return f"{len(data)} bytes of samples"
    samples = np.frombuffer(data, dtype="<f8")
    if not np.isfinite(samples).all():
        return "samples that are not finite"
    return None if (samples > 0).all() else "samples that are not positive"


def _bad_networks(session: Session) -> Iterator[str]:
    """Networks that cannot be read, or not as the operator graph that they are stored as."""
    for digest, name, data in session.execute(
        select(NetworkRow.digest, NetworkRow.name, NetworkRow.onnx_zlib), execution_options=_BATCH
    ):
        try:
            found = read_onnx(onnx.load_from_string(zlib.decompress(data))).digest
        except (zlib.error, DecodeError, CostModelError) as error:
            yield f"network {name} ({digest}) cannot be read: {error}"
            continue
        if found != digest:
            yield f"network {name} is stored as {digest}, but its digest is {found}"
