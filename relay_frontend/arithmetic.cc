#include "relay_frontend/arithmetic.h"

#include <algorithm>
#include <cmath>

namespace relay_frontend::arrays {

namespace {

void expect(const Arrays& operands, std::size_t count) {
  if (operands.size() != count) throw Unsupported("another number of operands");
}

template <class OfInts, class OfReals>
Array combined(const Arrays& operands, OfInts&& of_ints, OfReals&& of_reals) {
  expect(operands, 2);
  const DType dtype = common_type(operands);
  if (dtype_name(dtype) == "bool") throw Unsupported("arithmetic of truth values");
  const Arrays both = broadcast_together({cast(operands[0], dtype), cast(operands[1], dtype)});
  const Array &a = both[0], &b = both[1];
  Array result(dtype, a.shape);
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (a.integral) {
      result.ints.push_back(wrapped(of_ints(a.ints[i], b.ints[i]), dtype));
    } else {
      result.reals.push_back(rounded(of_reals(a.reals[i], b.reals[i]), dtype));
    }
  }
  return result;
}

Int floor_quotient(Int a, Int b) {
  if (b == 0) return 0;
  if (b == -1) return wrapping_subtract(0, a);
  const Int quotient = a / b;
  return a % b != 0 && (a < 0) != (b < 0) ? quotient - 1 : quotient;
}

}  // namespace

Array arithmetic(const Arrays& operands, IntFunction of_ints, RealFunction of_reals) {
  return combined(operands, of_ints, of_reals);
}

Array add(const Arrays& operands) {
  return combined(operands, wrapping_add, [](double a, double b) { return a + b; });
}

Array subtract(const Arrays& operands) {
  return combined(operands, wrapping_subtract, [](double a, double b) { return a - b; });
}

Array multiply(const Arrays& operands) {
  return combined(operands, wrapping_multiply, [](double a, double b) { return a * b; });
}

Array maximum(const Arrays& operands) {
  return combined(operands, [](Int a, Int b) { return std::max(a, b); },
                  [](double a, double b) { return std::isnan(a) || a >= b ? a : b; });
}

Array minimum(const Arrays& operands) {
  return combined(operands, [](Int a, Int b) { return std::min(a, b); },
                  [](double a, double b) { return std::isnan(a) || a <= b ? a : b; });
}

Array divide(const Arrays& operands) {
  const DType dtype = common_type(operands);
  const auto quotient = [dtype](Int a, Int b) {  // numpy divides as reals
    if (b == 0) throw Unsupported("a division by zero");
    return truncated(static_cast<double>(a) / static_cast<double>(b), dtype);
  };
  return combined(operands, quotient, [](double a, double b) { return a / b; });
}

Array floor_divide(const Arrays& operands) {
  return combined(operands, floor_quotient, [](double, double) -> double {
    throw Unsupported("a floor of real numbers");
  });
}

Array each_real(const Arrays& operands, double (*function)(double)) {
  Array result = only(operands);
  if (result.integral) throw Unsupported("a real function of integers");
  for (double& value : result.reals) value = rounded(function(value), result.dtype);
  return result;
}

Array negative(const Arrays& operands) {
  Array result = only(operands);
  if (dtype_name(result.dtype) == "bool") throw Unsupported("the negative of a truth value");
  for (Int& value : result.ints) value = wrapped(wrapping_subtract(0, value), result.dtype);
  for (double& value : result.reals) value = -value;
  return result;
}

Array square_root(const Arrays& operands) {
  return each_real(operands, [](double value) { return std::sqrt(value); });
}

Array inverse_root(const Arrays& operands) {
  return each_real({square_root(operands)}, [](double value) { return 1.0 / value; });
}

// --- Truth values ------------------------------------------------------------------------------

Array truths(const Arrays& operands, Predicate predicate) {
  const Arrays together = broadcast_together(operands);
  const Array &a = first(together), &b = together.back();
  Array result(dtype_named("bool"), a.shape);
  for (std::size_t i = 0; i < a.size(); ++i) result.ints.push_back(predicate(a, b, i));
  return result;
}

Array equal(const Arrays& operands) {
  expect(operands, 2);
  return truths(operands, [](const Array& a, const Array& b, std::size_t i) {
    return a.integral && b.integral ? a.ints[i] == b.ints[i] : a.real(i) == b.real(i);
  });
}

Array less(const Arrays& operands) {
  expect(operands, 2);
  return truths(operands, [](const Array& a, const Array& b, std::size_t i) {
    return a.integral && b.integral ? a.ints[i] < b.ints[i] : a.real(i) < b.real(i);
  });
}

Array greater(const Arrays& operands) {
  expect(operands, 2);
  return less({operands[1], operands[0]});
}

Array logical_and(const Arrays& operands) {
  expect(operands, 2);
  return truths(operands, [](const Array& a, const Array& b, std::size_t i) {
    return a.truth(i) && b.truth(i);
  });
}

Array logical_or(const Arrays& operands) {
  expect(operands, 2);
  return truths(operands, [](const Array& a, const Array& b, std::size_t i) {
    return a.truth(i) || b.truth(i);
  });
}

Array logical_not(const Arrays& operands) {
  expect(operands, 1);
  return truths(operands, [](const Array& a, const Array&, std::size_t i) { return !a.truth(i); });
}

Array is_nan(const Arrays& operands) {
  expect(operands, 1);
  return truths(operands, [](const Array& a, const Array&, std::size_t i) {
    return std::isnan(a.real(i));
  });
}

Array where(const Arrays& operands) {
  expect(operands, 3);
  const DType dtype = common_type({operands[1], operands[2]});
  const Arrays together =
      broadcast_together({operands[0], cast(operands[1], dtype), cast(operands[2], dtype)});
  Array result(dtype, together[0].shape);
  for (std::size_t i = 0; i < together[0].size(); ++i) {
    result.push_back(together[together[0].truth(i) ? 1 : 2], i);
  }
  return result;
}

}  // namespace relay_frontend::arrays
