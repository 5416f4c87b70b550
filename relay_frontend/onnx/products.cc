// ONNX products: matrices, attention, recurrent layers; twin of products.py.

#include <algorithm>

#include "relay_frontend/names.h"
#include "relay_frontend/onnx/forms.h"
#include "relay_frontend/onnx/operators.h"

namespace relay_frontend::onnx {

namespace {

Node* transposed(const OnnxNode& source, Node* matrix) {
  Context& context = source.context;
  Extents shape(matrix->type.shape.begin(), matrix->type.shape.end());
  std::reverse(shape.begin(), shape.end());
  return source.step(op::transpose, context.span(shape), only(source, matrix),
                     context.attrs({{attr::axes, context.ints({1, 0})}}));
}

Node* scaled(const OnnxNode& source, Node* node, double factor) {
  Context& context = source.context;
  Node* constant = scalar(source, node->type.dtype, context.reals({}, context.span(&factor, 1)));
  return source.step(op::multiply, node->type.shape, context.operands({node, constant}));
}

// alpha A' B' + beta C; scales of constants are constants.
Node* gemm(const OnnxNode& source) {
  Context& context = source.context;
  Node *data = source.required(0), *weight = source.required(1), *bias = source.operand(2);
  const double alpha = source.real("alpha", 1.0), beta = source.real("beta", 1.0);
  Node* product;
  if (source.integer("transA", 0) != 0) data = transposed(source, data);
  if (weight->is_constant()) {
    product = source.node(op::dense, context.operands({data, weight}));
    if (bias == nullptr || beta == 0.0) return product;
    if (bias->is_constant()) {
      const std::int64_t size = bias->type.num_elements();
      if (size == 1 || size == source.type.shape.back()) {
        return source.node(op::dense, context.operands({data, weight, bias}));
      }
    }
  } else {
    if (alpha != 1.0) data = scaled(source, data, alpha);
    if (source.integer("transB", 0) != 0) weight = transposed(source, weight);
    product = source.node(op::matmul, context.operands({data, weight}));
  }
  if (bias == nullptr || beta == 0.0) return product;
  if (beta != 1.0 && !bias->is_constant()) bias = scaled(source, bias, beta);
  return source.node(op::add, context.operands({product, bias}));
}

Node* einsum(const OnnxNode& source) {
  const Text equation = source.context.text(source.text("equation", ""));
  return source.node(op::einsum, source.context.attrs({{attr::equation, equation}}));
}

// Heads as a dimension, nothing kept from before, no cap on the scores: else unknown.
Node* attention(const OnnxNode& source) {
  bool plain = source.real("softcap", 0.0) == 0.0;
  for (const Node* operand : source.inputs.slice(0, 3)) {
    const Ints shape = operand->type.shape;
    plain = plain && shape.size() == 4 &&
            shape.slice(0, 2) == source.inputs[0]->type.shape.slice(0, 2);
  }
  for (const std::size_t at : {4, 5, 6}) plain = plain && !source.is_given(at);
  if (!plain) return source.unknown();
  const bool is_causal = source.integer("is_causal", 0) != 0;
  return source.node(op::attention,
                     source.context.attrs({{attr::has_mask, source.is_given(3)},
                                           {attr::is_causal, is_causal}}));
}

Converter recurrent(Name op) {
  return [op](const OnnxNode& source) {
    if (source.integer("layout", 0) != 0) return source.unknown();
    if (source.rank() != 3) throw Unsupported("onnx: rank of a sequence");
    const std::int64_t directions =
        source.text("direction", "forward") == "bidirectional" ? 2 : 1;
    const std::int64_t hidden =
        source.integer("hidden_size", source.required(2)->type.shape.back());
    // The first result may be left out, but is what the node stands for.
    const Ints shape =
        source.context.ints({source.shape()[0], directions, source.shape()[1], hidden});
    return source.step(op, shape, source.inputs,
                       source.context.attrs({{attr::hidden_size, hidden},
                                             {attr::num_directions, directions}}));
  };
}

// Made by static initialization, as long as names may become known.
const Converters kProducts = {
    {"Attention", attention},
    {"Einsum", einsum},
    {"GRU", recurrent(op::gru)},
    {"Gemm", gemm},
    {"LSTM", recurrent(op::lstm)},
    {"MatMul", [](const OnnxNode& source) { return source.node(op::matmul); }},
    {"RNN", recurrent(op::rnn)},
};

}  // namespace

const Converters& product_converters() { return kProducts; }

}  // namespace relay_frontend::onnx
