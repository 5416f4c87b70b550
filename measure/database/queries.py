"""What the database answers: networks, latencies, kernels, failures, and what is left to do."""

from __future__ import annotations

import itertools
import zlib
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

import numpy as np
import onnx
from sqlalchemy import func, select

from measure.database.connection import OpenDatabase, platform_id
from measure.database.schema import (
    FailureRow,
    KernelSamplesRow,
    KernelTimingRow,
    MeasurementRow,
    NetworkRow,
    PlatformRow,
)
from measure.database.stored import (
    DECIDING_STAGES,
    StoredRound,
    StoredTiming,
    failed_stages,
    latency_of,
    protocols_of,
    stored_kernels,
    stored_rounds,
    stored_timings,
    used_timings,
)
from measure.errors import DatabaseError
from measure.probes import Quiet, steady
from measure.protocol import Samples
from measure.records import KernelTimes, Latency, Network, Work
from measure.trust import agree
from relay_frontend.kernel import Kernel


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
        rounds = self.rounds(platform, protocol)
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

    def rounds(self, platform: str, protocol: str | None = None) -> dict[str, list[StoredRound]]:
        """All rounds on ``platform`` by network digest; by any standard where there is no protocol.

        Raises:
            UnknownPlatformError: there is no such platform here; the message lists those there are.
        """
        with self.session() as session:
            return stored_rounds(session, platform_id(session, platform), protocol)

    def quiet(self, platform: str, protocol: str) -> Quiet | None:
        """When ``platform`` is quiet, to which its labels refer; None where nothing was probed.

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
                if known := Quiet.of(conditions):
                    return known
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
