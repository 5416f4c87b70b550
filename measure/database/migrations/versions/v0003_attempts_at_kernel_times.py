"""Version 3: kernels are timed more than once, each time with samples of their own."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

# As PostgreSQL calls what earlier versions left without a name.
_NAMES = {"uq": "%(table_name)s_%(column_0_N_name)s_key"}
_OLD_KEY, _NEW_KEY = ("network", "platform_id"), ("network", "platform_id", "attempt")

_kernels = sa.table("kernels", *map(sa.column, ("network", "platform_id", "index", "samples")))
_timings = sa.table(
    "kernel_timings", *map(sa.column, ("id", "network", "platform_id", "attempt", "conditions"))
)


def upgrade() -> None:
    """Make the timings there are the first attempts, and move the samples of kernels to them."""
    _allow_attempts()
    _add_unrecorded_timings()
    samples = op.create_table(
        "kernel_samples",
        sa.Column(
            "timing_id",
            sa.Integer,
            sa.ForeignKey("kernel_timings.id"),
            primary_key=True,
            autoincrement=False,
        ),
        sa.Column("index", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("samples", sa.LargeBinary, nullable=False),
    )
    moved = sa.select(_timings.c.id, _kernels.c.index, _kernels.c.samples).join_from(
        _kernels, _timings, _same_network()
    )
    op.execute(samples.insert().from_select(["timing_id", "index", "samples"], moved))
    with op.batch_alter_table("kernels") as kernels:
        kernels.drop_column("samples")


def _allow_attempts() -> None:
    op.add_column("kernel_timings", sa.Column("attempt", sa.Integer))
    op.execute(sa.update(_timings).values(attempt=0))
    with op.batch_alter_table("kernel_timings", naming_convention=_NAMES) as timings:
        timings.alter_column("attempt", existing_type=sa.Integer(), nullable=False)
        timings.alter_column("started_at", existing_type=sa.DateTime(timezone=True), nullable=True)
        timings.alter_column("duration_s", existing_type=sa.Double(), nullable=True)
        timings.alter_column("inner_count", existing_type=sa.Integer(), nullable=True)
        timings.drop_constraint(_key_name(_OLD_KEY), type_="unique")
        timings.create_unique_constraint(_key_name(_NEW_KEY), list(_NEW_KEY))


def _add_unrecorded_timings() -> None:
    """Kernels that the first version timed have samples, but no row that says when and how."""
    unrecorded = (
        sa.select(
            _kernels.c.network, _kernels.c.platform_id, sa.literal(0), sa.literal({}, sa.JSON)
        )
        .where(~sa.exists().where(_same_network()).correlate(_kernels))
        .group_by(_kernels.c.network, _kernels.c.platform_id)
    )
    columns = ["network", "platform_id", "attempt", "conditions"]
    op.execute(sa.insert(_timings).from_select(columns, unrecorded))


def _same_network() -> sa.ColumnElement[bool]:
    return sa.and_(
        _timings.c.network == _kernels.c.network,
        _timings.c.platform_id == _kernels.c.platform_id,
    )


def _key_name(columns: tuple[str, ...]) -> str:
    return f"kernel_timings_{'_'.join(columns)}_key"
