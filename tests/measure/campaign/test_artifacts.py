"""The store of what was built."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

import pytest

from measure.campaign.artifacts import ArtifactStore, open_store


def build(store: ArtifactStore, path: Path, content: str = "built") -> None:
    with store.unfinished(path) as directory:
        (directory / "library").write_text(content)


def test_an_artifact_stays_until_nobody_needs_it(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path, keep=False)
    path = store.path("digest", 0, "fake", "z80", {})
    store.take(path)
    store.take(path)
    build(store, path)
    store.discard(path)
    assert (path / "library").read_text() == "built"
    store.discard(path)
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_keeps_artifacts_keeps_what_nobody_needs(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    path = store.path("digest", 0, "fake", "z80", {})
    store.take(path)
    build(store, path)
    store.discard(path)
    assert path.exists()


def test_of_two_that_build_the_same_the_first_to_end_has_built_it(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    path = store.path("digest", 0, "fake", "z80", {})
    with store.unfinished(path) as directory:
        (directory / "library").write_text("second")
        build(store, path, "first")
    assert (path / "library").read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]


def test_scratch_stores_of_dead_processes_are_removed_and_those_of_others_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with subprocess.Popen(["true"]) as ended:
        pass
    dead = tmp_path / f"tvm-costmodel-artifacts-{ended.pid}-x"
    alive = tmp_path / f"tvm-costmodel-artifacts-{os.getpid()}-x"
    for left in (dead, alive):
        (left / "artifact").mkdir(parents=True)
    with open_store(None):
        assert not dead.exists()
        assert alive.exists()
