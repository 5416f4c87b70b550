"""The exceptions of this package; their root is :mod:`relay_frontend.errors`."""

from __future__ import annotations

from relay_frontend.errors import CostModelError


class CheckpointError(CostModelError):
    """A checkpoint is missing, damaged, newer than this package, or needs what is not there."""
