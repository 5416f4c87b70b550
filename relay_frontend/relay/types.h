// What the files of rules for the types of operators share; see infer_types.
//
// Each rule gives the type only where the operands are exactly as TVM's own type relation wants
// them, so that no module is read which type inference would refuse.

#pragma once

#include <unordered_map>
#include <vector>

#include "relay_frontend/relay/calls.h"

namespace relay_frontend::relay {

// What a rule sees; it returns false where it cannot tell.
struct Inference {
  Context& context;
  const RelayAttributes& attrs;
  Span<TensorType> operands;
  ResultTypes& result;

  bool give(TensorType type) {
    result = {context.span(&type, 1), false};
    return true;
  }
  bool has_shape(std::size_t operand, std::initializer_list<std::int64_t> shape) const {
    const TensorType& type = operands[operand];
    return type.dtype == operands[0].dtype && type.shape == Ints(shape.begin(), shape.size());
  }
};

using Rule = bool (*)(Inference&);
using Shape = std::vector<std::int64_t>;

inline Shape shape_of(const TensorType& type) {
  return Shape(type.shape.begin(), type.shape.end());
}

// An axis of `rank` dimensions, counted from the front; false where there is none.
inline bool find_axis(std::int64_t axis, std::size_t rank, std::size_t& result) {
  const auto count = static_cast<std::int64_t>(rank);
  if (axis < -count || axis >= count) return false;
  result = static_cast<std::size_t>(axis < 0 ? axis + count : axis);
  return true;
}

// Rules by Relay operator, of those that move data.
const std::unordered_map<Text, Rule>& move_rules();

}  // namespace relay_frontend::relay
