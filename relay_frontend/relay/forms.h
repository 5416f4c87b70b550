// Forms of Relay operators that several subjects share; twin of forms.py.

#pragma once

#include <algorithm>
#include <vector>

#include "relay_frontend/names.h"
#include "relay_frontend/relay/operators.h"

namespace relay_frontend::relay {

using Op = const RelayOperator&;
using Int = std::int64_t;

inline Operands first_operand_of(Op op) { return op.inputs.slice(0, 1); }

inline Node* first_operand(Op op, const Converter& self) {
  return op.node(self.name, first_operand_of(op));
}

// An operator with one axis, counted in its operand or, with `flag`, in its result.
inline Node* along_axis(Op op, const Converter& self) {
  const std::size_t rank = self.flag ? op.type.rank() : op.rank();
  return op.node(self.name, op.context.attrs({{attr::axis, op.axis(rank)}}));
}

inline std::vector<Int> range(Int first, Int last) {
  std::vector<Int> values;
  for (Int i = first; i < last; ++i) values.push_back(i);
  return values;
}

inline bool all_equal(Ints values, Int value) {
  return std::all_of(values.begin(), values.end(), [&](Int v) { return v == value; });
}

// Axes of the first operand, counted from the front and sorted.
inline std::vector<Int> sorted_axes(Op op) {
  std::vector<Int> axes;
  for (Int axis : op.ints("axis")) axes.push_back(floor_mod(axis, static_cast<Int>(op.rank())));
  std::sort(axes.begin(), axes.end());
  return axes;
}

inline Ints permuted(Context& context, Ints shape, const std::vector<Int>& axes) {
  std::vector<Int> result;
  for (Int axis : axes) result.push_back(shape[static_cast<std::size_t>(axis)]);
  return context.span(result);
}

// The node with its dimensions in another order, one whose content is not known where constant.
inline Node* transposed(Context& context, Node* node, const std::vector<Int>& axes) {
  const TensorType type =
      context.type(permuted(context, node->type.shape, axes), node->type.dtype);
  if (node->is_constant()) return context.constant(type);
  return context.make(op::transpose, type, context.operands({node}),
                      context.attrs({{attr::axes, context.span(axes)}}), node->source);
}

}  // namespace relay_frontend::relay
