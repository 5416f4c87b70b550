// Twin of importer_forms.py: the same rewrites under the same names, in the same order.

#include <algorithm>
#include <vector>

#include "relay_frontend/names.h"
#include "relay_frontend/canonical/rewrites.h"

namespace relay_frontend {

namespace {

constexpr double kLowest = -3.0e38;

// --- Products between changes of shape ---------------------------------------------------------

Node* reshaped(Context& context, Node* node, TensorType type) {
  if (node->is_constant()) return context.constant(type);
  Node* operand = node->op == op::reshape ? node->inputs[0] : node;
  if (operand->type == type) return operand;
  return context.make(op::reshape, type, context.operands({operand}), {}, node->source);
}

Node* dense_between_reshapes(Context& context, Node* node) {
  if (node->op != op::reshape) return nullptr;
  const Node* bias = nullptr;
  const Node* product = node->inputs[0];
  if (product->op == op::add && product->inputs[1]->is_constant()) {
    bias = product->inputs[1];
    product = product->inputs[0];
  }
  const Ints shape = node->type.shape;
  if (product->op != op::dense || product->inputs[0]->op != op::reshape || shape.empty()) {
    return nullptr;
  }
  const std::int64_t features = product->type.shape.back();
  if (shape.back() != features || shape.size() < 2) return nullptr;
  if (bias != nullptr) {
    const std::int64_t elements = bias->type.num_elements();
    const Ints tail = last(bias->type.shape, 1);
    if (elements != 1 && elements != features) return nullptr;
    if (!tail.empty() && tail[0] != 1 && tail[0] != features) return nullptr;
  }
  Node* rows = product->inputs[0];
  const Ints depth = context.ints({rows->type.shape.back()});
  const TensorType parted{joined(context, without_last(shape, 1), depth), rows->type.dtype};
  std::vector<Node*> inputs(product->inputs.begin(), product->inputs.end());
  inputs[0] = reshaped(context, rows, parted);
  Node* dense = with_inputs(context, product, context.span(inputs));
  dense->type = node->type;
  if (bias == nullptr) return dense;
  const bool is_vector = bias->type.num_elements() > 1;
  const Ints vector_shape = is_vector ? last(bias->type.shape, 1) : Ints();
  Node* vector = context.constant({vector_shape, bias->type.dtype}, bias->value);
  return context.make(op::add, node->type, context.operands({dense, vector}), {},
                      product->source);
}

bool is_stack(const Node* operand, const Node* product) {
  const Ints shape = operand->type.shape;
  return shape.size() == 3 && shape[0] == product->type.shape[0];
}

Node* matmul_between_reshapes(Context& context, Node* node) {
  if (node->op != op::reshape || node->inputs[0]->op != op::matmul) return nullptr;
  const Node* product = node->inputs[0];
  const auto [a, b] = two_operands(product);
  const Ints shape = node->type.shape;
  if (product->type.rank() != 3 || last(shape, 2) != last(product->type.shape, 2)) return nullptr;
  if (shape.size() < 3 || (a->op != op::reshape && b->op != op::reshape)) return nullptr;
  if (!is_stack(a, product) || !is_stack(b, product)) return nullptr;
  const auto unstacked = [&](Node* operand) {
    const Ints own = joined(context, without_last(shape, 2), last(operand->type.shape, 2));
    return reshaped(context, operand, {own, operand->type.dtype});
  };
  Node* left = unstacked(a);
  Node* right = unstacked(b);
  Node* result = with_inputs(context, product, context.operands({left, right}));
  result->type = node->type;
  return result;
}

Node* without_broadcast(Node* node) {
  if (node->op != op::broadcast_to || node->inputs[0]->type.rank() < 2) return node;
  Node* operand = node->inputs[0];
  return last(operand->type.shape, 2) == last(node->type.shape, 2) ? operand : node;
}

Node* matmul_of_broadcast(Context& context, Node* node) {
  if (node->op != op::matmul) return nullptr;
  std::vector<Node*> operands;
  for (Node* operand : node->inputs) operands.push_back(without_broadcast(operand));
  if (std::equal(operands.begin(), operands.end(), node->inputs.begin())) return nullptr;
  std::size_t rank = 0;
  for (const Node* operand : operands) rank = std::max(rank, operand->type.rank());
  if (rank < 2) throw Unsupported("a product of vectors");
  std::vector<std::int64_t> stack(rank - 2, 0);
  for (const Node* operand : operands) {
    if (operand->type.rank() < 2) throw Unsupported("a product with a vector");
    const Ints own = without_last(operand->type.shape, 2);
    const std::size_t lead = stack.size() - own.size();
    for (std::size_t i = 0; i < stack.size(); ++i) {
      stack[i] = std::max(stack[i], i < lead ? 1 : own[i - lead]);
    }
  }
  const bool same = Ints(stack.data(), stack.size()) == without_last(node->type.shape, 2);
  return same ? with_inputs(context, node, context.span(operands)) : nullptr;
}

// --- Positions ---------------------------------------------------------------------------------

bool is_zero(const Node* node) {
  if (!node->is_constant() || node->value == nullptr) return false;
  const Span<double> values = node->value->reals;
  return std::all_of(values.begin(), values.end(), [](double v) { return v == 0.0; });
}

Node* wrapped_positions(Context&, Node* node) {
  if (node->op != op::where || node->inputs.size() != 3) return nullptr;
  const Node* condition = node->inputs[0];
  const Node* shifted = node->inputs[1];
  Node* positions = node->inputs[2];
  if (condition->op != op::less || shifted->op != op::add || !is_integer(node->type)) {
    return nullptr;
  }
  if (condition->inputs[0] != positions || shifted->inputs[0] != positions) return nullptr;
  const bool wraps = is_zero(condition->inputs[1]) && shifted->inputs[1]->is_constant();
  return wraps && positions->type == node->type ? positions : nullptr;
}

Node* cast_of_position(Context& context, Node* node) {
  if (node->op != op::cast) return nullptr;
  const Node* extreme = node->inputs[0];
  if ((extreme->op != op::argmax && extreme->op != op::argmin) || !is_integer(node->type)) {
    return nullptr;
  }
  Node* result = context.copy(extreme);
  result->type = node->type;
  return result;
}

Node* roi_align_of_joined(Context& context, Node* node) {
  if (node->op != op::roi_align || node->inputs.size() != 2) return nullptr;
  const Node* joined = node->inputs[1];
  if (joined->op != op::concatenate || joined->inputs.size() != 2) return nullptr;
  Node* column = joined->inputs[0];
  Node* images = column->op == op::cast ? column->inputs[0] : column;
  if (images->op == op::reshape) images = images->inputs[0];
  if (images->is_constant()) {
    images = context.constant({column->type.shape.slice(0, 1), column->type.dtype});
  }
  return with_inputs(context, node,
                     context.operands({node->inputs[0], joined->inputs[1], images}));
}

// --- Formulas with a sign or a shape of their own -----------------------------------------------

Node* squeezed_logsumexp(Context& context, Node* node) {
  if (node->op != op::reshape || node->inputs[0]->op != op::logsumexp) return nullptr;
  const Node* inner = node->inputs[0];
  const Ints axes = inner->ints(attr::axes), shape = inner->type.shape;
  std::vector<std::int64_t> kept;
  for (std::size_t axis = 0; axis < shape.size(); ++axis) {
    const auto same = std::find(axes.begin(), axes.end(), static_cast<std::int64_t>(axis));
    if (same == axes.end()) kept.push_back(shape[axis]);
  }
  if (!inner->boolean(attr::keepdims) || node->type.shape != context.span(kept)) return nullptr;
  Node* result = context.copy(inner);
  result->type = node->type;
  result->attrs = context.with(inner->attrs, {attr::keepdims, false});
  return result;
}

// --- Windows -----------------------------------------------------------------------------------

std::size_t max_pool_rank(Name name) {
  return name == op::max_pool1d ? 1 : name == op::max_pool2d ? 2 : name == op::max_pool3d ? 3 : 0;
}

Node* pad_before_max_pool(Context& context, Node* node) {
  const std::size_t rank = max_pool_rank(node->op);
  if (rank == 0 || node->inputs[0]->op != op::pad) return nullptr;
  const Node* pad = node->inputs[0];
  const double value = pad->real(attr::value);
  const Ints widths = pad->ints(attr::pad_width), padding = node->ints(attr::padding);
  const std::size_t half = rank + 2;
  if (value > kLowest || widths.size() != 2 * half) return nullptr;
  if (widths[0] != 0 || widths[1] != 0 || widths[half] != 0 || widths[half + 1] != 0) {
    return nullptr;
  }
  if (*std::min_element(widths.begin(), widths.end()) < 0) return nullptr;
  const Ints extra = joined(context, widths.slice(2, half), widths.slice(half + 2));
  if (padding.size() != extra.size()) throw Unsupported("padding of a window of another rank");
  std::vector<std::int64_t> total;
  for (std::size_t i = 0; i < extra.size(); ++i) {
    total.push_back(checked_add(padding[i], extra[i]));
  }
  Node* result = with_inputs(context, node, pad->inputs);
  result->attrs = context.with(node->attrs, {attr::padding, context.span(total)});
  return result;
}

}  // namespace

const std::vector<Rewrite>& importer_forms() {
  static const std::vector<Rewrite> rewrites = {
      dense_between_reshapes, matmul_between_reshapes, matmul_of_broadcast, wrapped_positions,
      cast_of_position,       roi_align_of_joined,     squeezed_logsumexp,  pad_before_max_pool,
  };
  return rewrites;
}

}  // namespace relay_frontend
