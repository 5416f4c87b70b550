"""Vocabulary v2: one table of all operators, from which tokens, costs and the docs are made.

Readers, the canonical form, the native tokenizer and ``docs/operators.md`` take it from here. The
table only grows: the position of an entry is its position in the one-hot type of a token, so that
tokens for an older, shorter vocabulary are a prefix (see ``SIZES`` in
:mod:`relay_frontend.vocabulary`).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorSpec:
    """What the vocabulary knows of one operator.

    Args:
        summary: one line for the documentation.
        attrs: names of its canonical attributes.
        slots: attribute (with an index for tuples) of each token slot, at most eight.
        cost: rule for its FLOPs, see :mod:`relay_frontend.costs`.
        category: what stands for it in a vocabulary that is too old to have it.
        onnx, relay, relax: the source operators that become it. Where it has no attributes and no
            reader has a converter for them, their operands and types are all that is read.
    """

    summary: str
    attrs: tuple[str, ...] = ()
    slots: tuple[str, ...] = ()
    cost: str = "elements"
    category: str = "opaque"
    onnx: tuple[str, ...] = ()
    relay: tuple[str, ...] = ()
    relax: tuple[str, ...] = ()


def _indexed(name: str, count: int) -> tuple[str, ...]:
    return tuple(f"{name}[{i}]" for i in range(count))


_CONV_ATTRS = ("kernel_size", "strides", "padding", "dilation", "groups", "has_bias")
_POOL_ATTRS = ("kernel_size", "strides", "padding")
_WINDOW = (*_indexed("kernel_size", 2), *_indexed("strides", 2), *_indexed("padding", 2))
_CONV_SLOTS = {
    1: ("kernel_size[0]", "strides[0]", *_indexed("padding", 2), "dilation[0]", "groups"),
    2: (*_WINDOW, "dilation[0]", "groups"),
    3: (*_indexed("kernel_size", 3), *_indexed("strides", 3), "padding[0]", "groups"),
}
_POOL_SLOTS = {
    1: ("kernel_size[0]", "strides[0]", *_indexed("padding", 2)),
    2: _WINDOW,
    3: (*_indexed("kernel_size", 3), *_indexed("strides", 3), "padding[0]"),
}


def _conv(rank: int, summary: str, transposed: bool = False) -> OperatorSpec:
    name = f"conv{rank}d_transpose" if transposed else f"conv{rank}d"
    return OperatorSpec(
        summary=summary,
        attrs=_CONV_ATTRS,
        slots=_CONV_SLOTS[rank],
        cost="transposed_convolution" if transposed else "convolution",
        onnx=("ConvTranspose",) if transposed else ("Conv",),
        relay=(f"nn.{name}",),
        relax=(f"nn.{name}",),
    )


def _pool(kind: str, rank: int, summary: str) -> OperatorSpec:
    counts = ("count_include_pad",) if kind == "avg" else ()
    return OperatorSpec(
        summary=summary,
        attrs=(*_POOL_ATTRS, *counts),
        slots=(*_POOL_SLOTS[rank], *counts),
        cost="window",
        onnx=("MaxPool",) if kind == "max" else ("AveragePool",),
        relay=(f"nn.{kind}_pool{rank}d",),
        relax=(f"nn.{kind}_pool{rank}d",),
    )


def _spec(
    summary: str,
    sources: tuple[str, str, str],
    category: str,
    *,
    cost: str = "elements",
    attrs: tuple[str, ...] = (),
    slots: tuple[str, ...] | None = None,
) -> OperatorSpec:
    """An entry whose slots are its attributes unless given; names of a source stand in one text."""
    onnx, relay, relax = (tuple(names.split()) for names in sources)
    return OperatorSpec(
        summary=summary,
        attrs=attrs,
        slots=attrs if slots is None else slots,
        cost=cost,
        category=category,
        onnx=onnx,
        relay=relay,
        relax=relax,
    )


def _reduction(summary: str, onnx: str, relay: str = "", relax: str = "") -> OperatorSpec:
    return _spec(
        summary,
        (onnx, relay, relax),
        "reduction",
        cost="inputs",
        attrs=("axes", "keepdims"),
        slots=(*_indexed("axes", 3), "keepdims"),
    )


def _arg(summary: str, onnx: str, name: str) -> OperatorSpec:
    attrs = ("axis", "keepdims")
    return _spec(summary, (onnx, name, name), "reduction", cost="inputs", attrs=attrs)


def _elementwise(
    summary: str,
    onnx: str,
    relay: str = "",
    relax: str = "",
    attrs: tuple[str, ...] = (),
    cost: str = "elements",
) -> OperatorSpec:
    return _spec(summary, (onnx, relay, relax), "elementwise", cost=cost, attrs=attrs)


def _broadcast(summary: str, onnx: str, relay: str = "", relax: str = "") -> OperatorSpec:
    return _spec(summary, (onnx, relay, relax), "broadcast")


def _injective(
    summary: str,
    onnx: str,
    relay: str = "",
    relax: str = "",
    attrs: tuple[str, ...] = (),
    slots: tuple[str, ...] | None = None,
) -> OperatorSpec:
    sources = (onnx, relay, relax)
    return _spec(summary, sources, "injective", cost="none", attrs=attrs, slots=slots)


def _opaque(
    summary: str,
    attrs: tuple[str, ...],
    cost: str,
    onnx: str,
    relay: str = "",
    relax: str = "",
    slots: tuple[str, ...] | None = None,
) -> OperatorSpec:
    return _spec(summary, (onnx, relay, relax), "opaque", cost=cost, attrs=attrs, slots=slots)


CATEGORIES: tuple[str, ...] = ("elementwise", "broadcast", "injective", "reduction", "opaque")

_CATEGORY_COSTS = {"injective": "none", "opaque": "none", "reduction": "inputs"}

_V1: dict[str, OperatorSpec] = {
    "conv2d": _conv(2, "convolution over NCHW, grouped and depthwise included"),
    "conv2d_transpose": _conv(2, "transposed convolution over NCHW", transposed=True),
    "dense": _opaque(
        "product with a constant matrix",
        ("has_bias",),
        "product",
        "MatMul Gemm",
        "nn.dense nn.matmul nn.batch_matmul nn.contrib_dense_pack",
        "matmul",
    ),
    "matmul": _opaque(
        "product of two computed tensors",
        (),
        "product",
        "MatMul Gemm",
        "nn.batch_matmul nn.matmul nn.dense",
        "matmul",
    ),
    "batch_norm": _opaque(
        "inference-time scale and shift per channel",
        (),
        "elements*2",
        "BatchNormalization",
        "nn.batch_norm",
        "nn.batch_norm",
    ),
    "lrn": _opaque(
        "local response normalization across channels", ("size",), "lrn", "LRN", "nn.lrn"
    ),
    "relu": _elementwise("max(x, 0)", "Relu", "nn.relu", "nn.relu"),
    "clip": _elementwise("min(max(x, min), max)", "Clip", "clip", "clip", attrs=("min", "max")),
    "leaky_relu": _elementwise(
        "x or alpha x", "LeakyRelu", "nn.leaky_relu", "nn.leakyrelu", attrs=("alpha",)
    ),
    "sigmoid": _elementwise("1 / (1 + exp(-x))", "Sigmoid", "sigmoid", "sigmoid"),
    "tanh": _elementwise("hyperbolic tangent", "Tanh", "tanh fast_tanh", "tanh"),
    "exp": _elementwise("exponential", "Exp", "exp fast_exp", "exp"),
    "max_pool2d": _pool("max", 2, "maximum over windows"),
    "avg_pool2d": _pool("avg", 2, "mean over windows"),
    "global_avg_pool2d": _opaque(
        "mean over height and width",
        (),
        "inputs",
        "GlobalAveragePool",
        "nn.global_avg_pool2d nn.adaptive_avg_pool2d",
        "nn.adaptive_avg_pool2d",
    ),
    "global_max_pool2d": _opaque(
        "maximum over height and width",
        (),
        "inputs",
        "GlobalMaxPool",
        "nn.global_max_pool2d nn.adaptive_max_pool2d",
    ),
    "add": _broadcast("sum with broadcasting", "Add Sum", "add", "add"),
    "subtract": _broadcast("difference with broadcasting", "Sub", "subtract", "subtract"),
    "multiply": _broadcast("product with broadcasting", "Mul", "multiply", "multiply"),
    "divide": _broadcast("quotient with broadcasting", "Div", "divide", "divide"),
    "concatenate": _injective("concatenation", "Concat", "concatenate", "concat", ("axis",)),
    "reshape": _injective(
        "any change of shape that keeps the order of elements",
        "Reshape Flatten Squeeze Unsqueeze",
        "reshape nn.batch_flatten expand_dims squeeze",
        "reshape flatten expand_dims squeeze",
    ),
    "transpose": _injective(
        "permutation of dimensions",
        "Transpose",
        "transpose",
        "permute_dims",
        ("axes",),
        _indexed("axes", 8),
    ),
    "softmax": _opaque(
        "softmax over one axis",
        ("axis",),
        "elements*5",
        "Softmax",
        "nn.softmax nn.fast_softmax",
        "nn.softmax",
    ),
    "pad": _injective(
        "constant padding (all leading widths, then all trailing ones)",
        "Pad",
        "nn.pad",
        "nn.pad",
        ("pad_width",),
        _indexed("pad_width", 8),
    ),
    "mean": _reduction("mean over axes", "ReduceMean", "mean", "mean"),
    "split": _injective(
        "one part of a tensor that is cut along an axis",
        "Split",
        "split",
        "split",
        ("axis", "index"),
    ),
    **{
        name: OperatorSpec(
            summary=f"any other {name} operator",
            cost=_CATEGORY_COSTS.get(name, "elements"),
            category=name,
        )
        for name in CATEGORIES
    },
}

_WINDOWS = {
    "conv1d": _conv(1, "convolution over NCW"),
    "conv3d": _conv(3, "convolution over NCDHW"),
    "conv1d_transpose": _conv(1, "transposed convolution over NCW", transposed=True),
    "conv3d_transpose": _conv(3, "transposed convolution over NCDHW", transposed=True),
    # Only Relay has other layouts: its importers of TensorFlow and TFLite keep theirs.
    "conv2d_nhwc": _opaque(
        "convolution over NHWC", _CONV_ATTRS, "convolution", "", "nn.conv2d", slots=_CONV_SLOTS[2]
    ),
    "max_pool2d_nhwc": _opaque(
        "maximum over windows, NHWC", _POOL_ATTRS, "window", "", "nn.max_pool2d", slots=_WINDOW
    ),
    "avg_pool2d_nhwc": _opaque(
        "mean over windows, NHWC",
        (*_POOL_ATTRS, "count_include_pad"),
        "window",
        "",
        "nn.avg_pool2d",
        slots=(*_WINDOW, "count_include_pad"),
    ),
    "max_pool1d": _pool("max", 1, "maximum over windows, NCW"),
    "max_pool3d": _pool("max", 3, "maximum over windows, NCDHW"),
    "avg_pool1d": _pool("avg", 1, "mean over windows, NCW"),
    "avg_pool3d": _pool("avg", 3, "mean over windows, NCDHW"),
}

_PRODUCTS = {
    "einsum": _opaque(
        "sum of products over named dimensions",
        ("equation",),
        "einsum",
        "Einsum",
        "einsum",
        "einsum",
        slots=(),
    ),
    "attention": _opaque(
        "softmax(q k' scale [+ mask]) v over the last two dimensions",
        ("has_mask", "is_causal"),
        "attention",
        "Attention",
        "",
        "nn.attention nn.attention_bias",
    ),
    "lstm": _opaque(
        "long short-term memory over a sequence",
        ("hidden_size", "num_directions"),
        "recurrent*4",
        "LSTM",
    ),
    "gru": _opaque(
        "gated recurrent unit over a sequence",
        ("hidden_size", "num_directions"),
        "recurrent*3",
        "GRU",
    ),
    "rnn": _opaque(
        "plain recurrence over a sequence", ("hidden_size", "num_directions"), "recurrent*1", "RNN"
    ),
}

_NORMALIZATIONS = {
    "layer_norm": _opaque(
        "(x - mean) / sd over trailing axes, scaled and shifted",
        ("axes",),
        "elements*8",
        "LayerNormalization",
        "nn.layer_norm",
        "nn.layer_norm",
        slots=_indexed("axes", 3),
    ),
    "group_norm": _opaque(
        "layer_norm per group of channels",
        ("num_groups",),
        "elements*8",
        "GroupNormalization",
        "nn.group_norm",
        "nn.group_norm",
    ),
    "instance_norm": _opaque(
        "layer_norm per channel",
        (),
        "elements*8",
        "InstanceNormalization",
        "nn.instance_norm",
        "nn.instance_norm",
    ),
    "rms_norm": _opaque(
        "x / root mean square over trailing axes, scaled",
        ("axes",),
        "elements*4",
        "RMSNormalization",
        "",
        "nn.rms_norm",
        slots=_indexed("axes", 3),
    ),
    "l2_normalize": _opaque(
        "x / L2 norm over axes",
        ("axes",),
        "elements*3",
        "LpNormalization",
        "nn.l2_normalize",
        slots=_indexed("axes", 3),
    ),
    "log_softmax": _opaque(
        "logarithm of softmax over one axis",
        ("axis",),
        "elements*5",
        "LogSoftmax",
        "nn.log_softmax",
        "nn.log_softmax",
    ),
}

_ACTIVATIONS = {
    "gelu": _elementwise(
        "x Phi(x), exact or by tanh",
        "Gelu",
        "",
        "nn.gelu nn.gelu_tanh",
        attrs=("approximate",),
        cost="elements*5",
    ),
    "silu": _elementwise("x sigmoid(x)", "", "nn.swish", "nn.silu", cost="elements*2"),
    "hard_sigmoid": _elementwise(
        "min(max(alpha x + beta, 0), 1)",
        "HardSigmoid",
        attrs=("alpha", "beta"),
        cost="elements*4",
    ),
    "hard_swish": _elementwise(
        "x min(max(x / 6 + 0.5, 0), 1)", "HardSwish", "hardswish", cost="elements*5"
    ),
    "elu": _elementwise("x or alpha (exp(x) - 1)", "Elu", attrs=("alpha",), cost="elements*3"),
    "selu": _elementwise("scaled elu", "Selu", "", "nn.selu", cost="elements*4"),
    "celu": _elementwise("continuous elu", "Celu", "celu", attrs=("alpha",), cost="elements*4"),
    "prelu": _elementwise("x or learned alpha x", "PRelu", "nn.prelu", "nn.prelu"),
    "softplus": _elementwise("log(1 + exp(x))", "Softplus", "", "nn.softplus", cost="elements*3"),
    "softsign": _elementwise("x / (1 + |x|)", "Softsign", cost="elements*3"),
    "mish": _elementwise("x tanh(softplus(x))", "Mish", cost="elements*5"),
    "thresholded_relu": _elementwise("x where x > alpha", "ThresholdedRelu", attrs=("alpha",)),
}

_UNARY = {
    "abs": _elementwise("absolute value", "Abs", "abs", "abs"),
    "negative": _elementwise("-x", "Neg", "negative", "negative"),
    "reciprocal": _elementwise("1 / x", "Reciprocal"),
    "sqrt": _elementwise("square root", "Sqrt", "sqrt", "sqrt"),
    "rsqrt": _elementwise("1 / square root", "", "rsqrt", "rsqrt"),
    "square": _elementwise("x x", "", "", "square"),
    "log": _elementwise("logarithm", "Log", "log", "log"),
    "erf": _elementwise("error function", "Erf", "erf fast_erf", "erf"),
    "sin": _elementwise("sine", "Sin", "sin", "sin"),
    "cos": _elementwise("cosine", "Cos", "cos", "cos"),
    "tan": _elementwise("tangent", "Tan", "tan", "tan"),
    "asin": _elementwise("inverse sine", "Asin", "asin", "asin"),
    "acos": _elementwise("inverse cosine", "Acos", "acos", "acos"),
    "atan": _elementwise("inverse tangent", "Atan", "atan", "atan"),
    "sinh": _elementwise("hyperbolic sine", "Sinh", "sinh", "sinh"),
    "cosh": _elementwise("hyperbolic cosine", "Cosh", "cosh", "cosh"),
    "asinh": _elementwise("inverse hyperbolic sine", "Asinh", "asinh", "asinh"),
    "acosh": _elementwise("inverse hyperbolic cosine", "Acosh", "acosh", "acosh"),
    "atanh": _elementwise("inverse hyperbolic tangent", "Atanh", "atanh", "atanh"),
    "ceil": _elementwise("smallest integer above", "Ceil", "ceil", "ceil"),
    "floor": _elementwise("largest integer below", "Floor", "floor", "floor"),
    "round": _elementwise("nearest integer", "Round", "round", "round"),
    "trunc": _elementwise("integer part", "", "trunc", "trunc"),
    "sign": _elementwise("-1, 0 or 1", "Sign", "sign", "sign"),
    "is_nan": _elementwise("whether not a number", "IsNaN", "isnan", "isnan"),
    "is_inf": _elementwise("whether infinite", "IsInf", "isinf", "isinf"),
    "logical_not": _elementwise("not x", "Not", "logical_not", "logical_not"),
    "bitwise_not": _elementwise("not x, bit by bit", "BitwiseNot", "bitwise_not", "bitwise_not"),
    "cast": _elementwise("conversion to another dtype", "Cast", "cast", "astype", cost="none"),
    "quantize": _elementwise(
        "x / scale + zero point, rounded to integers",
        "QuantizeLinear",
        "qnn.quantize",
        "quantize",
        attrs=("axis",),
        cost="elements*3",
    ),
    "dequantize": _elementwise(
        "(x - zero point) scale",
        "DequantizeLinear",
        "qnn.dequantize",
        "dequantize",
        attrs=("axis",),
        cost="elements*2",
    ),
}

_BINARY = {
    "power": _broadcast("x to the power of y", "Pow", "power", "power"),
    "maximum": _broadcast("larger of two or more", "Max", "maximum", "maximum"),
    "minimum": _broadcast("smaller of two or more", "Min", "minimum", "minimum"),
    "mod": _broadcast("remainder", "Mod", "mod floor_mod", "mod floor_mod"),
    "floor_divide": _broadcast("quotient, rounded down", "", "floor_divide", "floor_divide"),
    "equal": _broadcast("x = y", "Equal", "equal", "equal"),
    "not_equal": _broadcast("x != y", "", "not_equal", "not_equal"),
    "greater": _broadcast("x > y", "Greater", "greater", "greater"),
    "greater_equal": _broadcast("x >= y", "GreaterOrEqual", "greater_equal", "greater_equal"),
    "less": _broadcast("x < y", "Less", "less", "less"),
    "less_equal": _broadcast("x <= y", "LessOrEqual", "less_equal", "less_equal"),
    "logical_and": _broadcast("x and y", "And", "logical_and", "logical_and"),
    "logical_or": _broadcast("x or y", "Or", "logical_or", "logical_or"),
    "logical_xor": _broadcast("x or y, not both", "Xor", "logical_xor", "logical_xor"),
    "bitwise_and": _broadcast("and, bit by bit", "BitwiseAnd", "bitwise_and", "bitwise_and"),
    "bitwise_or": _broadcast("or, bit by bit", "BitwiseOr", "bitwise_or", "bitwise_or"),
    "bitwise_xor": _broadcast("xor, bit by bit", "BitwiseXor", "bitwise_xor", "bitwise_xor"),
    "where": _broadcast("x or y by a condition", "Where", "where", "where"),
}

_REDUCTIONS = {
    "sum": _reduction("sum over axes", "ReduceSum", "sum", "sum"),
    "max": _reduction("maximum over axes", "ReduceMax", "max", "max"),
    "min": _reduction("minimum over axes", "ReduceMin", "min", "min"),
    "prod": _reduction("product over axes", "ReduceProd", "prod", "prod"),
    "variance": _reduction("variance over axes", "", "variance", "variance"),
    "reduce_l1": _reduction("sum of absolute values over axes", "ReduceL1"),
    "reduce_l2": _reduction("root of the sum of squares over axes", "ReduceL2"),
    "logsumexp": _reduction("log(sum(exp(x))) over axes", "ReduceLogSumExp"),
    "argmax": _arg("position of the maximum", "ArgMax", "argmax"),
    "argmin": _arg("position of the minimum", "ArgMin", "argmin"),
    "cumsum": _opaque(
        "running sum along an axis", ("axis",), "elements", "CumSum", "cumsum", "cumsum"
    ),
    "top_k": _opaque(
        "the k largest (or smallest) along an axis, and their positions",
        ("axis", "k"),
        "inputs",
        "TopK",
        "topk",
        "topk",
    ),
    "item": _injective(
        "a further result of an operator that has several",
        "LSTM GRU RNN TopK",
        "topk",
        "topk",
        ("index",),
    ),
}

_MOVES = {
    "take": _injective(
        "rows of a tensor by their positions; an embedding where the tensor is constant",
        "Gather",
        "take",
        "take",
        ("axis",),
    ),
    "gather_elements": _injective(
        "single elements along an axis", "GatherElements", "gather", "gather_elements", ("axis",)
    ),
    "gather_nd": _injective(
        "slices by the positions of their leading dimensions", "GatherND", "gather_nd", "gather_nd"
    ),
    "scatter_elements": _injective(
        "single elements written along an axis",
        "ScatterElements Scatter",
        "scatter_elements",
        "scatter_elements",
        ("axis",),
    ),
    "scatter_nd": _injective(
        "slices written by their positions", "ScatterND", "scatter_nd", "scatter_nd"
    ),
    "slice": _injective(
        "every n-th element of a range, in each dimension",
        "Slice",
        "strided_slice",
        "strided_slice",
        ("begin", "strides"),
        (*_indexed("begin", 4), *_indexed("strides", 4)),
    ),
    "tile": _injective(
        "repetition along dimensions",
        "Tile",
        "tile repeat",
        "tile repeat",
        ("repeats",),
        _indexed("repeats", 4),
    ),
    "broadcast_to": _injective(
        "repetition of dimensions of extent 1", "Expand", "broadcast_to", "broadcast_to"
    ),
    "resize": _injective(
        "interpolation of the spatial dimensions (cubic is 3, linear 1, nearest 0)",
        "Resize Upsample",
        "image.resize1d image.resize2d image.resize3d nn.upsampling",
        "image.resize2d image.resize3d",
        ("order",),
    ),
    "grid_sample": _injective(
        "interpolation at given positions",
        "GridSample",
        "image.grid_sample",
        "image.grid_sample",
        ("order",),
    ),
    "roi_align": _opaque(
        "regions of interest, interpolated and pooled",
        (),
        "elements",
        "RoiAlign",
        "vision.roi_align",
        "vision.roi_align",
    ),
    "depth_to_space": _injective(
        "blocks of channels become pixels",
        "DepthToSpace",
        "nn.depth_to_space",
        "nn.pixel_shuffle",
        ("block_size",),
    ),
    "space_to_depth": _injective(
        "blocks of pixels become channels",
        "SpaceToDepth",
        "nn.space_to_depth",
        attrs=("block_size",),
    ),
    "reverse": _injective("opposite order along an axis", "", "reverse", "flip", ("axis",)),
    "pad_edge": _injective(
        "padding with the values at the border, or mirrored there",
        "Pad",
        "nn.pad nn.mirror_pad",
        "nn.pad",
        ("pad_width",),
        _indexed("pad_width", 8),
    ),
    "triangle": _injective(
        "upper or lower triangle, zeros elsewhere",
        "Trilu",
        "trilu",
        "tril triu",
        ("upper", "k"),
    ),
    "one_hot": _injective("positions as unit vectors", "OneHot", "one_hot", "one_hot", ("axis",)),
}

OPERATORS: dict[str, OperatorSpec] = {
    **_V1,
    **_WINDOWS,
    **_PRODUCTS,
    **_NORMALIZATIONS,
    **_ACTIVATIONS,
    **_UNARY,
    **_BINARY,
    **_REDUCTIONS,
    **_MOVES,
}
