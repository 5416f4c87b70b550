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
Converter reduction(const char* op, const char* before = nullptr, const char* after = nullptr) {
  const auto optional = [](const char* step) {
    return step == nullptr ? std::nullopt : std::optional<Name>(known(step));
  };
  const Text name = op;
  const bool is_identity_over_nothing = name == "mean" || name == "sum" || name == "max" ||
                                        name == "min" || name == "prod";
  return [=, op = known(op), before = optional(before),
          after = optional(after)](const OnnxNode& source) {
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

Converter arg(const char* op) {
  return [name = known(op)](const OnnxNode& source) {
    const bool keepdims = source.integer("keepdims", 1) != 0;
    return source.node(name, source.context.attrs({{attr::axis, source.axis(0)},
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
    {"ArgMax", arg("argmax")},
    {"ArgMin", arg("argmin")},
    {"CumSum", cumsum},
    {"ReduceL1", reduction("reduce_l1")},
    {"ReduceL2", reduction("reduce_l2")},
    {"ReduceLogSum", reduction("sum", nullptr, "log")},
    {"ReduceLogSumExp", reduction("logsumexp")},
    {"ReduceMax", reduction("max")},
    {"ReduceMean", reduction("mean")},
    {"ReduceMin", reduction("min")},
    {"ReduceProd", reduction("prod")},
    {"ReduceSum", reduction("sum")},
    {"ReduceSumSquare", reduction("sum", "square")},
    {"TopK", top_k},
};

}  // namespace

const Converters& reduction_converters() { return kReductions; }

}  // namespace relay_frontend::onnx
