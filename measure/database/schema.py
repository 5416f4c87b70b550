"""The tables of the measurement database.

Rows of what was measured are only ever added; ``jobs`` and ``devices`` hold the state of the
processes that share the database. Types are those that SQLite and PostgreSQL share. Arrays of
samples are little-endian float64. A change here needs a migration: see ``measure/migrations``.
"""

from __future__ import annotations

import zlib
from datetime import datetime, timezone
from typing import Any

import numpy as np
from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    Dialect,
    Double,
    ForeignKey,
    Index,
    LargeBinary,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from measure.protocol import Samples

SCHEMA_VERSION = 3

ZLIB = "_zlib"
"""Ends the name of a column of compressed bytes. In an export, which compresses all rows together
and far better, they are not."""

_NAME = String(255)
_DIGEST = String(64)


class SamplesType(TypeDecorator[Samples]):
    """A vector of float64, stored as little-endian bytes."""

    impl = LargeBinary
    cache_ok = True

    def process_bind_param(self, value: Samples | None, _dialect: Dialect) -> bytes | None:
        """The vector as bytes."""
        return None if value is None else np.asarray(value, dtype="<f8").tobytes()

    def process_result_value(self, value: bytes | None, _dialect: Dialect) -> Samples | None:
        """The bytes as a vector of its own."""
        return None if value is None else np.frombuffer(value, dtype="<f8").astype(np.float64)


class UtcDateTime(TypeDecorator[datetime]):
    """A moment with its zone, which SQLite would forget."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        """The moment in UTC."""
        return None if value is None else value.astimezone(timezone.utc)

    def process_result_value(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        """The moment in UTC, which PostgreSQL gives in the zone of the connection."""
        if value is None:
            return None
        if value.tzinfo is None:
            return value.replace(tzinfo=timezone.utc)
        return value.astimezone(timezone.utc)


def compressed(data: bytes) -> bytes:
    """What a column whose name ends in ``ZLIB`` holds of ``data``."""
    return zlib.compress(data, 9)


class Base(DeclarativeBase):
    """The root of all tables."""


class NetworkRow(Base):
    """A network: its ONNX form without weights, zlib-compressed."""

    __tablename__ = "networks"

    digest: Mapped[str] = mapped_column(_DIGEST, primary_key=True)
    name: Mapped[str] = mapped_column(_NAME)
    family: Mapped[str] = mapped_column(_NAME, index=True)
    seed: Mapped[int] = mapped_column(BigInteger)
    onnx_zlib: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class PlatformRow(Base):
    """A platform with the fingerprint of its device and the versions of its toolchain."""

    __tablename__ = "platforms"
    __table_args__ = (UniqueConstraint("name"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(_NAME)
    device: Mapped[dict[str, Any]] = mapped_column(JSON)
    versions: Mapped[dict[str, str]] = mapped_column(JSON)
    target: Mapped[str] = mapped_column(Text)
    threads: Mapped[int]
    dtype: Mapped[str] = mapped_column(_NAME)


class ProtocolRow(Base):
    """The settings that a protocol's name stands for."""

    __tablename__ = "protocols"

    name: Mapped[str] = mapped_column(_NAME, primary_key=True)
    settings: Mapped[dict[str, Any]] = mapped_column(JSON)


class BlockRow(Base):
    """The rounds between two visits to the anchors.

    ``key`` tells blocks of all databases apart. ``drift`` is the relative change of the anchors'
    latency from start to end; null while the block is open, or where it has no pair of anchors.
    """

    __tablename__ = "blocks"
    __table_args__ = (UniqueConstraint("key"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(_DIGEST)
    platform_id: Mapped[int] = mapped_column(ForeignKey("platforms.id"), index=True)
    protocol: Mapped[str] = mapped_column(ForeignKey("protocols.name"))
    started_at: Mapped[datetime] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    drift: Mapped[float | None] = mapped_column(Double)


class AnchorRoundRow(Base):
    """One timing round of an anchor, at the start or the end of a block; units as of rounds."""

    __tablename__ = "anchor_rounds"
    __table_args__ = (UniqueConstraint("block_id", "network", "position"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    block_id: Mapped[int] = mapped_column(ForeignKey("blocks.id"))
    network: Mapped[str] = mapped_column(ForeignKey("networks.digest"))
    position: Mapped[str] = mapped_column(_NAME)
    started_at: Mapped[datetime] = mapped_column(UtcDateTime)
    duration_s: Mapped[float] = mapped_column(Double)
    inner_count: Mapped[int]
    samples: Mapped[Samples] = mapped_column(SamplesType)
    conditions: Mapped[dict[str, Any]] = mapped_column(JSON)


class MeasurementRow(Base):
    """One finished timing round; ``samples`` in ms, each the mean of ``inner_count`` inferences."""

    __tablename__ = "measurements"
    __table_args__ = (UniqueConstraint("network", "platform_id", "protocol", "round"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    network: Mapped[str] = mapped_column(ForeignKey("networks.digest"))
    platform_id: Mapped[int] = mapped_column(ForeignKey("platforms.id"), index=True)
    protocol: Mapped[str] = mapped_column(ForeignKey("protocols.name"))
    round: Mapped[int]
    started_at: Mapped[datetime] = mapped_column(UtcDateTime)
    duration_s: Mapped[float] = mapped_column(Double)
    inner_count: Mapped[int]
    samples: Mapped[Samples] = mapped_column(SamplesType)
    conditions: Mapped[dict[str, Any]] = mapped_column(JSON)
    block_id: Mapped[int | None] = mapped_column(ForeignKey("blocks.id"))

    platform: Mapped[PlatformRow] = relationship()


class KernelRow(Base):
    """One kernel call of a network on a platform, as every build there has it; see ``Kernel``."""

    __tablename__ = "kernels"
    __table_args__ = (UniqueConstraint("network", "platform_id", "index"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    network: Mapped[str] = mapped_column(ForeignKey("networks.digest"))
    platform_id: Mapped[int] = mapped_column(ForeignKey("platforms.id"), index=True)
    index: Mapped[int]
    name: Mapped[str] = mapped_column(Text)
    kind: Mapped[str] = mapped_column(Text)
    arguments: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    results: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    flops: Mapped[int] = mapped_column(BigInteger)


class KernelTimingRow(Base):
    """One timing of all kernels of a network on a platform; attempts count from 0.

    When and how is null, and the conditions empty, where the first version of the schema did not
    record it.
    """

    __tablename__ = "kernel_timings"
    __table_args__ = (UniqueConstraint("network", "platform_id", "attempt"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    network: Mapped[str] = mapped_column(ForeignKey("networks.digest"))
    platform_id: Mapped[int] = mapped_column(ForeignKey("platforms.id"), index=True)
    attempt: Mapped[int]
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    duration_s: Mapped[float | None] = mapped_column(Double)
    inner_count: Mapped[int | None]
    conditions: Mapped[dict[str, Any]] = mapped_column(JSON)
    block_id: Mapped[int | None] = mapped_column(ForeignKey("blocks.id"))


class KernelSamplesRow(Base):
    """The ``samples`` in ms of one kernel call in one timing, means of ``inner_count`` runs."""

    __tablename__ = "kernel_samples"

    timing_id: Mapped[int] = mapped_column(ForeignKey("kernel_timings.id"), primary_key=True)
    index: Mapped[int] = mapped_column(primary_key=True)
    samples: Mapped[Samples] = mapped_column(SamplesType)


class FailureRow(Base):
    """A stage that failed for a network on a platform, with the end of what it printed."""

    __tablename__ = "failures"
    __table_args__ = (UniqueConstraint("network", "platform_id", "stage", "attempt"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    network: Mapped[str] = mapped_column(ForeignKey("networks.digest"))
    platform_id: Mapped[int] = mapped_column(ForeignKey("platforms.id"), index=True)
    stage: Mapped[str] = mapped_column(_NAME)
    attempt: Mapped[int]
    error: Mapped[str] = mapped_column(_NAME)
    message: Mapped[str] = mapped_column(Text)
    log: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime] = mapped_column(UtcDateTime)

    platform: Mapped[PlatformRow] = relationship()


class JobRow(Base):
    """Work that a process may lease; ``owner`` and ``lease_until`` are of the latest lease.

    ``attempts`` counts the devices that were lost while it ran, since it was last queued anew.
    """

    __tablename__ = "jobs"
    __table_args__ = (
        UniqueConstraint("network", "platform_id", "protocol"),
        Index("ix_jobs_platform_id_state", "platform_id", "state"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    network: Mapped[str] = mapped_column(ForeignKey("networks.digest"))
    platform_id: Mapped[int] = mapped_column(ForeignKey("platforms.id"))
    protocol: Mapped[str] = mapped_column(ForeignKey("protocols.name"))
    rounds: Mapped[int]
    kernels: Mapped[bool]
    state: Mapped[str] = mapped_column(_NAME)
    attempts: Mapped[int] = mapped_column(default=0)
    owner: Mapped[str | None] = mapped_column(Text)
    lease_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class DeviceRow(Base):
    """What is known of a device's health; it gets no jobs while it is quarantined."""

    __tablename__ = "devices"

    name: Mapped[str] = mapped_column(_NAME, primary_key=True)
    address: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(_NAME)
    failures_in_a_row: Mapped[int]
    reason: Mapped[str] = mapped_column(Text)
    changed_at: Mapped[datetime] = mapped_column(UtcDateTime)
