"""The exceptions of all three packages: one root, classes named by whose fault it is."""

from __future__ import annotations


class CostModelError(Exception):
    """Root of every error that this project raises on purpose."""


class InputError(CostModelError):
    """What the user gave cannot be used as it is; the message says what to change."""


class NetworkError(InputError):
    """The network cannot be read: no network at all, malformed, or without static types."""


class DynamicShapeError(NetworkError):
    """A dimension of the network is symbolic and was not bound by the caller."""


class UnknownOperatorError(NetworkError):
    """The network has operators outside of the vocabulary, and the caller accepts none."""


class MissingDependencyError(InputError):
    """An optional package is needed and absent; the message names the install line."""
