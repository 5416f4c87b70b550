#include "relay_frontend/arrays.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace relay_frontend::arrays {

Array::Array(DType dtype, Shape shape)
    : dtype(dtype), shape(std::move(shape)), integral(is_integral(dtype)) {}

void Array::push_back(const Array& from, std::size_t i) {
  if (i >= from.size()) throw Unsupported("index out of range");
  if (integral) {
    ints.push_back(from.ints[i]);
  } else {
    reals.push_back(from.reals[i]);
  }
}

Array array_of(const Node& constant) {
  const ConstantValue& value = *constant.value;
  const bool fills = value.integral && value.size() > 0 && !is_integral(constant.type.dtype);
  Array array(fills ? dtype_named("int64") : constant.type.dtype,
              {value.shape.begin(), value.shape.end()});
  if (array.integral) {
    array.ints.assign(value.ints.begin(), value.ints.end());
  } else {
    array.reals.assign(value.reals.begin(), value.reals.end());
  }
  if (array.size() != value.size()) throw Unsupported("reals in the place of integers");
  return array;
}

const ConstantValue* value_of(Context& context, const Array& array) {
  const Ints shape = context.span(array.shape);
  return array.integral ? context.integers(shape, context.span(array.ints))
                        : context.reals(shape, context.span(array.reals));
}

Shape shape_of(const TensorType& type) { return {type.shape.begin(), type.shape.end()}; }

std::size_t num_elements(const Shape& shape) {
  Int result = 1;
  for (const Int extent : shape) result = checked_mul(result, extent);
  return static_cast<std::size_t>(result);
}

std::size_t axis_of(Int axis, std::size_t rank) {
  const Int count = static_cast<Int>(rank);
  if (axis < -count || axis >= count) throw Invalid("an axis out of range");
  return static_cast<std::size_t>(floor_mod(axis, count));
}

const Array& only(const Arrays& operands) {
  if (operands.size() != 1) throw Unsupported("several operands in the place of one");
  return operands.front();
}

const Array& first(const Arrays& operands) {
  if (operands.empty()) throw Invalid("an operator without operands");
  return operands.front();
}

// --- Element types -----------------------------------------------------------------------------

bool is_integral(DType dtype) {
  const Text name = dtype_name(dtype);
  return name.find("int") != Text::npos || name == "bool";
}

namespace {

std::uint64_t bits(Int value) { return static_cast<std::uint64_t>(value); }

}  // namespace

Int wrapping_add(Int a, Int b) { return static_cast<Int>(bits(a) + bits(b)); }
Int wrapping_subtract(Int a, Int b) { return static_cast<Int>(bits(a) - bits(b)); }
Int wrapping_multiply(Int a, Int b) { return static_cast<Int>(bits(a) * bits(b)); }

Int wrapped(Int value, DType dtype) {
  const Text name = dtype_name(dtype);
  const Int bits = 8 * itemsize(dtype);
  if (name == "bool") return value != 0;
  if (name == "uint64") throw Unsupported("64-bit unsigned");
  if (bits == 64) return value;
  const std::uint64_t low = static_cast<std::uint64_t>(value) & ((std::uint64_t{1} << bits) - 1);
  const bool negative = name.front() == 'i' && (low >> (bits - 1)) != 0;
  return static_cast<Int>(low) - (negative ? Int{1} << bits : 0);
}

namespace {

double half(double value) {
  const double magnitude = std::fabs(value);
  if (!std::isfinite(value) || magnitude == 0.0) return value;
  // A half has 11 significant bits, and none below 2^-24.
  const int exponent = std::max(std::ilogb(magnitude) - 10, -24);
  const double rounded = std::ldexp(std::nearbyint(std::ldexp(value, -exponent)), exponent);
  return std::fabs(rounded) > 65504.0 ? std::copysign(HUGE_VAL, value) : rounded;
}

}  // namespace

double rounded(double value, DType dtype) {
  const Text name = dtype_name(dtype);
  if (name == "float64") return value;
  if (name == "float32") return static_cast<float>(value);
  if (name == "float16") return half(value);
  throw Unsupported("rounding to this element type");
}

Int truncated(double value, DType dtype) {
  if (dtype_name(dtype) == "bool") return value != 0.0;
  constexpr double kLimit = 9.0e18;  // beyond 64 bits what C does depends on the machine
  if (!(std::fabs(value) < kLimit)) throw Unsupported("a number that is no integer");
  const Int result = static_cast<Int>(value);
  if (wrapped(result, dtype) != result) throw Unsupported("an integer out of range");
  return result;
}

DType common_type(const Arrays& operands) {
  const DType int64 = dtype_named("int64"), float64 = dtype_named("float64");
  DType result = first(operands).dtype;
  for (const Array& operand : operands) {
    if (operand.dtype == result) continue;
    const bool wide = result == int64 || result == float64 || operand.dtype == int64;
    if (!wide || (is_integral(result) && operand.integral)) throw Unsupported("several types");
    result = float64;
  }
  return result;
}

Array cast(const Array& array, DType dtype) {
  if (array.dtype == dtype) return array;
  Array result(dtype, array.shape);
  const bool single = dtype_name(dtype) == "float32";
  for (std::size_t i = 0; i < array.size(); ++i) {
    if (array.integral && result.integral) {
      result.ints.push_back(wrapped(array.ints[i], dtype));
    } else if (result.integral) {
      result.ints.push_back(truncated(array.reals[i], dtype));
    } else if (array.integral && single) {  // in one rounding
      result.reals.push_back(static_cast<float>(array.ints[i]));
    } else {
      result.reals.push_back(rounded(array.real(i), dtype));
    }
  }
  return result;
}

// --- Positions ---------------------------------------------------------------------------------

namespace {

// Row-major strides; 0 for dimensions of extent 1, which are broadcast.
Shape strides_of(const Shape& shape) {
  Shape strides(shape.size());
  Int stride = 1;
  for (std::size_t axis = shape.size(); axis-- > 0;) {
    strides[axis] = shape[axis] == 1 ? 0 : stride;
    stride = checked_mul(stride, shape[axis]);
  }
  return strides;
}

// The positions first + sum of index[axis] * strides[axis] for all indices of `shape`, in order.
std::vector<std::size_t> positions(const Shape& shape, const Shape& strides, Int first = 0) {
  constexpr std::size_t kLimit = 1 << 12;  // results are small, unless they go to waste
  const std::size_t count = num_elements(shape);
  if (count > kLimit) throw Unsupported("a large array");
  std::vector<std::size_t> result;
  Shape index(shape.size(), 0);
  for (std::size_t i = 0; i < count; ++i) {
    Int position = first;
    for (std::size_t axis = 0; axis < shape.size(); ++axis) position += index[axis] * strides[axis];
    result.push_back(static_cast<std::size_t>(position));
    for (std::size_t axis = shape.size(); axis-- > 0;) {
      if (++index[axis] < shape[axis]) break;
      index[axis] = 0;
    }
  }
  return result;
}

// The elements at some positions, in another shape.
Array picked(const Array& array, const std::vector<std::size_t>& at, Shape shape) {
  Array result(array.dtype, std::move(shape));
  for (const std::size_t position : at) result.push_back(array, position);
  return result;
}

// `shape` with other dimensions in the place of one.
Shape replaced(const Shape& shape, std::size_t axis, const Shape& by) {
  const auto at = shape.begin() + static_cast<std::ptrdiff_t>(axis);
  Shape result(shape.begin(), at);
  result.insert(result.end(), by.begin(), by.end());
  result.insert(result.end(), at + 1, shape.end());
  return result;
}

}  // namespace

Array broadcast(const Array& array, const Shape& shape) {
  if (array.shape.size() > shape.size()) throw Invalid("shapes that do not go together");
  const std::size_t leading = shape.size() - array.shape.size();
  const Shape own = strides_of(array.shape);
  Shape strides(shape.size(), 0);
  for (std::size_t axis = 0; axis < own.size(); ++axis) {
    if (array.shape[axis] != 1 && array.shape[axis] != shape[leading + axis]) {
      throw Invalid("shapes that do not go together");
    }
    strides[leading + axis] = own[axis];
  }
  return picked(array, positions(shape, strides), shape);
}

Arrays broadcast_together(const Arrays& arrays) {
  Shape shape;
  for (const Array& array : arrays) {
    if (array.shape.size() > shape.size()) {
      shape.insert(shape.begin(), array.shape.size() - shape.size(), 1);
    }
    const std::size_t leading = shape.size() - array.shape.size();
    for (std::size_t axis = 0; axis < array.shape.size(); ++axis) {
      Int& extent = shape[leading + axis];
      if (extent == 1) extent = array.shape[axis];
    }
  }
  Arrays result;
  for (const Array& array : arrays) result.push_back(broadcast(array, shape));
  return result;
}

Array reshaped(const Array& array, const Shape& shape) {
  if (num_elements(shape) != array.size()) throw Invalid("a reshape to another size");
  Array result = array;
  result.shape = shape;
  return result;
}

// --- Moving elements ---------------------------------------------------------------------------

Array unchanged(const Arrays& operands) { return only(operands); }

Array concatenated(const Arrays& parts, Int given_axis) {
  const DType dtype = common_type(parts);
  const std::size_t axis = axis_of(given_axis, parts[0].shape.size());
  Array result(dtype, parts[0].shape);
  result.shape[axis] = 0;
  Arrays values;
  for (const Array& part : parts) {
    if (part.shape.size() != result.shape.size() ||
        replaced(part.shape, axis, {}) != replaced(result.shape, axis, {})) {
      throw Invalid("parts that do not fit");
    }
    result.shape[axis] += part.shape[axis];
    values.push_back(cast(part, dtype));
  }
  if (num_elements(result.shape) == 0) return result;
  std::size_t rows = 1;
  for (std::size_t i = 0; i < axis; ++i) rows *= static_cast<std::size_t>(result.shape[i]);
  for (std::size_t row = 0; row < rows; ++row) {
    for (const Array& value : values) {
      const std::size_t length = value.size() / rows;
      for (std::size_t i = row * length; i < (row + 1) * length; ++i) result.push_back(value, i);
    }
  }
  return result;
}

Array transposed(const Array& array, const Shape& axes) {
  const std::size_t rank = array.shape.size();
  if (axes.size() != rank) throw Unsupported("a permutation of another rank");
  const Shape own = strides_of(array.shape);
  Shape shape, strides;
  for (const Int axis : axes) {
    shape.push_back(array.shape[axis_of(axis, rank)]);
    strides.push_back(own[axis_of(axis, rank)]);
  }
  return picked(array, positions(shape, strides), shape);
}

Array sliced(const Array& array, const Shape& begin, const Shape& steps, const Shape& shape) {
  if (shape.size() != array.shape.size()) throw Unsupported("a slice of another rank");
  Shape strides = strides_of(array.shape);
  Int offset = 0;
  for (std::size_t axis = 0; axis < shape.size(); ++axis) {
    const Int extent = array.shape[axis], from = begin[axis];
    const Int last = checked_add(from, checked_mul(steps[axis], shape[axis] - 1));
    if (shape[axis] > 0 && (from < 0 || from >= extent || last < 0 || last >= extent)) {
      throw Unsupported("a slice out of range");
    }
    offset = checked_add(offset, checked_mul(from, strides[axis]));
    strides[axis] = checked_mul(strides[axis], steps[axis]);
  }
  return picked(array, positions(shape, strides, offset), shape);
}

Array taken(const Array& array, Int given_axis, const Array& where, OutOfRange out_of_range) {
  if (!where.integral) throw Unsupported("positions that are no integers");
  if (array.size() == 0) throw Unsupported("positions in an array without elements");
  const std::size_t axis = axis_of(given_axis, array.shape.size());
  const Int extent = array.shape[axis];
  std::size_t rows = 1, length = 1;
  for (std::size_t i = 0; i < array.shape.size(); ++i) {
    if (i != axis) (i < axis ? rows : length) *= static_cast<std::size_t>(array.shape[i]);
  }
  Array result(array.dtype, replaced(array.shape, axis, where.shape));
  for (std::size_t row = 0; row < rows; ++row) {
    for (const Int index : where.ints) {
      const bool is_valid = index >= -extent && index < extent;
      if (!is_valid && out_of_range == OutOfRange::invalid) throw Invalid("index out of range");
      const auto at = static_cast<std::size_t>(floor_mod(index, extent));
      const std::size_t from = (row * static_cast<std::size_t>(extent) + at) * length;
      for (std::size_t i = from; i < from + length; ++i) result.push_back(array, i);
    }
  }
  return result;
}

// --- Counting ----------------------------------------------------------------------------------

Array counted(const Array& start, const Array& step, Int count) {
  if (start.size() != 1 || step.size() != 1) throw Invalid("a range between several numbers");
  const bool integral = start.integral && step.integral;
  Array result(dtype_named(integral ? "int64" : "float64"), {count});
  for (Int i = 0; i < count; ++i) {
    if (integral) {
      result.ints.push_back(wrapping_add(start.ints[0], wrapping_multiply(step.ints[0], i)));
    } else {
      result.reals.push_back(start.real(0) + step.real(0) * static_cast<double>(i));
    }
  }
  return result;
}

Array product(const Array& array, const std::vector<bool>& reduced, bool keepdims) {
  if (!array.integral) throw Unsupported("a product of reals");
  Shape kept, shape;
  for (std::size_t axis = 0; axis < reduced.size(); ++axis) {
    kept.push_back(reduced[axis] ? 1 : array.shape[axis]);
    if (!reduced[axis] || keepdims) shape.push_back(kept.back());
  }
  const std::vector<std::size_t> to = positions(array.shape, strides_of(kept));
  Array result(dtype_named("int64"), shape);
  result.ints.assign(num_elements(kept), 1);
  for (std::size_t i = 0; i < to.size(); ++i) {
    result.ints[to[i]] = wrapping_multiply(result.ints[to[i]], array.ints[i]);
  }
  return result;
}

}  // namespace relay_frontend::arrays
