// ONNX operators on one element at a time; twin of elementwise.py.

#include <algorithm>
#include <cmath>
#include <limits>

#include "relay_frontend/names.h"
#include "relay_frontend/onnx/forms.h"
#include "relay_frontend/onnx/operators.h"

namespace relay_frontend::onnx {

namespace {

const Name kBeta = known("beta");
const Name kHardSigmoid = known("hard_sigmoid");
const Name kSelu = known("selu");

Converter with_alpha(Name op, double otherwise) {
  return [op, otherwise](const OnnxNode& source) {
    return source.node(op, source.context.attrs({{attr::alpha, source.real("alpha", otherwise)}}));
  };
}

Node* clip(const OnnxNode& source) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  double bounds[] = {-kInfinity, kInfinity};
  for (const std::size_t i : {0, 1}) {
    const char* name = i == 0 ? "min" : "max";
    const ConstantValue* value = source.value(i + 1, name);
    if (value == nullptr && source.is_given(i + 1, name)) return source.unknown();
    if (value != nullptr) bounds[i] = scalar_of(*value);
  }
  return on_data(source, op::clip,
                 source.context.attrs({{attr::min, bounds[0]}, {attr::max, bounds[1]}}));
}

Node* gelu(const OnnxNode& source) {
  const bool approximate = source.text("approximate", "none") == "tanh";
  return source.node(op::gelu, source.context.attrs({{attr::approximate, approximate}}));
}

Node* hard_sigmoid(const OnnxNode& source) {
  return source.node(kHardSigmoid, source.context.attrs({{attr::alpha, source.real("alpha", 0.2)},
                                                         {kBeta, source.real("beta", 0.5)}}));
}

Node* selu(const OnnxNode& source) {
  const double alpha = source.real("alpha", 1.67326), gamma = source.real("gamma", 1.0507);
  const bool usual = std::abs(alpha - 1.67326) < 1e-3 && std::abs(gamma - 1.0507) < 1e-3;
  return usual ? source.node(kSelu) : source.unknown();
}

// Dropout does nothing, but where the network is to be trained.
Node* dropout(const OnnxNode& source) {
  const ConstantValue* training = source.value(2);
  const bool trains =
      source.is_given(2) && (training == nullptr || scalar_of(*training) != 0.0);
  return trains ? source.unknown() : on_data(source, op::identity);
}

Node* cast(const OnnxNode& source) { return on_data(source, op::cast); }

// Axis -1 where one scale serves the whole tensor; scales of blocks are not expressed.
Converter quantization(Name op) {
  return [op](const OnnxNode& source) {
    if (source.integer("block_size", 0) != 0) return source.unknown();
    const bool per_axis = source.required(1)->type.num_elements() > 1;
    const std::int64_t axis = per_axis ? source.axis(1) : -1;
    return source.node(op, source.context.attrs({{attr::axis, axis}}));
  };
}

Ints broadcast(const OnnxNode& source, Ints a, Ints b) {
  const std::size_t rank = std::max(a.size(), b.size());
  Extents shape;
  for (std::size_t i = 0; i < rank; ++i) {
    const std::int64_t x = i + a.size() < rank ? 1 : a[i + a.size() - rank];
    const std::int64_t y = i + b.size() < rank ? 1 : b[i + b.size() - rank];
    if (x != y && x != 1 && y != 1) throw Unsupported("onnx: shapes do not broadcast");
    shape.push_back(x == 1 ? y : x);
  }
  return source.context.span(shape);
}

// An operator of several operands is a chain of those of two.
Node* chained(const OnnxNode& source, Name op) {
  Node* total = source.data();
  for (Node* operand : source.inputs.slice(1)) {
    total = source.step(op, broadcast(source, total->type.shape, operand->type.shape),
                        source.context.operands({total, operand}));
  }
  return total;
}

Converter chain(Name op) {
  return [op](const OnnxNode& source) { return chained(source, op); };
}

Node* mean_of_operands(const OnnxNode& source) {
  Context& context = source.context;
  const Ints count = context.ints({static_cast<std::int64_t>(source.inputs.size())});
  Node* total = chained(source, op::add);
  Node* divisor = scalar(source, total->type.dtype, context.integers({}, count));
  return source.node(op::divide, context.operands({total, divisor}));
}

// Made by static initialization, as long as names may become known.
const Converters kElementwise = {
    {"Cast", cast},
    {"CastLike", cast},
    {"Celu", with_alpha(op::celu, 1.0)},
    {"Clip", clip},
    {"DequantizeLinear", quantization(op::dequantize)},
    {"Dropout", dropout},
    {"Elu", with_alpha(known("elu"), 1.0)},
    {"Gelu", gelu},
    {"HardSigmoid", hard_sigmoid},
    {"Identity", first_operand(op::identity)},
    {"LeakyRelu", with_alpha(op::leaky_relu, 0.01)},
    {"Max", chain(op::maximum)},
    {"Mean", mean_of_operands},
    {"Min", chain(op::minimum)},
    {"QuantizeLinear", quantization(op::quantize)},
    {"Selu", selu},
    {"Sum", chain(op::add)},
    {"ThresholdedRelu", with_alpha(known("thresholded_relu"), 1.0)},
};

}  // namespace

const Converters& elementwise_converters() { return kElementwise; }

}  // namespace relay_frontend::onnx
