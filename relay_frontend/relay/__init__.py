"""Relay -> operator graphs and kernels; needs a TVM that still has Relay (0.19 or older)."""

from relay_frontend.relay.reader import read_network, read_relay
from relay_frontend.relay.shapes import bind_shapes

__all__ = ["bind_shapes", "read_network", "read_relay"]
