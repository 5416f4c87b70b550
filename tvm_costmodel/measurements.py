"""What was measured: from a database that exists, or from a directory of Parquet files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from measure.database import Database
from measure.errors import UnknownPlatformError
from measure.protocol import label
from measure.records import Latency
from relay_frontend.errors import InputError
from relay_frontend.graph import OpGraph
from tvm_costmodel.estimates import Estimate


def open_existing(database: str) -> Database:
    """The measurement database at a path or URL, which a slip of the pen shall not make.

    Raises:
        InputError: there is no such file, or it is no measurement database.
    """
    if "://" not in database and not Path(database).is_file():
        raise InputError(f"no measurements in {database!r}: there is no such file")
    return Database.open(database)


def open_measurements(data: str) -> Database:
    """What was measured, from a database or from a directory of Parquet files.

    Raises:
        InputError: there is nothing of the kind.
    """
    if Path(data).is_dir():
        from measure.database.parquet import load_parquet  # noqa: PLC0415 (needs pyarrow)

        return load_parquet(Path(data))
    return open_existing(data)


def measured_estimate(database: Database, graph: OpGraph, platform: str) -> Estimate | None:
    """What was measured of a network on ``platform``; None where nothing was.

    Nothing is known of a network with operators outside of the vocabulary: its digest knows only
    their names and shapes, so that another network may have the same.
    """
    if graph.unknown_ops:
        return None
    try:
        latency = database.latency(graph.digest, platform)
    except UnknownPlatformError:
        return None
    if latency is None:
        return None
    low, high = _interval(latency)
    count = len(latency.rounds)
    rounds = f"{count} timing round{'s' if count > 1 else ''}"
    return Estimate(
        latency_ms=latency.label_ms,
        low_ms=low,
        high_ms=high,
        source="measured",
        platform=platform,
        checkpoint=f"{rounds}, disturbed" if latency.disturbed else rounds,
        digest=graph.digest,
    )


def _interval(latency: Latency) -> tuple[float, float]:
    """From the least label of a round to the largest; of an only round, what 80 % of it lie in."""
    if len(latency.rounds) == 1:
        low, high = np.quantile(latency.rounds[0], [0.1, 0.9])
        return float(low), float(high)
    labels = [label(samples, latency.protocol) for samples in latency.rounds]
    return min(*labels, latency.label_ms), max(*labels, latency.label_ms)
