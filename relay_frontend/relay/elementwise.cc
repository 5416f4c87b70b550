// Relay operators on one element at a time; twin of elementwise.py.

#include <vector>

#include "relay_frontend/names.h"
#include "relay_frontend/relay/forms.h"

namespace relay_frontend {

namespace {

using namespace relay;

Node* clip(Op op, const Converter& self) {
  return op.node(self.name, op.context.attrs({{attr::min, op.real("a_min")},
                                              {attr::max, op.real("a_max")}}));
}

Node* with_alpha(Op op, const Converter& self) {
  return op.node(self.name, op.context.attrs({{attr::alpha, op.real("alpha")}}));
}

// An addition whose vector is aligned by shape, not by an axis.
Node* bias_add(Op op, const Converter&) {
  if (op.inputs.size() != 2) throw Unsupported("another number of operands");
  Node* bias = op.inputs[1];
  const auto trailing = static_cast<std::size_t>(static_cast<Int>(op.rank()) - 1 - op.axis());
  std::vector<Int> shape(bias->type.shape.begin(), bias->type.shape.end());
  shape.insert(shape.end(), trailing, 1);
  const TensorType aligned = op.context.type(shape, bias->type.dtype);
  bias = bias->is_constant()
             ? op.context.constant(aligned)
             : op.context.make(op::reshape, aligned, op.context.operands({bias}), {}, op.source);
  return op.node(op::add, op.context.operands({op.inputs[0], bias}));
}

Node* prelu(Op op, const Converter& self) { return op.node(self.name, op.inputs.slice(0, 2)); }

Node* quantization(Op op, const Converter& self) {
  const bool per_axis = op.inputs[1]->type.num_elements() > 1;
  return op.node(self.name, op.context.attrs({{attr::axis, per_axis ? op.axis() : Int{-1}}}));
}

Node* requantization(Op op, const Converter& self) {
  const bool per_axis = op.inputs[3]->type.num_elements() > 1;
  return op.node(self.name, op.context.attrs({{attr::axis, per_axis ? op.axis() : Int{-1}}}));
}

// An operator whose operands behind the first ones are scales and zero points.
Node* of_integers(Op op, const Converter& self) {
  return op.node(self.name, op.inputs.slice(0, self.count));
}

const Converters kElementwise{
    {"cast_like", {first_operand, op::cast}},
    {"celu", {with_alpha, op::celu}},
    {"clip", {clip, op::clip}},
    {"nn.bias_add", {bias_add, op::add}},
    {"nn.dropout", {first_operand, op::identity}},
    {"nn.leaky_relu", {with_alpha, op::leaky_relu}},
    {"nn.prelu", {prelu, known("prelu")}},
    {"qnn.abs", {of_integers, known("abs"), 1}},
    {"qnn.add", {of_integers, op::add, 2}},
    {"qnn.dequantize", {quantization, op::dequantize}},
    {"qnn.erf", {of_integers, known("erf"), 1}},
    {"qnn.exp", {of_integers, known("exp"), 1}},
    {"qnn.hardswish", {of_integers, known("hard_swish"), 1}},
    {"qnn.log", {of_integers, op::log, 1}},
    {"qnn.mul", {of_integers, op::multiply, 2}},
    {"qnn.quantize", {quantization, op::quantize}},
    {"qnn.requantize", {requantization, op::quantize}},
    {"qnn.rsqrt", {of_integers, known("rsqrt"), 1}},
    {"qnn.sigmoid", {of_integers, known("sigmoid"), 1}},
    {"qnn.sqrt", {of_integers, known("sqrt"), 1}},
    {"qnn.subtract", {of_integers, op::subtract, 2}},
    {"qnn.tanh", {of_integers, known("tanh"), 1}},
};

}  // namespace

const Converters& elementwise_converters() { return kElementwise; }

}  // namespace relay_frontend
