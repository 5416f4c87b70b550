// Twin of parts.py: the same rewrites under the same names.

#include <algorithm>
#include <tuple>
#include <vector>

#include "relay_frontend/canonical/rewrites.h"
#include "relay_frontend/canonical/sweeps.h"
#include "relay_frontend/names.h"

namespace relay_frontend {

namespace {

// A slice that may be one of the equal parts of a tensor.
struct Part {
  std::uint32_t whole;  // serial of the tensor
  std::int64_t axis;
  std::int64_t extent;
  std::int64_t index;
  Node* node;

  auto group() const { return std::tie(whole, axis, extent); }
  auto key() const { return std::tie(whole, axis, extent, index); }
};

// parts._cut; false for other slices.
bool cut(Node* node, Part& part) {
  const Ints whole = node->inputs[0]->type.shape, own = node->type.shape;
  const Ints begin = node->ints(attr::begin);
  std::size_t num_cut = 0, axis = 0;
  for (std::size_t i = 0; i < whole.size(); ++i) {
    if (whole[i] != own[i]) ++num_cut, axis = i;
  }
  for (std::int64_t step : node->ints(attr::strides)) {
    if (step != 1) return false;
  }
  if (num_cut != 1 || own[axis] == 0 || whole[axis] % own[axis] != 0) return false;
  if (begin[axis] < 0) throw Unsupported("a slice that begins before its tensor");
  if (begin[axis] % own[axis] != 0) return false;
  part = {node->inputs[0]->serial, static_cast<std::int64_t>(axis), own[axis],
          begin[axis] / own[axis], node};
  return true;
}

Node* part_of_stack(Context& context, Node* operand, TensorType type, const Node* stack) {
  if (operand->is_constant()) return context.constant(type);
  if (operand->op != op::reshape) {
    return context.make(op::reshape, type, context.operands({operand}), {}, stack->source);
  }
  Node* part = context.copy(operand);
  part->type = type;
  return part;
}

}  // namespace

void split_from_slices(Context& context, const std::vector<Node*>& outputs) {
  std::vector<Part> parts;
  for (Node* node : topological(context, outputs)) {
    Part part;
    if (node->op == op::slice && cut(node, part)) parts.push_back(part);
  }
  std::sort(parts.begin(), parts.end(),
            [](const Part& a, const Part& b) { return a.key() < b.key(); });
  for (auto first = parts.begin(); first != parts.end();) {
    auto last = first;
    std::int64_t num_parts = 0;
    for (; last != parts.end() && last->group() == first->group(); ++last) {
      if (last == first || last->index != (last - 1)->index) ++num_parts;
    }
    const Ints whole = first->node->inputs[0]->type.shape;
    if (checked_mul(num_parts, first->extent) == extent(whole, first->axis)) {
      for (auto part = first; part != last; ++part) {
        part->node->op = op::split;
        part->node->attrs =
            context.attrs({{attr::axis, part->axis}, {attr::index, part->index}});
      }
    }
    first = last;
  }
}

void concatenate_from_stacks(Context& context, const std::vector<Node*>& outputs) {
  for (Node* node : topological(context, outputs)) {
    if (node->op != op::stack) continue;
    const std::int64_t axis = node->integer(attr::axis);
    std::vector<std::int64_t> shape(node->type.shape.begin(), node->type.shape.end());
    extent(node->type.shape, axis);  // is there
    shape[static_cast<std::size_t>(axis)] = 1;
    const TensorType type{context.span(shape), node->type.dtype};
    std::vector<Node*> parts;
    for (Node* operand : node->inputs) parts.push_back(part_of_stack(context, operand, type, node));
    node->op = op::concatenate;
    node->inputs = context.span(parts);
  }
}

}  // namespace relay_frontend
