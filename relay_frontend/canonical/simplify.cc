// Twin of simplify.py: the same rewrites under the same names, in the same order.

#include <algorithm>
#include <limits>
#include <vector>

#include "relay_frontend/canonical/patterns.h"
#include "relay_frontend/canonical/rewrites.h"
#include "relay_frontend/canonical/sweeps.h"
#include "relay_frontend/names.h"

namespace relay_frontend {

namespace {

Node* fold_constant(Context& context, Node* node) {
  if (node->inputs.empty()) return nullptr;
  for (const Node* operand : node->inputs) {
    if (!operand->is_constant()) return nullptr;
  }
  return context.constant(node->type);
}

bool is_identity_permutation(const Node* node) {
  const AttrValue* axes = node->find(attr::axes);
  const Ints* order = axes == nullptr ? nullptr : std::get_if<Ints>(axes);
  if (order == nullptr || order->size() != node->type.rank()) return false;
  for (std::size_t i = 0; i < order->size(); ++i) {
    if ((*order)[i] != static_cast<std::int64_t>(i)) return false;
  }
  return true;
}

Node* drop_no_op(Context&, Node* node) {
  if (node->inputs.size() != 1) return nullptr;
  Node* operand = node->inputs[0];
  const bool is_no_op = node->op == op::identity || node->op == op::concatenate ||
                        (node->op == op::cast && node->type == operand->type) ||
                        (node->op == op::reshape && node->type == operand->type) ||
                        (node->op == op::transpose && is_identity_permutation(node)) ||
                        (node->op == op::pad && node->type == operand->type);
  return is_no_op ? operand : nullptr;
}

Node* merge_reshapes(Context& context, Node* node) {
  if (node->op != op::reshape || node->inputs[0]->op != op::reshape) return nullptr;
  Node* merged = context.copy(node);
  merged->inputs = node->inputs[0]->inputs;
  return merged;
}

Node* merge_transposes(Context& context, Node* node) {
  if (node->op != op::transpose || node->inputs[0]->op != op::transpose) return nullptr;
  return transposed(context, node->inputs[0], node->ints(attr::axes), node->source);
}

Node* transpose_to_reshape(Context& context, Node* node) {
  if (node->op != op::transpose) return nullptr;
  const Ints shape = node->inputs[0]->type.shape;
  std::int64_t last = -1;
  for (std::int64_t axis : node->ints(attr::axes)) {
    if (axis < 0) throw Unsupported("a negative axis of a transpose");
    if (shape[static_cast<std::size_t>(axis)] == 1) continue;
    if (axis < last) return nullptr;
    last = axis;
  }
  Node* reshape = context.copy(node);
  reshape->op = op::reshape;
  reshape->attrs = {};
  return reshape;
}

Node* constant_to_right(Context& context, Node* node) {
  const bool is_commutative = node->op == op::add || node->op == op::multiply;
  if (!is_commutative || node->inputs.size() != 2 || !node->inputs[0]->is_constant()) {
    return nullptr;
  }
  Node* turned = context.copy(node);
  turned->inputs = context.operands({node->inputs[1], node->inputs[0]});
  return turned;
}

Node* neutral_constant(Context&, Node* node) {
  const bool is_sum = node->op == op::add || node->op == op::subtract;
  const bool is_product = node->op == op::multiply || node->op == op::divide;
  if ((!is_sum && !is_product) || node->inputs.size() != 2) return nullptr;
  const double* value = scalar(node->inputs[1]);
  if (value == nullptr || node->inputs[0]->type != node->type) return nullptr;
  return *value == (is_sum ? 0.0 : 1.0) ? node->inputs[0] : nullptr;
}

Node* matmul_to_dense(Context& context, Node* node) {
  if (node->op != op::matmul || !node->inputs[1]->is_constant()) return nullptr;
  if (node->inputs[1]->type.rank() != 2) return nullptr;
  Node* dense = context.copy(node);
  dense->op = op::dense;
  return dense;
}

Node* clip_to_relu(Context& context, Node* node) {
  if (node->op != op::clip) return nullptr;
  const double low = node->real(attr::min), high = node->real(attr::max);
  const double unbounded = static_cast<double>(std::numeric_limits<float>::max());
  if (high < unbounded) return nullptr;
  if (low == 0.0) {
    Node* relu = context.copy(node);
    relu->op = op::relu;
    relu->attrs = {};
    relu->inputs = node->inputs.slice(0, 1);
    return relu;
  }
  return low <= -unbounded ? node->inputs[0] : nullptr;
}

Node* global_pool(Context& context, Node* node, Name name) {
  const Ints shape = node->inputs[0]->type.shape;
  const TensorType pooled_type{context.ints({shape[0], shape[1], 1, 1}), node->type.dtype};
  Node* pooled = context.make(name, pooled_type, node->inputs, {}, node->source);
  if (pooled_type == node->type) return pooled;
  return context.make(op::reshape, node->type, context.operands({pooled}), {}, node->source);
}

Node* reduction_to_global_pool(Context& context, Node* node) {
  if (node->op != op::mean && node->op != op::max) return nullptr;
  if (node->ints(attr::axes) != context.ints({2, 3})) return nullptr;
  if (node->inputs[0]->type.rank() != 4) return nullptr;
  const bool is_mean = node->op == op::mean;
  return global_pool(context, node, is_mean ? op::global_avg_pool2d : op::global_max_pool2d);
}

Node* pool_to_global_pool(Context& context, Node* node) {
  if (node->op != op::max_pool2d && node->op != op::avg_pool2d) return nullptr;
  const bool covers = node->ints(attr::kernel_size) == node->inputs[0]->type.shape.slice(2);
  if (!covers || node->ints(attr::padding) != context.ints({0, 0, 0, 0})) return nullptr;
  if (node->type.shape.slice(2) != context.ints({1, 1})) return nullptr;
  const bool is_max = node->op == op::max_pool2d;
  return global_pool(context, node, is_max ? op::global_max_pool2d : op::global_avg_pool2d);
}

constexpr Rewrite kSimplify[] = {
    fold_constant,
    drop_no_op,
    merge_reshapes,
    merge_transposes,
    transpose_to_reshape,
    constant_to_right,
    neutral_constant,
    matmul_to_dense,
    clip_to_relu,
    reduction_to_global_pool,
    pool_to_global_pool,
};

Node* first_replacement(Context& context, Node* node) {
  for (Rewrite rewrite : importer_forms()) {
    if (Node* replacement = rewrite(context, node)) return replacement;
  }
  for (Rewrite rewrite : recompositions()) {
    if (Node* replacement = rewrite(context, node)) return replacement;
  }
  for (Rewrite rewrite : kSimplify) {
    if (Node* replacement = rewrite(context, node)) return replacement;
  }
  return nullptr;
}

// simplify._simplified
Node* simplified(Context& context, Node* node) {
  while (Node* replacement = first_replacement(context, node)) {
    if (replacement->op == op::constant || replacement->op == op::input) return replacement;
    const Operands inputs = node->inputs;
    if (std::find(inputs.begin(), inputs.end(), replacement) != inputs.end()) return replacement;
    node = replacement;
  }
  return node;
}

}  // namespace

void simplify(Context& context, std::vector<Node*>& outputs) {
  Replacements replacements(context.num_nodes());
  for (Node* node : topological(context, outputs)) {
    node->inputs = replaced(context, node->inputs, replacements);
    replacements[node->serial] = simplified(context, node);
  }
  replace_outputs(outputs, replacements);
}

}  // namespace relay_frontend
