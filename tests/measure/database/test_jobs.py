"""Jobs that several processes share, and what becomes of them when one dies."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path

import pytest

from measure.database import Database
from measure.database.device_states import DeviceState, DeviceStates
from measure.database.jobs import Job, JobQueue, hold_lease
from measure.database.owner import current_owner
from measure.errors import (
    BuildError,
    DatabaseError,
    LeaseLostError,
    RunError,
    UnknownPlatformError,
)
from tests.measure.databases import NAME, PROTOCOL, A, B, finished, kernel_times
from tests.measure.fake_toolchain import network

LEASE_S = 100.0
MANY = [f"{number:064x}" for number in range(24)]


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.now_s = 1.7e9

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


def queue_of(database: Database, owner: str, clock: Clock) -> JobQueue:
    return JobQueue(database, owner, LEASE_S, clock)


@pytest.fixture
def ours(database: Database, clock: Clock) -> JobQueue:
    return queue_of(database, "host-1:1:1:ours", clock)


@pytest.fixture
def theirs(database: Database, clock: Clock) -> JobQueue:
    return queue_of(database, "host-2:1:1:theirs", clock)


def add(queue: JobQueue, *networks: str, rounds: int = 2, kernels: bool = False) -> int:
    return queue.add(networks, NAME, PROTOCOL, rounds=rounds, kernels=kernels)


def add_many(database: Database, queue: JobQueue) -> None:
    for digest in MANY:
        database.add_network(digest, digest, "relu", 0, network("n"))
    assert add(queue, *MANY) == len(MANY)


def fail(database: Database, queue: JobQueue) -> None:
    """The next job fails."""
    job = lease(queue)
    failure = BuildError("build", "net", "SIGSEGV", "crashed")
    database.add_failure(job.network, job.platform, failure, lease=job)


def states(queue: JobQueue) -> dict[str, int]:
    return {state: count for state, count in queue.counts([NAME]).items() if count}


def lease(queue: JobQueue) -> Job:
    (job,) = queue.lease([NAME], 1)
    return job


def test_jobs_are_leased_in_the_order_added_and_once(ours: JobQueue, theirs: JobQueue) -> None:
    assert add(ours, B, A, B, kernels=True) == 2
    job = lease(ours)
    assert (job.network, job.platform, job.protocol) == (B, NAME, PROTOCOL)
    assert (job.rounds, job.kernels, job.attempts) == (2, True, 0)
    assert [job.network for job in theirs.lease([NAME], 9)] == [A]
    assert theirs.lease([NAME], 9) == []
    assert states(ours) == {"leased": 2}


def test_adding_again_changes_nothing(ours: JobQueue) -> None:
    assert add(ours, A, B) == 2
    assert add(ours, A, B, rounds=1) == 0
    assert states(ours) == {"queued": 2}
    ours.finish(lease(ours))
    assert add(ours, A, B) == 0
    assert states(ours) == {"queued": 1, "done": 1}


@pytest.mark.parametrize("more", [{"rounds": 3}, {"kernels": True}])
def test_a_job_that_is_done_is_queued_again_where_more_is_wanted(
    ours: JobQueue, more: dict[str, int]
) -> None:
    add(ours, A)
    ours.finish(lease(ours))
    assert add(ours, A, **more) == 1  # type: ignore[arg-type]
    job = lease(ours)
    assert (job.rounds, job.kernels) == (more.get("rounds", 2), more.get("kernels", False))


def test_a_job_whose_results_do_not_count_is_queued_again(
    database: Database, ours: JobQueue
) -> None:
    add(ours, A, B)
    ours.finish(lease(ours))
    fail(database, ours)
    assert ours.add([A, B], NAME, PROTOCOL, rounds=2, kernels=False, again=True) == 1
    assert lease(ours).network == A
    assert states(ours) == {"leased": 1, "failed": 1}


def test_a_leased_job_of_which_more_is_wanted_meanwhile_is_not_done(ours: JobQueue) -> None:
    add(ours, A)
    job = lease(ours)
    assert add(ours, A, rounds=3) == 0
    ours.finish(job)
    assert lease(ours).rounds == 3


def test_what_failed_is_queued_again_only_when_asked(database: Database, ours: JobQueue) -> None:
    add(ours, A)
    fail(database, ours)
    assert add(ours, A, rounds=3) == 0
    assert states(ours) == {"failed": 1}
    assert ours.add([A], NAME, PROTOCOL, rounds=2, kernels=False, retry_failed=True) == 1
    assert lease(ours).rounds == 3


def test_a_released_job_waits_for_anyone_and_counts_what_was_lost(
    ours: JobQueue, theirs: JobQueue
) -> None:
    add(ours, A)
    ours.release(lease(ours))
    job = lease(theirs)
    assert job.attempts == 0
    theirs.release(job, lost=True)
    assert lease(ours).attempts == 1


def test_what_was_lost_before_a_job_was_queued_anew_counts_no_more(
    database: Database, ours: JobQueue
) -> None:
    add(ours, A, B)
    for job in ours.lease([NAME], 2):
        ours.release(job, lost=True)
    ours.finish(lease(ours))
    fail(database, ours)
    ours.add([A, B], NAME, PROTOCOL, rounds=3, kernels=False, retry_failed=True)
    assert [job.attempts for job in ours.lease([NAME], 2)] == [0, 0]


def test_a_job_of_a_network_that_has_failed_is_failed(database: Database, ours: JobQueue) -> None:
    add(ours, A, B, kernels=True)
    database.add_failure(A, NAME, BuildError("build", "net-1", "SIGSEGV", "crashed"))
    database.add_failure(B, NAME, RunError("kernels", "net-2", "exit", "ended"))
    jobs = ours.lease([NAME], 2)
    assert [ours.finish(job) for job in jobs] == ["failed", "done"]
    assert states(ours) == {"failed": 1, "done": 1}


def test_failed_kernels_end_no_job(database: Database, ours: JobQueue) -> None:
    add(ours, A, kernels=True)
    job = lease(ours)
    database.add_failure(A, NAME, RunError("kernels", "net-1", "exit", "ended"), lease=job)
    assert states(ours) == {"leased": 1}
    assert ours.finish(job) == "done"


def test_jobs_of_other_platforms_are_left_alone(ours: JobQueue) -> None:
    add(ours, A)
    assert ours.lease([], 1) == []
    assert ours.counts([]) == {"queued": 0, "leased": 0, "done": 0, "failed": 0}
    with pytest.raises(UnknownPlatformError, match="nowhere"):
        ours.lease([NAME, "nowhere"], 1)


def test_a_lease_that_ran_out_goes_to_another(
    ours: JobQueue, theirs: JobQueue, clock: Clock
) -> None:
    add(ours, A)
    lease(ours)
    clock.now_s += LEASE_S
    assert theirs.lease([NAME], 1) == []
    clock.now_s += 1.0
    assert lease(theirs).network == A


def test_a_renewed_lease_is_kept(ours: JobQueue, theirs: JobQueue, clock: Clock) -> None:
    add(ours, A)
    job = lease(ours)
    for _ in range(3):
        clock.now_s += LEASE_S - 1.0
        ours.renew(job)
    assert theirs.lease([NAME], 1) == []


def test_a_lease_that_ran_out_is_held_while_nobody_takes_it(
    database: Database, ours: JobQueue, clock: Clock
) -> None:
    add(ours, A)
    job = lease(ours)
    clock.now_s += 2 * LEASE_S
    database.add_round(A, NAME, PROTOCOL, 0, finished(1.0), lease=job)
    ours.renew(job)
    ours.finish(job)
    assert states(ours) == {"done": 1}


@pytest.mark.parametrize("taker", ["theirs", "ours"])
def test_whoever_lost_a_lease_changes_and_stores_nothing(
    database: Database, ours: JobQueue, theirs: JobQueue, clock: Clock, taker: str
) -> None:
    add(ours, A)
    late = lease(ours)
    clock.now_s += LEASE_S + 1.0
    # Another lease of the same process is another lease.
    job = lease(theirs if taker == "theirs" else ours)
    for attempt in (
        lambda: ours.renew(late),
        lambda: ours.finish(late),
        lambda: ours.release(late),
        lambda: database.add_round(A, NAME, PROTOCOL, 0, finished(9.0), lease=late),
        lambda: database.add_kernels(A, NAME, kernel_times("a"), lease=late),
        lambda: database.add_failure(A, NAME, BuildError("build", "n", "E", "r"), lease=late),
    ):
        with pytest.raises(LeaseLostError, match=f"the lease on {A} .* went to another"):
            attempt()
    assert states(ours) == {"leased": 1}
    assert database.latencies(NAME) == {}
    assert database.kernel_times(NAME) == {}
    assert database.failures(NAME) == []
    database.add_round(A, NAME, PROTOCOL, 0, finished(1.0), lease=job)
    theirs.finish(job)
    assert database.label(A, NAME) == 1.0
    with pytest.raises(LeaseLostError):
        theirs.finish(job)


def test_nobody_takes_a_job_while_its_holder_stores(
    database: Database, ours: JobQueue, theirs: JobQueue, clock: Clock
) -> None:
    add(ours, A)
    job = lease(ours)
    clock.now_s += LEASE_S + 1.0
    with ThreadPoolExecutor(1) as pool:
        with database.transaction() as session:
            row = hold_lease(session, job)
            other = pool.submit(theirs.lease, [NAME], 1)
            wait([other], timeout=0.5)
            row.state = "done"
        assert other.result() == []


def test_threads_never_get_one_job_twice(database: Database, ours: JobQueue) -> None:
    add_many(database, ours)
    start = threading.Barrier(4)

    def drain() -> list[str]:
        queue = JobQueue(database, current_owner())
        start.wait()
        done = []
        while jobs := queue.lease([NAME], 2):
            for job in jobs:
                database.add_round(job.network, NAME, PROTOCOL, 0, finished(1.0), lease=job)
                queue.finish(job)
                done.append(job.network)
        return done

    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(drain) for _ in range(4)]
        done = [network for future in futures for network in future.result()]
    assert sorted(done) == MANY
    assert states(ours) == {"done": len(MANY)}


@contextmanager
def job_process(location: str, count: int) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-m", "tests.measure.job_process", location, str(count)],
        cwd=Path(__file__).parents[3],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert answer(process) == ["ready"]
            yield process
        finally:
            process.kill()


def answer(process: subprocess.Popen[str]) -> list[str]:
    assert process.stdout is not None
    return process.stdout.readline().split()


def go_on(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def test_processes_never_get_one_job_twice(
    database: Database, location: str, ours: JobQueue
) -> None:
    add_many(database, ours)
    with job_process(location, 2) as one, job_process(location, 2) as other:
        for process in (one, other):
            go_on(process)
        # Both hold a lease before either works on.
        first = {tuple(answer(process)) for process in (one, other)}
        assert first == {("leased", *MANY[:2]), ("leased", *MANY[2:4])}
        lines = []
        with ThreadPoolExecutor(2) as pool:
            for output, _ in pool.map(lambda p: p.communicate("\n" * 100), (one, other)):
                lines += output.split("\n")
    stored = [line.removeprefix("stored ") for line in lines if line.startswith("stored")]
    assert sorted(stored) == MANY
    assert states(ours) == {"done": len(MANY)}


def test_the_jobs_of_a_killed_process_go_to_another_at_once(
    database: Database, location: str
) -> None:
    queue = JobQueue(database, current_owner())
    add_many(database, queue)
    with job_process(location, 3) as process:
        go_on(process)
        assert answer(process) == ["leased", *MANY[:3]]
        assert [job.network for job in queue.lease([NAME], 1)] == MANY[3:4]
        go_on(process)
        assert [answer(process) for _ in range(3)] == [["stored", name] for name in MANY[:3]]
        assert answer(process) == ["leased", *MANY[4:7]]
        process.kill()
        process.wait()
    assert set(database.latencies(NAME)) == set(MANY[:3])
    assert states(queue) == {"queued": 17, "leased": 4, "done": 3}
    assert [job.network for job in queue.lease([NAME], 4)] == MANY[4:8]


@pytest.fixture
def devices(database: Database) -> DeviceStates:
    return DeviceStates(database)


def test_a_device_that_nothing_is_known_of_is_fine(devices: DeviceStates) -> None:
    assert devices.get("board") == DeviceState(name="board")
    assert devices.get("board").state == "ok"
    assert devices.all() == []


def test_failures_in_a_row_quarantine_a_device(devices: DeviceStates) -> None:
    for count, reason in ((1, "no answer"), (2, "no answer")):
        state = devices.record_failure("board", "rpc://one:9190/key", reason)
        assert (state.state, state.failures_in_a_row, state.reason) == ("ok", count, reason)
    state = devices.record_failure("board", "rpc://two:9190/key", "stalled")
    assert (state.state, state.failures_in_a_row) == ("quarantined", 3)
    assert (state.address, state.reason) == ("rpc://two:9190/key", "stalled")
    assert devices.get("board") == state
    assert state.changed_at is not None


def test_success_starts_the_count_again_but_ends_no_quarantine(devices: DeviceStates) -> None:
    devices.record_failure("board", "a", "no answer", limit=2)
    devices.record_success("board", "a")
    assert devices.get("board").failures_in_a_row == 0
    devices.record_failure("board", "a", "no answer", limit=2)
    assert devices.record_failure("board", "a", "stalled", limit=2).state == "quarantined"
    devices.record_success("board", "a")
    assert devices.get("board").state == "quarantined"
    assert devices.get("board").reason == "stalled"
    devices.release("board")
    state = devices.get("board")
    assert (state.state, state.failures_in_a_row, state.reason) == ("ok", 0, "")


def test_devices_are_listed_by_name(devices: DeviceStates) -> None:
    devices.record_success("one", "a")
    devices.record_failure("another", "b", "stalled")
    assert [state.name for state in devices.all()] == ["another", "one"]
    with pytest.raises(DatabaseError, match=r"no device 'third' .* it has: another, one"):
        devices.release("third")


def test_failures_reported_at_once_are_all_counted(devices: DeviceStates) -> None:
    with ThreadPoolExecutor(4) as pool:
        for future in [
            pool.submit(devices.record_failure, "board", "a", "stalled", 99) for _ in range(12)
        ]:
            future.result()
    assert devices.get("board").failures_in_a_row == 12
