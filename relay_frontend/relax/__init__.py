"""Relax -> operator graphs and kernels; needs a TVM that has Relax (0.25 or newer)."""

from relay_frontend.relax.reader import read_network, read_relax
from relay_frontend.relax.shapes import bind_shapes

__all__ = ["bind_shapes", "read_network", "read_relax"]
