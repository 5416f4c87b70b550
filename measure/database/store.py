"""What is stored: each finished piece of work in one transaction, so that a kill loses no other."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
import onnx
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from measure.database.connection import OpenDatabase, now, platform_id, utc
from measure.database.engine import insert_missing
from measure.database.jobs import Job, hold_lease, leave
from measure.database.schema import (
    AnchorRoundRow,
    BlockRow,
    FailureRow,
    KernelRow,
    KernelSamplesRow,
    KernelTimingRow,
    MeasurementRow,
    NetworkRow,
    PlatformRow,
    ProtocolRow,
    compressed,
)
from measure.database.stored import DECIDING_STAGES, stored_kernels
from measure.device import Device, Platform, deciding_versions
from measure.errors import (
    DatabaseError,
    KernelsChangedError,
    MeasurementError,
    PlatformChangedError,
    ProtocolError,
)
from measure.probes import Quiet, steady
from measure.protocol import Protocol, Samples, label
from measure.records import KernelTimes, KernelTiming, Round
from measure.weights import strip_weights
from relay_frontend.kernel import Kernel

Position = Literal["start", "end"]

_MAX_NAME = 255


class Store(OpenDatabase):
    """The part of the database that writes.

    Where a ``lease`` is given, what is stored is stored only while that lease is held, else
    :class:`~measure.errors.LeaseLostError` is raised.
    """

    def add_network(
        self, digest: str, name: str, family: str, seed: int, model: onnx.ModelProto
    ) -> None:
        """Store a network without its weights, unless its digest is known."""
        with self.session() as session:
            if session.get(NetworkRow, digest) is not None:
                return
        data = strip_weights(model).SerializeToString(deterministic=True)
        row = {
            "digest": digest,
            "name": name,
            "family": family,
            "seed": seed,
            "onnx_zlib": compressed(data),
            "created_at": now(),
        }
        with self.transaction() as session:
            insert_missing(session, NetworkRow, [row])

    def add_platform(self, platform: Platform, device: Device, versions: dict[str, str]) -> None:
        """Store a platform, or see that it is still what was measured under its name.

        Raises:
            PlatformChangedError: the CPU, its cores, the compiler or the target differ.
        """
        values = {
            "name": platform.name,
            "device": device.to_dict(),
            "versions": dict(versions),
            "target": platform.target,
            "threads": platform.threads,
            "dtype": platform.dtype,
        }
        with self.transaction() as session:
            insert_missing(session, PlatformRow, [values])
            stored = session.scalars(select(PlatformRow).filter_by(name=platform.name)).one()
            check_platform(stored, PlatformRow(**values))

    def add_protocol(self, protocol: Protocol) -> None:
        """Store the settings of a protocol, or see that its name still stands for them.

        Raises:
            ProtocolError: rounds were measured under this name with other settings.
        """
        settings = protocol.to_dict()
        with self.transaction() as session:
            insert_missing(session, ProtocolRow, [{"name": protocol.name, "settings": settings}])
            stored = session.get_one(ProtocolRow, protocol.name)
            check_protocol(protocol.name, stored.settings, settings)

    def add_round(
        self,
        network: str,
        platform: str,
        protocol: str,
        number: int,
        finished: Round,
        *,
        block: int | None = None,
        lease: Job | None = None,
    ) -> None:
        """Store round ``number`` of the network with digest ``network``, timed within ``block``."""
        with self._fenced(lease) as session:
            row = MeasurementRow(
                network=network,
                platform_id=platform_id(session, platform),
                protocol=protocol,
                round=number,
                samples=finished.samples,
                block_id=block,
                **_timing(finished),
            )
            session.add(row)

    def add_kernels(
        self,
        network: str,
        platform: str,
        times: KernelTimes,
        *,
        block: int | None = None,
        lease: Job | None = None,
    ) -> None:
        """Store a timing of all kernel calls of the network with digest ``network``.

        It was done within ``block``, and is the next attempt at them.

        Raises:
            KernelsChangedError: an earlier build of the network had other kernels on the platform;
                nothing is stored.
        """
        with self._fenced(lease) as session:
            name = _locked_name(session, network)
            where = platform_id(session, platform)
            key = {"network": network, "platform_id": where}
            attempts = session.scalar(
                select(func.count()).select_from(KernelTimingRow).filter_by(**key)
            )
            if attempts:
                known = stored_kernels(session, where, KernelRow.network == network)
                check_kernels(name, platform, known.get(network, ()), times.kernels)
            else:
                session.add_all(
                    KernelRow(**key, index=index, **kernel.to_dict())
                    for index, kernel in enumerate(times.kernels)
                )
            (timing,) = times.timings or (None,)
            row = KernelTimingRow(
                **key,
                attempt=attempts or 0,
                block_id=block,
                **({"conditions": {}} if timing is None else _timing(timing)),
            )
            session.add(row)
            session.flush()
            session.add_all(
                KernelSamplesRow(timing_id=row.id, index=index, samples=samples)
                for index, (_, samples) in enumerate(zip(times.kernels, times.samples, strict=True))
            )

    def add_failure(
        self,
        network: str,
        platform: str,
        failure: MeasurementError,
        *,
        lease: Job | None = None,
    ) -> None:
        """Store a failure of the network with digest ``network`` as its next attempt.

        Where it fails the network, and not its kernels alone, the leased job has failed with it.
        """
        with self._fenced(lease) as session:
            _locked_name(session, network)
            key = {
                "network": network,
                "platform_id": platform_id(session, platform),
                "stage": failure.stage,
            }
            attempts = session.scalar(select(func.count()).select_from(FailureRow).filter_by(**key))
            row = FailureRow(
                **key,
                attempt=(attempts or 0) + 1,
                error=_storable(failure.cause)[:_MAX_NAME],
                message=_storable(failure.reason),
                log=_storable(failure.log),
                at=now(),
            )
            session.add(row)
            if lease is not None and failure.stage in DECIDING_STAGES:
                leave(hold_lease(session, lease), "failed")

    def open_block(self, platform: str, protocol: str) -> int:
        """Begin a block of rounds between two visits to the anchors; gives its key."""
        with self.transaction() as session:
            row = BlockRow(
                key=secrets.token_hex(8),
                platform_id=platform_id(session, platform),
                protocol=protocol,
                started_at=now(),
            )
            session.add(row)
            session.flush()
            return row.id

    def add_anchor_round(
        self, block: int, network: str, position: Position, finished: Round
    ) -> None:
        """Store a round of the anchor with digest ``network`` at an end of ``block``."""
        with self.transaction() as session:
            row = AnchorRoundRow(
                block_id=block,
                network=network,
                position=position,
                samples=finished.samples,
                **_timing(finished),
            )
            session.add(row)

    def close_block(self, block: int) -> float | None:
        """End a block; gives and stores its drift.

        That is the median over the anchors of how much their label changed from start to end, as
        a part of the label at the start; None where no anchor was timed at both ends.
        """
        with self.transaction() as session:
            row = session.get(BlockRow, block)
            if row is None:
                raise DatabaseError(f"no block {block} in this database: expected one it opened")
            anchors = session.scalars(select(AnchorRoundRow).filter_by(block_id=block))
            samples = {
                (anchor.network, anchor.position): steady(anchor.samples, anchor.conditions)
                for anchor in anchors
            }
            row.finished_at = now()
            row.drift = _drift(samples, row.protocol)
            return row.drift

    def calibrate(self, platform: str, quiet: Quiet) -> None:
        """Judge all that was timed on ``platform`` by ``quiet`` from now on.

        Samples and readings of probes stay as they are; so does the drift of blocks, which decides
        nothing where there are probes.

        Raises:
            UnknownPlatformError: there is no such platform here; the message lists those there are.
        """
        with self.transaction() as session:
            key = platform_id(session, platform)
            blocks = select(BlockRow.id).filter_by(platform_id=key)
            queries = (
                select(MeasurementRow).filter_by(platform_id=key),
                select(KernelTimingRow).filter_by(platform_id=key),
                select(AnchorRoundRow).where(AnchorRoundRow.block_id.in_(blocks)),
            )
            for row in (row for query in queries for row in session.scalars(query)):
                if row.conditions.get("probes_ms"):
                    row.conditions = {**row.conditions, **quiet.notes()}

    @contextmanager
    def _fenced(self, lease: Job | None) -> Iterator[Session]:
        """A transaction that stores nothing unless ``lease``, where given, is held to its end."""
        with self.transaction() as session:
            if lease is not None:
                hold_lease(session, lease)
            yield session


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


def check_protocol(name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """See that two protocols of one name are one protocol.

    Raises:
        ProtocolError: their settings differ.
    """
    if old != new:
        raise ProtocolError(
            f"protocol {name!r} was used here with the settings {old}, "
            f"now they are {new}: give the new protocol another name"
        )


def check_kernels(
    network: str, platform: str, old: Sequence[Kernel], new: Sequence[Kernel]
) -> None:
    """See that two builds of the network ``network`` have the same kernels in the same order.

    Raises:
        KernelsChangedError: they differ; the message shows where.
    """
    if len(old) != len(new):
        difference = f"{len(old)} kernel calls were stored and now there are {len(new)}"
    else:
        differing = [
            f"kernel call {index} was {before} and is {after}"
            for index, (before, after) in enumerate(zip(old, new, strict=True))
            if before.to_dict() != after.to_dict()
        ]
        if not differing:
            return
        difference = differing[0]
    raise KernelsChangedError(
        network,
        f"on {platform} {difference}; its times would not be those of the same kernels, so nothing "
        "was stored: measure with this compiler into another database",
    )


def _locked_name(session: Session, network: str) -> str:
    """The name of the network with this digest; of two processes that count at once, one waits."""
    row = session.get(NetworkRow, network, with_for_update={"key_share": True})
    return network if row is None else row.name


def _identity(row: PlatformRow) -> dict[str, Any]:
    """What must not change under a platform's name; the memory and the kernel of the system may."""
    versions = deciding_versions(row.versions)
    device = {key: row.device[key] for key in ("cpu", "cpu_revision", "cores", "architecture")}
    return {**versions, **device, "target": row.target}


def _timing(timing: Round | KernelTiming) -> dict[str, Any]:
    return {
        "started_at": utc(timing.started_at),
        "duration_s": timing.duration_s,
        "inner_count": timing.inner_count,
        "conditions": dict(timing.conditions),
    }


def _drift(samples: Mapping[tuple[str, str], Samples], protocol: str) -> float | None:
    """Changes in either direction add up: anchors that part show an unsteady device as well."""
    changes = [
        abs(label(samples[network, "end"], protocol) / label(start, protocol) - 1)
        for (network, position), start in samples.items()
        if position == "start" and (network, "end") in samples
    ]
    return float(np.median(changes)) if changes else None


def _storable(text: str) -> str:
    """What any database takes as text: what a dying process prints may be anything."""
    return text.encode("utf-8", "replace").decode().replace("\0", "\N{SYMBOL FOR NULL}")
