"""Values that ONNX networks compute from constants: begins, ends, axes, shapes, scales.

Exporters write ``x[:, n // 2:]`` as a chain of ``Shape``, ``Gather``, ``Div`` and ``Unsqueeze``.
Only values of a few elements are computed; a longer constant is one whose value nobody needs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce

import numpy as np
import onnx
from onnx import numpy_helper

from relay_frontend.errors import NetworkError
from relay_frontend.graph import TensorType
from relay_frontend.nodes import SMALL, Node, constant
from relay_frontend.onnx.node import OnnxNode

_DATA_FIELDS = (
    "raw_data",
    "float_data",
    "int64_data",
    "int32_data",
    "double_data",
    "uint64_data",
)
_DTYPES: dict[int, str] = {}


def dtype_name(elem_type: int) -> str:
    """NumPy's name of an ONNX element type.

    Raises:
        NetworkError: ONNX has no such type.
    """
    if elem_type not in _DTYPES:
        try:
            dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(elem_type))
        except KeyError:
            raise NetworkError(f"element type {elem_type} is not one of ONNX's") from None
        _DTYPES[elem_type] = str(dtype.name)
    return _DTYPES[elem_type]


def elem_type(dtype: str) -> int:
    """ONNX's element type of NumPy's name; the inverse of :func:`dtype_name` on what it gave."""
    return next(number for number, name in _DTYPES.items() if name == dtype)


def read_constant(tensor: onnx.TensorProto) -> Node:
    """A constant from a tensor, with its value where that is short and in the file.

    Raises:
        NetworkError: the tensor has a negative extent, or not the data that its type asks for.
    """
    type_ = TensorType(tuple(tensor.dims), dtype_name(tensor.data_type))
    if any(extent < 0 for extent in type_.shape):
        raise NetworkError(f"constant {tensor.name!r} has a negative extent: {type_}")
    if type_.num_elements > SMALL or tensor.data_location == onnx.TensorProto.EXTERNAL:
        return constant(type_)
    if type_.shape == (0,):
        return constant(type_, np.zeros(0, np.int64))
    if not any(len(getattr(tensor, name)) for name in _DATA_FIELDS):
        return constant(type_)
    try:
        value = numpy_helper.to_array(tensor)
    except (TypeError, ValueError) as error:
        raise NetworkError(f"constant {tensor.name!r} ({type_}): {error}") from None
    return constant(type_, None if value.dtype.kind == "c" else value)


def read_constant_node(operator: OnnxNode) -> Node:
    """What a ``Constant`` node holds."""
    for name in ("value", "value_float", "value_int", "value_floats", "value_ints"):
        if name in operator.attrs:
            value = operator.attrs[name]
            if isinstance(value, onnx.TensorProto):
                return read_constant(value)
            return constant(operator.type, np.asarray(value, operator.type.dtype))
    return constant(operator.type)


def read_shape(operator: OnnxNode) -> Node:
    """The extents of a tensor."""
    shape = operator.data.type.shape
    return constant(
        operator.type, np.array(shape[operator.integer("start", 0) : operator.attrs.get("end")])
    )


def read_size(operator: OnnxNode) -> Node:
    """The number of elements of a tensor."""
    return constant(operator.type, np.array(operator.data.type.num_elements))


def fold(operator: OnnxNode) -> Node:
    """The constant that an operator of constants is, with its value where that is short."""
    evaluate = _EVALUATE.get(operator.name)
    values = [None if operand is None else operand.value for operand in operator.operands]
    unknown = any(
        operand is not None and value is None
        for operand, value in zip(operator.operands, values, strict=True)
    )
    if evaluate is None or unknown or operator.type.num_elements > SMALL:
        return constant(operator.type)
    try:
        with np.errstate(all="ignore"):
            value = np.asarray(evaluate(operator, values)).astype(operator.type.dtype)
    except (ArithmeticError, IndexError, KeyError, TypeError, ValueError):
        return constant(operator.type)
    return constant(operator.type, value if value.shape == operator.type.shape else None)


Values = Sequence["np.ndarray | None"]
Evaluate = Callable[[OnnxNode, Values], "np.ndarray | np.generic"]


def _array(values: Values, position: int = 0) -> np.ndarray:
    value = values[position]
    if value is None:
        raise ValueError(f"operand {position} is not given")
    return value


def _unary(function: Callable[[np.ndarray], np.ndarray]) -> Evaluate:
    return lambda _, values: function(_array(values))


def _binary(function: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Evaluate:
    """Of all operands, one after the other: ``Max`` and ``Min`` have any number of them."""
    return lambda _, values: reduce(function, (_array(values, i) for i in range(len(values))))


def _divide(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Integers are divided towards zero."""
    quotient: np.ndarray = a / b
    return np.asarray(np.trunc(quotient)) if np.issubdtype(a.dtype, np.integer) else quotient


def _to_result(_: OnnxNode, values: Values) -> np.ndarray:
    return _array(values)


def _reshaped(operator: OnnxNode, values: Values) -> np.ndarray:
    return _array(values).reshape(operator.type.shape)


def _gathered(operator: OnnxNode, values: Values) -> np.ndarray:
    return np.take(_array(values), _array(values, 1).astype(np.int64), operator.integer("axis", 0))


def _concatenated(operator: OnnxNode, values: Values) -> np.ndarray:
    return np.concatenate(
        [_array(values, i) for i in range(len(values))], operator.integer("axis", 0)
    )


def _sliced(operator: OnnxNode, values: Values) -> np.ndarray:
    data = _array(values)
    ranges = slice_ranges(operator)
    if ranges is None:
        raise ValueError("its range is not known")
    for axis, (begin, _, step) in enumerate(ranges):
        count = operator.type.shape[axis]
        if count > SMALL:
            raise ValueError("too many elements")
        data = np.take(data, [begin + i * step for i in range(count)], axis)
    return data


def _filled(operator: OnnxNode, _: Values) -> np.ndarray:
    """Integers and truth values only: weightless networks hold their weights as floats of this."""
    if "int" not in operator.type.dtype and operator.type.dtype != "bool":
        raise TypeError("a weight")
    fill = operator.attrs.get("value")
    value = 0 if fill is None else numpy_helper.to_array(fill).reshape(-1)[0]
    return np.full(operator.type.shape, value)


def _counted(operator: OnnxNode, values: Values) -> np.ndarray:
    start, step = (_array(values, i).reshape(()) for i in (0, 2))
    return start + step * np.arange(operator.type.num_elements)


def _expanded(operator: OnnxNode, values: Values) -> np.ndarray:
    return np.broadcast_to(_array(values), operator.type.shape)


def _chosen(_: OnnxNode, values: Values) -> np.ndarray:
    return np.where(_array(values), _array(values, 1), _array(values, 2))


def _product(_: OnnxNode, values: Values) -> np.ndarray:
    if len(values) > 1 or _array(values).ndim != 1:
        raise ValueError("only products of all extents")
    return np.asarray(np.prod(_array(values)))


def slice_ranges(operator: OnnxNode) -> list[tuple[int, int, int]] | None:
    """First position, end and step of a ``Slice`` in each dimension.

    None where they are not known before the network runs.
    """
    shape = operator.data.type.shape
    starts = operator.int_values(1, "starts")
    ends = operator.int_values(2, "ends")
    axes, steps = operator.int_values(3, "axes"), operator.int_values(4)
    unknown = (axes is None and operator.is_given(3)) or (steps is None and operator.is_given(4))
    if starts is None or ends is None or unknown:
        return None
    ranges = [(0, extent, 1) for extent in shape]
    axes = tuple(range(len(starts))) if axes is None else axes
    steps = (1,) * len(starts) if steps is None else steps
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        begin, stop, _ = slice(start, end, step).indices(shape[axis])
        ranges[axis % len(shape)] = (begin, stop, step)
    return ranges


_EVALUATE: dict[str, Evaluate] = {
    "Abs": _unary(np.abs),
    "Add": _binary(np.add),
    "And": _binary(np.logical_and),
    "Cast": _to_result,
    "Ceil": _unary(np.ceil),
    "Concat": _concatenated,
    "ConstantOfShape": _filled,
    "Div": _binary(_divide),
    "Equal": _binary(np.equal),
    "Expand": _expanded,
    "Floor": _unary(np.floor),
    "Gather": _gathered,
    "Greater": _binary(np.greater),
    "Identity": _to_result,
    "Less": _binary(np.less),
    "Max": _binary(np.maximum),
    "Min": _binary(np.minimum),
    "Mul": _binary(np.multiply),
    "Neg": _unary(np.negative),
    "Not": _unary(np.logical_not),
    "Or": _binary(np.logical_or),
    "Pow": _binary(np.power),
    "Range": _counted,
    "Reciprocal": _unary(lambda x: 1.0 / x),
    "ReduceProd": _product,
    "Reshape": _reshaped,
    "Slice": _sliced,
    "Sqrt": _unary(np.sqrt),
    "Squeeze": _reshaped,
    "Sub": _binary(np.subtract),
    "Unsqueeze": _reshaped,
    "Where": _chosen,
}
