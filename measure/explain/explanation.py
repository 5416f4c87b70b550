"""What was done to measure one network on one platform, and why its label is trusted or not."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from measure.conditions import disturbance, unknown_counters
from measure.database import Database
from measure.database.connection import platform_id
from measure.database.schema import (
    AnchorRoundRow,
    BlockRow,
    FailureRow,
    KernelSamplesRow,
    KernelTimingRow,
    MeasurementRow,
    NetworkRow,
    PlatformRow,
    ProtocolRow,
)
from measure.database.stored import (
    DECIDING_STAGES,
    StoredRound,
    failed_stages,
    latency_of,
    stored_rounds,
    stored_timings,
    used_timings,
)
from measure.probes import steady
from measure.protocol import (
    STANDARDS,
    Samples,
    between_round_spread,
    label,
    median_interval,
    within_round_spread,
)
from measure.records import KernelTiming, Latency
from measure.trust import judge

_RETRY = "The network has failed: a campaign tries it again only with --retry-failed."
_MORE = "Where a campaign finds nothing left to do, give it a higher --rounds or --max-retakes."


@dataclass(frozen=True, kw_only=True)
class ExplainedBlock:
    """The networks that were timed between two visits to the anchors.

    Args:
        number: the block's number in the database.
        drift: relative change of the anchors from start to end; None where unknown.
        anchors: label in ms at the start and at the end, by the anchor's name.
    """

    number: int
    drift: float | None
    anchors: Mapping[str, tuple[float, float]]


@dataclass(frozen=True, kw_only=True)
class ExplainedRound:
    """One timing round; what its database did not record is None.

    Args:
        number: the round's number.
        started_at: with its zone.
        conditions: of the device meanwhile, as recorded.
        warmup_s: wall time before the first sample.
        calibration: each try at the inner count as its inferences and their seconds.
        inner_count: inferences that each sample averages.
        samples: in ms.
        steady: those that count, adjusted to the reference of the device; without probes all, as
            they are.
        stop: what ended the round, as of :class:`measure.protocol.Sampling`.
        label_ms: the round's own label.
        median_ms: of the samples that count.
        median_interval_ms: bootstrap interval of it.
        disturbance: why the round does not count; None where nothing is known to have disturbed it.
        unknown: what its device does not tell of other work on it.
        used: whether the network's label is taken from this round.
        block: what it was timed in.
    """

    number: int
    started_at: datetime
    conditions: Mapping[str, Any]
    warmup_s: float | None
    calibration: tuple[tuple[int, float], ...] | None
    inner_count: int
    samples: Samples
    steady: Samples
    stop: str | None
    label_ms: float
    median_ms: float
    median_interval_ms: tuple[float, float]
    disturbance: str | None
    unknown: str | None
    used: bool
    block: ExplainedBlock | None


@dataclass(frozen=True, kw_only=True)
class ExplainedTiming:
    """One timing of all kernels of the network.

    Args:
        attempt: its number.
        timing: when and how; None where the database did not record it.
        calls: kernel calls.
        samples: of each of them.
        disturbance: why it does not count; None where nothing is known to have disturbed it.
        used: whether the times of the kernels are taken from it.
        block: what it was done in.
    """

    attempt: int
    timing: KernelTiming | None
    calls: int
    samples: int
    disturbance: str | None
    used: bool
    block: ExplainedBlock | None


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """All that is known of one network on one platform under one protocol.

    Args:
        network: digest, ``name`` and ``family`` beside it.
        device: fingerprint of the platform's device.
        versions: of the platform's toolchain.
        rounds: all of them, in order.
        timings: of the kernels, in order.
        failures: stage and error of what failed, oldest first.
        label_ms: the network's latency; None where there is no round.
        noise: relative error of one used round's label against another's; None for one round.
        between: how far apart the labels of the used rounds lie; None for one round.
        within: spread of the samples within the used rounds; None where there is none.
        trusted: whether the label is trusted; see :mod:`measure.trust`.
        verdict: why, and what to do where it is not.
    """

    network: str
    name: str
    family: str
    platform: str
    device: Mapping[str, Any]
    versions: Mapping[str, str]
    target: str
    protocol: str
    rounds: tuple[ExplainedRound, ...]
    timings: tuple[ExplainedTiming, ...]
    failures: tuple[tuple[str, str], ...]
    label_ms: float | None
    noise: float | None
    between: float | None
    within: float | None
    trusted: bool
    verdict: str


def explain(
    database: Database, digest: str, platform: str, protocol: str | None = None
) -> Explanation:
    """Explain the label of the network with this digest.

    By ``protocol``; where it is None, by that which its latency is from.

    Raises:
        DatabaseError: the database has no such network.
        UnknownPlatformError: nothing was measured on such a platform.
        ProtocolError: the protocol's name ends in no known statistic.
    """
    network = database.network(digest)
    with database.session() as session:
        where = session.get_one(PlatformRow, platform_id(session, platform))
        chosen = MeasurementRow.network == digest
        stored = stored_rounds(session, where.id, protocol, chosen).get(digest, [])
        latency = latency_of(stored) if stored else None
        protocol = stored[0].protocol if stored else protocol or STANDARDS[0]
        rounds = _rounds(session, stored)
        timings = _timings(session, digest, where.id)
        failures = _failures(session, digest, where.id)
        stages = failed_stages(session, where.id, [digest])[digest]
        device, versions, target = dict(where.device), dict(where.versions), where.target
    samples = () if latency is None else latency.rounds
    given_up = not DECIDING_STAGES.isdisjoint(stages)
    trusted, verdict = _judge(stored, latency, failures, given_up=given_up)
    return Explanation(
        network=digest,
        name=network.name,
        family=network.family,
        platform=platform,
        device=device,
        versions=versions,
        target=target,
        protocol=protocol,
        rounds=rounds,
        timings=timings,
        failures=failures,
        label_ms=None if latency is None else latency.label_ms,
        noise=None if latency is None else latency.noise,
        between=between_round_spread(samples, protocol),
        within=within_round_spread(samples) if samples else None,
        trusted=trusted,
        verdict=verdict,
    )


def _rounds(session: Session, stored: Sequence[StoredRound]) -> tuple[ExplainedRound, ...]:
    """The rounds in order; used are the undisturbed ones, or all where there is none."""
    if not stored:
        return ()
    blocks = _blocks(session, {entry.block for entry in stored if entry.block is not None})
    settings = session.get_one(ProtocolRow, stored[0].protocol).settings
    none_undisturbed = all(entry.disturbed for entry in stored)
    return tuple(
        _round(
            entry,
            None if entry.block is None else blocks[entry.block],
            used=none_undisturbed or not entry.disturbed,
            confidence=settings["confidence"],
        )
        for entry in stored
    )


def _timings(session: Session, network: str, platform_id: int) -> tuple[ExplainedTiming, ...]:
    """The timings of the kernels in order."""
    found = stored_timings(session, platform_id, KernelTimingRow.network == network)
    stored = found.get(network, [])
    used = {entry.id for entry in used_timings(stored)}
    blocks = _blocks(session, {e.block for e in stored if e.block is not None})
    timings = []
    for entry in stored:
        query = select(KernelSamplesRow.samples).filter_by(timing_id=entry.id)
        samples = session.scalars(query.order_by(KernelSamplesRow.index)).all()
        conditions = {} if entry.timing is None else entry.timing.conditions
        timing = ExplainedTiming(
            attempt=entry.attempt,
            timing=entry.timing,
            calls=len(samples),
            samples=len(samples[0]) if samples else 0,
            disturbance=disturbance(conditions, entry.drift),
            used=entry.id in used,
            block=None if entry.block is None else blocks[entry.block],
        )
        timings.append(timing)
    return tuple(timings)


def _failures(session: Session, network: str, platform_id: int) -> tuple[tuple[str, str], ...]:
    """Stage and error of what failed, oldest first."""
    query = select(FailureRow).filter_by(network=network, platform_id=platform_id)
    return tuple((row.stage, row.error) for row in session.scalars(query.order_by(FailureRow.id)))


def _round(
    entry: StoredRound, block: ExplainedBlock | None, *, used: bool, confidence: float
) -> ExplainedRound:
    notes, counting = entry.conditions, entry.steady
    interval, steps = notes.get("median_interval_ms"), notes.get("calibration")
    if interval is None:
        interval = median_interval(counting, confidence, np.random.default_rng(entry.number))
    return ExplainedRound(
        number=entry.number,
        started_at=entry.started_at,
        conditions=notes,
        warmup_s=notes.get("warmup_s"),
        calibration=None if steps is None else tuple((number, s) for number, s in steps),
        inner_count=entry.inner_count,
        samples=entry.samples,
        steady=counting,
        stop=notes.get("stop"),
        label_ms=entry.label_ms,
        median_ms=float(np.median(counting)),
        median_interval_ms=(interval[0], interval[1]),
        disturbance=disturbance(notes, entry.drift),
        unknown=unknown_counters(notes),
        used=used,
        block=block,
    )


def _blocks(session: Session, numbers: set[int]) -> dict[int, ExplainedBlock]:
    """The blocks with these numbers, with those anchors that were visited twice."""
    visits: dict[tuple[int, str], dict[str, float]] = defaultdict(dict)
    query = (
        select(AnchorRoundRow, NetworkRow.name, BlockRow.protocol)
        .join(NetworkRow, AnchorRoundRow.network == NetworkRow.digest)
        .join(BlockRow, AnchorRoundRow.block_id == BlockRow.id)
        .where(AnchorRoundRow.block_id.in_(numbers))
    )
    for visit, name, protocol in session.execute(query).tuples():
        visits[visit.block_id, name][visit.position] = label(
            steady(visit.samples, visit.conditions), protocol
        )
    return {
        row.id: ExplainedBlock(
            number=row.id,
            drift=row.drift,
            anchors={
                anchor: (labels["start"], labels["end"])
                for (block, anchor), labels in visits.items()
                if block == row.id and len(labels) == 2
            },
        )
        for row in session.scalars(select(BlockRow).where(BlockRow.id.in_(numbers)))
    }


def _judge(
    stored: Sequence[StoredRound],
    latency: Latency | None,
    failures: Sequence[tuple[str, str]],
    *,
    given_up: bool,
) -> tuple[bool, str]:
    """Whether the label is trusted, and why, or what to do and how to ask a campaign for it."""
    if latency is None:
        failed = "; ".join(f"{stage} failed with {error}" for stage, error in failures)
        reason = f"There is no label: {failed or 'the network was not measured yet'}."
        return False, f"{reason} {_RETRY}" if given_up else reason
    verdict = judge([entry.evidence for entry in stored], latency.label_ms)
    if verdict.trusted:
        return True, verdict.reason
    advice = f"{_RETRY} {_MORE}" if given_up else _MORE
    return False, f"{verdict.reason} {advice}"
