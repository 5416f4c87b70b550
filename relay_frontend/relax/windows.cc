// Relax's sliding windows: convolutions and pooling; twin of windows.py.

#include <algorithm>
#include <string>

#include "relay_frontend/names.h"
#include "relay_frontend/relax/reader.h"

namespace relay_frontend {

namespace {

const Text kData[] = {"", "NCW", "NCHW", "NCDHW"};
const Text kKernel[] = {"", "OIW", "OIHW", "OIDHW"};
const Text kTransposedKernel[] = {"", "IOW", "IOHW", "IODHW"};

const Name kConv[] = {op::input, op::conv1d, op::conv2d, op::conv3d};
const Name kTransposedConv[] = {op::input, op::conv1d_transpose, op::conv2d_transpose,
                                op::conv3d_transpose};
const Name kAvgPool[] = {op::input, op::avg_pool1d, op::avg_pool2d, op::avg_pool3d};
const Name kMaxPool[] = {op::input, op::max_pool1d, op::max_pool2d, op::max_pool3d};

Attr strides(const RelaxCall& call) { return {attr::strides, call.ints("strides")}; }
Attr padding(const RelaxCall& call) { return {attr::padding, call.ints("padding")}; }

template <std::size_t rank, bool transposed>
Node* conv(const RelaxCall& call) {
  const Text kernel = transposed ? kTransposedKernel[rank] : kKernel[rank];
  if (call.text("data_layout") != kData[rank] || call.text("kernel_layout") != kernel) {
    return call.unknown();
  }
  const Attrs attrs =
      call.context.attrs({{attr::kernel_size, call.inputs[1]->type.shape.slice(2)},
                          strides(call),
                          padding(call),
                          {attr::dilation, call.ints("dilation")},
                          {attr::groups, call.integer("groups")}});
  return call.node(transposed ? kTransposedConv[rank] : kConv[rank], attrs);
}

template <std::size_t rank, bool average>
Node* pool(const RelaxCall& call) {
  const Ints dilation = call.ints("dilation");
  const bool dilated = std::any_of(dilation.begin(), dilation.end(), [](auto d) { return d != 1; });
  if (call.text("layout") != kData[rank] || dilated) return call.unknown();
  const Attrs attrs = call.context.attrs(
      {{attr::kernel_size, call.ints("pool_size")}, strides(call), padding(call)});
  if (!average) return call.node(kMaxPool[rank], attrs);
  const bool counts = call.boolean("count_include_pad");
  return call.node(kAvgPool[rank], call.context.with(attrs, {attr::count_include_pad, counts}));
}

// A mean where one position is left, a pooling where the windows are all alike.
template <std::size_t rank>
Node* adaptive_avg_pool(const RelaxCall& call) {
  if (call.text("layout") != kData[rank]) return call.unknown();
  Context& context = call.context;
  const Ints extents = call.inputs[0]->type.shape.slice(2), outputs = call.type.shape.slice(2);
  if (std::all_of(outputs.begin(), outputs.end(), [](auto extent) { return extent == 1; })) {
    const Ints axes = context.ints({2, 3, 4}).slice(0, rank);
    return call.node(op::mean, context.attrs({{attr::axes, axes}, {attr::keepdims, true}}));
  }
  if (extents.size() != outputs.size()) throw Unsupported("a pooling of another rank");
  std::vector<std::int64_t> window;
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    if (floor_mod(extents[i], outputs[i]) != 0) return call.unknown();
    window.push_back(extents[i] / outputs[i]);
  }
  const Ints size = context.span(window);
  const Ints zeros = context.span(std::vector<std::int64_t>(2 * rank, 0));
  return call.node(kAvgPool[rank], context.attrs({{attr::kernel_size, size},
                                                  {attr::strides, size},
                                                  {attr::padding, zeros},
                                                  {attr::count_include_pad, false}}));
}

}  // namespace

const RelaxConverters& relax_windows() {
  static const RelaxConverters converters = {
      {"nn.adaptive_avg_pool1d", adaptive_avg_pool<1>},
      {"nn.adaptive_avg_pool2d", adaptive_avg_pool<2>},
      {"nn.adaptive_avg_pool3d", adaptive_avg_pool<3>},
      {"nn.avg_pool1d", pool<1, true>},
      {"nn.avg_pool2d", pool<2, true>},
      {"nn.avg_pool3d", pool<3, true>},
      {"nn.conv1d", conv<1, false>},
      {"nn.conv1d_transpose", conv<1, true>},
      {"nn.conv2d", conv<2, false>},
      {"nn.conv2d_transpose", conv<2, true>},
      {"nn.conv3d", conv<3, false>},
      {"nn.conv3d_transpose", conv<3, true>},
      {"nn.max_pool1d", pool<1, false>},
      {"nn.max_pool2d", pool<2, false>},
      {"nn.max_pool3d", pool<3, false>},
  };
  return converters;
}

}  // namespace relay_frontend
