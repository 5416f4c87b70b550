"""Built networks on disk, so that what a later round needs is not built again."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from measure.device import deciding_versions

_PREFIX = "tvm-costmodel-artifacts-"
_UNFINISHED = "unfinished-"


class ArtifactStore:
    """Artifacts by network, toolchain, its versions and target; a directory each.

    Several processes may share one store: an artifact appears in it whole or not at all.

    Args:
        root: the directory; it is made.
        keep: whether :meth:`discard` leaves artifacts for later campaigns.
    """

    def __init__(self, root: Path, *, keep: bool = True) -> None:
        self._root = root
        self._keep = keep
        root.mkdir(parents=True, exist_ok=True)

    def path(
        self, digest: str, seed: int, toolchain: str, target: str, versions: Mapping[str, str]
    ) -> Path:
        """Where the artifact of a network, whose weights are drawn from ``seed``, is or will be."""
        key = json.dumps([toolchain, target, deciding_versions(versions), seed], sort_keys=True)
        code = hashlib.sha256(key.encode()).hexdigest()[:12]
        return self._root / f"{digest}-{toolchain.partition(':')[0]}-{code}"

    @contextmanager
    def unfinished(self, path: Path) -> Iterator[Path]:
        """A directory to build into, which becomes the artifact ``path`` if nothing is raised."""
        with tempfile.TemporaryDirectory(
            prefix=_UNFINISHED, dir=self._root, ignore_cleanup_errors=True
        ) as name:
            directory = Path(name) / "artifact"
            directory.mkdir()
            yield directory
            if not path.exists():
                directory.rename(path)

    def discard(self, path: Path) -> None:
        """Say that the artifact ``path`` is not needed now; it goes unless artifacts are kept."""
        if not self._keep:
            shutil.rmtree(path, ignore_errors=True)


@contextmanager
def open_store(root: Path | None) -> Iterator[ArtifactStore]:
    """The store at ``root``, whose artifacts stay; without one, a scratch store that goes.

    Scratch stores that killed processes left behind are removed.
    """
    if root is not None:
        yield ArtifactStore(root)
        return
    for left in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*-*"):
        owner = left.name.removeprefix(_PREFIX).partition("-")[0]
        if owner.isdigit() and not Path(f"/proc/{owner}").exists():
            shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f"{_PREFIX}{os.getpid()}-") as name:
        yield ArtifactStore(Path(name), keep=False)
