"""Latencies of NAS-Bench-201's cells on the devices of HELP (Lee et al., NeurIPS 2021).

The folder ``data/nasbench201`` of its repository: ``str_arch2idx.pt`` gives the index of each
cell's text, ``latency/<device>.pt`` the latency in ms of all cells by index, both written by
``torch.save``. A number at the end of a device's name is its batch size. The latencies of FBNet's
networks, beside them, are not read: the zoo has no such networks.

On these devices every edge of a cell took time, also where it leads nowhere: cells that are one
network to a compiler differ by 4 to 10 % in latency, and knowing the mean of each such group ranks
cells with a Spearman correlation of no more than 0.92. So the networks are made with all edges.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from relay_frontend.errors import InputError
from tvm_costmodel.datasets.dataset import Dataset, FloatArray, Loading, silent
from tvm_costmodel.datasets.files import read_torch
from tvm_costmodel.datasets.nasbench201_cells import latency_dataset, parse_architecture
from tvm_costmodel.predictors.base import Network

_INDEX_FILE = "str_arch2idx.pt"


def help_devices(
    folder: Path,
    *,
    platforms: Sequence[str] | None = None,
    count: int | None = None,
    trust: bool = False,
    progress: Loading = silent,
) -> Dataset[Network]:
    """Networks of NAS-Bench-201 in the benchmark's order, with a latency for each device.

    Args:
        folder: with ``str_arch2idx.pt`` in it.
        platforms: names of devices; all by default.
        count: read the first so many cells only.
        trust: whether the files may run code.
        progress: told after each cell.

    Raises:
        InputError: the folder has another form, or lacks a device or latencies of one.
    """
    if not (folder / _INDEX_FILE).is_file():
        raise InputError(f"no data of HELP in {str(folder)!r}: there is no {_INDEX_FILE}")
    index = read_torch(folder / _INDEX_FILE, trust=trust)
    known = sorted(path.stem for path in (folder / "latency").glob("*.pt"))
    devices = known if platforms is None else list(platforms)
    missing = sorted(set(devices) - set(known))
    if missing or not devices:
        raise InputError(
            f"{folder / 'latency'} has no device {', '.join(missing) or 'at all'}; there are "
            f"{', '.join(known) or 'none'}"
        )
    texts = sorted(index, key=lambda text: int(index[text]))[:count]
    numbers = [int(index[text]) for text in texts]
    files = {device: folder / "latency" / f"{device}.pt" for device in devices}
    return latency_dataset(
        [parse_architecture(text) for text in texts],
        {device: _latencies(path, numbers, trust=trust) for device, path in files.items()},
        name="help-nasbench201",
        conditions={"source": "HELP (Lee et al., NeurIPS 2021)"},
        eager=True,
        progress=progress,
    )


def _latencies(path: Path, numbers: Sequence[int], *, trust: bool) -> FloatArray:
    """Those of the cells of these numbers, in ms."""
    values = np.asarray(read_torch(path, trust=trust), dtype=np.float64).ravel()
    last = max(numbers, default=-1)
    if last >= len(values):
        raise InputError(
            f"{path} has {len(values):,} latencies, and {_INDEX_FILE} a cell of number {last:,}: "
            "load it down again"
        )
    return values[numbers]
