"""What the lanes of a campaign share: where results go, what is counted, when to stop."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace

from measure.campaign.artifacts import ArtifactStore
from measure.campaign.builds import Builder
from measure.campaign.types import CampaignConfig, Event, EventKind, Summary
from measure.database import Database
from measure.database.device_states import DeviceStates
from measure.database.jobs import JobQueue
from measure.protocol import Protocol
from measure.records import Work


class StoppedError(Exception):
    """The budget is spent, or the campaign ends for another reason: no new step starts."""


@dataclass(kw_only=True)
class Context:
    """Shared by the lanes, which run in threads of their own.

    Args:
        database: what is finished goes there at once.
        queue: the jobs in it.
        devices: which devices are quarantined.
        store: what was built.
        builder: builds.
        protocol: how to time.
        config: how the campaign goes about its work.
        progress: is told every event, one at a time.
        networks: digests of the networks to measure; None for whatever is queued.
    """

    database: Database
    queue: JobQueue
    devices: DeviceStates
    store: ArtifactStore
    builder: Builder
    protocol: Protocol
    config: CampaignConfig
    progress: Callable[[Event], None]
    networks: Collection[str] | None = None
    summary: Summary = field(default_factory=Summary)
    _start_s: float = field(default_factory=time.monotonic)
    _stop: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def check(self) -> None:
        """Called before each step.

        Raises:
            StoppedError: it shall not start.
        """
        budget_s = self.config.budget_s
        if budget_s is not None and self.elapsed_s() >= budget_s:
            self.summary.out_of_time = True
            raise StoppedError
        if self._stop.is_set():
            raise StoppedError

    def stop(self) -> None:
        """Have no lane start another step."""
        self._stop.set()

    def elapsed_s(self) -> float:
        """Since the campaign began."""
        return time.monotonic() - self._start_s

    def pending(self, network: str, platform: str, rounds: int, *, kernels: bool) -> Work:
        """What is left to do for one network on one platform."""
        work = self.database.pending(
            [network],
            platform,
            self.protocol.name,
            rounds,
            max_retakes=self.config.max_retakes,
            retry_failed=self.config.retry_failed,
        )[network]
        return work if kernels else replace(work, kernels=False)

    def report(
        self, kind: EventKind, network: str = "", platform: str = "", detail: str = ""
    ) -> None:
        """Tell what happened."""
        with self._lock:
            self.progress(Event(kind=kind, network=network, platform=platform, detail=detail))

    def count(self, **increments: int) -> None:
        """Add to the numbers of the summary."""
        with self._lock:
            for name, increment in increments.items():
                setattr(self.summary, name, getattr(self.summary, name) + increment)

    def count_failure(self, stage: str, cause: str) -> None:
        """Count a pair that failed."""
        with self._lock:
            self.summary.failures[stage, cause] += 1

    def quarantine(self, device: str, reason: str) -> None:
        """Note that a device failed too often."""
        with self._lock:
            self.summary.quarantined[device] = reason
        self.report("quarantined", detail=f"{device}: {reason}")
