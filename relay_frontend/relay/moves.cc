// Relay operators that move data; twin of moves.py.

#include <algorithm>
#include <unordered_map>
#include <vector>

#include "relay_frontend/names.h"
#include "relay_frontend/relay/forms.h"

namespace relay_frontend {

namespace {

using namespace relay;

Node* transpose(Op op, const Converter& self) {
  return op.node(self.name, op.context.attrs({{attr::axes, permutation(op)}}));
}

Node* pad(Op op, const Converter&) {
  const std::vector<Int> pairs = op.attributes.rows("pad_width", 2);
  std::vector<Int> widths;
  for (std::size_t i = 0; i < pairs.size(); i += 2) widths.push_back(pairs[i]);
  for (std::size_t i = 1; i < pairs.size(); i += 2) widths.push_back(pairs[i]);
  const Operands operands = first_operand_of(op);
  const Attrs attrs = op.context.attrs({{attr::pad_width, op.context.span(widths)}});
  if (!op.has("pad_mode") || op.text("pad_mode") != "constant") {
    return op.node(op::pad_edge, operands, attrs);
  }
  double value = 0.0;
  if (op.inputs.size() > 1) {
    const ConstantValue* given = op.inputs[1]->value;
    if (given == nullptr) return op.unknown();
    if (given->size() != 1) throw Unsupported("a value that is no scalar");
    value = given->reals[0];
  }
  return op.node(op::pad, operands, op.context.with(attrs, {attr::value, value}));
}

Node* split(Op op, const Converter& self) {
  return op.node(self.name,
                 op.context.attrs({{attr::axis, op.axis()}, {attr::index, op.position}}));
}

Node* strided_slice(Op op, const Converter& self) {
  const SliceBounds bounds = slice_bounds(op);
  return op.node(self.name, first_operand_of(op),
                 op.context.attrs({{attr::begin, op.context.span(bounds.begin)},
                                   {attr::strides, op.context.span(bounds.strides)}}));
}

Node* take(Op op, const Converter&) {
  if (!op.is_none("axis")) {
    return op.node(op::take, op.context.attrs({{attr::axis, op.axis()}}));
  }
  if (op.inputs.size() != 2) throw Unsupported("another number of operands");
  Node* data = op.inputs[0];
  const TensorType flat =
      op.context.type(op.context.ints({data->type.num_elements()}), data->type.dtype);
  Node* reshaped = op.context.make(op::reshape, flat, op.context.operands({data}));
  return op.node(op::take, op.context.operands({reshaped, op.inputs[1]}),
                 op.context.attrs({{attr::axis, 0}}));
}

// Positions with their components in the first (second) dimension, as Relay has them, last.
Node* components_last(Context& context, Node* indices, std::size_t components) {
  std::vector<Int> axes = range(0, static_cast<Int>(indices->type.rank()));
  if (components >= axes.size()) throw Unsupported("positions without that dimension");
  const auto moved = axes.begin() + static_cast<std::ptrdiff_t>(components);
  std::rotate(moved, moved + 1, axes.end());
  return transposed(context, indices, axes);
}

// Whether a scatter replaces elements, rather than adding to them.
bool overwrites(Op op, const char* attr) { return !op.has(attr) || op.text(attr) == "update"; }

Node* by_positions(Op op, const Converter& self) {
  const bool in_batches = op.has("batch_dims") && op.integer("batch_dims") != 0;
  if (in_batches || !overwrites(op, "mode")) return op.unknown();
  std::vector<Node*> operands(op.inputs.begin(), op.inputs.end());
  operands.at(1) = components_last(op.context, op.inputs[1], 0);
  return op.node(self.name, op.context.span(operands));
}

Node* scatter_elements(Op op, const Converter& self) {
  return overwrites(op, "reduction") ? along_axis(op, self) : op.unknown();
}

// Repeats per dimension of the result; that of ONNX has as many as its operand.
Node* tile(Op op, const Converter& self) {
  const Ints given = op.ints("reps");
  std::vector<Int> repeats;
  if (op.type.rank() > given.size()) repeats.assign(op.type.rank() - given.size(), 1);
  repeats.insert(repeats.end(), given.begin(), given.end());
  return op.node(self.name, op.context.attrs({{attr::repeats, op.context.span(repeats)}}));
}

Node* repeat(Op op, const Converter& self) {
  if (op.is_none("axis")) return op.unknown();
  std::vector<Int> repeats(op.rank(), 1);
  repeats[static_cast<std::size_t>(op.axis())] = op.integer("repeats");
  return op.node(self.name, op.context.attrs({{attr::repeats, op.context.span(repeats)}}));
}

// The order of an interpolation's polynomials; -1 for a method that has none.
int order_of(Text method) {
  static const std::unordered_map<Text, int> orders{
      {"nearest", 0}, {"nearest_neighbor", 0}, {"linear", 1}, {"bilinear", 1},
      {"trilinear", 1}, {"cubic", 3}, {"bicubic", 3},
  };
  const auto found = orders.find(method);
  return found == orders.end() ? -1 : found->second;
}

Node* resize(Op op, const Converter& self) {
  const int order = order_of(op.text("method"));
  if (order < 0) return op.unknown();
  return op.node(self.name, first_operand_of(op), op.context.attrs({{attr::order, order}}));
}

Node* grid_sample(Op op, const Converter& self) {
  const int order = order_of(op.text("method"));
  if (order < 0) return op.unknown();
  if (op.inputs.size() != 2) throw Unsupported("another number of operands");
  Node* grid = components_last(op.context, op.inputs[1], 1);
  return op.node(self.name, op.context.operands({op.inputs[0], grid}),
                 op.context.attrs({{attr::order, order}}));
}

Node* blocks(Op op, const Converter& self) {
  if (op.text("layout") != "NCHW") return op.unknown();
  return op.node(self.name, op.context.attrs({{attr::block_size, op.integer("block_size")}}));
}

Node* triangle(Op op, const Converter& self) {
  const ConstantValue* diagonal = op.inputs[1]->value;
  if (diagonal == nullptr) return op.unknown();
  if (!diagonal->integral || diagonal->size() != 1) throw Unsupported("a diagonal's number");
  return op.node(self.name, first_operand_of(op),
                 op.context.attrs({{attr::upper, op.integer("upper") != 0},
                                   {attr::k, diagonal->ints[0]}}));
}

Node* one_hot(Op op, const Converter& self) {
  return op.node(self.name, first_operand_of(op),
                 op.context.attrs({{attr::axis, op.axis(op.type.rank())}}));
}

const Converters kMoves{
    {"broadcast_to_like", {first_operand, op::broadcast_to}},
    {"concatenate", {along_axis, op::concatenate}},
    {"contrib_reverse_reshape", {first_operand, op::reshape}},
    {"expand_dims", {first_operand, op::reshape}},
    {"gather", {along_axis, op::gather_elements}},
    {"gather_nd", {by_positions, op::gather_nd}},
    {"image.grid_sample", {grid_sample, op::grid_sample}},
    {"image.resize1d", {resize, op::resize}},
    {"image.resize2d", {resize, op::resize}},
    {"image.resize3d", {resize, op::resize}},
    {"nn.batch_flatten", {first_operand, op::reshape}},
    {"nn.depth_to_space", {blocks, op::depth_to_space}},
    {"nn.mirror_pad", {pad, op::pad}},
    {"nn.pad", {pad, op::pad}},
    {"nn.space_to_depth", {blocks, op::space_to_depth}},
    {"nn.upsampling", {resize, op::resize}},
    {"one_hot", {one_hot, op::one_hot}},
    {"repeat", {repeat, op::tile}},
    {"reshape", {first_operand, op::reshape}},
    {"reshape_like", {first_operand, op::reshape}},
    {"reverse", {along_axis, op::reverse}},
    {"scatter_elements", {scatter_elements, op::scatter_elements}},
    {"scatter_nd", {by_positions, op::scatter_nd}},
    {"split", {split, op::split}},
    {"squeeze", {first_operand, op::reshape}},
    {"stack", {along_axis, op::stack, 0, true}},
    {"strided_slice", {strided_slice, op::slice}},
    {"take", {take, op::take}},
    {"tile", {tile, op::tile}},
    {"transpose", {transpose, op::transpose}},
    {"trilu", {triangle, op::triangle}},
};

}  // namespace

const Converters& move_converters() { return kMoves; }

}  // namespace relay_frontend
