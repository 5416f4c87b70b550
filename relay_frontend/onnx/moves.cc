// ONNX operators that move data; twin of moves.py.

#include <optional>

#include "relay_frontend/names.h"
#include "relay_frontend/onnx/forms.h"
#include "relay_frontend/onnx/operators.h"

namespace relay_frontend::onnx {

namespace {

Converter along_axis(Name op) {
  return [op](const OnnxNode& source) {
    return source.node(op, source.context.attrs({{attr::axis, source.axis(0)}}));
  };
}

Node* gather_nd(const OnnxNode& source) {
  return source.integer("batch_dims", 0) != 0 ? source.unknown() : source.node(op::gather_nd);
}

Converter scatter(Name op) {
  return [op](const OnnxNode& source) {
    if (source.text("reduction", "none") != "none") return source.unknown();
    if (op == op::scatter_nd) return source.node(op);
    return source.node(op, source.context.attrs({{attr::axis, source.axis(0)}}));
  };
}

Node* slice(const OnnxNode& source) {
  const std::optional<SliceRanges> ranges = slice_ranges(source);
  if (!ranges) return source.unknown();
  if (ranges->begin.empty()) throw Unsupported("onnx: Slice of a scalar");
  Context& context = source.context;
  return on_data(source, op::slice,
                 context.attrs({{attr::begin, context.span(ranges->begin)},
                                {attr::strides, context.span(ranges->strides)}}));
}

// A dimension of the result, counted from the first.
std::int64_t result_axis(const OnnxNode& source, std::int64_t otherwise) {
  const auto rank = static_cast<std::int64_t>(source.type.rank());
  return floor_mod(source.integer("axis", otherwise), rank);
}

Node* concat(const OnnxNode& source) {
  return source.node(op::concatenate,
                     source.context.attrs({{attr::axis, result_axis(source, 1)}}));
}

Node* split(const OnnxNode& source) {
  return on_data(source, op::split,
                 source.context.attrs({{attr::axis, source.axis(0)},
                                       {attr::index, source.position}}));
}

Node* transpose(const OnnxNode& source) {
  Extents reverse;
  for (std::int64_t axis = source.rank(); axis-- > 0;) reverse.push_back(axis);
  const Ints axes = source.ints("perm", source.context.span(reverse));
  return source.node(op::transpose, source.context.attrs({{attr::axes, axes}}));
}

std::optional<std::int64_t> interpolation_order(Text mode) {
  if (mode == "nearest") return 0;
  if (mode == "linear" || mode == "bilinear") return 1;
  if (mode == "cubic" || mode == "bicubic") return 3;
  return std::nullopt;
}

Node* resize(const OnnxNode& source) {
  const std::optional<std::int64_t> order = interpolation_order(source.text("mode", "nearest"));
  const bool crops = source.text("coordinate_transformation_mode", "") == "tf_crop_and_resize";
  const bool spatial = source.shape().slice(0, 2) == source.type.shape.slice(0, 2);
  if (!order || crops || !spatial || source.integer("antialias", 0) != 0) return source.unknown();
  return on_data(source, op::resize, source.context.attrs({{attr::order, *order}}));
}

Node* grid_sample(const OnnxNode& source) {
  const std::optional<std::int64_t> order = interpolation_order(source.text("mode", "linear"));
  if (!order) return source.unknown();
  return source.node(op::grid_sample, source.context.attrs({{attr::order, *order}}));
}

Node* pad(const OnnxNode& source) {
  Context& context = source.context;
  const Text mode = source.text("mode", "constant");
  const std::optional<Ints> given = source.int_values(1, "pads"), axes = source.int_values(3);
  const ConstantValue* value = source.value(2, "value");
  const bool hidden =
      (value == nullptr && source.is_given(2)) || (!axes && source.is_given(3));
  const bool is_constant = mode == "constant";
  if ((!is_constant && mode != "edge" && mode != "reflect") || !given || hidden) {
    return source.unknown();
  }
  const std::size_t rank = source.shape().size();
  const std::size_t count = axes ? axes->size() : rank;
  Extents widths(2 * rank, 0);
  for (std::size_t i = 0; i < count; ++i) {
    const std::int64_t axis = axes ? (*axes)[i] : static_cast<std::int64_t>(i);
    const auto at = static_cast<std::size_t>(floor_mod(axis, source.rank()));
    widths[at] = (*given)[i];
    widths[rank + at] = (*given)[count + i];
  }
  const Ints pad_width = context.span(widths);
  if (!is_constant) {
    return on_data(source, op::pad_edge, context.attrs({{attr::pad_width, pad_width}}));
  }
  const double fill = value == nullptr ? 0.0 : scalar_of(*value);
  return on_data(source, op::pad,
                 context.attrs({{attr::pad_width, pad_width}, {attr::value, fill}}));
}

Node* tile(const OnnxNode& source) {
  const std::optional<Ints> repeats = source.int_values(1);
  // Until opset 6 one dimension at a time.
  if (!repeats || source.inputs.size() != 2) return source.unknown();
  return on_data(source, op::tile, source.context.attrs({{attr::repeats, *repeats}}));
}

Converter blocks(Name op) {
  return [op](const OnnxNode& source) {
    return source.node(
        op, source.context.attrs({{attr::block_size, source.integer("blocksize", 1)}}));
  };
}

Node* triangle(const OnnxNode& source) {
  const std::optional<Ints> k = source.int_values(1);
  if (!k && source.is_given(1)) return source.unknown();
  const bool upper = source.integer("upper", 1) != 0;
  const std::int64_t diagonal = k && !k->empty() ? k->front() : 0;
  return on_data(source, op::triangle,
                 source.context.attrs({{attr::upper, upper}, {attr::k, diagonal}}));
}

Node* one_hot(const OnnxNode& source) {
  return on_data(source, op::one_hot,
                 source.context.attrs({{attr::axis, result_axis(source, -1)}}));
}

// Made by static initialization, as long as names may become known.
const Converters kMoves = {
    {"Concat", concat},
    {"DepthToSpace", blocks(op::depth_to_space)},
    {"Expand", first_operand(op::broadcast_to)},
    {"Flatten", first_operand(op::reshape)},
    {"Gather", along_axis(op::take)},
    {"GatherElements", along_axis(op::gather_elements)},
    {"GatherND", gather_nd},
    {"GridSample", grid_sample},
    {"OneHot", one_hot},
    {"Pad", pad},
    {"Reshape", first_operand(op::reshape)},
    {"Resize", resize},
    {"Scatter", scatter(op::scatter_elements)},
    {"ScatterElements", scatter(op::scatter_elements)},
    {"ScatterND", scatter(op::scatter_nd)},
    {"Slice", slice},
    {"SpaceToDepth", blocks(op::space_to_depth)},
    {"Split", split},
    {"Squeeze", first_operand(op::reshape)},
    {"Tile", tile},
    {"Transpose", transpose},
    {"Trilu", triangle},
    {"Unsqueeze", first_operand(op::reshape)},
    {"Upsample", resize},
};

}  // namespace

const Converters& move_converters() { return kMoves; }

}  // namespace relay_frontend::onnx
