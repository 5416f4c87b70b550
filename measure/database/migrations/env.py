"""Run by Alembic, on the connection that :mod:`measure.database.migrations` gives."""

from __future__ import annotations

from alembic import context

from measure.database.schema import Base

context.configure(connection=context.config.attributes["connection"], target_metadata=Base.metadata)
with context.begin_transaction():
    context.run_migrations()
