"""A process that measures what it leases: ``python -m tests.measure.job_process LOCATION COUNT``.

Waits for a line, then works off leases of COUNT jobs until none is left, and prints the networks
that it stored a round of. Waits for another line before it works off each lease.
"""

from __future__ import annotations

import sys

from measure.database import Database
from measure.database.jobs import JobQueue
from measure.database.owner import current_owner
from tests.measure.databases import NAME, PROTOCOL, finished


def main(location: str, count: str) -> None:
    with Database.open(location) as database:
        queue = JobQueue(database, current_owner())
        print("ready", flush=True)
        sys.stdin.readline()
        while jobs := queue.lease([NAME], int(count)):
            print("leased", *(job.network for job in jobs), flush=True)
            sys.stdin.readline()
            for job in jobs:
                database.add_round(job.network, NAME, PROTOCOL, 0, finished(1.0), lease=job)
                queue.finish(job)
                print("stored", job.network, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
