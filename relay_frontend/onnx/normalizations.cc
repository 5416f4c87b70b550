// ONNX normalizations, softmax among them; twin of normalizations.py.

#include "relay_frontend/names.h"
#include "relay_frontend/onnx/forms.h"
#include "relay_frontend/onnx/operators.h"

namespace relay_frontend::onnx {

namespace {

Node* batch_norm(const OnnxNode& source) {
  const bool training = source.integer("training_mode", 0) != 0;
  return training ? source.unknown() : source.node(op::batch_norm);
}

Converter trailing_norm(Name op) {
  return [op](const OnnxNode& source) {
    Extents axes;
    for (std::int64_t axis = source.axis(-1); axis < source.rank(); ++axis) axes.push_back(axis);
    return source.node(op, source.context.attrs({{attr::axes, source.context.span(axes)}}));
  };
}

Node* group_norm(const OnnxNode& source) {
  return source.node(op::group_norm,
                     source.context.attrs({{attr::num_groups, source.integer("num_groups", 0)}}));
}

Node* lp_norm(const OnnxNode& source) {
  if (source.integer("p", 2) != 2) return source.unknown();
  const Ints axes = source.context.ints({source.axis(-1)});
  return source.node(op::l2_normalize, source.context.attrs({{attr::axes, axes}}));
}

Node* lrn(const OnnxNode& source) {
  return source.node(op::lrn, source.context.attrs({{attr::size, source.integer("size", 1)}}));
}

Converter softmax(Name op) {
  return [op](const OnnxNode& source) {
    Context& context = source.context;
    const Ints shape = source.shape();
    const std::int64_t axis = source.axis(source.opset >= 13 ? -1 : 1);
    // Until opset 13 the trailing dimensions were taken as one.
    Extents extended;
    std::int64_t trailing = 1;
    for (std::int64_t i = axis; i < source.rank(); ++i) {
      const std::int64_t extent = shape[static_cast<std::size_t>(i)];
      if (extent != 1) extended.push_back(i);
      trailing = checked_mul(trailing, extent);
    }
    if (source.opset >= 13 || extended.size() <= 1) {
      const bool merged = source.opset < 13 && !extended.empty();
      return source.node(op, context.attrs({{attr::axis, merged ? extended[0] : axis}}));
    }
    Extents flat(shape.begin(), shape.begin() + axis);
    flat.push_back(trailing);
    const Ints flat_shape = context.span(flat);
    Node* rows = source.step(op::reshape, flat_shape, only(source, source.data()));
    Node* result = source.step(op, flat_shape, only(source, rows),
                               context.attrs({{attr::axis, axis}}));
    return source.node(op::reshape, only(source, result));
  };
}

// Made by static initialization, as long as names may become known.
const Converters kNormalizations = {
    {"BatchNormalization", batch_norm},
    {"GroupNormalization", group_norm},
    {"LRN", lrn},
    {"LayerNormalization", trailing_norm(op::layer_norm)},
    {"LogSoftmax", softmax(op::log_softmax)},
    {"LpNormalization", lp_norm},
    {"RMSNormalization", trailing_norm(op::rms_norm)},
    {"Softmax", softmax(op::softmax)},
};

}  // namespace

const Converters& normalization_converters() { return kNormalizations; }

}  // namespace relay_frontend::onnx
