"""ONNX models without the content of their weights, which nobody looks at to read a network."""

from __future__ import annotations

import math

from onnx import GraphProto, ModelProto, TensorProto

from relay_frontend.nodes import SMALL


def without_weights(model: ModelProto) -> ModelProto:
    """A copy of ``model`` in which large tensors have a type, but no content.

    What is left is all that shape inference and the reader want: a copy of a few kilobytes in the
    place of all weights. Names and documentation of the model itself are left out too.
    """
    graph = model.graph
    return ModelProto(
        ir_version=model.ir_version,
        opset_import=model.opset_import,
        functions=model.functions,
        graph=GraphProto(
            node=graph.node,
            input=graph.input,
            output=graph.output,
            value_info=graph.value_info,
            initializer=[_smaller(tensor) for tensor in graph.initializer],
            sparse_initializer=graph.sparse_initializer,
        ),
    )


def _smaller(tensor: TensorProto) -> TensorProto:
    # Shape inference reads vectors of integers of any length.
    is_shape = len(tensor.dims) <= 1 and tensor.data_type in (TensorProto.INT32, TensorProto.INT64)
    if is_shape or math.prod(tensor.dims) <= SMALL:
        return tensor
    return TensorProto(
        name=tensor.name,
        dims=tensor.dims,
        data_type=tensor.data_type,
        data_location=tensor.data_location,
    )
