// Forms of ONNX operators that several subjects share; twin of forms.py.

#pragma once

#include <vector>

#include "relay_frontend/onnx/operators.h"

namespace relay_frontend::onnx {

using Extents = std::vector<std::int64_t>;

inline Operands only(const OnnxNode& source, Node* node) { return source.context.operands({node}); }

inline Node* on_data(const OnnxNode& source, Name op, Attrs attrs = {}) {
  return source.node(op, only(source, source.data()), attrs);
}

inline Converter first_operand(Name op) {
  return [op](const OnnxNode& source) { return on_data(source, op); };
}

inline Node* scalar(const OnnxNode& source, DType dtype, const ConstantValue* value) {
  return source.context.constant(source.context.type(Ints(), dtype), value);
}

inline double scalar_of(const ConstantValue& value) {
  if (value.size() != 1) throw Unsupported("onnx: a scalar of several elements");
  return value.reals[0];
}

}  // namespace relay_frontend::onnx
