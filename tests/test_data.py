"""The published measurements stay usable: their networks are found under their digests."""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest

from relay_frontend import load

DATA = Path(__file__).parent.parent / "data" / "v0"


def test_the_networks_keep_their_digests():
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = parquet.read_table(DATA / "networks.parquet").to_pylist()
    for row in rows[:: len(rows) // 40]:
        graph = load(zlib.decompress(row["onnx_zlib"]))
        assert graph.digest == row["digest"], row["name"]
        assert graph.unknown_ops == ()
