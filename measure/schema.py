"""The tables of the measurement database; rows are only ever added.

Types are those that SQLite and PostgreSQL share. Arrays of samples are little-endian float64.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import numpy as np
from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    Dialect,
    ForeignKey,
    LargeBinary,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from measure.protocol import Samples

SCHEMA_VERSION = 1

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
        """The moment with its zone."""
        return None if value is None else value.replace(tzinfo=timezone.utc)


class Base(DeclarativeBase):
    """The root of all tables."""


class Meta(Base):
    """Facts about the database itself, such as ``schema_version``."""

    __tablename__ = "meta"

    key: Mapped[str] = mapped_column(_NAME, primary_key=True)
    value: Mapped[str] = mapped_column(Text)


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
    duration_s: Mapped[float]
    inner_count: Mapped[int]
    samples: Mapped[Samples] = mapped_column(SamplesType)
    conditions: Mapped[dict[str, Any]] = mapped_column(JSON)

    platform: Mapped[PlatformRow] = relationship()


class KernelRow(Base):
    """One kernel call of a network on a platform; ``samples`` in ms, types as of ``Kernel``."""

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
    samples: Mapped[Samples] = mapped_column(SamplesType)

    platform: Mapped[PlatformRow] = relationship()


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
