// Relax reductions and what else goes along an axis; twin of reductions.py.

#include <vector>

#include "relay_frontend/names.h"
#include "relay_frontend/relax/forms.h"

namespace relay_frontend {

namespace {

using namespace relax;

template <const Name& name>
Node* reduction(Call call) {
  const std::vector<Int> axes = call.has("axis") ? sorted(positive(call, call.ints("axis")))
                                                 : range(0, call.rank());
  return call.node(name, call.context.attrs({{attr::axes, call.context.span(axes)},
                                             {attr::keepdims, call.boolean("keepdims")}}));
}

template <const Name& name>
Node* arg_reduction(Call call) {
  Context& context = call.context;
  const bool keepdims = call.boolean("keepdims");
  if (call.has("axis")) {
    const Int axis = call.axis(call.rank());
    return call.node(name, context.attrs({{attr::axis, axis}, {attr::keepdims, keepdims}}));
  }
  if (keepdims) return call.unknown();
  return call.node(name, context.operands({flat(call)}),
                   context.attrs({{attr::axis, 0}, {attr::keepdims, false}}));
}

Node* cumsum(Call call) {
  if (call.boolean("exclusive")) return call.unknown();
  if (call.has("axis")) return operand_axis<op::cumsum>(call);
  return call.node(op::cumsum, call.context.operands({flat(call)}), one(call, {attr::axis, 0}));
}

// The values first, also where the call gives the positions alone.
Node* top_k(Call call) {
  Context& context = call.context;
  const Int axis = call.axis(call.rank());
  const TensorType values = context.type(call.type.shape, call.inputs[0]->type.dtype);
  const bool largest = call.boolean("largest");
  const Int k = call.type.shape[static_cast<std::size_t>(axis)];
  const Attrs attrs =
      context.attrs({{attr::axis, axis}, {attr::k, k}, {attr::largest, largest}});
  Node* node = context.make(op::top_k, values, call.inputs, attrs, call.source);
  if (call.text("ret_type") != "indices") return node;
  return call.node(op::item, context.operands({node}), one(call, {attr::index, 1}));
}

}  // namespace

const RelaxConverters& relax_reductions() {
  static const RelaxConverters converters = {
      {"argmax", arg_reduction<op::argmax>},
      {"argmin", arg_reduction<op::argmin>},
      {"cumsum", cumsum},
      {"max", reduction<op::max>},
      {"mean", reduction<op::mean>},
      {"min", reduction<op::min>},
      {"prod", reduction<op::prod>},
      {"sum", reduction<op::sum>},
      {"topk", top_k},
      {"variance", reduction<op::variance>},
  };
  return converters;
}

}  // namespace relay_frontend
