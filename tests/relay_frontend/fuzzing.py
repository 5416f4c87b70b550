"""Broken and strange ONNX files, one for each seed: what the loaders must survive."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import cache
from random import Random

import onnx
from google.protobuf.message import DecodeError
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto

from relay_frontend import native, tokenize
from relay_frontend.canonical.canonicalize import canonicalize
from relay_frontend.errors import CostModelError
from relay_frontend.graph import OpGraph
from relay_frontend.onnx import read_network, read_onnx
from tests.networks import FAMILIES, conv_bn_relu, light, zoo_network
from tests.relay_frontend.operator_cases import CASES

EXTENTS = (-(2**63), -(2**31), -2, -1, 0, 1, 2, 3, 7, 2**16, 2**31 - 1, 2**31, 2**40, 2**62)
"""Dimensions, strides and axes that no network has, and some that one may have."""


@cache
def seeds() -> tuple[bytes, ...]:
    """The valid models that are mutated: every operator, and small whole networks."""
    networks = [zoo_network(family) for family in FAMILIES]
    models = [*(case.model for case in CASES), *networks, conv_bn_relu(), light("squeezenet")]
    return tuple(model.SerializeToString() for model in models)


def fuzz_case(seed: int) -> bytes:
    """The bytes of case ``seed``: a valid model after one to four mutations."""
    rng = Random(seed)
    data = rng.choice(seeds())
    if rng.random() < 0.4:
        for _ in range(rng.choice((1, 1, 2, 4))):
            data = rng.choice(_BYTES)(rng, data)
        return data
    model = onnx.load_from_string(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        rng.choice(_STRUCTURE)(rng, model)
    try:
        return bytes(model.SerializeToString())
    except (DecodeError, ValueError):
        return data


# --- Mutations of the file ----------------------------------------------------------------------


def _flip(rng: Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8, 64))):
        if changed:
            changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


def _truncate(rng: Random, data: bytes) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def _delete(rng: Random, data: bytes) -> bytes:
    start = rng.randrange(len(data) + 1)
    return data[:start] + data[start + rng.choice((1, 2, 16, 256)) :]


def _repeat(rng: Random, data: bytes) -> bytes:
    start = rng.randrange(len(data) + 1)
    part = data[start : start + rng.choice((1, 2, 16, 256))]
    return data[:start] + part * rng.choice((2, 3, 50)) + data[start:]


def _splice(rng: Random, data: bytes) -> bytes:
    """Two files one after the other, cut anywhere: protobuf merges what it can read."""
    other = rng.choice(seeds())
    return data[: rng.randrange(len(data) + 1)] + other[rng.randrange(len(other) + 1) :]


def _endless_number(rng: Random, data: bytes) -> bytes:
    start = rng.randrange(len(data) + 1)
    return data[:start] + b"\xff" * rng.choice((1, 4, 9, 10, 11)) + b"\x7f" + data[start:]


def _deep(rng: Random, data: bytes) -> bytes:
    """Messages within messages: an attribute that holds a graph that holds a node, and so on."""
    inner = b""
    for _ in range(rng.choice((10, 50, 99, 101, 300))):
        graph = _field(1, _field(5, _field(6, inner)))
        inner = graph if len(graph) < 4000 else b""
    return data + _field(7, inner)


def _field(number: int, payload: bytes) -> bytes:
    length, size = len(payload), bytearray()
    while length > 127:
        size.append(length % 128 + 128)
        length //= 128
    return bytes([number * 8 + 2, *size, length]) + payload


_BYTES: tuple[Callable[[Random, bytes], bytes], ...] = (
    _flip,
    _flip,
    _truncate,
    _delete,
    _repeat,
    _splice,
    _endless_number,
    _deep,
)


# --- Mutations of the network -------------------------------------------------------------------


def _node(rng: Random, model: ModelProto) -> NodeProto:
    nodes = model.graph.node
    return rng.choice(nodes) if nodes else nodes.add()


def _value_names(model: ModelProto) -> Sequence[str]:
    names = [name for node in model.graph.node for name in (*node.input, *node.output)]
    return names or [""]


def _rewire(rng: Random, model: ModelProto) -> None:
    """An operand becomes another value, perhaps its own result: cycles, wrong shapes."""
    node = _node(rng, model)
    if node.input:
        node.input[rng.randrange(len(node.input))] = rng.choice(
            [*_value_names(model), "", "missing"]
        )


def _rename_output(rng: Random, model: ModelProto) -> None:
    node = _node(rng, model)
    if node.output:
        node.output[rng.randrange(len(node.output))] = rng.choice([*_value_names(model), "", "new"])


def _operands(rng: Random, model: ModelProto) -> None:
    """One operand more or less than the operator takes."""
    node = _node(rng, model)
    if node.input and rng.random() < 0.5:
        del node.input[rng.randrange(len(node.input))]
    else:
        node.input.append(rng.choice(_value_names(model)))


def _operator(rng: Random, model: ModelProto) -> None:
    node = _node(rng, model)
    other = rng.choice(CASES).model.graph.node[0]
    node.op_type = rng.choice([other.op_type, other.op_type, "NoSuchOperator", "", "Loop"])
    if rng.random() < 0.3:
        node.domain = rng.choice(["com.microsoft", "ai.onnx.ml", "here.be.dragons"])


def _attribute(rng: Random, model: ModelProto) -> None:
    """Strange numbers, another type, a duplicate, or none of it."""
    node = _node(rng, model)
    if not node.attribute or rng.random() < 0.2:
        name = rng.choice(["axis", "axes", "perm", "strides", "pads", "group", "value", "to"])
        node.attribute.add(name=name, type=AttributeProto.INT, i=rng.choice(EXTENTS))
        return
    attribute = rng.choice(node.attribute)
    if rng.random() < 0.2:
        node.attribute.remove(attribute)
    elif attribute.type == AttributeProto.INTS and attribute.ints and rng.random() < 0.8:
        attribute.ints[rng.randrange(len(attribute.ints))] = rng.choice(EXTENTS)
        if rng.random() < 0.2:
            attribute.ints.extend(list(attribute.ints))
    elif rng.random() < 0.5:
        attribute.type = rng.randrange(15)
    else:
        attribute.i = rng.choice(EXTENTS)
        attribute.f = rng.choice((0.0, -1.0, float("nan"), float("inf"), 1e38))
        attribute.s = rng.choice((b"", b"SAME_UPPER", b"\xff\xfe", b"linear"))


def _input_shape(rng: Random, model: ModelProto) -> None:
    values = [*model.graph.input, *model.graph.output, *model.graph.value_info]
    if not values:
        return
    value = rng.choice(values)
    dims = value.type.tensor_type.shape.dim
    choice = rng.random()
    if choice < 0.1:
        value.type.Clear()
    elif choice < 0.2:
        value.type.tensor_type.ClearField("shape")
    elif choice < 0.3:
        value.type.tensor_type.elem_type = rng.randrange(-1, 30)
    elif choice < 0.4 or not dims:
        dims.add().dim_value = rng.choice(EXTENTS)
    elif choice < 0.5:
        rng.choice(dims).dim_param = "n"
    elif choice < 0.6:
        del dims[rng.randrange(len(dims))]
    else:
        rng.choice(dims).dim_value = rng.choice(EXTENTS)


def _initializer(rng: Random, model: ModelProto) -> None:
    tensors = model.graph.initializer
    if not tensors:
        return
    tensor = rng.choice(tensors)
    choice = rng.random()
    if choice < 0.2:
        tensors.remove(tensor)
    elif choice < 0.3:
        tensors.add().CopyFrom(tensor)
    elif choice < 0.5:
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=rng.choice(["../../etc/passwd", "w.bin"]))
    elif choice < 0.6:
        tensor.data_type = rng.randrange(-1, 30)
    elif choice < 0.7:
        tensor.raw_data = rng.randbytes(rng.choice((0, 1, 7, 64)))
    elif tensor.dims:
        tensor.dims[rng.randrange(len(tensor.dims))] = rng.choice(EXTENTS)


def _opset(rng: Random, model: ModelProto) -> None:
    versions = (-1, 0, 1, 5, 9, 11, 13, 17, 21, 23, 99, 2**40)
    if model.opset_import and rng.random() < 0.8:
        rng.choice(model.opset_import).version = rng.choice(versions)
    elif rng.random() < 0.5:
        del model.opset_import[:]
    else:
        model.opset_import.add(domain=rng.choice(["", "com.microsoft"]), version=7)
    if rng.random() < 0.3:
        model.ir_version = rng.choice((0, 1, 3, 8, 99))


def _order(rng: Random, model: ModelProto) -> None:
    """Nodes in another order, twice, or gone."""
    nodes = list(model.graph.node)
    choice = rng.random()
    if choice < 0.5:
        rng.shuffle(nodes)
    elif choice < 0.75 and nodes:
        nodes.append(rng.choice(nodes))
    elif nodes:
        nodes.remove(rng.choice(nodes))
    copies = [NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(copies)


def _signature(rng: Random, model: ModelProto) -> None:
    """Inputs and outputs gone, twice, or under another name."""
    values = rng.choice((model.graph.input, model.graph.output))
    choice = rng.random()
    if choice < 0.4 and values:
        del values[rng.randrange(len(values))]
    elif choice < 0.7 and values:
        values.add().CopyFrom(rng.choice(values))
    elif values:
        rng.choice(values).name = rng.choice([*_value_names(model), "", "other"])


def _subgraph(rng: Random, model: ModelProto) -> None:
    graph = onnx.GraphProto.FromString(model.graph.SerializeToString())
    _node(rng, model).attribute.add(name="body", type=AttributeProto.GRAPH, g=graph)


_STRUCTURE: tuple[Callable[[Random, ModelProto], None], ...] = (
    _rewire,
    _rename_output,
    _operands,
    _operator,
    _attribute,
    _attribute,
    _input_shape,
    _initializer,
    _opset,
    _order,
    _signature,
    _subgraph,
)


# --- What becomes of a case ----------------------------------------------------------------------


def outcome(data: bytes) -> str:
    """``read``, or the class of our error: the same from the native and from the Python path.

    Raises:
        AssertionError: the two paths differ.
        Exception: anything that is not one of our errors is the loader's fault.
    """
    python = _outcome(lambda: canonicalize(read_network(data)))
    if native.module is not None:
        assert _outcome(lambda: read_onnx(data)) == python
    return python.partition(":")[0]


def _outcome(read: Callable[[], OpGraph]) -> str:
    try:
        graph = read()
        features = tokenize(graph).node_features
        return f"read: {graph.digest} {hashlib.sha256(features.tobytes()).hexdigest()}"
    except CostModelError as error:
        return f"{type(error).__name__}: {error}"
