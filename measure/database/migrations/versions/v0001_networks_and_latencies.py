"""Version 1: networks, platforms, protocols, timing rounds, kernels and failures."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_NAME = sa.String(255)
_DIGEST = sa.String(64)
_MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "meta",
        sa.Column("key", _NAME, primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
    )
    op.execute("INSERT INTO meta (key, value) VALUES ('schema_version', '1')")
    op.create_table(
        "networks",
        sa.Column("digest", _DIGEST, primary_key=True),
        sa.Column("name", _NAME, nullable=False),
        sa.Column("family", _NAME, nullable=False, index=True),
        sa.Column("seed", sa.BigInteger, nullable=False),
        sa.Column("onnx_zlib", sa.LargeBinary, nullable=False),
        sa.Column("created_at", _MOMENT, nullable=False),
    )
    op.create_table(
        "platforms",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", _NAME, nullable=False, unique=True),
        sa.Column("device", sa.JSON, nullable=False),
        sa.Column("versions", sa.JSON, nullable=False),
        sa.Column("target", sa.Text, nullable=False),
        sa.Column("threads", sa.Integer, nullable=False),
        sa.Column("dtype", _NAME, nullable=False),
    )
    op.create_table(
        "protocols",
        sa.Column("name", _NAME, primary_key=True),
        sa.Column("settings", sa.JSON, nullable=False),
    )
    op.create_table(
        "measurements",
        *_of_a_network(),
        sa.Column("protocol", _NAME, sa.ForeignKey("protocols.name"), nullable=False),
        sa.Column("round", sa.Integer, nullable=False),
        sa.Column("started_at", _MOMENT, nullable=False),
        sa.Column("duration_s", sa.Double, nullable=False),
        sa.Column("inner_count", sa.Integer, nullable=False),
        sa.Column("samples", sa.LargeBinary, nullable=False),
        sa.Column("conditions", sa.JSON, nullable=False),
        sa.UniqueConstraint("network", "platform_id", "protocol", "round"),
    )
    op.create_table(
        "kernels",
        *_of_a_network(),
        sa.Column("index", sa.Integer, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("arguments", sa.JSON, nullable=False),
        sa.Column("results", sa.JSON, nullable=False),
        sa.Column("flops", sa.BigInteger, nullable=False),
        sa.Column("samples", sa.LargeBinary, nullable=False),
        sa.UniqueConstraint("network", "platform_id", "index"),
    )
    op.create_table(
        "failures",
        *_of_a_network(),
        sa.Column("stage", _NAME, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("error", _NAME, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("log", sa.Text, nullable=False),
        sa.Column("at", _MOMENT, nullable=False),
        sa.UniqueConstraint("network", "platform_id", "stage", "attempt"),
    )


def _of_a_network() -> list[sa.Column[Any]]:
    return [
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("network", _DIGEST, sa.ForeignKey("networks.digest"), nullable=False),
        sa.Column(
            "platform_id", sa.Integer, sa.ForeignKey("platforms.id"), nullable=False, index=True
        ),
    ]
