// Relax operators on one element at a time; twin of elementwise.py.

#include "relay_frontend/names.h"
#include "relay_frontend/relax/forms.h"

namespace relay_frontend {

namespace {

using namespace relax;

const Name kSoftplus = known("softplus");

Node* identity(Call call) { return call.inputs[0]; }

Node* clip(Call call) {
  const double low = call.number(1).real(), high = call.number(2).real();
  return call.node(op::clip, call.inputs.slice(0, 1),
                   call.context.attrs({{attr::min, low}, {attr::max, high}}));
}

Node* gelu(Call call) {
  return call.node(op::gelu, one(call, {attr::approximate, call.name == "nn.gelu_tanh"}));
}

Node* leaky_relu(Call call) {
  return call.node(op::leaky_relu, one(call, {attr::alpha, call.real("alpha")}));
}

Node* softplus(Call call) {
  return call.real("beta") == 1.0 ? call.node(kSoftplus) : call.unknown();
}

// Axis -1 where one scale serves the whole tensor.
template <const Name& name>
Node* quantization(Call call) {
  const bool per_axis = call.inputs[1]->type.num_elements() > 1;
  return call.node(name, one(call, {attr::axis, per_axis ? call.axis(call.rank()) : -1}));
}

}  // namespace

const RelaxConverters& relax_elementwise() {
  static const RelaxConverters converters = {
      {"clip", clip},
      {"dequantize", quantization<op::dequantize>},
      {"hint_on_device", identity},
      {"nn.dropout", identity},
      {"nn.gelu", gelu},
      {"nn.gelu_tanh", gelu},
      {"nn.leakyrelu", leaky_relu},
      {"nn.softplus", softplus},
      {"quantize", quantization<op::quantize>},
      {"to_vdevice", identity},
      {"wrap_param", identity},
  };
  return converters;
}

}  // namespace relay_frontend
