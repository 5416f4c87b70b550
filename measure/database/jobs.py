"""Jobs: what is to be measured, leased to the processes that share one database.

The jobs of a process that died go to another: at once on the same machine, else when their lease
runs out. Should it only have slept, it finds its leases lost at its next step: whatever it stores
names the job, and the transaction that stores also sees that the lease is still held.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, and_, func, or_, select
from sqlalchemy.orm import Session

from measure.database.connection import OpenDatabase, now, platform_id, utc
from measure.database.engine import insert_missing
from measure.database.owner import is_dead
from measure.database.schema import JobRow
from measure.database.stored import DECIDING_STAGES, failed_stages
from measure.errors import LeaseLostError

STATES = ("queued", "leased", "done", "failed")
"""Of jobs, in the order in which one passes through them."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """A leased job.

    Args:
        id: its key in the database.
        network: digest.
        platform: name.
        protocol: name.
        rounds: undisturbed timing rounds that are wanted.
        kernels: whether kernel times are wanted.
        attempts: how often a device was lost while it ran, since it was last queued anew.
        lease: tells this lease from all others.
    """

    id: int
    network: str
    platform: str
    protocol: str
    rounds: int
    kernels: bool
    attempts: int
    lease: str


class JobQueue:
    """The jobs of a database, as the process ``owner`` sees them. Threads may share it.

    Args:
        database: where the jobs are.
        owner: name of the process, from :func:`~measure.database.owner.current_owner`.
        lease_s: seconds after which a job whose lease was not renewed goes to another.
        clock: seconds since the epoch. The clocks of machines that share a database must agree,
            to a small part of ``lease_s``.
    """

    def __init__(
        self,
        database: OpenDatabase,
        owner: str,
        lease_s: float = 900.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.owner = owner
        self._database = database
        self._lease_s = lease_s
        self._clock = clock

    def add(
        self,
        networks: Iterable[str],
        platform: str,
        protocol: str,
        *,
        rounds: int,
        kernels: bool,
        again: bool = False,
        retry_failed: bool = False,
    ) -> int:
        """Want ``rounds`` and perhaps ``kernels`` of the networks with these digests.

        There is one job for a network, platform and protocol. One that is there already is raised
        to what is wanted now, and queued again where it was done with less, or ``again``, since
        what was done does not count; or where it had failed and ``retry_failed``.

        Returns:
            The number of jobs that were queued by this call.
        """
        wanted = list(dict.fromkeys(networks))
        with self._database.transaction() as session:
            key = {"platform_id": platform_id(session, platform), "protocol": protocol}
            known = select(JobRow).filter_by(**key).where(JobRow.network.in_(wanted))
            before = {row.network: row for row in session.scalars(known.with_for_update())}
            new = {"rounds": rounds, "kernels": kernels, "state": "queued", "created_at": now()}
            insert_missing(
                session,
                JobRow,
                ({**key, **new, "network": digest} for digest in wanted if digest not in before),
            )
            reopened = [
                _raise_wanted(
                    before[digest], rounds, kernels, again=again, retry_failed=retry_failed
                )
                for digest in wanted
                if digest in before
            ]
        return len(wanted) - len(reopened) + sum(reopened)

    def lease(
        self,
        platforms: Sequence[str],
        count: int,
        *,
        protocol: str | None = None,
        networks: Collection[str] | None = None,
    ) -> list[Job]:
        """Take up to ``count`` jobs of these platforms, in the order in which they were added.

        Those are jobs that are queued, and those of which another's lease ran out or the process
        is known to be dead; where given, of this ``protocol`` and of these ``networks`` (digests)
        only.
        """
        lease = f"{self.owner}:{secrets.token_hex(4)}"
        with self._database.transaction() as session:
            names = {platform_id(session, name): name for name in platforms}
            available = self._available(session, names, protocol, networks)
            query = (
                select(JobRow)
                .where(available)
                .order_by(JobRow.id)
                .limit(count)
                .with_for_update(skip_locked=True)
            )
            rows = session.scalars(query).all()
            for row in rows:
                row.state, row.owner, row.lease_until = "leased", lease, self._deadline()
            return [_job(row, names[row.platform_id], lease) for row in rows]

    def is_available(
        self,
        platforms: Sequence[str],
        *,
        protocol: str | None = None,
        networks: Collection[str] | None = None,
    ) -> bool:
        """Whether :meth:`lease` would give a job now, unless another process takes it first."""
        with self._database.session() as session:
            ids = [platform_id(session, name) for name in platforms]
            available = self._available(session, ids, protocol, networks)
            return session.scalar(select(JobRow.id).where(available).limit(1)) is not None

    def renew(self, job: Job) -> None:
        """Hold the lease for another ``lease_s`` from now.

        Raises:
            LeaseLostError: another process has the job.
        """
        with self._held(job) as row:
            row.lease_until = self._deadline()

    def finish(self, job: Job) -> str:
        """End the lease; gives the state of the job, one of :data:`STATES`.

        It is done, unless the network has failed, or more was wanted of it meanwhile: then the job
        is queued again.

        Raises:
            LeaseLostError: another process has the job.
        """
        with self._database.transaction() as session:
            row = hold_lease(session, job)
            failed = failed_stages(session, row.platform_id, [row.network])
            enough = job.rounds >= row.rounds and job.kernels >= row.kernels
            if failed[row.network] & DECIDING_STAGES:
                leave(row, "failed")
            elif enough:
                leave(row, "done")
            else:
                leave(row, "queued")
                row.attempts = 0
            return row.state

    def release(self, job: Job, *, lost: bool = False) -> None:
        """Back into the queue; ``lost`` counts a device that was lost while the network ran.

        Raises:
            LeaseLostError: another process has the job.
        """
        with self._held(job) as row:
            leave(row, "queued")
            row.attempts += lost

    def counts(self, platforms: Sequence[str]) -> dict[str, int]:
        """The number of jobs of these platforms in each of the :data:`STATES`."""
        with self._database.session() as session:
            ids = [platform_id(session, name) for name in platforms]
            return count_jobs(session, JobRow.platform_id.in_(ids))

    def _available(
        self,
        session: Session,
        platform_ids: Iterable[int],
        protocol: str | None,
        networks: Collection[str] | None,
    ) -> ColumnElement[bool]:
        """The condition that a job can be leased."""
        wanted: ColumnElement[bool] = JobRow.platform_id.in_(list(platform_ids))
        if protocol is not None:
            wanted = and_(wanted, JobRow.protocol == protocol)
        if networks is not None:
            wanted = and_(wanted, JobRow.network.in_(list(networks)))
        leased = and_(wanted, JobRow.state == "leased")
        owners = session.scalars(select(JobRow.owner).where(leased).distinct())
        left = or_(
            JobRow.lease_until < utc(self._clock()),
            JobRow.owner.in_([owner for owner in owners if owner and is_dead(owner)]),
        )
        return or_(and_(wanted, JobRow.state == "queued"), and_(leased, left))

    def _deadline(self) -> datetime:
        return utc(self._clock() + self._lease_s)

    @contextmanager
    def _held(self, job: Job) -> Iterator[JobRow]:
        with self._database.transaction() as session:
            yield hold_lease(session, job)


def hold_lease(session: Session, job: Job) -> JobRow:
    """The row of a leased job, which stays leased until the transaction of ``session`` ends.

    A lease that ran out is still held as long as no other process took the job.

    Raises:
        LeaseLostError: another process has or had the job.
    """
    query = select(JobRow).filter_by(id=job.id, state="leased", owner=job.lease).with_for_update()
    row = session.scalar(query)
    if row is None:
        raise LeaseLostError(
            f"the lease on {job.network} on {job.platform} ran out and went to another process; "
            "nothing was stored: leave the job to it, or give leases more time"
        )
    return row


def leave(row: JobRow, state: str) -> None:
    """End the lease on a job, which is in ``state`` from now on."""
    row.state, row.lease_until = state, None
    row.finished_at = None if state == "queued" else now()


def count_jobs(session: Session, *conditions: ColumnElement[bool]) -> dict[str, int]:
    """The number of jobs that fulfil all ``conditions`` in each of the :data:`STATES`."""
    query = select(JobRow.state, func.count()).where(*conditions).group_by(JobRow.state)
    found = dict(session.execute(query).tuples().all())
    return {state: found.get(state, 0) for state in STATES}


def _raise_wanted(
    row: JobRow, rounds: int, kernels: bool, *, again: bool, retry_failed: bool
) -> bool:
    """Want no less than this of a job; gives whether that queued it."""
    more = again or rounds > row.rounds or kernels > row.kernels
    row.rounds, row.kernels = max(rounds, row.rounds), kernels or row.kernels
    reopen = (row.state == "done" and more) or (row.state == "failed" and retry_failed)
    if reopen:
        row.state, row.finished_at, row.attempts = "queued", None, 0
    return reopen


def _job(row: JobRow, platform: str, lease: str) -> Job:
    return Job(
        id=row.id,
        network=row.network,
        platform=platform,
        protocol=row.protocol,
        rounds=row.rounds,
        kernels=row.kernels,
        attempts=row.attempts,
        lease=lease,
    )
