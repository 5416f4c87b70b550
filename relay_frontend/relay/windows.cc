// Relay's sliding windows: convolutions and pooling; twin of windows.py.

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "relay_frontend/names.h"
#include "relay_frontend/relay/forms.h"

namespace relay_frontend {

namespace {

using namespace relay;

const Name kAveragePoolNhwc = known("avg_pool2d_nhwc");
const Name kConvolutionNhwc = known("conv2d_nhwc");
const Name kMaxPoolNhwc = known("max_pool2d_nhwc");

Ints repeated(Op op, Int value, std::size_t times) {
  return op.context.span(std::vector<Int>(times, value));
}

constexpr Text kLayouts[] = {"", "NCW", "NCHW", "NCDHW"};

// The operator's name for its layout; false where the vocabulary has none.
bool by_layout(Name& name, Text layout, std::size_t rank) {
  if (layout == kLayouts[rank]) return true;
  if (layout != "NHWC") return false;
  if (name == op::conv2d) {
    name = kConvolutionNhwc;
  } else if (name == op::max_pool2d) {
    name = kMaxPoolNhwc;
  } else if (name == op::avg_pool2d) {
    name = kAveragePoolNhwc;
  } else {
    return false;
  }
  return true;
}

// The spatial dimensions of the weights, whichever layout they have.
Ints kernel_size(Op op, Text layout) {
  const Ints shape = op.inputs[1]->type.shape;
  if (shape.size() != layout.size()) throw Unsupported("weights of another rank than their layout");
  std::vector<Int> extents;
  for (std::size_t i = 0; i < layout.size(); ++i) {
    if (Text("DHW").find(layout[i]) != Text::npos) extents.push_back(shape[i]);
  }
  return op.context.span(extents);
}

// Relay's one value, one or two per dimension as all leading, then all trailing ones.
Ints padding(Op op, std::size_t rank) {
  const Ints values = op.ints("padding");
  if (values.size() == 1) return repeated(op, values[0], 2 * rank);
  if (values.size() != rank) return values;
  std::vector<Int> both(values.begin(), values.end());
  both.insert(both.end(), values.begin(), values.end());
  return op.context.span(both);
}

Node* convolution(Op op, const Converter& self) {
  Name name = self.name;
  const Text kernel_layout = op.text("kernel_layout");
  if (!by_layout(name, op.text("data_layout"), self.count) ||
      kernel_layout.size() != self.count + 2) {
    return op.unknown();
  }
  return op.node(name, op.inputs.slice(0, 2),
                 op.context.attrs({{attr::kernel_size, kernel_size(op, kernel_layout)},
                                   {attr::strides, op.ints("strides")},
                                   {attr::padding, padding(op, self.count)},
                                   {attr::dilation, op.ints("dilation")},
                                   {attr::groups, op.integer("groups")}}));
}

// `flag`: whether it averages.
Node* pool(Op op, const Converter& self) {
  Name name = self.name;
  if (!by_layout(name, op.text("layout"), self.count) || !all_equal(op.ints("dilation"), 1)) {
    return op.unknown();
  }
  const Attrs attrs = op.context.attrs({{attr::kernel_size, op.ints("pool_size")},
                                        {attr::strides, op.ints("strides")},
                                        {attr::padding, padding(op, self.count)}});
  if (!self.flag) return op.node(name, attrs);
  const bool counts = op.integer("count_include_pad") != 0;
  return op.node(name, op.context.with(attrs, {attr::count_include_pad, counts}));
}

// Python's str.find: -1 where there is none.
Int first_spatial(Text layout, std::size_t rank) {
  const std::size_t found = layout.find(kLayouts[rank][2]);
  return found == Text::npos ? -1 : static_cast<Int>(found);
}

Node* spatial_reduction(Op op, bool averages, Text layout, std::size_t rank) {
  const Int first = first_spatial(layout, rank);
  std::vector<Int> axes;
  for (std::size_t i = 0; i < rank; ++i) axes.push_back(first + static_cast<Int>(i));
  return op.node(averages ? op::mean : op::max,
                 op.context.attrs({{attr::axes, op.context.span(axes)}, {attr::keepdims, true}}));
}

Node* global_pool(Op op, const Converter& self) {
  const Text layout = op.text("layout");
  if (layout == "NCHW") return op.node(self.name);
  return spatial_reduction(op, self.flag, layout, 2);
}

// A pool to a given size: to 1 a global one, to a divisor one with equal windows.
Node* adaptive_pool(Op op, const Converter& self) {
  const Text layout = op.text("layout");
  const Int first = first_spatial(layout, self.count);
  if (first < 0) throw Unsupported("a layout without that dimension");
  const auto from = static_cast<std::size_t>(first);
  const Ints inputs = op.inputs[0]->type.shape.slice(from, from + self.count);
  const Ints outputs = op.type.shape.slice(from, from + self.count);
  if (outputs.size() == self.count && all_equal(outputs, 1)) {
    if (layout == "NCHW") {
      return op.node(self.flag ? op::global_avg_pool2d : op::global_max_pool2d);
    }
    return spatial_reduction(op, self.flag, layout, self.count);
  }
  Name name = self.name;
  if (!by_layout(name, layout, self.count)) return op.unknown();
  if (inputs.size() != outputs.size()) throw Unsupported("another number of dimensions");
  std::vector<Int> window;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (floor_mod(inputs[i], outputs[i]) != 0) return op.unknown();
    window.push_back(inputs[i] / outputs[i]);
  }
  const Ints extents = op.context.span(window);
  const Attrs attrs = op.context.attrs({{attr::kernel_size, extents},
                                        {attr::strides, extents},
                                        {attr::padding, repeated(op, 0, 2 * self.count)}});
  if (!self.flag) return op.node(name, attrs);
  return op.node(name, op.context.with(attrs, {attr::count_include_pad, false}));
}

Converters make_converters() {
  Converters table{
      {"nn.global_avg_pool2d", {global_pool, op::global_avg_pool2d, 2, true}},
      {"nn.global_max_pool2d", {global_pool, op::global_max_pool2d, 2, false}},
      {"qnn.conv2d", {convolution, op::conv2d, 2}},
      {"qnn.conv2d_transpose", {convolution, op::conv2d_transpose, 2}},
  };
  static const char* const kDimensions[] = {"", "1d", "2d", "3d"};
  // Keys must outlive the table.
  static std::vector<std::unique_ptr<std::string>> keys;
  const auto key = [](std::string text) -> Text {
    keys.push_back(std::make_unique<std::string>(std::move(text)));
    return *keys.back();
  };
  for (std::size_t rank = 1; rank <= 3; ++rank) {
    const std::string dimensions = kDimensions[rank];
    for (const char* kind : {"", "_transpose"}) {
      const std::string name = "conv" + dimensions + kind;
      table[key("nn." + name)] = {convolution, known(name), rank};
    }
    for (const bool averages : {false, true}) {
      const std::string name = (averages ? "avg_pool" : "max_pool") + dimensions;
      table[key("nn." + name)] = {pool, known(name), rank, averages};
      table[key("nn.adaptive_" + name)] = {adaptive_pool, known(name), rank, averages};
    }
  }
  return table;
}

const Converters kWindows = make_converters();

}  // namespace

const Converters& window_converters() { return kWindows; }

}  // namespace relay_frontend
