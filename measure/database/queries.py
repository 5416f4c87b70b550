"""What the database answers: networks, latencies, kernels, failures, and what is left to do."""

from __future__ import annotations

import itertools
import zlib
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import onnx
from sqlalchemy import ColumnElement, and_, exists, func, select
from sqlalchemy.orm import Session

from measure.conditions import is_disturbed
from measure.database.connection import OpenDatabase, platform_id
from measure.database.schema import (
    BlockRow,
    FailureRow,
    KernelRow,
    KernelSamplesRow,
    KernelTimingRow,
    MeasurementRow,
    NetworkRow,
    PlatformRow,
)
from measure.errors import DatabaseError
from measure.probes import Reading, steady
from measure.protocol import STANDARDS, Samples, label, label_noise
from measure.records import KernelTimes, KernelTiming, Latency, Network, Work
from measure.trust import Evidence, agree, judge
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


class Queries(OpenDatabase):
    """The part of the database that reads."""

    def platforms(self) -> list[str]:
        """Names of all platforms, sorted."""
        with self.session() as session:
            return list(session.scalars(select(PlatformRow.name).order_by(PlatformRow.name)))

    def networks(self, platform: str | None = None) -> list[Network]:
        """The stored networks by name; those measured on ``platform`` where one is given."""
        query = select(NetworkRow).order_by(NetworkRow.name, NetworkRow.digest)
        with self.session() as session:
            if platform is not None:
                measured = select(MeasurementRow.network).filter_by(
                    platform_id=platform_id(session, platform)
                )
                query = query.where(NetworkRow.digest.in_(measured))
            return [_network(row) for row in session.scalars(query)]

    def families(self) -> dict[str, str]:
        """The family of every stored network, by digest."""
        with self.session() as session:
            rows = session.execute(select(NetworkRow.digest, NetworkRow.family)).tuples()
            return dict(rows.all())

    def network(self, digest: str) -> Network:
        """The network with this digest.

        Raises:
            DatabaseError: there is none.
        """
        with self.session() as session:
            row = session.get(NetworkRow, digest)
            if row is None:
                raise DatabaseError(f"no network with the digest {digest!r} in this database")
            return _network(row)

    def latencies(self, platform: str, protocol: str | None = None) -> dict[str, Latency]:
        """What was measured on ``platform``, by network digest.

        By the newest standard protocol that a network was measured by, or by the one given; so
        for the other questions about latencies.

        Raises:
            UnknownPlatformError: there is no such platform here; the message lists those there are.
        """
        with self.session() as session:
            rounds = stored_rounds(session, platform_id(session, platform), protocol)
        return {network: latency_of(found) for network, found in rounds.items()}

    def latency(self, network: str, platform: str, protocol: str | None = None) -> Latency | None:
        """What was measured of the network with digest ``network``; None where nothing was.

        Raises:
            UnknownPlatformError: there is no such platform here; the message lists those there are.
        """
        with self.session() as session:
            key = platform_id(session, platform)
            rounds = stored_rounds(session, key, protocol, MeasurementRow.network == network)
        return latency_of(rounds[network]) if rounds else None

    def measuring_s(self, platform: str, protocol: str | None = None) -> dict[str, float]:
        """What it took in s to measure each network on ``platform``, by digest.

        All its timing rounds, and its build where that was recorded.

        Raises:
            UnknownPlatformError: there is no such platform here; the message lists those there are.
        """
        build_s = MeasurementRow.conditions["build_s"].as_float()
        query = select(
            MeasurementRow.network,
            func.sum(MeasurementRow.duration_s) + func.coalesce(func.max(build_s), 0.0),
        )
        with self.session() as session:
            key = platform_id(session, platform)
            query = query.filter(
                MeasurementRow.platform_id == key,
                MeasurementRow.protocol.in_(protocols_of(protocol)),
            )
            return dict(session.execute(query.group_by(MeasurementRow.network)).tuples().all())

    def label(self, network: str, platform: str, protocol: str | None = None) -> float | None:
        """The latency in ms of the network with digest ``network``; None where not measured."""
        latency = self.latency(network, platform, protocol)
        return None if latency is None else latency.label_ms

    def reference(self, platform: str, protocol: str) -> Reading | None:
        """The times of the probes to which labels on ``platform`` refer; None where there are none.

        Raises:
            UnknownPlatformError: there is no such platform here; the message lists those there are.
        """
        with self.session() as session:
            query = (
                select(MeasurementRow.conditions)
                .filter_by(platform_id=platform_id(session, platform), protocol=protocol)
                .order_by(MeasurementRow.started_at)
            )
            for conditions in session.scalars(query).yield_per(100):
                if known := conditions.get("reference_ms"):
                    return known[0], known[1]
        return None

    def kernel_times(self, platform: str) -> dict[str, KernelTimes]:
        """Kernel calls and their samples on ``platform``, by network digest, in call order.

        The samples are those that count of the undisturbed timings, or of all where there is none.
        """
        samples: dict[int, list[Samples]] = defaultdict(list)
        with self.session() as session:
            key = platform_id(session, platform)
            kernels = stored_kernels(session, key)
            timings = stored_timings(session, key)
            query = (
                select(KernelSamplesRow.timing_id, KernelSamplesRow.samples)
                .join(KernelTimingRow)
                .where(KernelTimingRow.platform_id == key)
                .order_by(KernelSamplesRow.timing_id, KernelSamplesRow.index)
            )
            for timing, values in session.execute(query).tuples():
                samples[timing].append(values)
        return {
            network: _kernel_times(calls, used_timings(timings[network]), samples)
            for network, calls in kernels.items()
            if network in timings
        }

    def failures(self, platform: str) -> list[FailureRow]:
        """All failures on ``platform``, oldest first; the rows are detached from the database."""
        with self.session() as session:
            query = select(FailureRow).filter_by(platform_id=platform_id(session, platform))
            return list(session.scalars(query.order_by(FailureRow.id)))

    def pending(
        self,
        networks: Sequence[str],
        platform: str,
        protocol: str,
        rounds: int,
        *,
        max_retakes: int = 0,
        retry_failed: bool = False,
    ) -> dict[str, Work]:
        """What is left to do for each of the digests ``networks`` on ``platform``.

        For each disturbed round there is one more to do, and one where most of the others do not
        agree (:func:`measure.trust.agree`), up to ``max_retakes`` for a network; the kernels are
        timed until one timing of them is undisturbed, with as many retakes. A failed build or run
        leaves nothing to do, failed kernels leave the rounds (:func:`failed_stages`), unless
        ``retry_failed``.
        """
        with self.session() as session:
            key = platform_id(session, platform)
            done = stored_rounds(session, key, protocol, MeasurementRow.network.in_(networks))
            timed = stored_timings(session, key, KernelTimingRow.network.in_(networks))
            failed = failed_stages(session, key, networks)
        return {
            network: _work(
                done.get(network, ()),
                timed.get(network, ()),
                failed=set() if retry_failed else failed[network],
                rounds=rounds,
                max_retakes=max_retakes,
            )
            for network in networks
        }


def _work(
    done: Sequence[StoredRound],
    timed: Sequence[StoredTiming],
    *,
    failed: Collection[str],
    rounds: int,
    max_retakes: int,
) -> Work:
    """What is left where the rounds ``done`` and the timings ``timed`` are there."""
    if not DECIDING_STAGES.isdisjoint(failed):
        return Work(rounds=(), kernels=False)
    undisturbed = [entry for entry in done if not entry.disturbed]
    wanted = max(rounds, len(undisturbed) + _disagree(undisturbed))
    missing = max(0, min(wanted - len(undisturbed), rounds + max_retakes - len(done)))
    used = {entry.number for entry in done}
    unused = (number for number in itertools.count() if number not in used)
    untimed = all(entry.disturbed for entry in timed) and len(timed) <= max_retakes
    return Work(
        rounds=tuple(itertools.islice(unused, missing)),
        kernels=untimed and "kernels" not in failed,
    )


def _disagree(rounds: Sequence[StoredRound]) -> bool:
    """Whether one more round is to tell which of the undisturbed ``rounds`` is off."""
    if len(rounds) < 2:
        return False
    labels_ms = [entry.label_ms for entry in rounds]
    return not agree(labels_ms, latency_of(rounds).label_ms)


def _network(row: NetworkRow) -> Network:
    return Network(
        digest=row.digest,
        name=row.name,
        family=row.family,
        seed=row.seed,
        model=onnx.load_from_string(zlib.decompress(row.onnx_zlib)),
    )


def _kernel_times(
    kernels: tuple[Kernel, ...],
    timings: Sequence[StoredTiming],
    samples: Mapping[int, Sequence[Samples]],
) -> KernelTimes:
    """The samples of all ``timings``, which all are disturbed or none is."""
    return KernelTimes(
        kernels=kernels,
        samples=np.concatenate(
            [steady(np.stack(samples[entry.id]), entry.conditions) for entry in timings], axis=1
        ),
        timings=tuple(entry.timing for entry in timings if entry.timing is not None),
        disturbed=timings[0].disturbed,
    )


def _timing(row: KernelTimingRow) -> KernelTiming | None:
    if row.started_at is None or row.duration_s is None or row.inner_count is None:
        return None
    return KernelTiming(
        started_at=row.started_at.timestamp(),
        duration_s=row.duration_s,
        inner_count=row.inner_count,
        conditions=row.conditions,
    )
