"""Built networks on disk, so that what a later round needs is not built again."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from measure.database.owner import is_running
from measure.device import deciding_versions

_PREFIX = "tvm-costmodel-artifacts-"
_UNFINISHED = "unfinished-"


class ArtifactStore:
    """Artifacts by network, toolchain, its versions and target; a directory each.

    Several processes may share one store: an artifact appears in it whole or not at all. Threads
    may share it, too: devices of different platforms may run the same artifact.

    Args:
        root: the directory; it is made.
        keep: whether artifacts that nobody uses stay for later campaigns.
    """

    def __init__(self, root: Path, *, keep: bool = True) -> None:
        self._root = root
        self._keep = keep
        self._users: Counter[Path] = Counter()
        self._lock = threading.Lock()
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
            try:
                directory.rename(path)
            except OSError as error:
                # Another has built the same meanwhile.
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise

    def take(self, path: Path) -> None:
        """Say that the artifact ``path``, built or not, is needed until it is discarded."""
        with self._lock:
            self._users[path] += 1

    def discard(self, path: Path) -> None:
        """Say that one of those who took ``path`` needs it no more.

        It goes with the last of them, unless artifacts are kept.
        """
        with self._lock:
            self._users[path] -= 1
            if self._users[path] > 0:
                return
            del self._users[path]
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
        if owner.isdigit() and not is_running(int(owner)):
            shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f"{_PREFIX}{os.getpid()}-") as name:
        yield ArtifactStore(Path(name), keep=False)
