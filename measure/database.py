"""The measurement database: networks, platforms, raw samples, kernels and failures.

SQLite by default, in WAL mode with ``synchronous=FULL``: a committed round survives a kill and a
power cut. Any other SQLAlchemy URL works as well. Rows are only ever added, one transaction per
finished piece of work, so that a campaign can be stopped anywhere.
"""

from __future__ import annotations

import itertools
import zlib
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import onnx
from sqlalchemy import Engine, func, select
from sqlalchemy.exc import DatabaseError as SqlError
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.pool import StaticPool

from measure.conditions import is_disturbed
from measure.device import Device, Platform
from measure.engine import make_engine, prepare
from measure.errors import (
    DatabaseError,
    MeasurementError,
    PlatformChangedError,
    ProtocolError,
    UnknownPlatformError,
)
from measure.protocol import Protocol, label, label_noise
from measure.records import KernelTimes, Latency, Network, PlatformStats, Round, Work
from measure.schema import (
    FailureRow,
    KernelRow,
    MeasurementRow,
    NetworkRow,
    PlatformRow,
    ProtocolRow,
)
from measure.weights import strip_weights
from relay_frontend.kernel import Kernel

_STANDARD_PROTOCOL = Protocol().name
# A new patch of Python changes no compiled code.
_VERSIONS_WITHOUT_EFFECT = {"python"}


class Database:
    """An open measurement database; a context manager.

    One instance per thread is not needed: every method uses a session of its own.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._sessions = sessionmaker(engine, expire_on_commit=False)

    @classmethod
    def open(cls, location: str | Path) -> Database:
        """Open the database at a path or an SQLAlchemy URL; it is made where there is none.

        Raises:
            DatabaseError: the file is no measurement database, of another schema version, or
                cannot be read or made.
        """
        text = str(location)
        engine = make_engine(text if "://" in text else f"sqlite:///{text}")
        try:
            prepare(engine, text)
        except SqlError as error:
            engine.dispose()
            raise DatabaseError(
                f"{text}: cannot be used as a measurement database ({error.orig}); give the path "
                "of one, or of a new file in a directory that exists"
            ) from error
        except DatabaseError:
            engine.dispose()
            raise
        return cls(engine)

    @classmethod
    def in_memory(cls) -> Database:
        """An empty database that vanishes when it is closed."""
        engine = make_engine("sqlite://", poolclass=StaticPool)
        prepare(engine, "memory")
        return cls(engine)

    def __enter__(self) -> Database:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    @contextmanager
    def session(self) -> Iterator[Session]:
        """A session that commits at the end, or rolls back on an error."""
        with self._sessions.begin() as session:
            yield session

    def add_network(
        self, digest: str, name: str, family: str, seed: int, model: onnx.ModelProto
    ) -> None:
        """Store a network without its weights, unless its digest is known."""
        with self.session() as session:
            if session.get(NetworkRow, digest) is None:
                data = strip_weights(model).SerializeToString(deterministic=True)
                row = NetworkRow(
                    digest=digest,
                    name=name,
                    family=family,
                    seed=seed,
                    onnx_zlib=zlib.compress(data, 9),
                    created_at=_now(),
                )
                session.add(row)

    def add_platform(self, platform: Platform, device: Device, versions: dict[str, str]) -> None:
        """Store a platform, or see that it is still what was measured under its name.

        Raises:
            PlatformChangedError: the CPU, its cores, the compiler or the target differ.
        """
        new = PlatformRow(
            name=platform.name,
            device=device.to_dict(),
            versions=dict(versions),
            target=platform.target,
            threads=platform.threads,
            dtype=platform.dtype,
        )
        with self.session() as session:
            old = session.scalar(select(PlatformRow).filter_by(name=platform.name))
            if old is None:
                session.add(new)
                return
            check_platform(old, new)

    def add_protocol(self, protocol: Protocol) -> None:
        """Store the settings of a protocol, or see that its name still stands for them.

        Raises:
            ProtocolError: rounds were measured under this name with other settings.
        """
        settings = protocol.to_dict()
        with self.session() as session:
            old = session.get(ProtocolRow, protocol.name)
            if old is None:
                session.add(ProtocolRow(name=protocol.name, settings=settings))
            elif old.settings != settings:
                raise ProtocolError(
                    f"protocol {protocol.name!r} was used here with the settings {old.settings}, "
                    f"now they are {settings}: give the new protocol another name"
                )

    def add_round(
        self, network: str, platform: str, protocol: str, number: int, finished: Round
    ) -> None:
        """Store round ``number`` of the network with digest ``network``."""
        with self.session() as session:
            row = MeasurementRow(
                network=network,
                platform_id=_platform_id(session, platform),
                protocol=protocol,
                round=number,
                started_at=datetime.fromtimestamp(finished.started_at, timezone.utc),
                duration_s=finished.duration_s,
                inner_count=finished.inner_count,
                samples=finished.samples,
                conditions=dict(finished.conditions),
            )
            session.add(row)

    def add_kernels(self, network: str, platform: str, times: KernelTimes) -> None:
        """Store all kernel calls of the network with digest ``network``."""
        with self.session() as session:
            platform_id = _platform_id(session, platform)
            for index, (kernel, samples) in enumerate(
                zip(times.kernels, times.samples, strict=True)
            ):
                row = KernelRow(
                    network=network,
                    platform_id=platform_id,
                    index=index,
                    samples=samples,
                    **kernel.to_dict(),
                )
                session.add(row)

    def add_failure(self, network: str, platform: str, failure: MeasurementError) -> None:
        """Store a failure of the network with digest ``network`` as its next attempt."""
        with self.session() as session:
            platform_id = _platform_id(session, platform)
            key = {"network": network, "platform_id": platform_id, "stage": failure.stage}
            attempts = session.scalar(select(func.count()).select_from(FailureRow).filter_by(**key))
            row = FailureRow(
                **key,
                attempt=(attempts or 0) + 1,
                error=failure.cause,
                message=failure.reason,
                log=failure.log,
                at=_now(),
            )
            session.add(row)

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
                    platform_id=_platform_id(session, platform)
                )
                query = query.where(NetworkRow.digest.in_(measured))
            return [_network(row) for row in session.scalars(query)]

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

    def latencies(self, platform: str, protocol: str = _STANDARD_PROTOCOL) -> dict[str, Latency]:
        """What was measured on ``platform``, by network digest.

        Raises:
            UnknownPlatformError: there is no such platform here; the message lists those there are.
        """
        rounds: dict[str, list[MeasurementRow]] = defaultdict(list)
        with self.session() as session:
            query = (
                select(MeasurementRow)
                .filter_by(platform_id=_platform_id(session, platform), protocol=protocol)
                .order_by(MeasurementRow.network, MeasurementRow.round)
            )
            for row in session.scalars(query):
                rounds[row.network].append(row)
        return {network: _latency(rows, protocol) for network, rows in rounds.items()}

    def label(
        self, network: str, platform: str, protocol: str = _STANDARD_PROTOCOL
    ) -> float | None:
        """The latency in ms of the network with digest ``network``; None where not measured."""
        with self.session() as session:
            query = select(MeasurementRow).filter_by(
                network=network, platform_id=_platform_id(session, platform), protocol=protocol
            )
            rows = list(session.scalars(query))
        return _latency(rows, protocol).label_ms if rows else None

    def kernel_times(self, platform: str) -> dict[str, KernelTimes]:
        """Kernel calls and their samples on ``platform``, by network digest, in call order."""
        rows: dict[str, list[KernelRow]] = defaultdict(list)
        with self.session() as session:
            query = (
                select(KernelRow)
                .filter_by(platform_id=_platform_id(session, platform))
                .order_by(KernelRow.network, KernelRow.index)
            )
            for row in session.scalars(query):
                rows[row.network].append(row)
        return {
            network: KernelTimes(
                kernels=tuple(_kernel(row) for row in calls),
                samples=np.stack([row.samples for row in calls]),
            )
            for network, calls in rows.items()
        }

    def failures(self, platform: str) -> list[FailureRow]:
        """All failures on ``platform``, oldest first; the rows are detached from the database."""
        with self.session() as session:
            query = select(FailureRow).filter_by(platform_id=_platform_id(session, platform))
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

        For each disturbed round there is one more to do, up to ``max_retakes`` for a network. A
        failed build or run leaves nothing to do, failed kernels leave the rounds, unless
        ``retry_failed``.
        """
        with self.session() as session:
            platform_id = _platform_id(session, platform)
            done: dict[str, dict[int, bool]] = defaultdict(dict)
            query = select(MeasurementRow).filter_by(platform_id=platform_id, protocol=protocol)
            for row in session.scalars(query.where(MeasurementRow.network.in_(networks))):
                done[row.network][row.round] = is_disturbed(row.conditions)
            with_kernels = set(
                session.scalars(
                    select(KernelRow.network)
                    .filter_by(platform_id=platform_id, index=0)
                    .where(KernelRow.network.in_(networks))
                )
            )
            failed: dict[str, set[str]] = defaultdict(set)
            failures = select(FailureRow).filter_by(platform_id=platform_id)
            for failure in session.scalars(failures.where(FailureRow.network.in_(networks))):
                failed[failure.network].add(failure.stage)
        return {
            network: _work(
                done[network],
                has_kernels=network in with_kernels,
                failed=set() if retry_failed else failed[network],
                rounds=rounds,
                max_retakes=max_retakes,
            )
            for network in networks
        }

    def stats(self, protocol: str = _STANDARD_PROTOCOL) -> list[PlatformStats]:
        """What is stored, platform by platform."""
        return [self._platform_stats(platform, protocol) for platform in self.platforms()]

    def _platform_stats(self, platform: str, protocol: str) -> PlatformStats:
        latencies = self.latencies(platform, protocol)
        noises = [entry.noise for entry in latencies.values() if entry.noise is not None]
        with self.session() as session:
            platform_id = _platform_id(session, platform)
            kernel_calls = session.scalar(
                select(func.count()).select_from(KernelRow).filter_by(platform_id=platform_id)
            )
            failures = session.execute(
                select(FailureRow.stage, func.count(FailureRow.network.distinct()))
                .where(FailureRow.platform_id == platform_id)
                .group_by(FailureRow.stage)
            ).tuples()
            return PlatformStats(
                platform=platform,
                networks=len(latencies),
                disturbed=sum(entry.disturbed for entry in latencies.values()),
                rounds=sum(len(entry.rounds) for entry in latencies.values()),
                kernel_calls=kernel_calls or 0,
                failures=dict(failures.all()),
                label_noise=float(np.mean(noises)) if noises else None,
            )


def check_platform(old: PlatformRow, new: PlatformRow) -> None:
    """See that two platforms of one name are one platform.

    Raises:
        PlatformChangedError: the CPU, its cores, the compiler or the target differ.
    """
    before, after = _identity(old), _identity(new)
    changes = [
        f"{key} was {before.get(key)!r} and is {after.get(key)!r}"
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key)
    ]
    if changes:
        raise PlatformChangedError(
            f"platform {old.name!r} has changed: {'; '.join(changes)}; its latencies "
            "would not be comparable: measure into another database"
        )


def _platform_id(session: Session, name: str) -> int:
    found = session.scalar(select(PlatformRow.id).filter_by(name=name))
    if found is None:
        known = session.scalars(select(PlatformRow.name).order_by(PlatformRow.name)).all()
        raise UnknownPlatformError(
            f"nothing was measured on platform {name!r}; this database has "
            + (", ".join(known) or "no platforms yet")
        )
    return found


def _identity(row: PlatformRow) -> dict[str, Any]:
    """What must not change under a platform's name; the memory and the kernel of the system may."""
    versions = {k: v for k, v in row.versions.items() if k not in _VERSIONS_WITHOUT_EFFECT}
    device = {key: row.device[key] for key in ("cpu", "cpu_revision", "cores", "architecture")}
    return {**versions, **device, "target": row.target}


def _work(
    done: Mapping[int, bool],
    *,
    has_kernels: bool,
    failed: Collection[str],
    rounds: int,
    max_retakes: int,
) -> Work:
    """What is left where the rounds ``done`` are there, each disturbed or not."""
    if "build" in failed or "run" in failed:
        return Work(rounds=(), kernels=False)
    undisturbed = sum(not disturbed for disturbed in done.values())
    missing = max(0, min(rounds - undisturbed, rounds + max_retakes - len(done)))
    unused = (number for number in itertools.count() if number not in done)
    return Work(
        rounds=tuple(itertools.islice(unused, missing)),
        kernels=not has_kernels and "kernels" not in failed,
    )


def _network(row: NetworkRow) -> Network:
    return Network(
        digest=row.digest,
        name=row.name,
        family=row.family,
        seed=row.seed,
        model=onnx.load_from_string(zlib.decompress(row.onnx_zlib)),
    )


def _kernel(row: KernelRow) -> Kernel:
    names = ("name", "kind", "flops", "arguments", "results")
    return Kernel.from_dict({name: getattr(row, name) for name in names})


def _latency(rows: Sequence[MeasurementRow], protocol: str) -> Latency:
    undisturbed = [row for row in rows if not is_disturbed(row.conditions)]
    rounds = tuple(row.samples for row in undisturbed or rows)
    return Latency(
        label_ms=label(np.concatenate(rounds), protocol),
        rounds=rounds,
        noise=label_noise(rounds, protocol),
        disturbed=not undisturbed,
    )


def _now() -> datetime:
    return datetime.now(timezone.utc)
