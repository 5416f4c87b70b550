// Relay reductions and what else goes along an axis; twin of reductions.py.

#include <algorithm>
#include <vector>

#include "relay_frontend/names.h"
#include "relay_frontend/relay/forms.h"

namespace relay_frontend {

namespace {

using namespace relay;

// The axes of a reduction, sorted.
std::vector<Int> reduced(Op op) {
  const auto rank = static_cast<Int>(op.rank());
  if (op.is_none("axis")) return range(0, rank);
  const std::vector<Int> axes = sorted_axes(op);
  if (op.integer("exclude") == 0) return axes;
  std::vector<Int> others;
  for (Int axis = 0; axis < rank; ++axis) {
    if (std::find(axes.begin(), axes.end(), axis) == axes.end()) others.push_back(axis);
  }
  return others;
}

// The variance has its mean as second operand, which is computed for it alone.
Node* reduction(Op op, const Converter& self) {
  return op.node(self.name, first_operand_of(op),
                 op.context.attrs({{attr::axes, op.context.span(reduced(op))},
                                   {attr::keepdims, op.integer("keepdims") != 0}}));
}

Node* arg_reduction(Op op, const Converter& self) {
  const std::vector<Int> axes = reduced(op);
  if (axes.size() != 1) return op.unknown();
  return op.node(self.name, op.context.attrs({{attr::axis, axes[0]},
                                              {attr::keepdims, op.integer("keepdims") != 0}}));
}

Node* cumsum(Op op, const Converter& self) {
  const bool exclusive = !op.is_none("exclusive") && op.integer("exclusive") != 0;
  if (op.is_none("axis") || exclusive) return op.unknown();
  return op.node(self.name, op.context.attrs({{attr::axis, op.axis()}}));
}

Node* top_k(Op op, const Converter&) {
  const Int axis = op.axis();
  const Ints shape = op.type.shape;
  const Attrs attrs =
      op.context.attrs({{attr::axis, axis}, {attr::k, shape[static_cast<std::size_t>(axis)]}});
  const Operands operands = first_operand_of(op);
  if (op.text("ret_type") != "indices") return op.node(op::top_k, operands, attrs);
  const TensorType values = op.context.type(shape, op.inputs[0]->type.dtype);
  Node* base = op.context.make(op::top_k, values, operands, attrs, op.source);
  return op.node(op::item, op.context.operands({base}), op.context.attrs({{attr::index, 1}}));
}

const Converters kReductions{
    {"argmax", {arg_reduction, op::argmax}},
    {"argmin", {arg_reduction, op::argmin}},
    {"cumsum", {cumsum, op::cumsum}},
    {"max", {reduction, op::max}},
    {"mean", {reduction, op::mean}},
    {"min", {reduction, op::min}},
    {"prod", {reduction, op::prod}},
    {"sum", {reduction, op::sum}},
    {"topk", {top_k, op::top_k}},
    {"variance", {reduction, op::variance}},
};

}  // namespace

const Converters& reduction_converters() { return kReductions; }

}  // namespace relay_frontend
