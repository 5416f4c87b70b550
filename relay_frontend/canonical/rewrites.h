// Rewrites: rules that give a node in place of another one, or null where they do not apply. They
// are twins of Python functions of the same names, which say what they are for.

#pragma once

#include <vector>

#include "relay_frontend/node.h"

namespace relay_frontend {

using Rewrite = Node* (*)(Context&, Node*);

// What importers write around an operator, taken away again: importer_forms.IMPORTER_FORMS.
const std::vector<Rewrite>& importer_forms();

// What importers take apart, put together again: decompositions.RECOMPOSE.
const std::vector<Rewrite>& recompositions();

// `node` with its dimensions in another order, in as few steps as possible.
Node* transposed(Context& context, Node* node, Ints axes, Text source);

// --- For all files of rewrites -----------------------------------------------------------------

// A copy of `node` with other operands: nodes.replace(node, inputs=...).
inline Node* with_inputs(Context& context, const Node* node, Operands inputs) {
  Node* copy = context.copy(node);
  copy->inputs = inputs;
  return copy;
}

// Both operands of a node; Unsupported where it has not exactly two.
inline std::pair<Node*, Node*> two_operands(const Node* node) {
  if (node->inputs.size() != 2) throw Unsupported("an operator without its two operands");
  return {node->inputs[0], node->inputs[1]};
}

// Whether a type's name says "int": signed and unsigned integers.
inline bool is_integer(TensorType type) {
  return dtype_name(type.dtype).find("int") != Text::npos;
}

// Python's shape[:-count] and shape[-count:].
inline Ints without_last(Ints shape, std::size_t count) {
  return shape.size() > count ? shape.slice(0, shape.size() - count) : Ints();
}
inline Ints last(Ints shape, std::size_t count) {
  return shape.size() > count ? shape.slice(shape.size() - count) : shape;
}

// One after the other.
inline Ints joined(Context& context, Ints first, Ints second) {
  std::vector<std::int64_t> both(first.begin(), first.end());
  both.insert(both.end(), second.begin(), second.end());
  return context.span(both);
}

// The entry at an axis, which canonical attributes count from zero.
inline std::int64_t extent(Ints shape, std::int64_t axis) {
  if (axis < 0) throw Unsupported("a negative axis");
  return shape[static_cast<std::size_t>(axis)];
}

}  // namespace relay_frontend
