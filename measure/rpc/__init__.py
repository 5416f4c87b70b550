"""Measuring on devices that are reached over TVM's RPC."""
