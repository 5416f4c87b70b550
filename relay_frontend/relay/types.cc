// Types of the operators that importers leave untyped, but for those that move data; see types.h.

#include "relay_frontend/relay/types.h"

#include <algorithm>
#include <string>

namespace relay_frontend::relay {

namespace {

// --- Elementwise -------------------------------------------------------------------------------

// IdentityRel of src/relay/op/type_relations.cc.
bool same(Inference& call) {
  return call.operands.size() == 1 && call.give(call.operands[0]);
}

// BroadcastRel of src/relay/op/type_relations.cc.
bool broadcast(Inference& call) {
  if (call.operands.size() != 2) return false;
  const TensorType a = call.operands[0], b = call.operands[1];
  if (a.dtype != b.dtype) return false;
  const TensorType& longer = a.rank() >= b.rank() ? a : b;
  const TensorType& shorter = a.rank() >= b.rank() ? b : a;
  const std::size_t leading = longer.rank() - shorter.rank();
  Shape shape = shape_of(longer);
  for (std::size_t axis = 0; axis < shorter.rank(); ++axis) {
    const std::int64_t extent = shorter.shape[axis];
    std::int64_t& result = shape[leading + axis];
    if (result == 1) {
      result = extent;
    } else if (extent != 1 && extent != result) {
      return false;
    }
  }
  return call.give(call.context.type(shape, a.dtype));
}

// CastRel of src/relay/op/tensor/transform.cc.
bool cast(Inference& call) {
  if (call.operands.size() != 1) return false;
  return call.give({call.operands[0].shape, dtype_named(call.attrs.text("dtype"))});
}

// DropoutRel of src/relay/op/nn/nn.cc: the second result is the mask.
bool dropout(Inference& call) {
  if (call.operands.size() != 1) return false;
  const TensorType types[] = {call.operands[0], call.operands[0]};
  call.result = {call.context.span(types, 2), true};
  return true;
}

// BiasAddRel of src/relay/op/nn/nn.cc.
bool bias_add(Inference& call) {
  if (call.operands.size() != 2) return false;
  const TensorType data = call.operands[0];
  std::size_t channels;
  if (!find_axis(call.attrs.integer("axis"), data.rank(), channels)) return false;
  return call.has_shape(1, {data.shape[channels]}) && call.give(data);
}

// BatchNormRel of src/relay/op/nn/nn.cc.
bool batch_norm(Inference& call) {
  if (call.operands.size() != 5) return false;
  const TensorType data = call.operands[0];
  std::size_t channels;
  if (!find_axis(call.attrs.integer("axis"), data.rank(), channels)) return false;
  for (std::size_t operand = 1; operand < 5; ++operand) {
    if (!call.has_shape(operand, {data.shape[channels]})) return false;
  }
  const TensorType types[] = {data, call.operands[3], call.operands[4]};
  call.result = {call.context.span(types, 3), true};
  return true;
}

// --- Products and windows ----------------------------------------------------------------------

bool has_dtype_of_operand(const Inference& call) {
  const std::string dtype = call.attrs.text("out_dtype");
  return dtype.empty() || dtype == "void" || dtype == dtype_name(call.operands[0].dtype);
}

// DenseRel of src/relay/op/nn/nn.h, with the shape of the weights as it is declared.
bool dense(Inference& call) {
  if (call.operands.size() != 2 || call.operands[0].rank() == 0 || call.operands[1].rank() != 2) {
    return false;
  }
  const TensorType data = call.operands[0];
  const std::int64_t units = call.operands[1].shape[0];
  if (!call.attrs.is_none("units") && call.attrs.integer("units") != units) return false;
  if (!call.has_shape(1, {units, data.shape.back()}) || !has_dtype_of_operand(call)) return false;
  Shape shape = shape_of(data);
  shape.back() = units;
  return call.give(call.context.type(shape, data.dtype));
}

// BatchMatmulRel of src/relay/op/nn/nn.h.
bool batch_matmul(Inference& call) {
  if (call.operands.size() != 2 || !has_dtype_of_operand(call)) return false;
  const TensorType a = call.operands[0], b = call.operands[1];
  if (a.rank() != 3 || b.rank() != 3 || a.dtype != b.dtype) return false;
  const bool swaps_a = call.attrs.integer("transpose_a") != 0;
  const bool swaps_b = call.attrs.integer("transpose_b") != 0;
  if (a.shape[swaps_a ? 1 : 2] != b.shape[swaps_b ? 2 : 1]) return false;
  if (a.shape[0] != b.shape[0] && a.shape[0] != 1 && b.shape[0] != 1) return false;
  const Shape shape{std::max(a.shape[0], b.shape[0]), a.shape[swaps_a ? 2 : 1],
                    b.shape[swaps_b ? 1 : 2]};
  return call.give(call.context.type(shape, a.dtype));
}

bool has_layout_nchw(const RelayAttributes& attrs, const char* layout) {
  const std::string out_layout = attrs.text("out_layout");
  return attrs.text(layout) == "NCHW" && (out_layout.empty() || out_layout == "NCHW");
}

// Appends height and width of what windows over NCHW give.
bool slide(Inference& call, const Shape& kernel, Shape& shape) {
  const Shape strides = call.attrs.ints("strides"), padding = call.attrs.ints("padding");
  const Shape dilation = call.attrs.ints("dilation");
  if (kernel.size() != 2 || strides.size() != 2 || dilation.size() != 2) return false;
  if (padding.size() != 1 && padding.size() != 2 && padding.size() != 4) return false;
  for (std::size_t axis = 0; axis < 2; ++axis) {
    const std::size_t before = std::min(axis, padding.size() - 1);
    const std::size_t after = padding.size() == 4 ? axis + 2 : before;
    const std::int64_t pads = checked_add(padding[before], padding[after]);
    const std::int64_t window = checked_add(checked_mul(kernel[axis] - 1, dilation[axis]), 1);
    const std::int64_t extent = call.operands[0].shape[axis + 2];
    const std::int64_t room = checked_add(checked_add(extent, pads), -window);
    if (kernel[axis] < 1 || strides[axis] < 1 || dilation[axis] < 1 || room < 0) return false;
    shape.push_back(room / strides[axis] + 1);
  }
  return true;
}

// Conv2DRel of src/relay/op/nn/convolution.h, with the shape of the weights as it is declared.
bool conv2d(Inference& call) {
  if (call.operands.size() != 2) return false;
  const TensorType data = call.operands[0], weights = call.operands[1];
  const RelayAttributes& attrs = call.attrs;
  if (data.rank() != 4 || weights.rank() != 4 || !has_dtype_of_operand(call)) return false;
  if (!has_layout_nchw(attrs, "data_layout") || attrs.text("kernel_layout") != "OIHW") return false;
  const std::int64_t in = data.shape[1], channels = weights.shape[0];
  const std::int64_t groups = attrs.integer("groups");
  if (!attrs.is_none("channels") && attrs.integer("channels") != channels) return false;
  if (groups < 1 || in % groups != 0 || channels % groups != 0) return false;
  Shape kernel{weights.shape[2], weights.shape[3]};
  if (!attrs.is_none("kernel_size")) kernel = attrs.ints("kernel_size");
  if (kernel.size() != 2) return false;
  if (!call.has_shape(1, {channels, in / groups, kernel[0], kernel[1]})) return false;
  Shape shape{data.shape[0], channels};
  return slide(call, kernel, shape) && call.give(call.context.type(shape, data.dtype));
}

// Pool2DRel of src/relay/op/nn/pooling.cc.
bool pool2d(Inference& call) {
  if (call.operands.size() != 1 || call.operands[0].rank() != 4) return false;
  const RelayAttributes& attrs = call.attrs;
  if (!has_layout_nchw(attrs, "layout") || attrs.integer("ceil_mode") != 0) return false;
  const TensorType data = call.operands[0];
  Shape shape{data.shape[0], data.shape[1]};
  return slide(call, attrs.ints("pool_size"), shape) &&
         call.give(call.context.type(shape, data.dtype));
}

// GlobalPool2DRel of src/relay/op/nn/pooling.cc.
bool global_pool2d(Inference& call) {
  if (call.operands.size() != 1 || call.operands[0].rank() != 4) return false;
  if (!has_layout_nchw(call.attrs, "layout")) return false;
  const TensorType data = call.operands[0];
  return call.give(call.context.type(Shape{data.shape[0], data.shape[1], 1, 1}, data.dtype));
}

// --- Reductions --------------------------------------------------------------------------------

// ReduceShapeImpl of src/relay/op/tensor/reduce.cc; false where an axis is none, or is repeated.
bool reduced_shape(Inference& call, bool keepdims, Shape& shape) {
  const TensorType data = call.operands[0];
  std::vector<bool> is_reduced(data.rank(), call.attrs.is_none("axis"));
  if (!call.attrs.is_none("axis")) {
    for (std::int64_t given : call.attrs.ints("axis")) {
      std::size_t axis;
      if (!find_axis(given, data.rank(), axis) || is_reduced[axis]) return false;
      is_reduced[axis] = true;
    }
    if (call.attrs.integer("exclude") != 0) is_reduced.flip();
  }
  for (std::size_t axis = 0; axis < data.rank(); ++axis) {
    if (!is_reduced[axis]) shape.push_back(data.shape[axis]);
    if (is_reduced[axis] && keepdims) shape.push_back(1);
  }
  return true;
}

// ReduceRel of src/relay/op/tensor/reduce.cc.
bool reduction(Inference& call) {
  Shape shape;
  if (call.operands.size() != 1 || call.operands[0].rank() == 0) return false;
  return reduced_shape(call, call.attrs.integer("keepdims") != 0, shape) &&
         call.give(call.context.type(shape, call.operands[0].dtype));
}

// VarianceRel of src/relay/op/tensor/reduce.cc, with the mean as importers give it.
bool variance(Inference& call) {
  Shape shape, mean;
  if (call.operands.size() != 2 || call.operands[0].rank() == 0) return false;
  if (!reduced_shape(call, true, mean)) return false;
  if (call.operands[1] != call.context.type(mean, call.operands[0].dtype)) return false;
  return reduced_shape(call, call.attrs.integer("keepdims") != 0, shape) &&
         call.give(call.context.type(shape, call.operands[0].dtype));
}

const std::unordered_map<Text, Rule>& rules() {
  static const std::unordered_map<Text, Rule> table{
      {"abs", same},
      {"add", broadcast},
      {"cast", cast},
      {"clip", same},
      {"divide", broadcast},
      {"erf", same},
      {"exp", same},
      {"log", same},
      {"max", reduction},
      {"maximum", broadcast},
      {"mean", reduction},
      {"min", reduction},
      {"minimum", broadcast},
      {"multiply", broadcast},
      {"negative", same},
      {"nn.avg_pool2d", pool2d},
      {"nn.batch_matmul", batch_matmul},
      {"nn.batch_norm", batch_norm},
      {"nn.bias_add", bias_add},
      {"nn.conv2d", conv2d},
      {"nn.dense", dense},
      {"nn.dropout", dropout},
      {"nn.global_avg_pool2d", global_pool2d},
      {"nn.global_max_pool2d", global_pool2d},
      {"nn.leaky_relu", same},
      {"nn.log_softmax", same},
      {"nn.max_pool2d", pool2d},
      {"nn.relu", same},
      {"nn.softmax", same},
      {"power", broadcast},
      {"prod", reduction},
      {"rsqrt", same},
      {"sigmoid", same},
      {"sqrt", same},
      {"subtract", broadcast},
      {"sum", reduction},
      {"tanh", same},
      {"variance", variance},
  };
  return table;
}

Rule find_rule(Text name) {
  for (const auto* table : {&rules(), &move_rules()}) {
    if (const auto rule = table->find(name); rule != table->end()) return rule->second;
  }
  return nullptr;
}

}  // namespace

}  // namespace relay_frontend::relay

namespace relay_frontend {

bool infer_types(Context& context, Text name, const RelayAttributes& attrs,
                 Span<TensorType> operands, ResultTypes& result) {
  const relay::Rule rule = relay::find_rule(name);
  if (rule == nullptr) return false;
  relay::Inference call{context, attrs, operands, result};
  return rule(call);
}

}  // namespace relay_frontend
