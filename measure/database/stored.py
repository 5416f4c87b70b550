"""What stands in the tables: rounds, kernels, timings and failures, and the label of rounds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from sqlalchemy import ColumnElement, and_, exists, select
from sqlalchemy.orm import Session

from measure.conditions import is_disturbed
from measure.database.schema import (
    BlockRow,
    FailureRow,
    KernelRow,
    KernelTimingRow,
    MeasurementRow,
)
from measure.probes import steady
from measure.protocol import STANDARDS, Samples, label, label_noise
from measure.records import KernelTiming, Latency
from measure.trust import Evidence, judge
from relay_frontend.kernel import Kernel

DECIDING_STAGES = frozenset(("build", "run"))
"""Those without which a network has no latency; without its kernels it is done all the same."""


@dataclass(frozen=True)
class StoredRound:
    """A timing round: samples in ms, its conditions, its block and the drift of that, if known.

    ``number`` counts the rounds of a network on a platform by one protocol, from zero.
    """

    number: int
    protocol: str
    samples: Samples
    started_at: datetime
    conditions: Mapping[str, Any]
    drift: float | None
    inner_count: int
    block: int | None

    @property
    def disturbed(self) -> bool:
        """Whether other work or a drift of the device disturbed it."""
        return is_disturbed(self.conditions, self.drift)

    @property
    def steady(self) -> Samples:
        """The samples that count, by :func:`measure.probes.steady`."""
        return steady(self.samples, self.conditions)

    @property
    def label_ms(self) -> float:
        """The label of this round alone."""
        return label(self.steady, self.protocol)

    @property
    def evidence(self) -> Evidence:
        """What it says of its network's latency."""
        return Evidence.of_round(self.label_ms, self.started_at, self.conditions, self.drift)


@dataclass(frozen=True)
class StoredTiming:
    """A timing of all kernels of a network; ``timing`` is None where it was not recorded."""

    id: int
    attempt: int
    timing: KernelTiming | None
    block: int | None
    drift: float | None

    @property
    def conditions(self) -> Mapping[str, Any]:
        """Those of the timing; empty where they were not recorded."""
        return {} if self.timing is None else self.timing.conditions

    @property
    def disturbed(self) -> bool:
        """Whether other work or a drift of the device disturbed it."""
        return is_disturbed(self.conditions, self.drift)


def protocols_of(protocol: str | None) -> tuple[str, ...]:
    """The names of protocols that ``protocol`` stands for: itself, or where None all standards."""
    return STANDARDS if protocol is None else (protocol,)


def stored_rounds(
    session: Session, platform: int, protocol: str | None, *conditions: ColumnElement[bool]
) -> dict[str, list[StoredRound]]:
    """The rounds on a platform that fulfil all ``conditions``, by network digest.

    Those of one protocol; where it is None, of the newest standard by which there are rounds of the
    network.
    """
    names = protocols_of(protocol)
    query = (
        select(
            MeasurementRow.network,
            MeasurementRow.round,
            MeasurementRow.protocol,
            MeasurementRow.samples,
            MeasurementRow.started_at,
            MeasurementRow.conditions,
            BlockRow.drift,
            MeasurementRow.inner_count,
            MeasurementRow.block_id,
        )
        .outerjoin(BlockRow, MeasurementRow.block_id == BlockRow.id)
        .where(MeasurementRow.platform_id == platform, MeasurementRow.protocol.in_(names))
        .where(*conditions)
        .order_by(MeasurementRow.network, MeasurementRow.round)
    )
    rounds: dict[str, list[StoredRound]] = defaultdict(list)
    for network, *values in session.execute(query):
        rounds[network].append(StoredRound(*values))
    return {network: _newest(found, names) for network, found in rounds.items()}


def _newest(rounds: Sequence[StoredRound], protocols: Sequence[str]) -> list[StoredRound]:
    """Those of the first of ``protocols`` that has any."""
    first = min((entry.protocol for entry in rounds), key=protocols.index)
    return [entry for entry in rounds if entry.protocol == first]


def stored_kernels(
    session: Session, platform: int, *conditions: ColumnElement[bool]
) -> dict[str, tuple[Kernel, ...]]:
    """The kernels on a platform that fulfil all ``conditions``, by network, in call order."""
    names = ("name", "kind", "flops", "arguments", "results")
    query = (
        select(KernelRow.network, *(getattr(KernelRow, name) for name in names))
        .where(KernelRow.platform_id == platform, *conditions)
        .order_by(KernelRow.network, KernelRow.index)
    )
    kernels: dict[str, list[Kernel]] = defaultdict(list)
    for network, *values in session.execute(query):
        kernels[network].append(Kernel.from_dict(dict(zip(names, values, strict=True))))
    return {network: tuple(calls) for network, calls in kernels.items()}


def stored_timings(
    session: Session, platform: int, *conditions: ColumnElement[bool]
) -> dict[str, list[StoredTiming]]:
    """The timings of kernels on a platform that fulfil all ``conditions``, by network digest."""
    query = (
        select(KernelTimingRow, BlockRow.drift)
        .outerjoin(BlockRow, KernelTimingRow.block_id == BlockRow.id)
        .where(KernelTimingRow.platform_id == platform, *conditions)
        .order_by(KernelTimingRow.network, KernelTimingRow.attempt)
    )
    timings: dict[str, list[StoredTiming]] = defaultdict(list)
    for row, drift in session.execute(query).tuples():
        stored = StoredTiming(row.id, row.attempt, _timing(row), row.block_id, drift)
        timings[row.network].append(stored)
    return dict(timings)


def _timing(row: KernelTimingRow) -> KernelTiming | None:
    if row.started_at is None or row.duration_s is None or row.inner_count is None:
        return None
    return KernelTiming(
        started_at=row.started_at.timestamp(),
        duration_s=row.duration_s,
        inner_count=row.inner_count,
        conditions=row.conditions,
    )


def failed_stages(
    session: Session, platform: int, networks: Sequence[str]
) -> defaultdict[str, set[str]]:
    """The stages of each of ``networks`` (digests) that failed on a platform, and still count.

    A failure counts no more once a round or a timing of the kernels has begun after it; that of
    the kernels, once such a timing has.
    """
    timed_later, run_later = _begun_later(KernelTimingRow), _begun_later(MeasurementRow)
    query = select(FailureRow.network, FailureRow.stage).where(
        FailureRow.platform_id == platform,
        FailureRow.network.in_(networks),
        ~timed_later,
        ~and_(FailureRow.stage.in_(DECIDING_STAGES), run_later),
    )
    failed: defaultdict[str, set[str]] = defaultdict(set)
    for network, stage in session.execute(query).tuples():
        failed[network].add(stage)
    return failed


def _begun_later(table: type[MeasurementRow | KernelTimingRow]) -> ColumnElement[bool]:
    """Whether something in ``table`` was begun after a failure of the same network there."""
    return exists().where(
        table.network == FailureRow.network,
        table.platform_id == FailureRow.platform_id,
        table.started_at > FailureRow.at,
    )


def used_timings(stored: Sequence[StoredTiming]) -> list[StoredTiming]:
    """Those whose samples count: the undisturbed ones, or all where there is none."""
    return [entry for entry in stored if not entry.disturbed] or list(stored)


def latency_of(stored: Sequence[StoredRound]) -> Latency:
    """What one or more rounds of a network by one protocol say of its latency."""
    protocol = stored[0].protocol
    undisturbed = [entry for entry in stored if not entry.disturbed]
    rounds = tuple(entry.steady for entry in undisturbed or stored)
    label_ms = label(np.concatenate(rounds), protocol)
    return Latency(
        label_ms=label_ms,
        rounds=rounds,
        protocol=protocol,
        noise=label_noise(rounds, protocol),
        disturbed=not undisturbed,
        trusted=judge([entry.evidence for entry in undisturbed], label_ms).trusted,
    )
