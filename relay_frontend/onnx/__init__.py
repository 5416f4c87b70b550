"""ONNX -> :class:`~relay_frontend.graph.OpGraph`, with numpy and onnx alone."""

from relay_frontend.onnx.reader import Shapes, bind_shapes, load_model, read_network, read_onnx

__all__ = ["Shapes", "bind_shapes", "load_model", "read_network", "read_onnx"]
