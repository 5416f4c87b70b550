"""Networks that were measured here, from a measurement database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from measure.database import Database
from measure.records import KernelTimes, Latency
from relay_frontend.errors import InputError
from relay_frontend.graph import OpGraph
from relay_frontend.onnx import read_onnx
from tvm_costmodel.datasets.dataset import Dataset, Loading, silent
from tvm_costmodel.predictors.base import Network


@dataclass(frozen=True, eq=False, kw_only=True)
class _Platform:
    name: str
    latencies: dict[str, Latency]
    kernels: dict[str, KernelTimes]


def measured(
    database: Database,
    platforms: Sequence[str],
    *,
    kernels: bool = False,
    name: str = "measured",
    progress: Loading = silent,
) -> Dataset[Network]:
    """All networks that ``database`` has latencies of on ``platforms``, by platform and name.

    A network measured on several platforms is read once.

    Args:
        database: the measurements.
        platforms: full names.
        kernels: whether networks whose kernels were not timed are left out.
        name: of the data set.
        progress: told after each network.

    Raises:
        UnknownPlatformError: there is no such platform in the database.
        InputError: nothing was measured on them.
    """
    found = [
        _Platform(
            name=platform,
            latencies=database.latencies(platform),
            kernels=database.kernel_times(platform),
        )
        for platform in platforms
    ]
    if kernels:
        for platform in found:
            for digest in platform.latencies.keys() - platform.kernels.keys():
                del platform.latencies[digest]
    total = sum(len(platform.latencies) for platform in found)
    if not total:
        raise InputError(
            f"no latencies{' and kernels' if kernels else ''} on "
            f"{', '.join(platforms) or 'any platform'} in this database: measure networks first "
            "(tvm-costmodel measure)"
        )
    graphs: dict[str, OpGraph] = {}
    networks: list[Network] = []
    latencies: list[Latency] = []
    for platform in found:
        for stored in database.networks(platform.name):
            if stored.digest not in platform.latencies:
                continue
            if stored.digest not in graphs:
                graphs[stored.digest] = read_onnx(stored.model)
            times = platform.kernels.get(stored.digest)
            network = Network(
                name=stored.name,
                family=stored.family,
                platform=platform.name,
                graph=graphs[stored.digest],
                kernels=None if times is None else times.kernels,
                kernel_ms=None if times is None else times.times_ms,
            )
            networks.append(network)
            latencies.append(platform.latencies[stored.digest])
            progress(len(networks), total)
    return _dataset(networks, latencies, name)


def _dataset(
    networks: Sequence[Network], latencies: Sequence[Latency], name: str
) -> Dataset[Network]:
    noise = [np.nan if entry.noise is None else entry.noise for entry in latencies]
    conditions: dict[str, Any] = {
        "source": "measured by tvm-costmodel",
        "protocol": ", ".join(sorted({entry.protocol for entry in latencies})),
        "labels of disturbed rounds": sum(entry.disturbed for entry in latencies),
    }
    return Dataset(
        name=name,
        task="latency",
        inputs=tuple(networks),
        names=tuple(network.name for network in networks),
        families=tuple(network.family for network in networks),
        platforms=tuple(network.platform for network in networks),
        targets=np.array([entry.label_ms for entry in latencies]),
        noise=np.array(noise),
        conditions=conditions,
    )
