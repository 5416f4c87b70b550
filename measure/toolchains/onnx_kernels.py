"""Kernels of ONNX Runtime: the nodes of the graph that its optimizers leave, and their times.

ONNX Runtime emits no code: a kernel is one call of a precompiled function, with the activation or
the sum that an optimizer fused into it. The optimized graph tells what a node computes, the
profile of an inference what types its results have and how long it took.

Two sessions of one network differ in the numbers in the names of what the optimizers add, and in
the order of nodes that do not depend on each other. Kernels have names and an order of their own,
which follow from the graph alone.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper

from relay_frontend.errors import NetworkError
from relay_frontend.graph import TensorType
from relay_frontend.kernel import Kernel
from relay_frontend.operators import OPERATORS

Event = Mapping[str, Any]
Times = npt.NDArray[np.float64]

_NUMBER = re.compile(r"_token_\d+$")
_NCHWC = "com.microsoft.nchwc"
DTYPES = {"float": "float32", "double": "float64"}
"""Names of ONNX Runtime's element types that are not NumPy's too."""
_SUM_INPUT = 3
"""Position of the operand that a convolution adds to its result."""


@dataclass(frozen=True, slots=True)
class _Call:
    op: str
    attrs: Mapping[str, Any]
    arguments: tuple[TensorType, ...]
    results: tuple[TensorType, ...]

    @property
    def elements(self) -> int:
        return sum(t.num_elements for t in self.results)


def name_kernels(optimized: onnx.GraphProto, tensors: Collection[str]) -> dict[str, int]:
    """Positions of the nodes of ``optimized``, by the names of their kernels, operands first.

    Args:
        optimized: the graph that ONNX Runtime's optimizers left.
        tensors: names of the tensors of the network that it was made from.
    """
    bases = [_NUMBER.sub("", node.name or node.op_type) for node in optimized.node]
    uses = Counter(bases)
    named: dict[str, int] = {}
    origins = {name: name for name in tensors}
    for index in _depth_first(optimized):
        node, name = optimized.node[index], bases[index]
        if uses[name] > 1:
            name += f"({_origin(node, origins)})"
        while name in named:
            name += "'"
        named[name] = index
        for output in node.output:
            origins.setdefault(output, name)
    return named


def _origin(node: onnx.NodeProto, origins: Mapping[str, str]) -> str:
    """What tells an added node from others: the network's tensor that it makes, or its operands."""
    made = [name for name in node.output if name in origins]
    return made[0] if made else ",".join(origins[name] for name in node.input if name in origins)


def _depth_first(graph: onnx.GraphProto) -> Iterator[int]:
    """Positions of all nodes, from the outputs; then of those that only a branch or loop reads."""
    producers = {output: i for i, node in enumerate(graph.node) for output in node.output if output}
    done: set[int] = set()
    roots = [producers[value.name] for value in graph.output if value.name in producers]
    stack = [*reversed(range(len(graph.node))), *reversed(roots)]
    while stack:
        index = stack[-1]
        inputs = graph.node[index].input
        waiting = [producers[n] for n in inputs if n in producers and producers[n] not in done]
        if index in done or not waiting:
            stack.pop()
            if index not in done:
                done.add(index)
                yield index
        else:
            stack.extend(reversed(waiting))


def node_events(profile: Iterable[Event], optimized: onnx.GraphProto) -> list[list[Event]]:
    """The events in which the nodes of ``optimized`` ran, a list for each inference.

    A session runs its nodes in the order in which it writes them. What runs inside of a branch or
    loop is part of the event of its node.

    Raises:
        NetworkError: the profile is of other nodes.
    """
    events: list[Event] = []
    end = 0
    for event in sorted(profile, key=lambda event: int(event["ts"])):
        if event.get("cat") == "Node" and int(event["ts"]) >= end:
            events.append(event)
            end = int(event["ts"]) + int(event["dur"])
    expected = [node.op_type for node in optimized.node]
    size = max(1, len(expected))
    runs = [events[start : start + size] for start in range(0, len(events), size)]
    for run in runs:
        found = [event["args"]["op_name"] for event in run]
        if found != expected:
            raise NetworkError(f"ONNX Runtime ran {found}, but its optimized graph is {expected}")
    return runs


def event_times(runs: Sequence[Sequence[Event]], positions: Iterable[int]) -> Times:
    """Times in ms of the nodes at ``positions`` in each inference, ``[run, node]``.

    The profile counts in whole microseconds.
    """
    order = list(positions)
    return np.array([[run[i]["dur"] for i in order] for run in runs], np.float64) / 1e3


def read_kernels(
    optimized: onnx.GraphProto, named: Mapping[str, int], run: Sequence[Event]
) -> tuple[Kernel, ...]:
    """The kernels ``named`` of ``optimized``, with the types that the events of ``run`` show."""
    types = _known_types(optimized)
    for node, event in zip(optimized.node, run, strict=True):
        results = _event_types(event["args"]["output_type_shape"])
        types.update(zip(filter(None, node.output), results, strict=True))
    return tuple(_read_kernel(name, optimized.node[i], types) for name, i in named.items())


def _read_kernel(name: str, node: onnx.NodeProto, types: Mapping[str, TensorType]) -> Kernel:
    attrs = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    call = _Call(
        node.op_type.removeprefix("Fused"),
        attrs,
        tuple(types[operand] for operand in node.input if operand),
        tuple(types[result] for result in node.output if result),
    )
    has_sum = len(node.input) > _SUM_INPUT and call.op == "Conv"
    activation = attrs.get("activation", b"").decode()
    return Kernel(
        name=name,
        kind="_".join(
            part
            for part in (
                "nchwc" if node.domain == _NCHWC else "",
                _snake_case(call.op),
                "add" if has_sum else "",
                _snake_case(activation),
            )
            if part
        ),
        arguments=call.arguments,
        results=call.results,
        flops=_flops(call) + (has_sum + bool(activation)) * call.elements,
    )


def _known_types(graph: onnx.GraphProto) -> dict[str, TensorType]:
    """Types of what the graph is given: its inputs and parameters."""
    types = {
        value.name: TensorType(
            tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim),
            _dtype(value.type.tensor_type.elem_type),
        )
        for value in graph.input
    }
    for tensor in graph.initializer:
        types[tensor.name] = TensorType(tuple(tensor.dims), _dtype(tensor.data_type))
    return types


def _event_types(shapes: Iterable[Mapping[str, Sequence[int]]]) -> list[TensorType]:
    """Types from ``[{"float": [1, 64]}, ...]``."""
    return [
        TensorType(tuple(dims), DTYPES.get(dtype, dtype))
        for shape in shapes
        for dtype, dims in shape.items()
    ]


def _dtype(elem_type: int) -> str:
    return str(helper.tensor_dtype_to_np_dtype(elem_type))


def _snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def _flops(call: _Call) -> int:
    """Floating-point operations, a multiply-add counted as two; by the rules of the vocabulary.

    An operator that neither the vocabulary nor this module knows counts one for each element of its
    results. Channels with which the blocked layout pads a tensor count like any others: the kernel
    computes them.
    """
    rule, _, factor = _COSTS.get(call.op, "elements").partition("*")
    return _RULES.get(rule, _per_result)(call) * int(factor or 1)


def _convolution(call: _Call) -> int:
    weight = call.arguments[1]
    bias = call.elements if len(call.arguments) > 2 else 0
    return 2 * call.elements * weight.num_elements // weight.shape[0] + bias


def _transposed_convolution(call: _Call) -> int:
    data, weight = call.arguments[:2]
    bias = call.elements if len(call.arguments) > 2 else 0
    return 2 * data.num_elements * weight.num_elements // weight.shape[0] + bias


def _product(call: _Call) -> int:
    data = call.arguments[0].shape
    bias = call.elements if len(call.arguments) > 2 else 0
    return 2 * call.elements * (data[-2] if call.attrs.get("transA") else data[-1]) + bias


def _window(call: _Call) -> int:
    return call.elements * math.prod(map(int, call.attrs.get("kernel_shape", ())))


def _lrn(call: _Call) -> int:
    return call.elements * (2 * int(call.attrs["size"]) + 4)


def _packed_attention(call: _Call) -> int:
    """Projections of data ``[batch, length, width]``, then two products and a softmax per head."""
    (batch, length, width), weight = call.arguments[0].shape, call.arguments[1]
    scores = batch * length * length
    projections = 2 * batch * length * weight.num_elements
    return projections + scores * (4 * width + 5 * int(call.attrs["num_heads"]))


def _per_argument(call: _Call) -> int:
    return call.arguments[0].num_elements


def _per_result(call: _Call) -> int:
    return call.elements


def _none(_: _Call) -> int:
    return 0


_RULES: dict[str, Callable[[_Call], int]] = {
    "convolution": _convolution,
    "elements": _per_result,
    "inputs": _per_argument,
    "lrn": _lrn,
    "none": _none,
    "packed_attention": _packed_attention,
    "product": _product,
    "transposed_convolution": _transposed_convolution,
    "window": _window,
}
_OWN_OPERATORS = {
    "Attention": "packed_attention",
    "BiasGelu": "elements*2",
    "SkipLayerNormalization": "elements*6",
    "ReorderInput": "none",
    "ReorderOutput": "none",
}
_COSTS = {
    **{source: spec.cost for spec in OPERATORS.values() for source in spec.onnx},
    **_OWN_OPERATORS,
}
