"""A lane of a campaign: one device, whose jobs are built in blocks and then timed alone.

Within a block the order is random and interleaves networks, toolchains and rounds, so that a slow
minute of the device hits all of them alike; anchors at both ends of it show whether the device
stayed the same. Each finished round is committed at once.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from random import Random
from typing import TypeVar

from measure.campaign.builds import Task
from measure.campaign.context import Context
from measure.campaign.health import MAX_WORKER_ERRORS, DeviceHealth, QuarantinedError
from measure.campaign.machine import alone_on_machine, beside_others
from measure.campaign.types import EventKind
from measure.client import ToolchainInfo, Worker
from measure.conditions import MAX_DRIFT, is_disturbed
from measure.database.jobs import Job
from measure.database.store import Position
from measure.database.stored import DECIDING_STAGES
from measure.device import Platform
from measure.errors import (
    DeviceError,
    LeaseLostError,
    MeasurementError,
    RunError,
    WorkerError,
)
from measure.protocol import label
from measure.records import Network, Round, Work

_T = TypeVar("_T")

LOCAL = "local"

# A network that takes so many connections with it, while the anchors run, is at fault itself.
_MAX_LOSSES = 3


class Lane:
    """One device with the toolchains that build for it.

    Args:
        device: ``local``, or the address of an RPC device.
        workers: of each toolchain, by name, running on ``device``.
        platforms: of each toolchain.
        toolchains: what each says of itself.
        anchors: networks to see by whether the device is still the same; stored already.
        context: what the lanes of a campaign share.
    """

    def __init__(
        self,
        device: str,
        workers: Mapping[str, Worker],
        platforms: Mapping[str, Platform],
        toolchains: Mapping[str, ToolchainInfo],
        anchors: Sequence[Network],
        context: Context,
    ) -> None:
        self.device = device
        self.platforms = dict(platforms)
        self._workers = workers
        self._toolchains = toolchains
        self._context = context
        self._health = DeviceHealth(device, context)
        self._random = Random(context.config.seed)
        self._names = {platform.name: name for name, platform in platforms.items()}
        self._held: dict[int, Task] = {}
        self._without_kernels: set[int] = set()
        self._renewed_s = time.monotonic()
        self._worker_errors_in_a_row = 0
        self._anchors = [
            self._task(network, toolchain) for toolchain in platforms for network in anchors
        ]

    @property
    def platform_names(self) -> list[str]:
        """What this lane measures."""
        return list(self._names)

    def run(self) -> Lane | None:
        """Work until no job is left for this device; None where it was quarantined before.

        Raises:
            StoppedError: the budget is spent, or another lane has failed.
            WorkerError: workers keep dying for reasons of their own.
        """
        try:
            while jobs := self._lease():
                self._run_block([self._task_of(job) for job in jobs])
        except QuarantinedError:
            return None
        finally:
            self._release_all()
        return self

    def abort(self) -> None:
        """From another thread: have the request in flight fail at once."""
        for worker in self._workers.values():
            worker.abort()

    def _lease(self) -> list[Job]:
        context = self._context
        context.check()
        return context.queue.lease(
            self.platform_names,
            context.config.block_size,
            protocol=context.protocol.name,
            networks=context.networks,
        )

    def _task_of(self, job: Job) -> Task:
        network = self._context.database.network(job.network)
        task = self._task(network, self._names[job.platform], job)
        self._held[job.id] = task
        return task

    def _task(self, network: Network, toolchain: str, job: Job | None = None) -> Task:
        """The task, whose artifact stays until :meth:`_let_go`; that of an anchor stays longer."""
        platform = self.platforms[toolchain]
        artifact = self._context.store.path(
            network.digest,
            network.seed,
            platform.toolchain,
            platform.target,
            self._toolchains[toolchain].versions,
        )
        self._context.store.take(artifact)
        return Task(
            network=network, platform=platform, toolchain=toolchain, artifact=artifact, job=job
        )

    def _run_block(self, tasks: list[Task]) -> None:
        due = [task for task in tasks if self._pending(task)]
        self._build(due)
        while due := [task for task in due if self._left(task)]:
            with self._timing_alone(), self._between_anchors(due) as blocks:
                self._time_rounds(due, blocks)
                self._time_kernels(due, blocks)
        for task in tasks:
            self._finish(task)

    def _left(self, task: Task) -> Work:
        """What is left to do, which is nothing where the job is not held any more."""
        assert task.job is not None
        if task.job.id not in self._held:
            return Work(rounds=(), kernels=False)
        work = self._pending(task)
        return replace(work, kernels=False) if task.job.id in self._without_kernels else work

    def _pending(self, task: Task) -> Work:
        job = task.job
        assert job is not None
        return self._context.pending(job.network, job.platform, job.rounds, kernels=job.kernels)

    def _build(self, tasks: Sequence[Task]) -> None:
        """Build what is not built yet, the anchors first."""
        context = self._context
        anchors = self._anchors if context.config.anchors and tasks else []
        with self._building():
            builds = context.builder.build_all([*anchors, *tasks], context.check, self._keep_leases)
            with contextlib.closing(builds):  # type: ignore[type-var]
                for task, result in builds:
                    if task.job is None:
                        self._anchor_built(task, result)
                        continue
                    seconds = self._guarded(task, result)
                    if seconds:
                        self._report("built", task, f"{seconds:.1f} s")

    def _anchor_built(self, task: Task, result: Callable[[], float]) -> None:
        try:
            result()
        except MeasurementError as error:
            raise _anchor_error(task, error) from error

    @contextlib.contextmanager
    def _between_anchors(self, tasks: Sequence[Task]) -> Iterator[dict[str, int | None]]:
        """The blocks, by platform, that the rounds of ``tasks`` belong to; closes them at the end.

        Where no anchors are wanted there are no blocks.
        """
        context = self._context
        platforms = sorted({task.platform.name for task in tasks})
        if not context.config.anchors:
            yield dict.fromkeys(platforms)
            return
        protocol = context.protocol.name
        blocks = {name: context.database.open_block(name, protocol) for name in platforms}
        self._visit_anchors(blocks, "start")
        yield dict(blocks)
        self._visit_anchors(blocks, "end")
        for name, block in blocks.items():
            drift = context.database.close_block(block)
            probed = self._workers[self._names[name]].quiet is not None
            if drift is not None and drift > MAX_DRIFT and not probed:
                context.count(drifted_blocks=1)
                context.report("drifted", platform=name, detail=f"anchors by {drift:.1%}")

    def _visit_anchors(self, blocks: Mapping[str, int], position: Position) -> None:
        anchors = [task for task in self._anchors if task.platform.name in blocks]
        for task in self._random.sample(anchors, len(anchors)):
            self._check()
            measure = partial(self._measure_anchor, task)
            try:
                finished = measure()
            except DeviceError as error:
                finished = self._health.survive(error, measure)
            self._context.database.add_anchor_round(
                blocks[task.platform.name], task.network.digest, position, finished
            )
            latency = label(finished.steady, self._context.protocol)
            self._report("anchor", task, f"{latency:.3f} ms")

    def _measure_anchor(self, task: Task) -> Round:
        """A round of an anchor, which any device and toolchain should give."""
        try:
            return self._health.insist(partial(self._measure, task))
        except MeasurementError as error:
            raise _anchor_error(task, error) from error

    def _time_rounds(self, tasks: Sequence[Task], blocks: Mapping[str, int | None]) -> None:
        """Time all rounds of ``tasks`` in turns."""
        due = list(tasks)
        while due := [t for t in due if self._left(t).rounds]:
            for task in self._random.sample(due, len(due)):
                self._time_round(task, blocks[task.platform.name])

    def _time_round(self, task: Task, block: int | None) -> None:
        context, job = self._context, task.job
        assert job is not None
        self._check()
        # A process that slept may find that another has done its work.
        number = next(iter(self._pending(task).rounds), None)
        if number is None:
            return

        def measure() -> None:
            assert number is not None
            finished = self._measure(task, number)
            context.database.add_round(
                job.network, job.platform, job.protocol, number, finished, block=block, lease=job
            )
            self._health.works()
            disturbed = is_disturbed(finished.conditions)
            context.count(rounds=1, disturbed=disturbed)
            latency = label(finished.steady, context.protocol)
            self._report("round", task, f"{latency:.3f} ms{', disturbed' if disturbed else ''}")

        self._guarded(task, measure)

    def _measure(self, task: Task, number: int = 0) -> Round:
        return self._workers[task.toolchain].measure(
            task.network.name, task.artifact, self._context.protocol, task.network.seed + number
        )

    def _time_kernels(self, tasks: Sequence[Task], blocks: Mapping[str, int | None]) -> None:
        """Time the kernels of ``tasks``, again where other work disturbed it."""
        due = list(tasks)
        while due := [t for t in due if self._left(t).kernels]:
            for task in self._random.sample(due, len(due)):
                self._check()
                step = partial(self._time_kernels_of, task, blocks[task.platform.name])
                self._guarded(task, step)

    def _time_kernels_of(self, task: Task, block: int | None) -> None:
        context, job = self._context, task.job
        assert job is not None
        times = self._workers[task.toolchain].time_kernels(
            task.network.name, task.artifact, context.protocol, task.network.seed
        )
        context.database.add_kernels(job.network, job.platform, times, block=block, lease=job)
        context.count(kernels=1)
        disturbed = any(is_disturbed(timing.conditions) for timing in times.timings)
        note = ", disturbed" if disturbed else ""
        self._report("kernels", task, f"{len(times.kernels)} calls{note}")

    def _finish(self, task: Task) -> None:
        """The job is done, unless it failed or went to another process meanwhile."""
        job = task.job
        assert job is not None
        if job.id not in self._held:
            return
        self._let_go(task)
        try:
            state = self._context.queue.finish(job)
        except LeaseLostError:
            self._report("lease-lost", task)
            return
        if state == "failed":
            self._context.count(skipped=1)
            self._report("skipped", task, "failed before")
        else:
            self._context.count(done=1)
            self._report("done", task)

    def _guarded(self, task: Task, step: Callable[[], _T]) -> _T | None:
        """The result of ``step``; None where it failed, which is stored and reported."""
        assert task.job is not None
        if task.job.id not in self._held:
            return None
        try:
            result = step()
        except MeasurementError as error:
            self._worker_errors_in_a_row = 0
            self._fail(task, error)
        except LeaseLostError:
            self._let_go(task)
            self._context.count(lost=1)
            self._report("lease-lost", task)
        except DeviceError as error:
            self._lose_device(task, error)
        except WorkerError as error:
            self._worker_errors_in_a_row += 1
            self._context.check()
            self._give_back(task, "worker-lost", error)
            if self._worker_errors_in_a_row >= MAX_WORKER_ERRORS:
                raise
        else:
            self._worker_errors_in_a_row = 0
            return result
        return None

    def _fail(self, task: Task, error: MeasurementError) -> None:
        """Store a failure of the network. Without its kernels it may still be done."""
        context, job = self._context, task.job
        assert job is not None
        try:
            context.database.add_failure(job.network, job.platform, error, lease=job)
        except LeaseLostError:
            self._let_go(task)
            return
        if error.stage in DECIDING_STAGES:
            self._let_go(task)
        else:
            self._without_kernels.add(job.id)
        context.count_failure(error.stage, error.cause)
        # The log goes into the database; people get the reason.
        self._report("failed", task, f"{error.stage} failed: {error.cause}: {error.reason}")

    def _lose_device(self, task: Task, error: DeviceError) -> None:
        """Find out who took the connection down: the device, or the network that ran on it."""
        job = task.job
        assert job is not None
        self._health.survive(error, self._check_health)
        if job.attempts + 1 >= _MAX_LOSSES:
            reason = (
                f"{job.attempts + 1} connections were lost while it ran, and the device answered "
                f"after each of them; the last time: {error}"
            )
            self._fail(task, RunError("run", task.network.name, "ConnectionLost", reason))
        else:
            self._give_back(task, "device-lost", error)

    def _check_health(self) -> None:
        """Raise DeviceError unless the device answers, and runs what it has run before."""
        for worker in self._workers.values():
            self._health.insist(worker.fingerprint)
        if self._context.config.anchors and self._anchors:
            self._measure_anchor(self._random.choice(self._anchors))

    def _give_back(self, task: Task, kind: EventKind, error: Exception) -> None:
        assert task.job is not None
        self._let_go(task)
        self._context.count(lost=1)
        with contextlib.suppress(LeaseLostError):
            self._context.queue.release(task.job, lost=kind == "device-lost")
        self._report(kind, task, str(error))

    def _release_all(self) -> None:
        for task in list(self._held.values()):
            assert task.job is not None
            with contextlib.suppress(LeaseLostError):
                self._context.queue.release(task.job)
            self._let_go(task)

    def _let_go(self, task: Task) -> None:
        """This lane has no more to do with the job, nor with what was built for it."""
        assert task.job is not None
        if self._held.pop(task.job.id, None) is not None:
            self._context.store.discard(task.artifact)

    def _check(self) -> None:
        """Called before each step, and while this lane waits for one.

        Raises:
            StoppedError: it shall not start.
        """
        self._context.check()
        self._keep_leases()

    def _keep_leases(self) -> None:
        """Renew the leases in time; those that are lost all the same are forgotten."""
        if time.monotonic() - self._renewed_s < self._context.config.lease_s / 3:
            return
        self._renewed_s = time.monotonic()
        for task in list(self._held.values()):
            assert task.job is not None
            try:
                self._context.queue.renew(task.job)
            except LeaseLostError:
                self._let_go(task)
                self._report("lease-lost", task)

    def _building(self) -> contextlib.AbstractContextManager[None]:
        return beside_others(self._check) if self.device == LOCAL else nullcontext()

    def _timing_alone(self) -> contextlib.AbstractContextManager[None]:
        return alone_on_machine(self._check) if self.device == LOCAL else nullcontext()

    def _report(self, kind: EventKind, task: Task, detail: str = "") -> None:
        self._context.report(kind, task.network.name, task.platform.name, detail)


def _anchor_error(task: Task, error: MeasurementError) -> WorkerError:
    return WorkerError(
        f"toolchain {task.toolchain!r} cannot {error.stage} the anchor {task.network.name!r}, "
        f"which any toolchain should: {error}"
    )
