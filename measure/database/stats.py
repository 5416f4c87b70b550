"""Figures about what a database holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from measure.database.connection import platform_id
from measure.database.jobs import count_jobs
from measure.database.schema import FailureRow, JobRow, KernelRow, NetworkRow
from measure.database.stored import latency_of, protocols_of, stored_rounds, stored_timings
from measure.records import Latency, LatencyStats, NoiseStats, PlatformStats


def platform_stats(session: Session, platform: str, protocol: str | None) -> PlatformStats:
    """What is stored for one platform; latencies and jobs by ``protocol``, or by any standard."""
    key = platform_id(session, platform)
    rounds = stored_rounds(session, key, protocol)
    latencies = {network: latency_of(found) for network, found in rounds.items()}
    families = dict(session.execute(select(NetworkRow.digest, NetworkRow.family)).tuples().all())
    timings = stored_timings(session, key).values()
    calls = select(func.count()).select_from(KernelRow).filter_by(platform_id=key)
    return PlatformStats(
        platform=platform,
        families=dict(sorted(Counter(families[network] for network in latencies).items())),
        latency_ms=_latency_stats(list(latencies.values())),
        disturbed=sum(latency.disturbed for latency in latencies.values()),
        trusted=sum(latency.trusted for latency in latencies.values()),
        rounds=sum(len(found) for found in rounds.values()),
        disturbed_rounds=sum(entry.disturbed for found in rounds.values() for entry in found),
        kernel_calls=session.scalar(calls) or 0,
        disturbed_kernels=sum(all(entry.disturbed for entry in found) for found in timings),
        failures=_failures(session, key),
        label_noise=_noise_stats(list(latencies.values())),
        jobs=count_jobs(
            session, JobRow.platform_id == key, JobRow.protocol.in_(protocols_of(protocol))
        ),
    )


def _failures(session: Session, platform: int) -> dict[tuple[str, str], int]:
    query = (
        select(FailureRow.stage, FailureRow.error, func.count(FailureRow.network.distinct()))
        .where(FailureRow.platform_id == platform)
        .group_by(FailureRow.stage, FailureRow.error)
        .order_by(FailureRow.stage, FailureRow.error)
    )
    return {(stage, cause): count for stage, cause, count in session.execute(query).tuples()}


def _latency_stats(latencies: Sequence[Latency]) -> LatencyStats | None:
    labels = [latency.label_ms for latency in latencies]
    if not labels:
        return None
    return LatencyStats(min=min(labels), median=float(np.median(labels)), max=max(labels))


def _noise_stats(latencies: Sequence[Latency]) -> NoiseStats | None:
    noises = [latency.noise for latency in latencies if latency.noise is not None]
    if not noises:
        return None
    return NoiseStats(
        networks=len(noises),
        median=float(np.median(noises)),
        mean=float(np.mean(noises)),
        p90=float(np.quantile(noises, 0.9)),
    )
