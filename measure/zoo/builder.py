"""Writes weightless ONNX networks layer by layer, and knows their shapes and cost."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import onnx
from onnx import ModelProto, helper, numpy_helper

from measure.weights import constant_parameter

_OPSET = 17
_IR_VERSION = 8
_ConfigT = TypeVar("_ConfigT")


def round_width(width: float, divisor: int = 4) -> int:
    """Nearest multiple of ``divisor`` that is not zero, as a number of channels."""
    return max(divisor, int(width / divisor + 0.5) * divisor)


@dataclass(frozen=True, slots=True)
class Value:
    """A tensor of the network that is being built."""

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"

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
    """Layers of a network on one ``input``.

    Each method appends one ONNX node with its parameters and returns its output. Convolutions pad
    to keep the size at stride 1. Names count the nodes of one kind (``conv_0``), so they say
    nothing about how the network was drawn.

    Args:
        shape: of the input, ``[batch, ...]``.
        dtype: of the input; parameters and all else are float32.

    Attributes:
        input: the network's input.
        flops: floating-point operations of all convolutions and matrix products so far, a
            multiply-add counted as two.
    """

    def __init__(self, shape: Sequence[int], dtype: str = "float32") -> None:
        self.input = Value("input", tuple(shape), dtype)
        self.flops = 0
        self._nodes: list[_Node] = []
        self._parameters: dict[str, tuple[int, ...]] = {}
        self._constants: dict[str, npt.NDArray[Any]] = {}
        self._counts: dict[str, int] = {}

    @classmethod
    def for_images(cls, *, batch: int, input_size: int) -> NetworkBuilder:
        """A network on square images, ``[batch, 3, input_size, input_size]``."""
        return cls((batch, 3, input_size, input_size))

    @property
    def num_nodes(self) -> int:
        """Number of ONNX nodes so far, without those that stand for parameters."""
        return len(self._nodes)

    @property
    def num_parameters(self) -> int:
        """Number of elements of all weights so far."""
        return sum(map(math.prod, self._parameters.values()))

    def apply(
        self,
        op: str,
        inputs: Sequence[Value | str],
        shape: Sequence[int],
        *,
        kind: str = "",
        dtype: str = "float32",
        **attributes: Any,
    ) -> Value:
        """Append the ONNX node ``op`` with one output of ``shape``, and give that.

        Args:
            op: the ONNX operator.
            inputs: values, and names that :meth:`parameter` and :meth:`constant` gave.
            shape: of the output.
            kind: what its name begins with; the operator in lower case by default.
            dtype: of the output.
            attributes: of the node.
        """
        output = Value(self._name(kind or op.lower()), tuple(shape), dtype)
        names = tuple(x.name if isinstance(x, Value) else x for x in inputs)
        self._nodes.append(_Node(op, names, output.name, attributes))
        return output

    def parameter(self, shape: Sequence[int], kind: str = "weight") -> str:
        """A float32 weight without a value; gives its name, which begins with ``kind``."""
        name = self._name(kind)
        self._parameters[name] = tuple(shape)
        return name

    def constant(self, value: npt.ArrayLike, dtype: str = "float32") -> str:
        """A value that the network is given, such as a shape or a limit; gives its name."""
        array = np.asarray(value, dtype)
        for name, known in self._constants.items():
            if known.dtype == array.dtype and np.array_equal(known, array):
                return name
        name = self._name("constant")
        self._constants[name] = array
        return name

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
        padding = kernel // 2
        size = _pooled(x.size, kernel, stride, padding)
        weight = (channels, x.channels // groups, kernel, kernel)
        inputs: list[Value | str] = [x, self.parameter(weight)]
        if bias:
            inputs.append(self.parameter((channels,)))
        self.flops += 2 * x.shape[0] * size * size * math.prod(weight)
        return self.apply(
            "Conv",
            inputs,
            (x.shape[0], channels, size, size),
            dilations=[1, 1],
            group=groups,
            kernel_shape=[kernel, kernel],
            pads=[padding] * 4,
            strides=[stride, stride],
        )

    def batch_norm(self, x: Value) -> Value:
        """Inference-time batch normalization."""
        kinds = ("scale", "bias", "mean", "variance")
        parameters = [self.parameter((x.channels,), kind) for kind in kinds]
        return self.apply("BatchNormalization", [x, *parameters], x.shape, kind="batch_norm")

    def relu(self, x: Value) -> Value:
        """max(x, 0)."""
        return self.apply("Relu", [x], x.shape)

    def relu6(self, x: Value) -> Value:
        """min(max(x, 0), 6), as PyTorch exports it: ``Clip`` with its limits as operands."""
        limits = [self.constant(0.0), self.constant(6.0)]
        return self.apply("Clip", [x, *limits], x.shape, kind="relu6")

    def swish(self, x: Value) -> Value:
        """Sigmoid-weighted x, as PyTorch exports it: in two nodes."""
        return self.multiply(x, self.apply("Sigmoid", [x], x.shape))

    def activation(self, x: Value, kind: str) -> Value:
        """An activation by its name, a key of :data:`ACTIVATIONS`."""
        return ACTIVATIONS[kind](self, x)

    def lrn(self, x: Value, size: int = 5) -> Value:
        """Local response normalization across ``size`` channels."""
        return self.apply("LRN", [x], x.shape, size=size)

    def max_pool(self, x: Value, kernel: int, stride: int, *, padding: int = 0) -> Value:
        """Largest value of each window."""
        return self._pool("MaxPool", x, kernel, stride, padding)

    def average_pool(self, x: Value, kernel: int, stride: int, *, padding: int = 0) -> Value:
        """Mean of each window, padding not counted."""
        return self._pool("AveragePool", x, kernel, stride, padding)

    def global_average_pool(self, x: Value) -> Value:
        """Mean of each channel, ``[batch, channels, 1, 1]``."""
        return self.apply("GlobalAveragePool", [x], (*x.shape[:2], 1, 1))

    def flatten(self, x: Value) -> Value:
        """All dimensions but the first as one."""
        return self.apply("Flatten", [x], (x.shape[0], math.prod(x.shape[1:])), axis=1)

    def gemm(self, x: Value, units: int) -> Value:
        """Dense layer with bias on ``[batch, features]``."""
        weights = [self.parameter((units, x.channels)), self.parameter((units,))]
        self.flops += 2 * x.shape[0] * units * x.channels
        return self.apply("Gemm", [x, *weights], (x.shape[0], units), transB=1)

    def concat(self, values: Sequence[Value]) -> Value:
        """Values of one size joined along their channels."""
        channels = sum(value.channels for value in values)
        batch, _, *image = values[0].shape
        return self.apply("Concat", values, (batch, channels, *image), axis=1)

    def add(self, a: Value, b: Value) -> Value:
        """Sum of two values of one shape."""
        return self.apply("Add", [a, b], a.shape)

    def multiply(self, a: Value, b: Value) -> Value:
        """Product; ``b`` is broadcast to the shape of ``a``."""
        return self.apply("Mul", [a, b], a.shape)

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
        constants = [numpy_helper.from_array(*item[::-1]) for item in self._constants.items()]
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
            [_value_info(replace(output, name="logits"))],
            initializer=[*(shape for _, shape in parameters), *constants],
        )
        opset = helper.make_opsetid("", _OPSET)
        return helper.make_model(graph, opset_imports=[opset], ir_version=_IR_VERSION)

    def _pool(self, op: str, x: Value, kernel: int, stride: int, padding: int) -> Value:
        size = _pooled(x.size, kernel, stride, padding)
        return self.apply(
            op,
            [x],
            (*x.shape[:2], size, size),
            kernel_shape=[kernel, kernel],
            pads=[padding] * 4,
            strides=[stride, stride],
        )

    def _name(self, kind: str) -> str:
        count = self._counts.get(kind, 0)
        self._counts[kind] = count + 1
        return f"{kind}_{count}"


ACTIVATIONS: dict[str, Callable[[NetworkBuilder, Value], Value]] = {
    "relu": NetworkBuilder.relu,
    "relu6": NetworkBuilder.relu6,
    "swish": NetworkBuilder.swish,
    "sigmoid": lambda net, x: net.apply("Sigmoid", [x], x.shape),
    "hard_swish": lambda net, x: net.apply("HardSwish", [x], x.shape, kind="hard_swish"),
    "hard_sigmoid": lambda net, x: net.apply(
        "HardSigmoid", [x], x.shape, kind="hard_sigmoid", alpha=1 / 6
    ),
}
"""Activations by name; the hard ones are those of MobileNetV3."""


def write_network(
    layers: Callable[[_ConfigT], tuple[NetworkBuilder, Value]], config: _ConfigT, name: str
) -> ModelProto:
    """The ``layers`` of ``config`` as a weightless ONNX network; each family's ``build``."""
    net, logits = layers(config)
    return net.model(name, logits)


def _pooled(size: int, kernel: int, stride: int, padding: int) -> int:
    return (size + 2 * padding - kernel) // stride + 1


def _value_info(value: Value) -> onnx.ValueInfoProto:
    data_type = helper.np_dtype_to_tensor_dtype(np.dtype(value.dtype))
    return helper.make_tensor_value_info(value.name, data_type, value.shape)
