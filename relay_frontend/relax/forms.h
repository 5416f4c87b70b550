// Forms of Relax operators that several subjects share; twin of forms.py.

#pragma once

#include <algorithm>
#include <vector>

#include "relay_frontend/names.h"
#include "relay_frontend/relax/reader.h"

namespace relay_frontend::relax {

using Call = const RelaxCall&;
using Int = std::int64_t;

inline Attrs one(Call call, Attr attr) { return call.context.attrs({attr}); }

template <const Name& name>
Node* operand_axis(Call call) {
  return call.node(name, one(call, {attr::axis, call.axis(call.rank())}));
}

// Axes counted from the front of the first operand.
inline std::vector<Int> positive(Call call, Ints axes) {
  std::vector<Int> result;
  for (const Int axis : axes) result.push_back(floor_mod(axis, static_cast<Int>(call.rank())));
  return result;
}

inline std::vector<Int> sorted(std::vector<Int> values) {
  std::sort(values.begin(), values.end());
  return values;
}

inline std::vector<Int> range(std::size_t first, std::size_t last) {
  std::vector<Int> values;
  for (std::size_t i = first; i < last; ++i) values.push_back(static_cast<Int>(i));
  return values;
}

// The first operand as a vector, which operators without an axis work on.
inline Node* flat(Call call) {
  const TensorType data = call.inputs[0]->type;
  const TensorType type = call.context.type(call.context.ints({data.num_elements()}), data.dtype);
  return call.context.make(op::reshape, type, call.inputs.slice(0, 1), {}, call.source);
}

inline TensorType permuted_type(Call call, TensorType type, Ints axes) {
  std::vector<Int> shape;
  for (const Int axis : axes) shape.push_back(type.shape[static_cast<std::size_t>(axis)]);
  return call.context.type(shape, type.dtype);
}

// `operand` with its four dimensions in another order.
inline Node* permuted(Call call, Node* operand, Ints axes) {
  return call.context.make(op::transpose, permuted_type(call, operand->type, axes),
                           call.context.operands({operand}), one(call, {attr::axes, axes}),
                           call.source);
}

}  // namespace relay_frontend::relax
