"""From the nodes of any reader to the one canonical operator graph."""

from relay_frontend.canonical.canonicalize import canonicalize

__all__ = ["canonicalize"]
