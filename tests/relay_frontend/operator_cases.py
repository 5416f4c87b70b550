"""Small ONNX models, one for each operator of the vocabulary and each notable variant of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper, shape_inference

Inputs = Mapping[str, Sequence[Any]]
"""Shapes of graph inputs; a dtype name may lead (``("int64", 2, 3)``), else they are float32."""

Weights = Mapping[str, "tuple[int, ...] | np.ndarray | None"]
"""Initializers by shape (seeded random float32) or by value."""

_DTYPES = {
    "bool": TensorProto.BOOL,
    "float16": TensorProto.FLOAT16,
    "float32": TensorProto.FLOAT,
    "int32": TensorProto.INT32,
    "int64": TensorProto.INT64,
    "int8": TensorProto.INT8,
    "uint8": TensorProto.UINT8,
}


@dataclass(frozen=True)
class Case:
    """One small model.

    Args:
        name: what it tries, unique.
        op: the canonical operators that it becomes, in order; a single one as it is.
        nodes: its ONNX nodes.
        inputs, weights: see :data:`Inputs` and :data:`Weights`.
        outputs: the values that it returns.
        opset: version of the default domain.
    """

    name: str
    op: str | tuple[str, ...]
    nodes: Sequence[onnx.NodeProto]
    inputs: Inputs
    weights: Weights
    outputs: Sequence[str]
    opset: int

    @property
    def ops(self) -> tuple[str, ...]:
        return (self.op,) if isinstance(self.op, str) else self.op

    @cached_property
    def model(self) -> onnx.ModelProto:
        rng = np.random.default_rng(0)
        initializers = [
            numpy_helper.from_array(
                value
                if isinstance(value, np.ndarray)
                else rng.standard_normal(value).astype(np.float32),
                name,
            )
            for name, value in self.weights.items()
            if value is not None
        ]
        graph = helper.make_graph(
            self.nodes,
            self.name,
            [_input(name, spec) for name, spec in self.inputs.items()],
            [onnx.ValueInfoProto(name=name) for name in self.outputs],
            initializers,
        )
        opset = helper.make_opsetid("", self.opset)
        model = helper.make_model(graph, opset_imports=[opset], ir_version=8)
        # Types of the outputs; those of inner values are for the reader to find.
        inferred = shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
        for value in inferred.graph.output:
            if not value.type.HasField("tensor_type"):  # GroupNormalization has no inference
                value.type.CopyFrom(model.graph.input[0].type)
        del model.graph.output[:]
        model.graph.output.extend(inferred.graph.output)
        return model

    def __str__(self) -> str:
        return self.name


def _input(name: str, spec: Sequence[Any]) -> onnx.ValueInfoProto:
    dtype, shape = ("float32", spec)
    if spec and isinstance(spec[0], str):
        dtype, *shape = spec
    return helper.make_tensor_value_info(name, _DTYPES[dtype], list(shape))


IMAGE: Inputs = {"x": (1, 8, 16, 16)}
LINE: Inputs = {"x": (2, 8, 20)}
VOLUME: Inputs = {"x": (1, 4, 6, 8, 8)}
MATRIX: Inputs = {"x": (4, 12)}
TEXT: Inputs = {"x": (2, 10, 16)}
PAIR: Inputs = {"x": (2, 3, 4), "z": (2, 3, 4)}
INTEGERS: Inputs = {"x": ("int32", 2, 3), "z": ("int32", 2, 3)}
BOOLEANS: Inputs = {"x": ("bool", 2, 3), "z": ("bool", 2, 3)}

node = helper.make_node


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def scalar(value: float, dtype: str = "float32") -> np.ndarray:
    return np.array(value, dtype)


CASES: list[Case] = []


def one(
    name: str,
    op: str | tuple[str, ...],
    op_type: str,
    inputs: Inputs = IMAGE,
    weights: Weights | None = None,
    opset: int = 17,
    outputs: Sequence[str] = ("y",),
    returned: Sequence[str] | None = None,
    **attrs: Any,
) -> None:
    """A model of one node that reads all inputs, then all weights (``None``: none given)."""
    given = weights or {}
    operands = [*inputs, *("" if value is None else key for key, value in given.items())]
    nodes = [node(op_type, operands, list(outputs), name="it", **attrs)]
    used = [name for name in outputs if name] if returned is None else returned
    CASES.append(Case(name, op, nodes, inputs, given, used, opset))


def chain(
    name: str,
    op: str | tuple[str, ...],
    nodes: Sequence[onnx.NodeProto],
    inputs: Inputs = IMAGE,
    weights: Weights | None = None,
    opset: int = 17,
    outputs: Sequence[str] = ("y",),
) -> None:
    """A model of several nodes."""
    CASES.append(Case(name, op, nodes, inputs, weights or {}, outputs, opset))


# --- Convolutions -----------------------------------------------------------------------------

_W2 = {"w": (4, 8, 3, 3)}
one("conv1d", "conv1d", "Conv", LINE, {"w": (4, 8, 3)}, pads=[1, 1])
one("conv1d dilated", "conv1d", "Conv", LINE, {"w": (4, 8, 3), "b": (4,)}, dilations=[2])
one("conv2d", "conv2d", "Conv", IMAGE, _W2, pads=[1, 1, 1, 1])
one("conv2d bias", "conv2d", "Conv", IMAGE, {**_W2, "b": (4,)}, strides=[2, 2])
one("conv2d depthwise", "conv2d", "Conv", IMAGE, {"w": (8, 1, 3, 3)}, group=8)
one("conv2d grouped", "conv2d", "Conv", IMAGE, {"w": (4, 4, 3, 3)}, group=2)
one("conv2d dilated", "conv2d", "Conv", IMAGE, _W2, dilations=[2, 2])
one("conv2d uneven pads", "conv2d", "Conv", IMAGE, _W2, pads=[0, 1, 2, 3])
one("conv2d same upper", "conv2d", "Conv", IMAGE, _W2, auto_pad="SAME_UPPER", strides=[2, 2])
one("conv2d same lower", "conv2d", "Conv", IMAGE, _W2, auto_pad="SAME_LOWER", strides=[2, 2])
one("conv2d valid", "conv2d", "Conv", IMAGE, _W2, auto_pad="VALID")
one("conv3d", "conv3d", "Conv", VOLUME, {"w": (6, 4, 3, 3, 3), "b": (6,)}, pads=[1] * 6)
one("conv1d transposed", "conv1d_transpose", "ConvTranspose", LINE, {"w": (8, 4, 3)}, strides=[2])
one(
    "conv2d transposed",
    "conv2d_transpose",
    "ConvTranspose",
    IMAGE,
    {"w": (8, 4, 3, 3), "b": (4,)},
    strides=[2, 2],
    pads=[1, 1, 1, 1],
    output_padding=[1, 1],
)
one(
    "conv2d transposed grouped",
    "conv2d_transpose",
    "ConvTranspose",
    IMAGE,
    {"w": (8, 2, 2, 2)},
    strides=[2, 2],
    group=2,
)
one(
    "conv2d transposed to shape",
    "conv2d_transpose",
    "ConvTranspose",
    IMAGE,
    {"w": (8, 4, 3, 3)},
    strides=[2, 2],
    output_shape=[32, 32],
)
one(
    "conv3d transposed",
    "conv3d_transpose",
    "ConvTranspose",
    VOLUME,
    {"w": (4, 2, 2, 2, 2)},
    strides=[2, 2, 2],
)
one("conv2d of computed weights", "conv2d", "Conv", {**IMAGE, "w": (4, 8, 3, 3)})

# --- Products ---------------------------------------------------------------------------------

_COMPUTED: Inputs = {"x": (4, 12), "w": (12, 5)}
one("gemm", "dense", "Gemm", MATRIX, {"w": (12, 5), "b": (5,)})
one("gemm transposed weight", "dense", "Gemm", MATRIX, {"w": (5, 12), "b": (5,)}, transB=1)
one("gemm without bias", "dense", "Gemm", MATRIX, {"w": (12, 5)}, opset=13)
one("gemm scalar bias", "dense", "Gemm", MATRIX, {"w": (12, 5), "b": scalar(0.5)})
one(
    "gemm scaled",
    "dense",
    "Gemm",
    MATRIX,
    {"w": (5, 12), "b": (5,)},
    transB=1,
    alpha=0.5,
    beta=2.0,
)
one(
    "gemm transposed data", ("transpose", "dense"), "Gemm", {"x": (12, 4)}, {"w": (12, 5)}, transA=1
)
one("gemm of computed weight", "matmul", "Gemm", _COMPUTED)
one("gemm of computed weight and bias", ("matmul", "add"), "Gemm", {**_COMPUTED, "b": (5,)})
one(
    "gemm of computed transposed weight",
    ("transpose", "matmul"),
    "Gemm",
    {"x": (4, 12), "w": (5, 12)},
    transB=1,
)
one(
    "gemm of computed weight scaled",
    ("multiply", "matmul"),
    "Gemm",
    _COMPUTED,
    alpha=0.5,
)
one("matmul", "matmul", "MatMul", _COMPUTED)
one("matmul constant", "dense", "MatMul", MATRIX, {"w": (12, 5)})
one("matmul constant batched data", "dense", "MatMul", TEXT, {"w": (16, 5)})
one("matmul constant 4-d data", "dense", "MatMul", {"x": (2, 3, 10, 16)}, {"w": (16, 5)})
chain(
    "matmul constant on the left",
    "matmul",
    [node("MatMul", ["w", "x"], ["y"])],
    {"x": (12, 4)},
    {"w": (5, 12)},
)
one("matmul constant batched", "matmul", "MatMul", TEXT, {"w": (2, 16, 5)})
one("matmul batched", "matmul", "MatMul", {"x": (2, 4, 12), "w": (2, 12, 5)})
one("matmul 4-d", "matmul", "MatMul", {"x": (2, 3, 4, 12), "w": (2, 3, 12, 5)})
one("matmul broadcast", "matmul", "MatMul", {"x": (2, 3, 4, 12), "w": (3, 12, 5)})
chain(
    "matmul of a transposed operand",
    ("transpose", "matmul"),
    [node("Transpose", ["z"], ["t"], perm=[0, 2, 1]), node("MatMul", ["x", "t"], ["y"])],
    {"x": (2, 4, 12), "z": (2, 5, 12)},
)
chain(
    "matmul and bias",
    "dense",
    [node("MatMul", ["x", "w"], ["p"]), node("Add", ["p", "b"], ["y"])],
    TEXT,
    {"w": (16, 5), "b": (5,)},
)
one("einsum", "einsum", "Einsum", {"x": (2, 4, 12), "z": (2, 5, 12)}, equation="bid,bjd->bij")
one("einsum implicit", "einsum", "Einsum", {"x": (4, 12), "z": (5, 12)}, equation="ik, jk")
one(
    "einsum ellipsis", "einsum", "Einsum", {"x": (2, 4, 12), "z": (12, 5)}, equation="...k,kn->...n"
)

# --- Normalizations ---------------------------------------------------------------------------

_C8 = {"s": (8,), "b": (8,)}
one(
    "batch norm",
    "batch_norm",
    "BatchNormalization",
    IMAGE,
    {**_C8, "m": (8,), "v": np.linspace(1, 2, 8, dtype=np.float32)},
)
one(
    "batch norm 2-d",
    "batch_norm",
    "BatchNormalization",
    {"x": (4, 8)},
    {**_C8, "m": (8,), "v": np.linspace(1, 2, 8, dtype=np.float32)},
)
one("layer norm", "layer_norm", "LayerNormalization", TEXT, {"s": (16,), "b": (16,)})
one("layer norm without bias", "layer_norm", "LayerNormalization", TEXT, {"s": (16,)})
one("layer norm 2 axes", "layer_norm", "LayerNormalization", TEXT, {"s": (10, 16)}, axis=1)
one(
    "group norm",
    "group_norm",
    "GroupNormalization",
    IMAGE,
    _C8,
    opset=21,
    num_groups=4,
)
one("instance norm", "instance_norm", "InstanceNormalization", IMAGE, _C8)
one("instance norm 1-d", "instance_norm", "InstanceNormalization", LINE, _C8)
one("l2 normalize", "l2_normalize", "LpNormalization", TEXT, axis=-1, p=2)
one("lrn", "lrn", "LRN", IMAGE, size=5)
chain(
    "layer norm in parts",
    "layer_norm",
    [
        node("ReduceMean", ["x"], ["mean"], axes=[-1]),
        node("Sub", ["x", "mean"], ["centered"]),
        node("Pow", ["centered", "two"], ["squares"]),
        node("ReduceMean", ["squares"], ["variance"], axes=[-1]),
        node("Add", ["variance", "epsilon"], ["positive"]),
        node("Sqrt", ["positive"], ["deviation"]),
        node("Div", ["centered", "deviation"], ["normal"]),
        node("Mul", ["normal", "s"], ["scaled"]),
        node("Add", ["scaled", "b"], ["y"]),
    ],
    TEXT,
    {"two": scalar(2.0), "epsilon": scalar(1e-5), "s": (16,), "b": (16,)},
)
chain(
    "rms norm in parts",
    "rms_norm",
    [
        node("Pow", ["x", "two"], ["squares"]),
        node("ReduceMean", ["squares"], ["mean"], axes=[-1]),
        node("Add", ["mean", "epsilon"], ["positive"]),
        node("Sqrt", ["positive"], ["root"]),
        node("Reciprocal", ["root"], ["factor"]),
        node("Mul", ["x", "factor"], ["normal"]),
        node("Mul", ["normal", "s"], ["y"]),
    ],
    TEXT,
    {"two": scalar(2.0), "epsilon": scalar(1e-5), "s": (16,)},
)

# --- Activations ------------------------------------------------------------------------------

for _op_type, _op, _attrs in (
    ("Relu", "relu", {}),
    ("LeakyRelu", "leaky_relu", {}),
    ("Sigmoid", "sigmoid", {}),
    ("Tanh", "tanh", {}),
    ("HardSigmoid", "hard_sigmoid", {}),
    ("HardSwish", "hard_swish", {}),
    ("Elu", "elu", {"alpha": 0.5}),
    ("Selu", "selu", {}),
    ("Celu", "celu", {"alpha": 0.5}),
    ("Softplus", "softplus", {}),
    ("Softsign", "softsign", {}),
    ("ThresholdedRelu", "thresholded_relu", {"alpha": 0.5}),
):
    one(_op.replace("_", " "), _op, _op_type, **_attrs)
one("leaky relu alpha", "leaky_relu", "LeakyRelu", alpha=0.2)
one("hard sigmoid of mobilenet", "hard_sigmoid", "HardSigmoid", alpha=1 / 6, beta=0.5)
one("elu default", "elu", "Elu")
one("celu default", "celu", "Celu")
one("mish", "mish", "Mish", opset=18)
one("gelu", "gelu", "Gelu", TEXT, opset=20)
one("gelu tanh", "gelu", "Gelu", TEXT, opset=20, approximate="tanh")
one("prelu", "prelu", "PRelu", IMAGE, {"slope": (8, 1, 1)})
one("prelu shared", "prelu", "PRelu", IMAGE, {"slope": np.array([0.1], np.float32)})
one("clip", "clip", "Clip", IMAGE, {"low": scalar(0.0), "high": scalar(6.0)})
one("clip low", "clip", "Clip", IMAGE, {"low": scalar(-1.0)})
one("clip high", "clip", "Clip", IMAGE, {"low": None, "high": scalar(3.0)})
one("clip attributes", "clip", "Clip", opset=6, min=0.0, max=6.0)
one("clip nothing", (), "Clip")
chain(
    "silu",
    "silu",
    [node("Sigmoid", ["x"], ["s"]), node("Mul", ["x", "s"], ["y"])],
)
chain(
    "hard swish in parts",
    "hard_swish",
    [
        node("HardSigmoid", ["x"], ["h"], alpha=1 / 6, beta=0.5),
        node("Mul", ["x", "h"], ["y"]),
    ],
)
chain(
    "gelu in parts",
    "gelu",
    [
        node("Div", ["x", "root"], ["d"]),
        node("Erf", ["d"], ["e"]),
        node("Add", ["e", "one"], ["a"]),
        node("Mul", ["x", "a"], ["m"]),
        node("Mul", ["m", "half"], ["y"]),
    ],
    TEXT,
    {"root": scalar(2**0.5), "one": scalar(1.0), "half": scalar(0.5)},
)
chain(
    "mish in parts",
    "mish",
    [
        node("Softplus", ["x"], ["p"]),
        node("Tanh", ["p"], ["t"]),
        node("Mul", ["x", "t"], ["y"]),
    ],
)

# --- Pooling ----------------------------------------------------------------------------------

for _kind, _op_type in (("max", "MaxPool"), ("avg", "AveragePool")):
    _op = f"{_kind}_pool2d"
    one(f"{_kind} pool 1d", f"{_kind}_pool1d", _op_type, LINE, kernel_shape=[3], strides=[2])
    one(f"{_kind} pool 2d", _op, _op_type, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    one(f"{_kind} pool 2d stride 1", _op, _op_type, kernel_shape=[2, 2])
    one(
        f"{_kind} pool 2d ceil",
        _op,
        _op_type,
        kernel_shape=[3, 3],
        strides=[2, 2],
        ceil_mode=1,
        opset=12,
    )
    one(
        f"{_kind} pool 2d same",
        _op,
        _op_type,
        kernel_shape=[3, 3],
        strides=[2, 2],
        auto_pad="SAME_UPPER",
    )
    one(
        f"{_kind} pool 3d",
        f"{_kind}_pool3d",
        _op_type,
        VOLUME,
        kernel_shape=[2, 2, 2],
        strides=[2, 2, 2],
    )
one(
    "avg pool 2d counts padding",
    "avg_pool2d",
    "AveragePool",
    kernel_shape=[3, 3],
    pads=[1, 1, 1, 1],
    count_include_pad=1,
)
one("max pool 2d of everything", "global_max_pool2d", "MaxPool", kernel_shape=[16, 16])
one("global avg pool 1d", "mean", "GlobalAveragePool", LINE)
one("global avg pool 2d", "global_avg_pool2d", "GlobalAveragePool")
one("global avg pool 3d", "mean", "GlobalAveragePool", VOLUME)
one("global max pool 1d", "max", "GlobalMaxPool", LINE)
one("global max pool 2d", "global_max_pool2d", "GlobalMaxPool")
one("global max pool 3d", "max", "GlobalMaxPool", VOLUME)

# --- Reductions -------------------------------------------------------------------------------

for _op_type, _op in (
    ("ReduceMean", "mean"),
    ("ReduceSum", "sum"),
    ("ReduceMax", "max"),
    ("ReduceMin", "min"),
    ("ReduceProd", "prod"),
    ("ReduceL1", "reduce_l1"),
    ("ReduceL2", "reduce_l2"),
    ("ReduceLogSumExp", "logsumexp"),
):
    _name = _op.replace("_", " ")
    one(f"{_name} opset 11", _op, _op_type, TEXT, opset=11, axes=[-1])
    one(f"{_name} opset 18", _op, _op_type, TEXT, {"axes": ints(1)}, opset=18, keepdims=0)
one("mean opset 13", "mean", "ReduceMean", TEXT, opset=13, axes=[1], keepdims=0)
one("sum opset 13", "sum", "ReduceSum", TEXT, {"axes": ints(0, 2)}, opset=13)
one("sum of all", "sum", "ReduceSum", TEXT, opset=13, keepdims=0)
one("sum of nothing", (), "ReduceSum", TEXT, opset=13, noop_with_empty_axes=1)
one("mean of an image", "global_avg_pool2d", "ReduceMean", axes=[2, 3])
one(
    "mean of an image dropped",
    ("global_avg_pool2d", "reshape"),
    "ReduceMean",
    axes=[2, 3],
    keepdims=0,
)
one("sum of squares", ("square", "sum"), "ReduceSumSquare", TEXT, axes=[-1])
one("log of sum", ("sum", "log"), "ReduceLogSum", TEXT, axes=[-1])
one("argmax", "argmax", "ArgMax", TEXT, axis=-1)
one("argmax dropped", "argmax", "ArgMax", TEXT, axis=1, keepdims=0)
one("argmin", "argmin", "ArgMin", TEXT, axis=-1)
one("cumsum", "cumsum", "CumSum", TEXT, {"axis": scalar(1, "int64")})
one(
    "top k values",
    "top_k",
    "TopK",
    TEXT,
    {"k": ints(3)},
    outputs=("y", "indices"),
    returned=("y",),
)
one(
    "top k positions",
    ("top_k", "item"),
    "TopK",
    TEXT,
    {"k": ints(3)},
    outputs=("values", "y"),
    returned=("y",),
    axis=1,
)
one("top k both", ("top_k", "item"), "TopK", TEXT, {"k": ints(3)}, outputs=("y", "i"))

# --- Softmax ----------------------------------------------------------------------------------

one("softmax", "softmax", "Softmax", TEXT)
one("softmax axis", "softmax", "Softmax", TEXT, axis=1)
one("softmax opset 11", "softmax", "Softmax", MATRIX, opset=11)
one("softmax opset 11 last axis", "softmax", "Softmax", TEXT, opset=11, axis=2)
one(
    "softmax opset 11 of merged axes",
    ("reshape", "softmax", "reshape"),
    "Softmax",
    TEXT,
    opset=11,
    axis=1,
)
one("log softmax", "log_softmax", "LogSoftmax", TEXT)
one("log softmax opset 11", "log_softmax", "LogSoftmax", MATRIX, opset=11)

# --- Sequences --------------------------------------------------------------------------------

_SEQUENCE: Inputs = {"x": (6, 2, 8)}
for _op_type, _op, _gates in (("LSTM", "lstm", 4), ("GRU", "gru", 3), ("RNN", "rnn", 1)):
    for _directions, _suffix in ((1, ""), (2, " bidirectional")):
        _weights = {
            "w": (_directions, _gates * 5, 8),
            "r": (_directions, _gates * 5, 5),
            "b": (_directions, 2 * _gates * 5),
        }
        _direction = "bidirectional" if _directions == 2 else "forward"
        one(
            f"{_op}{_suffix}",
            _op,
            _op_type,
            _SEQUENCE,
            _weights,
            hidden_size=5,
            direction=_direction,
        )
        one(
            f"{_op}{_suffix} last state",
            (_op, "item"),
            _op_type,
            _SEQUENCE,
            _weights,
            outputs=("", "y"),
            hidden_size=5,
            direction=_direction,
        )
one(
    "lstm all results",
    ("lstm", "item", "item"),
    "LSTM",
    _SEQUENCE,
    {"w": (1, 20, 8), "r": (1, 20, 5), "b": (1, 40)},
    outputs=("y", "h", "c"),
    hidden_size=5,
)
one(
    "gru linear before reset",
    "gru",
    "GRU",
    _SEQUENCE,
    {"w": (1, 15, 8), "r": (1, 15, 5), "b": (1, 30)},
    hidden_size=5,
    linear_before_reset=1,
)

# --- Attention --------------------------------------------------------------------------------

_HEADS: Inputs = {"q": (2, 4, 10, 16), "k": (2, 4, 10, 16), "v": (2, 4, 10, 16)}
chain(
    "attention in parts",
    ("attention",),
    [
        node("Transpose", ["k"], ["t"], perm=[0, 1, 3, 2]),
        node("MatMul", ["q", "t"], ["scores"]),
        node("Div", ["scores", "scale"], ["scaled"]),
        node("Softmax", ["scaled"], ["weights"], axis=-1),
        node("MatMul", ["weights", "v"], ["y"]),
    ],
    _HEADS,
    {"scale": scalar(4.0)},
)
chain(
    "attention in parts with a mask",
    ("attention",),
    [
        node("Mul", ["q", "scale"], ["sq"]),
        node("Transpose", ["k"], ["t"], perm=[0, 1, 3, 2]),
        node("Mul", ["t", "scale"], ["sk"]),
        node("MatMul", ["sq", "sk"], ["scores"]),
        node("Add", ["scores", "mask"], ["masked"]),
        node("Softmax", ["masked"], ["weights"], axis=-1),
        node("MatMul", ["weights", "v"], ["y"]),
    ],
    {**_HEADS, "mask": (2, 1, 10, 10)},
    {"scale": scalar(0.5)},
)

# --- Elementwise, comparison, logic -----------------------------------------------------------

for _op_type in (
    *("Abs", "Neg", "Reciprocal", "Sqrt", "Exp", "Log", "Erf", "Sin", "Cos", "Tan", "Asin", "Acos"),
    *("Atan", "Sinh", "Cosh", "Asinh", "Acosh", "Atanh", "Ceil", "Floor", "Round", "Sign"),
):
    _op = {"Neg": "negative"}.get(_op_type, _op_type.lower())
    one(_op, _op, _op_type, TEXT)
one("is nan", "is_nan", "IsNaN", TEXT)
one("is inf", "is_inf", "IsInf", TEXT)
one("logical not", "logical_not", "Not", {"x": ("bool", 2, 3)})
one("bitwise not", "bitwise_not", "BitwiseNot", {"x": ("int32", 2, 3)}, opset=18)
for _op_type, _op in (
    ("Add", "add"),
    ("Sub", "subtract"),
    ("Mul", "multiply"),
    ("Div", "divide"),
    ("Pow", "power"),
    ("Max", "maximum"),
    ("Min", "minimum"),
    ("Equal", "equal"),
    ("Greater", "greater"),
    ("GreaterOrEqual", "greater_equal"),
    ("Less", "less"),
    ("LessOrEqual", "less_equal"),
):
    one(_op.replace("_", " "), _op, _op_type, PAIR)
one("mod", "mod", "Mod", INTEGERS)
for _op in ("And", "Or", "Xor"):
    one(f"logical {_op.lower()}", f"logical_{_op.lower()}", _op, BOOLEANS)
    one(f"bitwise {_op.lower()}", f"bitwise_{_op.lower()}", f"Bitwise{_op}", INTEGERS, opset=18)
one("add broadcast", "add", "Add", {"x": (2, 3, 4), "z": (3, 1)})
one("add constant", "add", "Add", {"x": (2, 3, 4)}, {"c": (2, 3, 4)})
one("multiply by a scalar", "multiply", "Mul", TEXT, {"c": scalar(0.3)})
one("divide by a scalar", "divide", "Div", TEXT, {"c": scalar(3.0)})
chain(
    "subtract from a scalar",
    "subtract",
    [node("Sub", ["c", "x"], ["y"])],
    TEXT,
    {"c": scalar(1.0)},
)
one("maximum of three", ("maximum", "maximum"), "Max", {"x": (2, 3), "z": (2, 3), "w": (2, 3)})
one("minimum of three", ("minimum", "minimum"), "Min", {"x": (2, 3), "z": (2, 3), "w": (2, 3)})
one("sum of three", ("add", "add"), "Sum", {"x": (2, 3), "z": (2, 3), "w": (2, 3)})
one("mean of two", ("add", "divide"), "Mean", {"x": (2, 3), "z": (2, 3)})
one("power of two", "square", "Pow", TEXT, {"c": scalar(2.0)})
one("power of a half", "sqrt", "Pow", TEXT, {"c": scalar(0.5)})
one("power of three", "power", "Pow", TEXT, {"c": scalar(3.0)})
chain("square", "square", [node("Mul", ["x", "x"], ["y"])], TEXT)
chain(
    "reciprocal square root",
    "rsqrt",
    [node("Sqrt", ["x"], ["s"]), node("Reciprocal", ["s"], ["y"])],
    TEXT,
)
chain(
    "one over square root",
    "rsqrt",
    [node("Sqrt", ["x"], ["s"]), node("Div", ["one", "s"], ["y"])],
    TEXT,
    {"one": scalar(1.0)},
)
chain("one over x", "reciprocal", [node("Div", ["one", "x"], ["y"])], TEXT, {"one": scalar(1.0)})
one("where", "where", "Where", {"c": ("bool", 2, 3), "x": (2, 3), "z": (2, 3)})
one("where constant", "where", "Where", {"c": ("bool", 2, 3), "x": (2, 3)}, {"z": scalar(-1e9)})
one("cast", "cast", "Cast", {"x": ("int64", 2, 3)}, to=TensorProto.FLOAT)
one("cast to half", "cast", "Cast", TEXT, to=TensorProto.FLOAT16)
one("cast to the same", (), "Cast", TEXT, to=TensorProto.FLOAT)
one(
    "quantize",
    "quantize",
    "QuantizeLinear",
    IMAGE,
    {"s": scalar(0.1), "z": scalar(3, "uint8")},
)
one(
    "quantize per axis",
    "quantize",
    "QuantizeLinear",
    IMAGE,
    {"s": np.linspace(0.1, 0.2, 8, dtype=np.float32), "z": np.arange(8, dtype=np.int8)},
    axis=1,
)
one(
    "dequantize",
    "dequantize",
    "DequantizeLinear",
    {"x": ("uint8", 1, 8, 16, 16)},
    {"s": scalar(0.1), "z": scalar(3, "uint8")},
)
one(
    "dequantize per axis",
    "dequantize",
    "DequantizeLinear",
    {"x": ("int8", 1, 8, 16, 16)},
    {"s": np.linspace(0.1, 0.2, 8, dtype=np.float32), "z": np.zeros(8, np.int8)},
    axis=1,
)

# --- Moving data ------------------------------------------------------------------------------

_POSITIONS: Inputs = {"i": ("int64", 2, 10)}
chain(
    "embedding",
    "take",
    [node("Gather", ["table", "i"], ["y"])],
    _POSITIONS,
    {"table": (50, 16)},
)
one("gather", "take", "Gather", {**TEXT, "i": ("int64", 3)}, axis=1)
one("gather constant positions", "take", "Gather", TEXT, {"i": ints(0, 5, 2)}, axis=1)
one("gather one", ("slice", "reshape"), "Gather", TEXT, {"i": scalar(-1, "int64")}, axis=1)
one(
    "gather elements",
    "gather_elements",
    "GatherElements",
    {**TEXT, "i": ("int64", 2, 10, 3)},
    axis=2,
)
one("gather nd", "gather_nd", "GatherND", {**TEXT, "i": ("int64", 5, 2)})
one(
    "scatter elements",
    "scatter_elements",
    "ScatterElements",
    {**TEXT, "i": ("int64", 2, 10, 3), "u": (2, 10, 3)},
    axis=2,
)
one("scatter nd", "scatter_nd", "ScatterND", {**TEXT, "i": ("int64", 5, 2), "u": (5, 16)})
one("slice", "slice", "Slice", TEXT, {"b": ints(1), "e": ints(7), "a": ints(1)})
one(
    "slice steps",
    "slice",
    "Slice",
    TEXT,
    {"b": ints(0, 1), "e": ints(10, 15), "a": ints(1, 2), "s": ints(2, 3)},
)
one("slice negative", "slice", "Slice", TEXT, {"b": ints(-5), "e": ints(-1), "a": ints(-1)})
one("slice to the end", "slice", "Slice", TEXT, {"b": ints(3), "e": ints(2**63 - 1), "a": ints(1)})
one(
    "slice backwards",
    "slice",
    "Slice",
    TEXT,
    {"b": ints(-1), "e": ints(-(2**63)), "a": ints(1), "s": ints(-1)},
)
one("slice of everything", (), "Slice", TEXT, {"b": ints(0), "e": ints(100), "a": ints(1)})
one("slice opset 9", "slice", "Slice", TEXT, opset=9, starts=[1], ends=[7], axes=[1])
one("concat", "concatenate", "Concat", PAIR, axis=-1)
one("concat constant", "concatenate", "Concat", {"x": (2, 3, 4)}, {"c": (2, 1, 4)}, axis=1)
_HALVES = ("a", "b")
chain(
    "split",
    ("split", "split", "add"),
    [node("Split", ["x"], _HALVES, axis=1), node("Add", _HALVES, ["y"])],
    IMAGE,
    opset=13,
)
chain(
    "split num outputs",
    ("split", "split", "add"),
    [node("Split", ["x"], _HALVES, axis=1, num_outputs=2), node("Add", _HALVES, ["y"])],
    IMAGE,
    opset=18,
)
one(
    "split unequal",
    ("split", "split"),
    "Split",
    IMAGE,
    {"parts": ints(3, 5)},
    outputs=_HALVES,
    axis=1,
)
one("split opset 11", ("split", "split"), "Split", opset=11, outputs=_HALVES, axis=1, split=[4, 4])
one(
    "resize nearest",
    "resize",
    "Resize",
    IMAGE,
    {"roi": None, "scales": np.array([1, 1, 2, 2], np.float32)},
    mode="nearest",
    coordinate_transformation_mode="asymmetric",
    nearest_mode="floor",
)
one(
    "resize linear",
    "resize",
    "Resize",
    IMAGE,
    {"roi": None, "scales": np.array([1, 1, 2, 2], np.float32)},
    mode="linear",
)
one(
    "resize linear sizes",
    "resize",
    "Resize",
    IMAGE,
    {"roi": None, "scales": None, "sizes": ints(1, 8, 24, 24)},
    mode="linear",
    coordinate_transformation_mode="align_corners",
)
one(
    "resize cubic",
    "resize",
    "Resize",
    IMAGE,
    {"roi": None, "scales": None, "sizes": ints(1, 8, 24, 24)},
    mode="cubic",
)
one(
    "resize 1d",
    "resize",
    "Resize",
    LINE,
    {"roi": None, "scales": np.array([1, 1, 2], np.float32)},
    mode="nearest",
)
one(
    "resize 3d",
    "resize",
    "Resize",
    VOLUME,
    {"roi": None, "scales": np.array([1, 1, 2, 2, 2], np.float32)},
    mode="nearest",
)
one(
    "upsample",
    "resize",
    "Upsample",
    IMAGE,
    {"scales": np.array([1, 1, 2, 2], np.float32)},
    opset=9,
    mode="nearest",
)
_WIDTHS = {"pads": ints(0, 0, 1, 2, 0, 0, 3, 4)}
one("pad", "pad", "Pad", IMAGE, _WIDTHS)
one("pad with a value", "pad", "Pad", IMAGE, {**_WIDTHS, "value": scalar(1.5)})
one("pad opset 2", "pad", "Pad", opset=2, pads=[0, 0, 1, 2, 0, 0, 3, 4])
one("pad reflect", "pad_edge", "Pad", IMAGE, _WIDTHS, mode="reflect")
one("pad edge", "pad_edge", "Pad", IMAGE, _WIDTHS, mode="edge")
one(
    "pad axes",
    "pad",
    "Pad",
    IMAGE,
    {"pads": ints(1, 2, 3, 4), "value": scalar(0.0), "axes": ints(2, 3)},
    opset=18,
)
one("tile", "tile", "Tile", {"x": (2, 3)}, {"repeats": ints(2, 1)})
one("expand", "broadcast_to", "Expand", {"x": (3, 1)}, {"shape": ints(2, 3, 4)})
one("expand to the same", (), "Expand", {"x": (3, 4)}, {"shape": ints(3, 1)})
one("depth to space", "depth_to_space", "DepthToSpace", blocksize=2)
one("depth to space crd", "depth_to_space", "DepthToSpace", blocksize=2, mode="CRD")
one("space to depth", "space_to_depth", "SpaceToDepth", blocksize=2)
one("upper triangle", "triangle", "Trilu", {"x": (2, 5, 5)})
one("lower triangle", "triangle", "Trilu", {"x": (2, 5, 5)}, {"k": scalar(1, "int64")}, upper=0)
one(
    "one hot",
    "one_hot",
    "OneHot",
    {"x": ("int64", 2, 3)},
    {"depth": scalar(5, "int64"), "values": np.array([0, 1], np.float32)},
)
one("grid sample", "grid_sample", "GridSample", {"x": (1, 8, 16, 16), "g": (1, 6, 6, 2)})
one(
    "grid sample nearest",
    "grid_sample",
    "GridSample",
    {"x": (1, 8, 16, 16), "g": (1, 6, 6, 2)},
    mode="nearest",
)
one(
    "roi align",
    "roi_align",
    "RoiAlign",
    {"x": (1, 8, 16, 16), "rois": (3, 4), "i": ("int64", 3)},
    output_height=2,
    output_width=2,
)

# --- Shapes -----------------------------------------------------------------------------------

one("reshape", "reshape", "Reshape", TEXT, {"shape": ints(0, -1)})
one("flatten", "reshape", "Flatten", IMAGE)
one("squeeze", "reshape", "Squeeze", {"x": (2, 1, 3)}, {"axes": ints(1)})
one("squeeze opset 11", "reshape", "Squeeze", {"x": (2, 1, 3)}, opset=11, axes=[1])
one("unsqueeze", "reshape", "Unsqueeze", {"x": (2, 3)}, {"axes": ints(0, -1)})
one("unsqueeze opset 11", "reshape", "Unsqueeze", {"x": (2, 3)}, opset=11, axes=[1])
one("transpose", "transpose", "Transpose", IMAGE, perm=[0, 2, 3, 1])
one("transpose reversed", "transpose", "Transpose", {"x": (2, 3, 4)})
chain(
    "transposes that merge",
    "transpose",
    [
        node("Transpose", ["x"], ["t"], perm=[0, 2, 3, 1]),
        node("Transpose", ["t"], ["y"], perm=[2, 0, 1, 3]),
    ],
)
chain(
    "transposes that cancel",
    "relu",
    [
        node("Transpose", ["x"], ["t"], perm=[0, 2, 3, 1]),
        node("Transpose", ["t"], ["u"], perm=[0, 3, 1, 2]),
        node("Relu", ["u"], ["y"]),
    ],
)
chain("identity", "relu", [node("Identity", ["x"], ["i"]), node("Relu", ["i"], ["y"])])
chain("dropout", "relu", [node("Dropout", ["x"], ["d"]), node("Relu", ["d"], ["y"])])
chain(
    "reshape to a computed shape",
    "reshape",
    [
        node("Shape", ["x"], ["s"]),
        node("Gather", ["s", "zero"], ["n"]),
        node("Unsqueeze", ["n", "first"], ["u"]),
        node("Concat", ["u", "rest"], ["target"], axis=0),
        node("Reshape", ["x", "target"], ["y"]),
    ],
    IMAGE,
    {"zero": scalar(0, "int64"), "first": ints(0), "rest": ints(-1)},
)
chain(
    "expand to a computed shape",
    ("broadcast_to", "add"),
    [
        node("Shape", ["z"], ["s"]),
        node("Expand", ["x", "s"], ["e"]),
        node("Add", ["e", "z"], ["y"]),
    ],
    {"x": (1, 3, 1), "z": (2, 3, 4)},
)
chain(
    "slice to a computed half",
    "slice",
    [
        node("Shape", ["x"], ["s"]),
        node("Gather", ["s", "one"], ["n"]),
        node("Div", ["n", "two"], ["half"]),
        node("Slice", ["x", "half", "n", "one"], ["y"]),
    ],
    TEXT,
    {"one": ints(1), "two": ints(2)},
)
chain(
    "resize to twice a computed size",
    "resize",
    [
        node("Shape", ["x"], ["s"]),
        node("Slice", ["s", "two", "four"], ["hw"]),
        node("Mul", ["hw", "two"], ["twice"]),
        node("Slice", ["s", "zero", "two"], ["nc"]),
        node("Concat", ["nc", "twice"], ["sizes"], axis=0),
        node("Resize", ["x", "", "", "sizes"], ["y"], mode="nearest"),
    ],
    IMAGE,
    {"zero": ints(0), "two": ints(2), "four": ints(4)},
)

_UNROLLED = "TVM's importer writes a recurrent layer as the operators of each of its steps"

_RECURRENT = (("lstm",), ("gru",), ("rnn",))
DIFFERENCES: dict[tuple[str, str], str] = {
    (case.name, "relay"): _UNROLLED for case in CASES if case.ops[:1] in _RECURRENT
}
"""Case and source (``relax`` or ``relay``) whose graph is not that of ONNX, and why."""

_RELAX_LACKS = "TVM's ONNX importer lacks the operator"
_RELAX: dict[str, str] = {
    **{case.name: _RELAX_LACKS for case in CASES if case.ops[:1] in _RECURRENT},
    "l2 normalize": _RELAX_LACKS,
    "celu": _RELAX_LACKS,
    "celu default": _RELAX_LACKS,
    "slice opset 9": "TVM's ONNX importer refuses the form of opset 9, bounds as attributes",
    "upsample": "TVM's ONNX importer refuses Upsample, which Resize replaced in opset 10",
    "conv2d transposed to shape": "TVM's ONNX importer ignores `output_shape`",
    "gemm scaled": "TVM's ONNX importer scales the data, not the weight",
    "einsum": "TVM's ONNX importer writes Einsum as TIR, whose equation is lost",
    "einsum implicit": "TVM's ONNX importer writes Einsum as TIR, whose equation is lost",
    "einsum ellipsis": "TVM's ONNX importer writes Einsum as TIR, whose equation is lost",
    "one hot": "TVM's ONNX importer gives float64 where ONNX says float32",
    "roi align": "TVM's ONNX importer shifts the regions by half a pixel at run time",
    "slice to a computed half": "TVM's ONNX importer leaves the bounds to run time",
}
DIFFERENCES.update({(name, "relax"): reason for name, reason in _RELAX.items()})
