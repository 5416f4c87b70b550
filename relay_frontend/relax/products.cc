// Relax products: matrices, attention, recurrent layers; twin of products.py.

#include <algorithm>
#include <vector>

#include "relay_frontend/names.h"
#include "relay_frontend/relax/forms.h"

namespace relay_frontend {

namespace {

using namespace relax;

template <const Name& name>
Node* simple(Call call) {
  return call.node(name);
}

Node* einsum(Call call) {
  return call.node(op::einsum, one(call, {attr::equation, call.text("subscripts")}));
}

// A layer as relay_frontend/torch/recurrent.py writes it.
template <const Name& name>
Node* recurrent(Call call) {
  const Ints shape = call.type.shape;
  if (shape.size() != 4) throw Unsupported("a recurrent layer of another rank");
  return call.node(name, call.context.attrs({{attr::hidden_size, shape[3]},
                                             {attr::num_directions, shape[1]}}));
}

// Relax has [batch, positions, heads, features], the vocabulary positions behind heads.
Node* attention(Call call) {
  Context& context = call.context;
  if (call.has("window_size")) return call.unknown();
  const Ints heads_first = context.ints({0, 2, 1, 3});
  std::vector<Node*> operands(call.inputs.begin(), call.inputs.end());
  for (std::size_t i = 0; i < std::min<std::size_t>(3, operands.size()); ++i) {
    if (!operands[i]->is_constant()) operands[i] = permuted(call, operands[i], heads_first);
  }
  const Attrs attrs = context.attrs(
      {{attr::has_mask, operands.size() > 3}, {attr::is_causal, call.has("causal_mask")}});
  Node* node = context.make(op::attention, permuted_type(call, call.type, heads_first),
                            context.span(operands), attrs, call.source);
  return call.node(op::transpose, context.operands({node}), one(call, {attr::axes, heads_first}));
}

}  // namespace

const RelaxConverters& relax_products() {
  static const RelaxConverters converters = {
      {"einsum", einsum},
      {"matmul", simple<op::matmul>},
      {"nn.attention", attention},
      {"nn.attention_bias", attention},
      {"recurrent.gru", recurrent<op::gru>},
      {"recurrent.lstm", recurrent<op::lstm>},
      {"recurrent.rnn", recurrent<op::rnn>},
  };
  return converters;
}

}  // namespace relay_frontend
