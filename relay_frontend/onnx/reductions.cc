// ONNX reductions and what else goes along an axis; twin of reductions.py.

#include <algorithm>
#include <optional>

#include "relay_frontend/names.h"
#include "relay_frontend/onnx/forms.h"
#include "relay_frontend/onnx/operators.h"

namespace relay_frontend::onnx {

namespace {

Extents reduced_axes(const OnnxNode& source, const std::optional<Ints>& axes) {
  Extents chosen;
  if (axes && !axes->empty()) {
    for (const std::int64_t axis : *axes) chosen.push_back(floor_mod(axis, source.rank()));
    std::sort(chosen.begin(), chosen.end());
  } else if (source.integer("noop_with_empty_axes", 0) == 0) {
    for (std::int64_t axis = 0; axis < source.rank(); ++axis) chosen.push_back(axis);
  }
  return chosen;
}

// A reduction, of `before` of the operand where there is one, and `after` it where there is one.
Converter reduction(Name op, std::optional<Name> before = {}, std::optional<Name> after = {}) {
  const bool is_identity_over_nothing =
      op == op::mean || op == op::sum || op == op::max || op == op::min || op == op::prod;
  return [=](const OnnxNode& source) {
    Context& context = source.context;
    const std::optional<Ints> axes = source.int_values(1, "axes");
    if (!axes && source.is_given(1)) return source.unknown();
    const Extents chosen = reduced_axes(source, axes);
    Node* node = source.data();
    if (before) node = source.step(*before, node->type.shape, only(source, node));
    if (!chosen.empty() || !is_identity_over_nothing) {
      const bool keepdims = source.integer("keepdims", 1) != 0;
      node = source.node(op, only(source, node),
                         context.attrs({{attr::axes, context.span(chosen)},
                                        {attr::keepdims, keepdims}}));
    }
    return after ? source.node(*after, only(source, node)) : node;
  };
}

Converter arg(Name op) {
  return [op](const OnnxNode& source) {
    const bool keepdims = source.integer("keepdims", 1) != 0;
    return source.node(op, source.context.attrs({{attr::axis, source.axis(0)},
                                                 {attr::keepdims, keepdims}}));
  };
}

Node* cumsum(const OnnxNode& source) {
  const std::optional<Ints> axis = source.int_values(1);
  if (!axis || source.integer("exclusive", 0) != 0 || source.integer("reverse", 0) != 0) {
    return source.unknown();
  }
  const std::int64_t chosen = floor_mod(axis->front(), source.rank());
  return on_data(source, op::cumsum, source.context.attrs({{attr::axis, chosen}}));
}

Node* top_k(const OnnxNode& source) {
  const std::optional<Ints> k = source.int_values(1, "k");
  if (!k) return source.unknown();
  return source.step(op::top_k, source.type.shape, only(source, source.data()),
                     source.context.attrs({{attr::axis, source.axis(-1)}, {attr::k, k->front()}}));
}

// Made by static initialization, as long as names may become known.
const Converters kReductions = {
    {"ArgMax", arg(op::argmax)},
    {"ArgMin", arg(op::argmin)},
    {"CumSum", cumsum},
    {"ReduceL1", reduction(known("reduce_l1"))},
    {"ReduceL2", reduction(known("reduce_l2"))},
    {"ReduceLogSum", reduction(op::sum, {}, op::log)},
    {"ReduceLogSumExp", reduction(op::logsumexp)},
    {"ReduceMax", reduction(op::max)},
    {"ReduceMean", reduction(op::mean)},
    {"ReduceMin", reduction(op::min)},
    {"ReduceProd", reduction(op::prod)},
    {"ReduceSum", reduction(op::sum)},
    {"ReduceSumSquare", reduction(op::sum, op::square)},
    {"TopK", top_k},
};

}  // namespace

const Converters& reduction_converters() { return kReductions; }

}  // namespace relay_frontend::onnx
