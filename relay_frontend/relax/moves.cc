// Relax operators that move data; twin of moves.py.

#include <algorithm>
#include <vector>

#include "relay_frontend/names.h"
#include "relay_frontend/relax/forms.h"

namespace relay_frontend {

namespace {

using namespace relax;

template <const Name& name>
Node* first_operand(Call call) {
  return call.node(name, call.inputs.slice(0, 1));
}

// The axis is counted in the result, which has as many dimensions as the operands or more.
template <const Name& name>
Node* result_axis(Call call) {
  return call.node(name, one(call, {attr::axis, call.axis(call.type.rank())}));
}

Node* take(Call call) {
  if (call.has("axis")) return operand_axis<op::take>(call);
  return call.node(op::take, call.context.operands({flat(call), call.inputs[1]}),
                   one(call, {attr::axis, 0}));
}

// x[i] with one tensor of positions.
Node* index_tensor(Call call) {
  return call.inputs.size() == 2 ? call.node(op::take, one(call, {attr::axis, 0})) : call.unknown();
}

Node* gather_nd(Call call) {
  return call.integer("batch_dims") != 0 ? call.unknown() : call.node(op::gather_nd);
}

Node* scatter_elements(Call call) {
  return call.text("reduction") == "update" ? operand_axis<op::scatter_elements>(call)
                                            : call.unknown();
}

Node* scatter_nd(Call call) {
  return call.text("reduction") == "update" ? call.node(op::scatter_nd) : call.unknown();
}

Node* slice(Call call, const std::vector<Int>& begin, const std::vector<Int>& strides) {
  Context& context = call.context;
  const Attrs attrs =
      context.attrs({{attr::begin, context.span(begin)}, {attr::strides, context.span(strides)}});
  return call.node(op::slice, call.inputs.slice(0, 1), attrs);
}

Node* strided_slice(Call call) {
  const Ints shape = call.inputs[0]->type.shape;
  std::vector<Int> begin(shape.size(), 0), strides(shape.size(), 1);
  const std::vector<Int> axes = call.tuple(1), starts = call.tuple(2), ends = call.tuple(3);
  const std::vector<Int> steps =
      call.args.size() > 4 ? call.tuple(4) : std::vector<Int>(axes.size(), 1);
  if (starts.size() != axes.size() || ends.size() != axes.size() || steps.size() != axes.size()) {
    throw Unsupported("a slice of several lengths");
  }
  for (std::size_t i = 0; i < axes.size(); ++i) {
    const auto at = static_cast<std::size_t>(floor_mod(axes[i], static_cast<Int>(shape.size())));
    begin[at] = first_index(starts[i], steps[i], shape[at]);
    strides[at] = steps[i];
  }
  return slice(call, begin, strides);
}

// A slice by tensors, which are known here.
Node* dynamic_strided_slice(Call call) {
  const Ints shape = call.inputs[0]->type.shape;
  for (const Node* bound : call.inputs.slice(1)) {
    if (bound->value == nullptr) return call.unknown();
    if (!bound->value->integral || bound->value->size() != shape.size()) {
      throw Unsupported("bounds that are no integers");
    }
  }
  if (call.inputs.size() != 4) throw Unsupported("a slice without its bounds");
  const Ints starts = call.inputs[1]->value->ints, strides = call.inputs[3]->value->ints;
  std::vector<Int> begin;
  for (std::size_t i = 0; i < shape.size(); ++i) {
    begin.push_back(first_index(starts[i], strides[i], shape[i]));
  }
  return slice(call, begin, {strides.begin(), strides.end()});
}

Node* transpose(Call call) {
  std::vector<Int> axes;
  if (call.has("axes")) {
    axes = positive(call, call.ints("axes"));
  } else {
    axes = range(0, call.rank());
    std::reverse(axes.begin(), axes.end());
  }
  return call.node(op::transpose, one(call, {attr::axes, call.context.span(axes)}));
}

Node* pad(Call call) {
  const Ints flat = call.ints("pad_width");  // (before, after) of each dimension
  const Text mode = call.text("pad_mode");
  if (mode != "constant" && mode != "reflect" && mode != "replicate") return call.unknown();
  std::vector<Int> widths;
  for (std::size_t i = 0; i < flat.size(); i += 2) widths.push_back(flat[i]);
  for (std::size_t i = 1; i < flat.size(); i += 2) widths.push_back(flat[i]);
  const Attrs attrs = one(call, {attr::pad_width, call.context.span(widths)});
  if (mode != "constant") return call.node(op::pad_edge, attrs);
  return call.node(op::pad, call.context.with(attrs, {attr::value, call.real("pad_value")}));
}

Node* tile(Call call) {
  return call.node(op::tile, one(call, {attr::repeats, call.ints("repeats")}));
}

Node* repeat(Call call) {
  if (!call.has("axis")) return call.unknown();
  std::vector<Int> repeats(call.rank(), 1);
  repeats[static_cast<std::size_t>(call.axis(call.rank()))] = call.integer("repeats");
  return call.node(op::tile, one(call, {attr::repeats, call.context.span(repeats)}));
}

// Order of an interpolation; -1 for others.
Int order(Call call) {
  const Text method = call.text("method");
  if (method == "nearest_neighbor" || method == "nearest") return 0;
  if (method == "linear" || method == "bilinear") return 1;
  return method == "cubic" || method == "bicubic" ? 3 : -1;
}

Node* resize(Call call, Text layout) {
  if (call.text("layout") != layout || order(call) < 0) return call.unknown();
  return call.node(op::resize, call.inputs.slice(0, 1), one(call, {attr::order, order(call)}));
}

Node* grid_sample(Call call) {
  if (call.text("layout") != "NCHW" || order(call) < 0) return call.unknown();
  if (call.inputs.size() != 2) throw Unsupported("a sampling without its grid");
  // Relax has the coordinates in front, the vocabulary behind.
  Node* behind = permuted(call, call.inputs[1], call.context.ints({0, 2, 3, 1}));
  return call.node(op::grid_sample, call.context.operands({call.inputs[0], behind}),
                   one(call, {attr::order, order(call)}));
}

Node* roi_align(Call call) {
  return call.text("layout") == "NCHW" ? call.node(op::roi_align) : call.unknown();
}

Node* pixel_shuffle(Call call) {
  return call.node(op::depth_to_space,
                   one(call, {attr::block_size, call.integer("upscale_factor")}));
}

Node* triangle(Call call) {
  const Attrs attrs =
      call.context.attrs({{attr::upper, call.name == "triu"}, {attr::k, call.number(1).integer()}});
  return call.node(op::triangle, call.inputs.slice(0, 1), attrs);
}

Node* one_hot(Call call) {
  const Int axis = call.axis(call.type.rank());
  return call.node(op::one_hot, call.inputs.slice(0, 1), one(call, {attr::axis, axis}));
}

}  // namespace

const RelaxConverters& relax_moves() {
  static const RelaxConverters converters = {
      {"broadcast_to", first_operand<op::broadcast_to>},
      {"concat", result_axis<op::concatenate>},
      {"dynamic_strided_slice", dynamic_strided_slice},
      {"expand_dims", first_operand<op::reshape>},
      {"flatten", first_operand<op::reshape>},
      {"flip", operand_axis<op::reverse>},
      {"gather_elements", operand_axis<op::gather_elements>},
      {"gather_nd", gather_nd},
      {"image.grid_sample", grid_sample},
      {"image.resize2d", [](Call call) { return resize(call, "NCHW"); }},
      {"image.resize3d", [](Call call) { return resize(call, "NCDHW"); }},
      {"index_tensor", index_tensor},
      {"nn.batch_flatten", first_operand<op::reshape>},
      {"nn.pad", pad},
      {"nn.pixel_shuffle", pixel_shuffle},
      {"one_hot", one_hot},
      {"permute_dims", transpose},
      {"repeat", repeat},
      {"reshape", first_operand<op::reshape>},
      {"scatter_elements", scatter_elements},
      {"scatter_nd", scatter_nd},
      {"squeeze", first_operand<op::reshape>},
      {"stack", result_axis<op::stack>},
      {"strided_slice", strided_slice},
      {"take", take},
      {"tile", tile},
      {"tril", triangle},
      {"triu", triangle},
      {"vision.roi_align", roi_align},
  };
  return converters;
}

}  // namespace relay_frontend
