"""Building the networks of a campaign, some at a time, for all of its devices."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import onnx

from measure.campaign.artifacts import ArtifactStore
from measure.campaign.types import CampaignConfig
from measure.client import Worker
from measure.database.jobs import Job
from measure.device import Platform
from measure.records import Network

_WAIT_S = 0.5


@dataclass(frozen=True, kw_only=True)
class Task:
    """A network to build and time on a platform.

    Args:
        network: as it is stored, without weights.
        platform: what to build it for.
        toolchain: name of the toolchain as workers are asked for it.
        artifact: where it is built into.
        job: whom the result belongs to; None for an anchor.
    """

    network: Network
    platform: Platform
    toolchain: str
    artifact: Path
    job: Job | None = None


class Builder:
    """Workers that build, shared by the lanes of a campaign.

    Args:
        toolchains: names of all toolchains.
        store: where artifacts go.
        config: how many builds at a time, and their limits.
        stack: closes the workers.
    """

    def __init__(
        self,
        toolchains: Sequence[str],
        store: ArtifactStore,
        config: CampaignConfig,
        stack: ExitStack,
    ) -> None:
        self._store = store
        self._idle: queue.SimpleQueue[dict[str, Worker]] = queue.SimpleQueue()
        self._workers: list[Worker] = []
        for _ in range(max(1, config.parallel_builds)):
            workers = {
                name: stack.enter_context(
                    Worker(name, threads=config.threads, limits=config.limits)
                )
                for name in toolchains
            }
            self._workers += workers.values()
            self._idle.put(workers)
        self._pool = ThreadPoolExecutor(max(1, config.parallel_builds))
        stack.callback(self._end)

    def build_all(
        self, tasks: Sequence[Task], check: Callable[[], None], waiting: Callable[[], None]
    ) -> Iterator[tuple[Task, Callable[[], float]]]:
        """Build ``tasks``; gives each as it ends, with what gives its seconds or raises its error.

        Args:
            tasks: may be built already.
            check: called before each build; what it raises is the build's error.
            waiting: called again and again while builds run.
        """
        futures: dict[Future[float], Task] = {
            self._pool.submit(self._build, task, check): task for task in tasks
        }
        left = set(futures)
        try:
            while left:
                done, left = wait(left, timeout=_WAIT_S, return_when=FIRST_COMPLETED)
                waiting()
                for future in done:
                    yield futures[future], future.result
        finally:
            for future in futures:
                future.cancel()

    def abort(self) -> None:
        """From any thread: have the builds in flight fail at once with a WorkerError."""
        for worker in self._workers:
            worker.abort()

    def _end(self) -> None:
        """No thread asks a worker any more when the workers are closed."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self.abort()
        self._pool.shutdown()

    def _build(self, task: Task, check: Callable[[], None]) -> float:
        check()
        if task.artifact.exists():
            return 0.0
        workers = self._idle.get()
        try:
            with self._store.unfinished(task.artifact) as directory:
                model = directory.parent / "network.onnx"
                onnx.save(task.network.model, model)
                return workers[task.toolchain].build(
                    task.network.name, model, task.platform.target, directory, task.network.seed
                )
        finally:
            self._idle.put(workers)
