"""Writes weightless ONNX networks layer by layer, and knows their shapes and cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, helper, numpy_helper

from measure.weights import constant_parameter

_OPSET = 17
_IR_VERSION = 8


def round_width(width: float, divisor: int = 4) -> int:
    """Nearest multiple of ``divisor`` that is not zero, as a number of channels."""
    return max(divisor, int(width / divisor + 0.5) * divisor)


@dataclass(frozen=True, slots=True)
class Value:
    """A tensor of the network that is being built, float32 throughout."""

    name: str
    shape: tuple[int, ...]

    @property
    def channels(self) -> int:
        """Size of dimension 1."""
        return self.shape[1]

    @property
    def size(self) -> int:
        """Height of the image, which is its width too."""
        return self.shape[2]


@dataclass(frozen=True, slots=True)
class _Node:
    op: str
    inputs: tuple[str, ...]
    output: str
    attributes: dict[str, Any]


class NetworkBuilder:
    """Layers of an image network on ``input`` (float32 ``[batch, 3, size, size]``).

    Each method appends one ONNX node with its parameters and returns its output. Convolutions pad
    to keep the size at stride 1. Names count the nodes of one kind (``conv_0``), so they say
    nothing about how the network was drawn.

    Args:
        batch: images per inference.
        input_size: height and width of the image.

    Attributes:
        input: the network's input.
        flops: floating-point operations of all convolutions and dense layers so far, a
            multiply-add counted as two.
    """

    def __init__(self, *, batch: int, input_size: int) -> None:
        self.input = Value("input", (batch, 3, input_size, input_size))
        self.flops = 0
        self._nodes: list[_Node] = []
        self._parameters: dict[str, tuple[int, ...]] = {}
        self._scalars: dict[str, float] = {}
        self._counts: dict[str, int] = {}

    @property
    def num_nodes(self) -> int:
        """Number of ONNX nodes so far, without those that stand for parameters."""
        return len(self._nodes)

    def conv(
        self,
        x: Value,
        channels: int,
        kernel: int,
        *,
        stride: int = 1,
        groups: int = 1,
        bias: bool = False,
    ) -> Value:
        """Square convolution, ``[batch, channels, size / stride, size / stride]``."""
        name = self._name("conv")
        padding = kernel // 2
        size = _pooled(x.size, kernel, stride, padding)
        weight = (channels, x.channels // groups, kernel, kernel)
        inputs = [x.name, self._parameter(f"{name}.weight", weight)]
        if bias:
            inputs.append(self._parameter(f"{name}.bias", (channels,)))
        self.flops += 2 * x.shape[0] * size * size * math.prod(weight)
        return self._append(
            "Conv",
            inputs,
            Value(name, (x.shape[0], channels, size, size)),
            dilations=[1, 1],
            group=groups,
            kernel_shape=[kernel, kernel],
            pads=[padding] * 4,
            strides=[stride, stride],
        )

    def batch_norm(self, x: Value) -> Value:
        """Inference-time batch normalization."""
        name = self._name("batch_norm")
        parameters = [
            self._parameter(f"{name}.{parameter}", (x.channels,))
            for parameter in ("scale", "bias", "mean", "var")
        ]
        return self._append("BatchNormalization", [x.name, *parameters], Value(name, x.shape))

    def relu(self, x: Value) -> Value:
        """max(x, 0)."""
        return self._append("Relu", [x.name], Value(self._name("relu"), x.shape))

    def relu6(self, x: Value) -> Value:
        """min(max(x, 0), 6), as PyTorch exports it: ``Clip`` with its limits as operands."""
        self._scalars.update({"relu6.min": 0.0, "relu6.max": 6.0})
        inputs = [x.name, "relu6.min", "relu6.max"]
        return self._append("Clip", inputs, Value(self._name("relu6"), x.shape))

    def max_pool(self, x: Value, kernel: int, stride: int, *, padding: int = 0) -> Value:
        """Largest value of each window."""
        return self._pool("MaxPool", x, kernel, stride, padding)

    def average_pool(self, x: Value, kernel: int, stride: int, *, padding: int = 0) -> Value:
        """Mean of each window, padding not counted."""
        return self._pool("AveragePool", x, kernel, stride, padding)

    def global_average_pool(self, x: Value) -> Value:
        """Mean of each channel, ``[batch, channels, 1, 1]``."""
        output = Value(self._name("global_average_pool"), (*x.shape[:2], 1, 1))
        return self._append("GlobalAveragePool", [x.name], output)

    def flatten(self, x: Value) -> Value:
        """All dimensions but the first as one."""
        output = Value(self._name("flatten"), (x.shape[0], math.prod(x.shape[1:])))
        return self._append("Flatten", [x.name], output, axis=1)

    def gemm(self, x: Value, units: int) -> Value:
        """Dense layer with bias on ``[batch, features]``."""
        name = self._name("gemm")
        weight = self._parameter(f"{name}.weight", (units, x.channels))
        bias = self._parameter(f"{name}.bias", (units,))
        self.flops += 2 * x.shape[0] * units * x.channels
        output = Value(name, (x.shape[0], units))
        return self._append("Gemm", [x.name, weight, bias], output, transB=1)

    def concat(self, values: Sequence[Value]) -> Value:
        """Values of one size joined along their channels."""
        channels = sum(value.channels for value in values)
        batch, _, *image = values[0].shape
        output = Value(self._name("concat"), (batch, channels, *image))
        return self._append("Concat", [value.name for value in values], output, axis=1)

    def add(self, a: Value, b: Value) -> Value:
        """Sum of two values of one shape."""
        return self._append("Add", [a.name, b.name], Value(self._name("add"), a.shape))

    def conv_bn(
        self, x: Value, channels: int, kernel: int, *, stride: int = 1, groups: int = 1
    ) -> Value:
        """Convolution without bias and batch normalization."""
        return self.batch_norm(self.conv(x, channels, kernel, stride=stride, groups=groups))

    def classifier(self, x: Value, num_classes: int) -> Value:
        """Global average pool and a dense layer, ``[batch, num_classes]``."""
        return self.gemm(self.flatten(self.global_average_pool(x)), num_classes)

    def model(self, name: str, output: Value) -> ModelProto:
        """The network as ONNX; ``output``, the last layer's, becomes its output ``logits``."""
        parameters = [constant_parameter(*item) for item in self._parameters.items()]
        scalars = [
            numpy_helper.from_array(np.array(value, np.float32), scalar)
            for scalar, value in self._scalars.items()
        ]
        nodes = [
            helper.make_node(
                node.op,
                node.inputs,
                ["logits" if node.output == output.name else node.output],
                name=node.output,
                **node.attributes,
            )
            for node in self._nodes
        ]
        graph = helper.make_graph(
            [*(node for node, _ in parameters), *nodes],
            name,
            [_value_info(self.input)],
            [_value_info(Value("logits", output.shape))],
            initializer=[*(shape for _, shape in parameters), *scalars],
        )
        opset = helper.make_opsetid("", _OPSET)
        return helper.make_model(graph, opset_imports=[opset], ir_version=_IR_VERSION)

    def _pool(self, op: str, x: Value, kernel: int, stride: int, padding: int) -> Value:
        name = self._name("max_pool" if op == "MaxPool" else "average_pool")
        size = _pooled(x.size, kernel, stride, padding)
        return self._append(
            op,
            [x.name],
            Value(name, (*x.shape[:2], size, size)),
            kernel_shape=[kernel, kernel],
            pads=[padding] * 4,
            strides=[stride, stride],
        )

    def _append(
        self, op: str, inputs: Sequence[str], output: Value, **attributes: int | list[int]
    ) -> Value:
        self._nodes.append(_Node(op, tuple(inputs), output.name, attributes))
        return output

    def _parameter(self, name: str, shape: tuple[int, ...]) -> str:
        self._parameters[name] = shape
        return name

    def _name(self, kind: str) -> str:
        count = self._counts.get(kind, 0)
        self._counts[kind] = count + 1
        return f"{kind}_{count}"


def _pooled(size: int, kernel: int, stride: int, padding: int) -> int:
    return (size + 2 * padding - kernel) // stride + 1


def _value_info(value: Value) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(value.name, TensorProto.FLOAT, value.shape)
