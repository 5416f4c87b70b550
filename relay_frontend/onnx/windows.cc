// ONNX's sliding windows: convolutions and pooling; twin of windows.py.

#include <algorithm>
#include <string>

#include "relay_frontend/names.h"
#include "relay_frontend/onnx/operators.h"

namespace relay_frontend::onnx {

namespace {

using Extents = std::vector<std::int64_t>;

constexpr std::size_t kRanks = 3;

const Name kConv[kRanks] = {op::conv1d, op::conv2d, op::conv3d};
const Name kConvTranspose[kRanks] = {op::conv1d_transpose, op::conv2d_transpose,
                                     op::conv3d_transpose};
const Name kMaxPool[kRanks] = {op::max_pool1d, op::max_pool2d, op::max_pool3d};
const Name kAvgPool[kRanks] = {op::avg_pool1d, op::avg_pool2d, op::avg_pool3d};

const Name kLpReductions[] = {known("reduce_l1"), known("reduce_l2")};

// Extents of the operand behind batch and channels.
Ints spatial(const OnnxNode& source) { return source.shape().slice(2); }

bool is_same(Text auto_pad) { return auto_pad.substr(0, 4) == "SAME"; }

struct Window {
  Ints kernel_size, strides, padding, dilation;
};

Ints halves(Context& context, const Extents& totals, bool more_before) {
  Extents padding;
  for (const bool before : {true, false}) {
    for (const std::int64_t total : totals) {
      const std::int64_t small = (total - floor_mod(total, 2)) / 2;
      padding.push_back(before == more_before ? total - small : small);
    }
  }
  return context.span(padding);
}

Ints repeated(Context& context, std::int64_t value, std::size_t count) {
  return context.span(Extents(count, value));
}

std::int64_t ceil_divide(std::int64_t a, std::int64_t b) {
  const std::int64_t rest = floor_mod(a, b);
  return (a - rest) / b + (rest != 0);
}

Ints same_padding(const OnnxNode& source, const Window& window, bool lower) {
  Extents totals;
  const Ints extents = spatial(source);
  for (std::size_t i = 0; i < extents.size(); ++i) {
    const std::int64_t outputs = ceil_divide(extents[i], window.strides[i]);
    const std::int64_t reach =
        checked_add(checked_mul(window.dilation[i], checked_add(window.kernel_size[i], -1)), 1);
    const std::int64_t steps = checked_mul(checked_add(outputs, -1), window.strides[i]);
    const std::int64_t total = checked_add(checked_add(steps, reach), -extents[i]);
    totals.push_back(std::max<std::int64_t>(0, total));
  }
  return halves(source.context, totals, lower);
}

// The canonical attributes of a sliding window, explicit padding among them.
Window read_window(const OnnxNode& source, Ints kernel) {
  Context& context = source.context;
  const std::size_t rank = kernel.size();
  Window window;
  window.kernel_size = kernel;
  window.strides = source.ints("strides", repeated(context, 1, rank));
  window.dilation = source.ints("dilations", repeated(context, 1, rank));
  window.padding = source.ints("pads", repeated(context, 0, 2 * rank));
  const Text auto_pad = source.text("auto_pad", "NOTSET");
  if (auto_pad == "VALID") {
    window.padding = repeated(context, 0, 2 * rank);
  } else if (is_same(auto_pad)) {
    window.padding = same_padding(source, window, auto_pad == "SAME_LOWER");
  }
  return window;
}

Node* conv(const OnnxNode& source) {
  const std::size_t rank = spatial(source).size();
  if (rank == 0 || rank > kRanks) return source.unknown();
  const Ints data = source.shape(), weight = source.required(1)->type.shape;
  const std::int64_t groups = source.integer("group", 1);
  if (data[1] != checked_mul(weight[1], groups)) throw Unsupported("onnx: channels of Conv");
  const Window window = read_window(source, weight.slice(2));
  return source.node(kConv[rank - 1], source.context.attrs({{attr::kernel_size, window.kernel_size},
                                                            {attr::strides, window.strides},
                                                            {attr::padding, window.padding},
                                                            {attr::dilation, window.dilation},
                                                            {attr::groups, groups}}));
}

// The padding that gives a transposed convolution the shape that it has.
Ints padding_to_shape(const OnnxNode& source, const Window& window) {
  const Ints extents = spatial(source);
  const Ints extra =
      source.ints("output_padding", repeated(source.context, 0, window.kernel_size.size()));
  Extents totals;
  for (std::size_t i = 0; i < extents.size(); ++i) {
    std::int64_t total = checked_mul(window.strides[i], extents[i] - 1);
    total = checked_add(total, extra[i]);
    total = checked_add(
        total, checked_mul(window.dilation[i], checked_add(window.kernel_size[i], -1)));
    totals.push_back(checked_add(checked_add(total, 1), -source.type.shape[2 + i]));
  }
  return halves(source.context, totals, source.text("auto_pad", "NOTSET") != "SAME_UPPER");
}

Node* conv_transpose(const OnnxNode& source) {
  const std::size_t rank = spatial(source).size();
  if (rank == 0 || rank > kRanks) return source.unknown();
  Window window = read_window(source, source.required(1)->type.shape.slice(2));
  if (source.has("output_shape") || is_same(source.text("auto_pad", "NOTSET"))) {
    window.padding = padding_to_shape(source, window);
    for (const std::int64_t width : window.padding) {
      if (width < 0) return source.unknown();
    }
  }
  return source.node(
      kConvTranspose[rank - 1],
      source.context.attrs({{attr::kernel_size, window.kernel_size},
                            {attr::strides, window.strides},
                            {attr::padding, window.padding},
                            {attr::dilation, window.dilation},
                            {attr::groups, source.integer("group", 1)}}));
}

Converter pool(const Name* ops) {
  return [ops](const OnnxNode& source) {
    const std::size_t rank = spatial(source).size();
    for (const std::int64_t step : source.ints("dilations", {})) {
      if (step != 1) return source.unknown();
    }
    if (rank == 0 || rank > kRanks || source.integer("storage_order", 0) != 0) {
      return source.unknown();
    }
    const Window window = read_window(source, source.ints("kernel_shape", {}));
    Attrs attrs = source.context.attrs({{attr::kernel_size, window.kernel_size},
                                        {attr::strides, window.strides},
                                        {attr::padding, window.padding}});
    if (ops == kAvgPool) {
      const bool counts = source.integer("count_include_pad", 0) != 0;
      attrs = source.context.with(attrs, {attr::count_include_pad, counts});
    }
    return source.node(ops[rank - 1], attrs);
  };
}

// The vocabulary has it for images; elsewhere it is a reduction.
Node* global_pool(const OnnxNode& source, const Name* op, Name reduction) {
  Extents axes;
  for (std::int64_t axis = 2; axis < source.rank(); ++axis) axes.push_back(axis);
  if (op != nullptr && axes.size() == 2) return source.node(*op);
  return source.node(reduction, source.context.attrs({{attr::axes, source.context.span(axes)},
                                                      {attr::keepdims, true}}));
}

Node* global_lp_pool(const OnnxNode& source) {
  const std::int64_t p = source.integer("p", 2);
  return p == 1 || p == 2 ? global_pool(source, nullptr, kLpReductions[p - 1]) : source.unknown();
}

}  // namespace

const Converters& window_converters() {
  static const Converters converters = {
      {"AveragePool", pool(kAvgPool)},
      {"Conv", conv},
      {"ConvTranspose", conv_transpose},
      {"GlobalAveragePool",
       [](const OnnxNode& o) { return global_pool(o, &op::global_avg_pool2d, op::mean); }},
      {"GlobalLpPool", global_lp_pool},
      {"GlobalMaxPool",
       [](const OnnxNode& o) { return global_pool(o, &op::global_max_pool2d, op::max); }},
      {"MaxPool", pool(kMaxPool)},
  };
  return converters;
}

}  // namespace relay_frontend::onnx
