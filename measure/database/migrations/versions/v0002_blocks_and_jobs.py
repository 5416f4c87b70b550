"""Version 2: blocks between anchors, conditions of kernel times, jobs and devices."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_NAME = sa.String(255)
_DIGEST = sa.String(64)
_MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Make the new tables; the rounds that there are belong to no block."""
    op.create_table(
        "blocks",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("key", _DIGEST, nullable=False, unique=True),
        _platform(index=True),
        _protocol(),
        sa.Column("started_at", _MOMENT, nullable=False),
        sa.Column("finished_at", _MOMENT),
        sa.Column("drift", sa.Double),
    )
    op.create_table(
        "anchor_rounds",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("block_id", sa.Integer, sa.ForeignKey("blocks.id"), nullable=False),
        _network(),
        sa.Column("position", _NAME, nullable=False),
        *_timing(),
        sa.Column("samples", sa.LargeBinary, nullable=False),
        sa.UniqueConstraint("block_id", "network", "position"),
    )
    op.add_column(
        "measurements",
        sa.Column("block_id", sa.Integer, sa.ForeignKey("blocks.id")),
        inline_references=True,
    )
    op.create_table(
        "kernel_timings",
        sa.Column("id", sa.Integer, primary_key=True),
        _network(),
        _platform(index=True),
        *_timing(),
        sa.Column("block_id", sa.Integer, sa.ForeignKey("blocks.id")),
        sa.UniqueConstraint("network", "platform_id"),
    )
    _make_jobs_and_devices()
    # Alembic's own table holds the version from here on.
    op.drop_table("meta")


def _make_jobs_and_devices() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", sa.Integer, primary_key=True),
        _network(),
        _platform(index=False),
        _protocol(),
        sa.Column("rounds", sa.Integer, nullable=False),
        sa.Column("kernels", sa.Boolean, nullable=False),
        sa.Column("state", _NAME, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("owner", sa.Text),
        sa.Column("lease_until", _MOMENT),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.Column("finished_at", _MOMENT),
        sa.UniqueConstraint("network", "platform_id", "protocol"),
    )
    op.create_index("ix_jobs_platform_id_state", "jobs", ["platform_id", "state"])
    op.create_table(
        "devices",
        sa.Column("name", _NAME, primary_key=True),
        sa.Column("address", sa.Text, nullable=False),
        sa.Column("state", _NAME, nullable=False),
        sa.Column("failures_in_a_row", sa.Integer, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("changed_at", _MOMENT, nullable=False),
    )


def _network() -> sa.Column[Any]:
    return sa.Column("network", _DIGEST, sa.ForeignKey("networks.digest"), nullable=False)


def _platform(*, index: bool) -> sa.Column[Any]:
    return sa.Column(
        "platform_id", sa.Integer, sa.ForeignKey("platforms.id"), nullable=False, index=index
    )


def _protocol() -> sa.Column[Any]:
    return sa.Column("protocol", _NAME, sa.ForeignKey("protocols.name"), nullable=False)


def _timing() -> list[sa.Column[Any]]:
    return [
        sa.Column("started_at", _MOMENT, nullable=False),
        sa.Column("duration_s", sa.Double, nullable=False),
        sa.Column("inner_count", sa.Integer, nullable=False),
        sa.Column("conditions", sa.JSON, nullable=False),
    ]
