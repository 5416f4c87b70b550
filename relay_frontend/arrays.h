// Small arrays for the values of constants: the little of numpy that constant folding takes.
//
// All is done as numpy does it, in the element types that numpy computes with. What might come out
// in another way, or is rare, is Unsupported.

#pragma once

#include <cstdint>
#include <vector>

#include "relay_frontend/node.h"

namespace relay_frontend::arrays {

using Int = std::int64_t;
using Shape = std::vector<Int>;

// numpy has no result either: shapes that do not go together, a position out of range.
class Invalid : public Unsupported {
 public:
  using Unsupported::Unsupported;
};

// Row-major; `ints` of integers and booleans, else `reals`.
struct Array {
  // Without elements yet.
  Array(DType dtype, Shape shape);

  DType dtype;
  Shape shape;
  bool integral;
  std::vector<Int> ints;
  std::vector<double> reals;

  std::size_t size() const { return integral ? ints.size() : reals.size(); }
  double real(std::size_t i) const { return integral ? static_cast<double>(ints[i]) : reals[i]; }
  bool truth(std::size_t i) const { return integral ? ints[i] != 0 : reals[i] != 0.0; }

  // Appends an element of an array of the same type.
  void push_back(const Array& from, std::size_t i);
};

using Arrays = std::vector<Array>;

// The content of a constant, which must be known. Integers that stand for reals (fills) are int64.
Array array_of(const Node& constant);
const ConstantValue* value_of(Context& context, const Array& array);

Shape shape_of(const TensorType& type);
std::size_t num_elements(const Shape& shape);

// An axis counted from the front; Invalid where there is none.
std::size_t axis_of(Int axis, std::size_t rank);

// The operand of an operator of one.
const Array& only(const Arrays& operands);
const Array& first(const Arrays& operands);

// --- Element types -----------------------------------------------------------------------------

bool is_integral(DType dtype);

// Of integers that wrap around.
Int wrapping_add(Int a, Int b);
Int wrapping_subtract(Int a, Int b);
Int wrapping_multiply(Int a, Int b);

// An integer as an element type stores it: in two's complement.
Int wrapped(Int value, DType dtype);

// A real number as an element type stores it: rounded to nearest.
double rounded(double value, DType dtype);

// The integer part.
Int truncated(double value, DType dtype);

// What numpy computes with: fills are integers of 64 bits, and become double beside reals.
DType common_type(const Arrays& operands);

// numpy's astype.
Array cast(const Array& array, DType dtype);

// --- Moving elements ---------------------------------------------------------------------------

Array unchanged(const Arrays& operands);
Array broadcast(const Array& array, const Shape& shape);
Arrays broadcast_together(const Arrays& arrays);
Array reshaped(const Array& array, const Shape& shape);
Array concatenated(const Arrays& parts, Int axis);
Array transposed(const Array& array, const Shape& axes);

// The elements begin + i * steps for all i within `shape`.
Array sliced(const Array& array, const Shape& begin, const Shape& steps, const Shape& shape);

// The parts at some positions along an axis. Positions out of range are Invalid, or modulo the
// extent where they wrap.
enum class OutOfRange { invalid, wraps };
Array taken(const Array& array, Int axis, const Array& positions, OutOfRange out_of_range);

// --- Counting ----------------------------------------------------------------------------------

// start + step * i for `count` i's, of arrays of one element.
Array counted(const Array& start, const Array& step, Int count);

// The product of integers along some axes, true in `reduced`.
Array product(const Array& array, const std::vector<bool>& reduced, bool keepdims);

// --- Operators ---------------------------------------------------------------------------------

// How the value of a source's operator follows from those of its operands.
template <class Operator>
class Rule {
 public:
  using OfValues = Array (*)(const Arrays&);
  using OfOperator = Array (*)(const Operator&, const Arrays&);

  Rule(OfValues function) : of_values_(function) {}
  Rule(OfOperator function) : of_operator_(function) {}

  Array operator()(const Operator& source, const Arrays& operands) const {
    return of_values_ ? of_values_(operands) : of_operator_(source, operands);
  }

 private:
  OfValues of_values_ = nullptr;
  OfOperator of_operator_ = nullptr;
};

}  // namespace relay_frontend::arrays
