// Functions of small arrays element by element, which are broadcast; see arrays.h.
//
// Real numbers are computed in double precision and rounded once: for one addition, subtraction,
// multiplication, division or square root of float16 or float32 this is the same as computing in
// that type.

#pragma once

#include "relay_frontend/arrays.h"

namespace relay_frontend::arrays {

using IntFunction = Int (*)(Int, Int);
using RealFunction = double (*)(double, double);
Array arithmetic(const Arrays& operands, IntFunction of_ints, RealFunction of_reals);

Array add(const Arrays& operands);
Array subtract(const Arrays& operands);
Array multiply(const Arrays& operands);
Array maximum(const Arrays& operands);
Array minimum(const Arrays& operands);
Array divide(const Arrays& operands);        // of integers, towards zero
Array floor_divide(const Arrays& operands);  // of integers only; by zero it is 0

// A function of one array of reals.
Array each_real(const Arrays& operands, double (*function)(double));

Array negative(const Arrays& operands);
Array square_root(const Arrays& operands);
Array inverse_root(const Arrays& operands);

// Truth values of one or two arrays.
using Predicate = bool (*)(const Array& a, const Array& b, std::size_t i);
Array truths(const Arrays& operands, Predicate predicate);

Array equal(const Arrays& operands);
Array less(const Arrays& operands);
Array greater(const Arrays& operands);
Array logical_and(const Arrays& operands);
Array logical_or(const Arrays& operands);
Array logical_not(const Arrays& operands);
Array is_nan(const Arrays& operands);

// A condition, and what to take where it holds and where it does not.
Array where(const Arrays& operands);

}  // namespace relay_frontend::arrays
