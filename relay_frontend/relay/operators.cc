#include "relay_frontend/relay/operators.h"

#include <algorithm>

#include "relay_frontend/names.h"

namespace relay_frontend {

namespace {

using Op = const RelayOperator&;

const Converter* find_converter(Text name) {
  static const Converters table = [] {
    Converters all;
    for (const Converters* part :
         {&elementwise_converters(), &move_converters(), &normalization_converters(),
          &product_converters(), &reduction_converters(), &window_converters()}) {
      all.insert(part->begin(), part->end());
    }
    return all;
  }();
  const auto found = table.find(name);
  return found == table.end() ? nullptr : &found->second;
}

Node* further_result(Op op) {
  // The running statistics, which inference leaves alone.
  if (op.name == "nn.batch_norm") return op.context.constant(op.type);
  return op.node(op::item, op.context.operands({op.first}),
                 op.context.attrs({{attr::index, op.position}}));
}

}  // namespace

Node* convert(Op op) {
  if (Node* constant = constant_of_shape(op)) return constant;
  const Operands& inputs = op.inputs;
  if (std::all_of(inputs.begin(), inputs.end(), [](Node* n) { return n->is_constant(); })) {
    return op.context.constant(op.type, folded(op));
  }
  if (op.first != nullptr && op.name != "split") return further_result(op);
  if (const Converter* found = find_converter(op.name)) return found->convert(op, *found);
  const Name* plain = plain_operator(Source::relay, op.name);
  return plain != nullptr ? op.node(*plain) : op.unknown();
}

}  // namespace relay_frontend
