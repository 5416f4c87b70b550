#include "relay_frontend/elements.h"

#include <cmath>
#include <cstring>
#include <vector>

namespace relay_frontend {

double from_float16(std::uint16_t bits) {
  const int exponent = (bits >> 10) & 0x1F;
  const int fraction = bits & 0x3FF;
  double magnitude = std::ldexp(fraction, -24);
  if (exponent == 31) {
    magnitude = fraction != 0 ? std::nan("") : HUGE_VAL;
  } else if (exponent > 0) {
    magnitude = std::ldexp(fraction + 0x400, exponent - 25);
  }
  return (bits & 0x8000) != 0 ? -magnitude : magnitude;
}

double from_bfloat16(std::uint16_t bits) {
  const std::uint32_t wide = std::uint32_t{bits} << 16;
  float value;
  std::memcpy(&value, &wide, sizeof(value));
  return value;
}

bool is_dense(const std::int64_t* shape, const std::int64_t* strides, std::int32_t rank) {
  if (strides == nullptr) return true;
  std::int64_t stride = 1;
  for (std::int32_t axis = rank; axis-- > 0;) {
    if (shape[axis] != 1 && strides[axis] != stride) return false;
    stride *= shape[axis];
  }
  return true;
}

namespace {

template <class Stored, class Wide>
std::vector<Wide> elements(const void* data, std::int64_t count) {
  std::vector<Wide> result(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < result.size(); ++i) {
    Stored value;
    std::memcpy(&value, static_cast<const char*>(data) + i * sizeof(Stored), sizeof(Stored));
    result[i] = static_cast<Wide>(value);
  }
  return result;
}

}  // namespace

const ConstantValue* content(Context& context, TensorType type, const void* data) {
  const std::int64_t count = type.num_elements();
  const auto integers = [&](const std::vector<std::int64_t>& values) {
    return context.integers(type.shape, context.span(values));
  };
  const auto reals = [&](const std::vector<double>& values) {
    return context.reals(type.shape, context.span(values));
  };
  const auto halves = [&](double (*widen)(std::uint16_t)) {
    std::vector<double> values;
    for (std::uint16_t bits : elements<std::uint16_t, std::uint16_t>(data, count)) {
      values.push_back(widen(bits));
    }
    return reals(values);
  };
  const Text name = dtype_name(type.dtype);
  if (name == "float32") return reals(elements<float, double>(data, count));
  if (name == "float64") return reals(elements<double, double>(data, count));
  if (name == "float16") return halves(from_float16);
  if (name == "bfloat16") return halves(from_bfloat16);
  if (name == "int64") return integers(elements<std::int64_t, std::int64_t>(data, count));
  if (name == "int32") return integers(elements<std::int32_t, std::int64_t>(data, count));
  if (name == "int16") return integers(elements<std::int16_t, std::int64_t>(data, count));
  if (name == "int8") return integers(elements<std::int8_t, std::int64_t>(data, count));
  if (name == "uint32") return integers(elements<std::uint32_t, std::int64_t>(data, count));
  if (name == "uint16") return integers(elements<std::uint16_t, std::int64_t>(data, count));
  if (name == "uint8" || name == "bool") {
    return integers(elements<std::uint8_t, std::int64_t>(data, count));
  }
  throw Unsupported("constants of this element type");
}

}  // namespace relay_frontend
