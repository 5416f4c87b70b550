// Types of results by simple rules, so that most networks need no shape inference of ONNX's.

#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "relay_frontend/onnx/node.h"

namespace relay_frontend::onnx {

// An operand of a node before there are nodes: its type, and its content where that is known.
struct TypedOperand {
  TensorType type;
  const ConstantValue* value = nullptr;
};

// The type of the only result of an operator of the default domain. Nothing where ONNX's own
// inference has to tell: for most operators, and for all that seems wrong with one.
std::optional<TensorType> simple_type(Context& context, Text op_type,
                                      const std::vector<TypedOperand>& operands,
                                      const std::vector<Attribute>& attributes,
                                      std::int64_t opset);

}  // namespace relay_frontend::onnx
