// From Relax operators to canonical nodes; twin of operators.py.

#include <algorithm>
#include <unordered_set>

#include "relay_frontend/names.h"
#include "relay_frontend/relax/forms.h"

namespace relay_frontend {

namespace {

using namespace relax;

Node* converted_by_name(Call call) {
  const Name* name = plain_operator(Source::relax, call.name);
  return name != nullptr ? call.node(*name) : call.unknown();
}

RelaxConverters all_converters() {
  RelaxConverters table;
  for (const RelaxConverters* part :
       {&relax_elementwise(), &relax_moves(), &relax_normalizations(), &relax_products(),
        &relax_reductions(), &relax_tir(), &relax_windows()}) {
    table.insert(part->begin(), part->end());
  }
  return table;
}

RelaxConverter converter_of(Text name) {
  static const RelaxConverters table = all_converters();
  const auto found = table.find(name);
  return found != table.end() ? found->second : converted_by_name;
}

bool is_always_constant(Text name) {
  static const std::unordered_set<Text> names = {"eye_like",  "full_like", "ones_like",
                                                 "shape_of", "size",      "zeros_like"};
  return names.count(name) != 0;
}

bool all_constant(Operands operands) {
  return std::all_of(operands.begin(), operands.end(), [](Node* n) { return n->is_constant(); });
}

}  // namespace

RelaxOperator::RelaxOperator(Text name)
    : converter_(converter_of(name)),
      is_constant_(is_always_constant(name)),
      is_split_(name == "split"),
      trains_(name == "nn.batch_norm" || name == "nn.dropout") {}

std::vector<Node*> RelaxOperator::convert(const RelaxCall& call) const {
  Context& context = call.context;
  std::vector<Node*> nodes;
  if (is_constant_ || all_constant(call.inputs)) {
    for (const TensorType type : call.types) {
      nodes.push_back(context.constant(type, fold(call, type)));
    }
    return nodes;
  }
  if (is_split_) {
    const Int axis = call.axis(call.rank());
    for (const TensorType type : call.types) {
      const Attrs attrs =
          context.attrs({{attr::axis, axis}, {attr::index, static_cast<Int>(nodes.size())}});
      nodes.push_back(context.make(op::split, type, call.inputs, attrs, call.source));
    }
    return nodes;
  }
  nodes.push_back(converter_(call));
  for (const TensorType type : call.types.slice(1)) {
    if (trains_) {
      nodes.push_back(context.constant(type));
      continue;
    }
    const Attrs attrs = one(call, {attr::index, static_cast<Int>(nodes.size())});
    nodes.push_back(
        context.make(op::item, type, context.operands({nodes.front()}), attrs, call.source));
  }
  return nodes;
}

}  // namespace relay_frontend
