// Twin of absorb.py: the same rewrites under the same names, in the same order.

#include <algorithm>
#include <vector>

#include "relay_frontend/canonical/rewrites.h"
#include "relay_frontend/canonical/sweeps.h"
#include "relay_frontend/names.h"
#include "relay_frontend/vocabulary.h"

namespace relay_frontend {

namespace {

// The dimension of the channels in what `node` gives; -1 where there is none.
std::int64_t channel_axis(const Node* node) {
  const std::int64_t last_axis = static_cast<std::int64_t>(node->type.rank()) - 1;
  if (is_convolution(node->op)) return spec_of(node->op)->channels_last ? last_axis : 1;
  return last_axis == 3 && node->op != op::dense ? 1 : last_axis;
}

bool per_channel(const Node* node) {
  if (node->inputs.size() != 2 || !node->inputs[1]->is_constant()) return false;
  if (node->type != node->inputs[0]->type) return false;
  const Ints shape = node->type.shape, constant_shape = node->inputs[1]->type.shape;
  const std::int64_t channels = channel_axis(node->inputs[0]);
  const std::size_t rank = std::max(shape.size(), constant_shape.size());
  const std::size_t lead = rank - constant_shape.size();
  for (std::size_t i = 0; i < constant_shape.size(); ++i) {
    const auto axis = static_cast<std::int64_t>(lead + i);
    if (constant_shape[i] == 1) continue;
    if (axis != channels || constant_shape[i] != extent(shape, axis)) return false;
  }
  return true;
}

Node* biased(Context& context, Node* producer, const Node* bias) {
  if (producer->inputs.size() > 2) return producer;
  const Ints channels = context.ints({extent(producer->type.shape, channel_axis(producer))});
  std::vector<Node*> inputs(producer->inputs.begin(), producer->inputs.end());
  inputs.push_back(context.constant({channels, producer->type.dtype}));
  Node* result = context.copy(producer);
  result->inputs = context.span(inputs);
  result->type = bias->type;
  return result;
}

Node* fold_pad(Context& context, Node* node) {
  const Node* pad = node->inputs[0];
  if (!is_convolution(node->op) || pad->op != op::pad) return nullptr;
  if (pad->has(attr::value) && pad->real(attr::value) != 0.0) return nullptr;
  if (spec_of(node->op)->transposed) return nullptr;
  const Ints widths = pad->ints(attr::pad_width), padding = node->ints(attr::padding);
  const std::size_t rank = widths.size() / 2;
  const std::size_t first = spec_of(node->op)->channels_last ? 1 : 2;
  if (rank < 2) throw Unsupported("padding of less than two dimensions");
  if (*std::min_element(widths.begin(), widths.end()) < 0) return nullptr;
  std::vector<std::int64_t> total;
  for (std::size_t i = 0; i < 2 * rank; ++i) {
    const std::size_t axis = i % rank;
    const bool is_spatial = axis >= first && axis < first + rank - 2;
    if (!is_spatial && widths[i] != 0) return nullptr;
    if (is_spatial) total.push_back(widths[i]);
  }
  if (total.size() != padding.size()) throw Unsupported("padding of another rank");
  for (std::size_t i = 0; i < total.size(); ++i) total[i] = checked_add(total[i], padding[i]);
  std::vector<Node*> inputs(node->inputs.begin(), node->inputs.end());
  inputs[0] = pad->inputs[0];
  Node* result = with_inputs(context, node, context.span(inputs));
  result->attrs = context.with(node->attrs, {attr::padding, context.span(total)});
  return result;
}

Node* fold_batch_norm(Context& context, Node* node) {
  Node* producer = node->inputs[0];
  const bool folds = node->op == op::batch_norm && is_convolution(producer->op);
  return folds ? biased(context, producer, node) : nullptr;
}

Node* fold_scale(Context&, Node* node) {
  Node* producer = node->inputs[0];
  if (node->op != op::multiply) return nullptr;
  if (!is_linear(producer->op) && producer->op != op::batch_norm) return nullptr;
  return per_channel(node) ? producer : nullptr;
}

Node* join_bias(Context& context, Node* node) {
  Node* producer = node->inputs[0];
  if (node->op != op::add || !per_channel(node)) return nullptr;
  if (producer->op == op::batch_norm) return producer;
  return is_linear(producer->op) ? biased(context, producer, node) : nullptr;
}

Node* scale_shift_to_batch_norm(Context& context, Node* node) {
  const Node* producer = node->inputs[0];
  if (node->op != op::add || producer->op != op::multiply) return nullptr;
  if (!per_channel(node) || !per_channel(producer)) return nullptr;
  return context.make(op::batch_norm, node->type, producer->inputs.slice(0, 1), {}, node->source);
}

constexpr Rewrite kAbsorb[] = {
    fold_pad, fold_batch_norm, fold_scale, join_bias, scale_shift_to_batch_norm,
};

}  // namespace

void absorb(Context& context, std::vector<Node*>& outputs) {
  const std::vector<Node*> order = topological(context, outputs);
  // Consumers are counted on the old nodes; a new node stands for the last old one it has taken
  // in, and so has that one's consumers.
  std::vector<std::uint32_t> counts(context.num_nodes());
  for (const Node* node : order) {
    for (const Node* operand : node->inputs) ++counts[operand->serial];
  }
  for (const Node* node : outputs) ++counts[node->serial];
  Replacements replacements(context.num_nodes());
  std::vector<std::uint32_t> consumers(context.num_nodes());
  // What a rewrite made for its replacement alone, as in malformed networks, is not counted yet.
  auto has_one_consumer = [&](const Node* node) {
    return node->serial < consumers.size() && consumers[node->serial] == 1;
  };
  for (Node* node : order) {
    const std::uint32_t old_serial = node->serial;
    node->inputs = replaced(context, node->inputs, replacements);
    for (Rewrite rewrite : kAbsorb) {
      if (node->inputs.empty()) break;
      if (rewrite != fold_pad && !has_one_consumer(node->inputs[0])) continue;
      if (Node* replacement = rewrite(context, node)) node = replacement;
    }
    replacements[old_serial] = node;
    if (consumers.size() < context.num_nodes()) consumers.resize(context.num_nodes());
    consumers[node->serial] = counts[old_serial];
  }
  replace_outputs(outputs, replacements);
}

}  // namespace relay_frontend
