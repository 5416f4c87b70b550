"""The measurement database: networks, platforms, raw samples, kernels, failures and jobs.

SQLite by default, in WAL mode with ``synchronous=FULL``: a committed round survives a kill and a
power cut. Several processes may share it; those of several machines share a PostgreSQL database,
which has the same tables. What was measured is only ever added, one transaction per finished piece
of work, so that a campaign can be stopped anywhere.
"""

from __future__ import annotations

from measure.database.queries import Queries
from measure.database.stats import platform_stats
from measure.database.store import Store, check_platform
from measure.database.verify import problems
from measure.records import PlatformStats

__all__ = ["Database", "check_platform"]


class Database(Store, Queries):
    """An open measurement database; a context manager.

    One instance per thread is not needed: every method uses a transaction of its own.
    """

    def stats(self, protocol: str | None = None) -> list[PlatformStats]:
        """What is stored, platform by platform; latencies and jobs are those of ``protocol``.

        Where it is None, those of all standard protocols; see :meth:`latencies`.
        """
        platforms = self.platforms()
        with self.session() as session:
            return [platform_stats(session, platform, protocol) for platform in platforms]

    def verify(self) -> list[str]:
        """What is wrong with the database, one line each; nothing where all is well.

        Looks at the file, at references between rows, at all samples, and reads each network to
        see that it still has its digest.
        """
        return problems(self)
