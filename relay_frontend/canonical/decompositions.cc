// Twin of decompositions.py: the same rewrites under the same names, in the same order.

#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "relay_frontend/names.h"
#include "relay_frontend/canonical/patterns.h"
#include "relay_frontend/canonical/rewrites.h"

namespace relay_frontend {

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

Node* merge_clips(Context& context, Node* node) {
  if (node->op != op::clip || node->inputs.empty()) return nullptr;
  const Node* inner = node->inputs[0];
  if (inner->op != op::clip && inner->op != op::relu) return nullptr;
  const bool is_relu = inner->op == op::relu;
  const double inner_low = is_relu ? 0.0 : inner->real(attr::min);
  const double inner_high = is_relu ? kInfinity : inner->real(attr::max);
  const double high = node->real(attr::max);
  if (node->real(attr::min) != -kInfinity || inner_high != kInfinity || !(inner_low < high)) {
    return nullptr;
  }
  Node* clip = context.copy(node);
  clip->inputs = inner->inputs;
  clip->attrs = context.attrs({{attr::min, inner_low}, {attr::max, high}});
  return clip;
}

// The operator of two operands that a reduction of a stack is a chain of, or null.
const Name* of_two(Name reduction) {
  if (reduction == op::sum || reduction == op::mean) return &op::add;
  if (reduction == op::max) return &op::maximum;
  return reduction == op::min ? &op::minimum : nullptr;
}

Node* reduction_of_stack(Context& context, Node* node) {
  const Name* binary = of_two(node->op);
  if (binary == nullptr || node->inputs[0]->op != op::stack) return nullptr;
  const Node* stack = node->inputs[0];
  if (node->ints(attr::axes) != context.ints({stack->integer(attr::axis)})) return nullptr;
  if (node->boolean(attr::keepdims)) return nullptr;
  Node* total = stack->inputs[0];
  for (Node* term : stack->inputs.slice(1)) {
    total = context.make(*binary, node->type, context.operands({total, term}), {}, node->source);
  }
  if (node->op != op::mean) return total;
  const auto count = static_cast<std::int64_t>(stack->inputs.size());
  Node* divisor = context.constant({Ints(), node->type.dtype},
                                   context.integers(Ints(), context.ints({count})));
  return context.make(op::divide, node->type, context.operands({total, divisor}), {},
                      node->source);
}

Node* broadcast_to_same(Context&, Node* node) {
  const bool same = node->op == op::broadcast_to && node->inputs[0]->type == node->type;
  return same ? node->inputs[0] : nullptr;
}

const Node* constant_operand(const Node* node, Name op) {
  if (node == nullptr || node->op != op || scalar(node->inputs[1]) == nullptr) return nullptr;
  return node->inputs[0];
}

Node* lrn_from_parts(Context& context, Node* node) {
  if (node->op != op::divide || node->inputs[1]->op != op::power) return nullptr;
  const Node* scaled = constant_operand(node->inputs[1], op::power);
  const Node* shifted = constant_operand(scaled, op::add);
  const Node* mean = constant_operand(shifted, op::multiply);
  if (mean == nullptr || mean->op != op::reshape || mean->inputs[0]->op != op::avg_pool3d) {
    return nullptr;
  }
  const Node* pool = mean->inputs[0];
  const Node* pooled = pool->inputs[0];
  const Node* unpadded = pooled->op == op::pad ? pooled->inputs[0] : pooled;
  const Node* square = unpadded->op == op::reshape ? unpadded->inputs[0] : unpadded;
  const Ints window = pool->ints(attr::kernel_size);
  if (square->op != op::square || square->inputs[0] != node->inputs[0]) return nullptr;
  if (window.slice(1) != context.ints({1, 1})) return nullptr;
  return context.make(op::lrn, node->type, node->inputs.slice(0, 1),
                      context.attrs({{attr::size, window[0]}}), node->source);
}

std::vector<std::size_t> long_axes(Ints shape) {
  std::vector<std::size_t> axes;
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (shape[i] != 1) axes.push_back(i);
  }
  return axes;
}

// Where a dimension of `inner` is in `outer`, if these differ in extents of 1 only; else -1.
std::int64_t same_long_axis(Ints inner, Ints outer, std::int64_t axis) {
  const std::vector<std::size_t> long_inner = long_axes(inner), long_outer = long_axes(outer);
  if (long_inner.size() != long_outer.size()) return -1;
  std::int64_t found = -1;
  for (std::size_t i = 0; i < long_inner.size(); ++i) {
    if (inner[long_inner[i]] != outer[long_outer[i]]) return -1;
    if (static_cast<std::int64_t>(long_inner[i]) == axis) {
      found = static_cast<std::int64_t>(long_outer[i]);
    }
  }
  return found;
}

Node* softmax_between_reshapes(Context& context, Node* node) {
  if (node->op != op::reshape || node->inputs[0]->op != op::softmax) return nullptr;
  const Node* softmax = node->inputs[0];
  if (softmax->inputs[0]->op != op::reshape) return nullptr;
  Node* operand = softmax->inputs[0]->inputs[0];
  if (operand->type != node->type) return nullptr;
  const std::int64_t axis = softmax->integer(attr::axis);
  const Ints inner = softmax->type.shape, outer = operand->type.shape;
  if (outer.empty()) return nullptr;
  std::int64_t outer_axis = static_cast<std::int64_t>(outer.size()) - 1;
  if (axis != static_cast<std::int64_t>(inner.size()) - 1 || inner.back() != outer.back()) {
    outer_axis = same_long_axis(inner, outer, axis);
    if (outer_axis < 0) return nullptr;
  }
  Node* result = with_inputs(context, softmax, context.operands({operand}));
  result->type = node->type;
  result->attrs = context.attrs({{attr::axis, outer_axis}});
  return result;
}

Node* group_norm_from_instance_norm(Context& context, Node* node) {
  if (node->op != op::reshape || node->inputs[0]->op != op::instance_norm) return nullptr;
  const Node* normal = node->inputs[0];
  const Node* grouped = normal->inputs[0];
  if (grouped->op != op::reshape || grouped->inputs[0]->type != node->type) return nullptr;
  const Ints shape = node->type.shape, groups = grouped->type.shape;
  if (shape.slice(0, 1) != groups.slice(0, 1) || floor_mod(shape[1], groups[1]) != 0) {
    return nullptr;
  }
  return context.make(op::group_norm, node->type, grouped->inputs.slice(0, 1),
                      context.attrs({{attr::num_groups, groups[1]}}), normal->source);
}

Node* instance_norm_from_layer_norm(Context& context, Node* node) {
  if (node->op != op::multiply || node->inputs[0]->op != op::layer_norm) return nullptr;
  if (node->inputs[0]->inputs.size() > 1) return nullptr;
  const auto [normal, scale] = two_operands(node);
  if (!scale->is_constant()) return nullptr;
  const Ints shape = node->type.shape;
  std::vector<std::int64_t> axes, per_channel;
  if (shape.size() > 2) per_channel.push_back(shape[1]);
  for (std::size_t axis = 2; axis < shape.size(); ++axis) {
    axes.push_back(static_cast<std::int64_t>(axis));
    per_channel.push_back(1);
  }
  if (normal->ints(attr::axes) != context.span(axes) || normal->type != node->type) return nullptr;
  const Ints vector = context.span(per_channel);
  const Ints own = scale->type.shape;
  if (own != vector && own != joined(context, context.ints({1}), vector)) return nullptr;
  std::vector<Node*> operands(normal->inputs.begin(), normal->inputs.end());
  operands.push_back(scale);
  return context.make(op::instance_norm, node->type, context.span(operands), {}, normal->source);
}

Node* depth_to_space(Context& context, Node* node) {
  if (node->op != op::reshape || node->inputs[0]->op != op::transpose) return nullptr;
  const Node* moved = node->inputs[0];
  const Node* parted = moved->inputs[0];
  if (parted->op != op::reshape || parted->type.rank() != 6 || node->type.rank() != 4) {
    return nullptr;
  }
  Node* data = parted->inputs[0];
  const Ints shape = parted->type.shape, axes = moved->ints(attr::axes);
  const Ints whole = data->type.shape, own = node->type.shape;
  if (whole.size() != 4 || whole[0] != shape[0]) return nullptr;
  const std::int64_t n = own[0], c = own[1], h = own[2], w = own[3];
  const auto made = [&](Name name, std::int64_t block) {
    return context.make(name, node->type, context.operands({data}),
                        context.attrs({{attr::block_size, block}}), moved->source);
  };
  const auto scaled = [&](std::int64_t height, std::int64_t width, std::int64_t block) {
    return context.ints({checked_mul(height, block), checked_mul(width, block)});
  };
  for (const bool columns_first : {true, false}) {
    const std::int64_t block = columns_first ? shape[1] : shape[2];
    const Ints order =
        columns_first ? context.ints({0, 3, 4, 1, 5, 2}) : context.ints({0, 1, 4, 2, 5, 3});
    const Ints expected =
        columns_first ? context.ints({n, block, block, c}) : context.ints({n, c, block, block});
    const bool grows =
        whole.slice(2) == shape.slice(4) && own.slice(2) == scaled(shape[4], shape[5], block);
    if (axes == order && shape.slice(0, 4) == expected && grows) {
      return made(op::depth_to_space, block);
    }
  }
  const std::int64_t block = shape[3];
  const bool shrinks =
      whole[1] == shape[1] && shape == context.ints({n, shape[1], h, block, w, block});
  if (axes == context.ints({0, 3, 5, 1, 2, 4}) && shrinks &&
      whole.slice(2) == scaled(h, w, block)) {
    return made(op::space_to_depth, block);
  }
  return nullptr;
}

// --- Attention ---------------------------------------------------------------------------------

Node* unscaled(Node* node) {
  if (node->op != op::multiply && node->op != op::divide) return node;
  if (node->inputs[0]->type != node->type) return node;
  const Node* factor = node->inputs[1];
  const bool is_scale = factor->is_constant() && factor->type.num_elements() == 1;
  return is_scale ? node->inputs[0] : node;
}

Node* without_scale(Node* scores) {
  Node* product = unscaled(scores);
  return product->op == op::matmul ? product : nullptr;
}

// The scores before masking and the mask, which is null where there is none.
std::pair<Node*, Node*> without_mask(Node* scores) {
  if (scores->op == op::add) {
    const auto [left, right] = two_operands(scores);
    if (without_scale(left) != nullptr && left->type == scores->type) return {left, right};
    if (without_scale(right) != nullptr && right->type == scores->type) return {right, left};
  }
  if (scores->op == op::where) {
    if (scores->inputs.size() != 3) throw Unsupported("a where without three operands");
    Node* condition = scores->inputs[0];
    Node* if_true = scores->inputs[1];
    Node* if_false = scores->inputs[2];
    if (if_false->is_constant() && if_true->type == scores->type) return {if_true, condition};
    if (if_true->is_constant() && if_false->type == scores->type) return {if_false, condition};
  }
  return {scores, nullptr};
}

Node* swapped(Context& context, Node* keys) {
  const std::size_t rank = keys->type.rank();
  if (rank < 2) throw Unsupported("keys of fewer than two dimensions");
  std::vector<std::int64_t> axes;
  for (std::size_t axis = 0; axis < rank; ++axis) axes.push_back(static_cast<std::int64_t>(axis));
  std::swap(axes[rank - 1], axes[rank - 2]);
  return transposed(context, keys, context.span(axes), keys->source);
}

Node* attention_from_parts(Context& context, Node* node) {
  if (node->op != op::matmul || node->inputs[0]->op != op::softmax) return nullptr;
  const auto [weights, value] = two_operands(node);
  const std::size_t rank = node->type.rank();
  if (rank < 3 || weights->integer(attr::axis) != static_cast<std::int64_t>(rank) - 1 ||
      value->type.rank() != rank) {
    return nullptr;
  }
  const auto [scores, mask] = without_mask(weights->inputs[0]);
  const Node* product = without_scale(scores);
  if (product == nullptr) return nullptr;
  for (const Node* operand : product->inputs) {
    if (operand->type.rank() != rank) return nullptr;
  }
  const auto [query, keys] = two_operands(product);
  std::vector<Node*> operands = {unscaled(query), swapped(context, unscaled(keys)), value};
  if (mask != nullptr) operands.push_back(mask);
  return context.make(
      op::attention, node->type, context.span(operands),
      context.attrs({{attr::has_mask, mask != nullptr}, {attr::is_causal, false}}),
      weights->source);
}

// --- Positions ---------------------------------------------------------------------------------

std::int64_t to_integer(double value) {
  if (!(std::abs(value) < 9e15)) throw Unsupported("a position that is no exact integer");
  return static_cast<std::int64_t>(value);
}

Node* take_one(Context& context, Node* node) {
  if (node->op != op::take || !node->inputs[1]->is_constant()) return nullptr;
  Node* data = node->inputs[0];
  const double* position = scalar(node->inputs[1]);
  const std::int64_t axis = node->integer(attr::axis);
  if (position == nullptr || data->is_constant()) return nullptr;
  const Ints shape = data->type.shape;
  const std::int64_t whole = extent(shape, axis);
  std::vector<std::int64_t> begin(shape.size(), 0), strides(shape.size(), 1);
  std::vector<std::int64_t> taken(shape.begin(), shape.end());
  begin[static_cast<std::size_t>(axis)] = floor_mod(to_integer(*position), whole);
  taken[static_cast<std::size_t>(axis)] = 1;
  const TensorType type{context.span(taken), node->type.dtype};
  Node* part = data;
  if (type != data->type) {
    part = context.make(op::slice, type, context.operands({data}),
                        context.attrs({{attr::begin, context.span(begin)},
                                       {attr::strides, context.span(strides)}}),
                        node->source);
  }
  return context.make(op::reshape, node->type, context.operands({part}), {}, node->source);
}

Node* take_by_cast(Context& context, Node* node) {
  if (node->op != op::take || node->inputs[1]->op != op::cast) return nullptr;
  Node* positions = node->inputs[1]->inputs[0];
  if (!is_integer(positions->type)) return nullptr;
  return with_inputs(context, node, context.operands({node->inputs[0], positions}));
}

Node* take_between_reshapes(Context& context, Node* node) {
  if (node->op != op::reshape || node->inputs[0]->op != op::take) return nullptr;
  const Node* take = node->inputs[0];
  const auto [data, positions] = two_operands(take);
  if (positions->op != op::reshape || take->integer(attr::axis) != 0) return nullptr;
  Node* original = positions->inputs[0];
  if (node->type.shape != joined(context, original->type.shape, data->type.shape.slice(1))) {
    return nullptr;
  }
  Node* result = with_inputs(context, take, context.operands({data, original}));
  result->type = node->type;
  return result;
}

Node* extreme_from_top_k(Context& context, Node* node) {
  if (node->op != op::reshape) return nullptr;
  const Node* part = node->inputs[0];
  const bool is_position = part->op == op::item;
  const Node* top = is_position ? part->inputs[0] : part;
  if (top->op != op::top_k || top->integer(attr::k) != 1) return nullptr;
  if (!top->has(attr::largest)) return nullptr;
  const std::int64_t axis = top->integer(attr::axis);
  const Ints shape = top->type.shape;
  extent(shape, axis);
  const auto position = static_cast<std::size_t>(axis);
  const Ints rest = joined(context, shape.slice(0, position), shape.slice(position + 1));
  if (node->type.shape != rest) return nullptr;
  const bool largest = top->boolean(attr::largest);
  const Name name = is_position ? (largest ? op::argmax : op::argmin)
                                : (largest ? op::max : op::min);
  const Attr where = is_position ? Attr(attr::axis, axis) : Attr(attr::axes, context.ints({axis}));
  return context.make(name, node->type, top->inputs.slice(0, 1),
                      context.attrs({where, {attr::keepdims, false}}), top->source);
}

// --- Slices ------------------------------------------------------------------------------------

Node* slice_of_everything(Context&, Node* node) {
  if (node->op != op::slice || node->type != node->inputs[0]->type) return nullptr;
  for (std::int64_t step : node->ints(attr::strides)) {
    if (step != 1) return nullptr;
  }
  return node->inputs[0];
}

Node* merge_slices(Context& context, Node* node) {
  if (node->op != op::slice || node->inputs[0]->op != op::slice) return nullptr;
  const Node* inner = node->inputs[0];
  const Ints begin = node->ints(attr::begin), strides = node->ints(attr::strides);
  const Ints inner_begin = inner->ints(attr::begin), inner_strides = inner->ints(attr::strides);
  std::vector<std::int64_t> merged_begin, merged_strides;
  for (std::size_t i = 0; i < begin.size(); ++i) {
    merged_begin.push_back(checked_add(inner_begin[i], checked_mul(begin[i], inner_strides[i])));
    merged_strides.push_back(checked_mul(inner_strides[i], strides[i]));
  }
  Node* result = with_inputs(context, node, inner->inputs);
  result->attrs = context.attrs({{attr::begin, context.span(merged_begin)},
                                 {attr::strides, context.span(merged_strides)}});
  return result;
}

}  // namespace

Node* transposed(Context& context, Node* node, Ints axes, Text source) {
  std::vector<std::int64_t> order(axes.begin(), axes.end());
  if (node->op == op::transpose) {
    const Ints inner = node->ints(attr::axes);
    for (std::int64_t& axis : order) axis = extent(inner, axis);
    node = node->inputs[0];
  }
  bool is_identity = true;
  std::vector<std::int64_t> shape;
  for (std::size_t i = 0; i < order.size(); ++i) {
    is_identity &= order[i] == static_cast<std::int64_t>(i);
  }
  if (is_identity) return node;
  for (std::int64_t axis : order) shape.push_back(extent(node->type.shape, axis));
  return context.make(op::transpose, {context.span(shape), node->type.dtype},
                      context.operands({node}), context.attrs({{attr::axes, context.span(order)}}),
                      source);
}

const std::vector<Rewrite>& recompositions() {
  static const std::vector<Rewrite> rewrites = {
      recompose,
      broadcast_to_same,
      reduction_of_stack,
      merge_clips,
      lrn_from_parts,
      softmax_between_reshapes,
      group_norm_from_instance_norm,
      instance_norm_from_layer_norm,
      depth_to_space,
      attention_from_parts,
      take_one,
      take_by_cast,
      take_between_reshapes,
      extreme_from_top_k,
      slice_of_everything,
      merge_slices,
  };
  return rewrites;
}

}  // namespace relay_frontend
