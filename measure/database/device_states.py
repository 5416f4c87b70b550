"""The health of devices, shared by all processes that measure into one database."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, cast

from sqlalchemy import select
from sqlalchemy.orm import Session

from measure.database.connection import OpenDatabase, now
from measure.database.engine import insert_missing
from measure.database.schema import DeviceRow
from measure.errors import DatabaseError

Health = Literal["ok", "quarantined"]


@dataclass(frozen=True, kw_only=True)
class DeviceState:
    """What is known of a device's health.

    Args:
        name: of the device.
        address: where it was reached last.
        state: a quarantined device gets no jobs until it is released.
        failures_in_a_row: failures of the device since it last did its work.
        reason: of the latest failure; empty where there is none.
        changed_at: when this was recorded; None for a device that nothing is known of.
    """

    name: str
    address: str = ""
    state: Health = "ok"
    failures_in_a_row: int = 0
    reason: str = ""
    changed_at: datetime | None = None


class DeviceStates:
    """The states of all devices in a database."""

    def __init__(self, database: OpenDatabase) -> None:
        self._database = database

    def get(self, name: str) -> DeviceState:
        """The state of a device; ``ok`` for one that nothing is known of."""
        with self._database.session() as session:
            row = session.get(DeviceRow, name)
            return DeviceState(name=name) if row is None else _state(row)

    def all(self) -> list[DeviceState]:
        """The states of all devices that something is known of, by name."""
        with self._database.session() as session:
            return [_state(row) for row in session.scalars(select(DeviceRow).order_by("name"))]

    def record_failure(self, name: str, address: str, reason: str, limit: int = 3) -> DeviceState:
        """Count a failure of the device; the ``limit``-th in a row quarantines it."""
        with self._database.transaction() as session:
            row = _row(session, name, address)
            row.failures_in_a_row += 1
            row.reason = reason
            if row.failures_in_a_row >= limit:
                row.state = "quarantined"
            return _state(row)

    def record_success(self, name: str, address: str) -> None:
        """The device did its work: failures count from zero again. It does not end a quarantine."""
        with self._database.transaction() as session:
            row = _row(session, name, address)
            row.failures_in_a_row = 0
            if row.state == "ok":
                row.reason = ""

    def release(self, name: str) -> None:
        """End the quarantine of a device.

        Raises:
            DatabaseError: nothing is known of it.
        """
        with self._database.transaction() as session:
            row = session.get(DeviceRow, name, with_for_update=True)
            if row is None:
                known = ", ".join(session.scalars(select(DeviceRow.name).order_by("name")))
                raise DatabaseError(f"no device {name!r} in this database; it has: {known or '-'}")
            row.state, row.failures_in_a_row, row.reason = "ok", 0, ""
            row.changed_at = now()


def _row(session: Session, name: str, address: str) -> DeviceRow:
    """The row of a device, made where there is none, for this transaction alone."""
    new = {
        "name": name,
        "address": address,
        "state": "ok",
        "failures_in_a_row": 0,
        "reason": "",
        "changed_at": now(),
    }
    insert_missing(session, DeviceRow, [new])
    row = session.get_one(DeviceRow, name, with_for_update=True)
    row.address, row.changed_at = address, now()
    return row


def _state(row: DeviceRow) -> DeviceState:
    return DeviceState(
        name=row.name,
        address=row.address,
        state=cast("Health", row.state),
        failures_in_a_row=row.failures_in_a_row,
        reason=row.reason,
        changed_at=row.changed_at,
    )
