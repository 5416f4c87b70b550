// The few functions of TIR that TVM's ONNX importer calls where Relax has no operator; twin of
// tir.py.

#include <utility>
#include <vector>

#include "relay_frontend/names.h"
#include "relay_frontend/relax/reader.h"

namespace relay_frontend {

namespace {

using ffi::Kind;

// A body is small; what is not is left to Python.
constexpr std::size_t kMostParts = 10'000;

// Adds the objects of a field, one or several.
void append_objects(const ffi::Value& field, std::vector<ffi::Object>& objects) {
  if (field.is_object()) objects.push_back(field.object());
  if (!field.is_array()) return;
  const ffi::Sequence sequence = field.sequence();
  for (std::size_t i = 0; i < sequence.size(); ++i) {
    const ffi::Value item = sequence[i];
    if (item.is_object()) objects.push_back(item.object());
  }
}

// The statements and expressions of a body, in order; those within positions are left out.
std::vector<ffi::Object> parts_of(ffi::Object statement) {
  static constexpr const char* kFields[] = {
      "body", "block", "value", "args", "condition", "true_value", "false_value", "a", "b",
  };
  std::vector<ffi::Object> parts, stack = {statement}, children;
  while (!stack.empty()) {
    const ffi::Object part = stack.back();
    stack.pop_back();
    parts.push_back(part);
    if (parts.size() > kMostParts) throw Unsupported("a long function of TIR");
    children.clear();
    for (const char* name : kFields) {
      if (part.has_field(name)) append_objects(part.field(name), children);
    }
    stack.insert(stack.end(), children.rbegin(), children.rend());
  }
  return parts;
}

ffi::Object body(const RelaxCall& call) { return call.function().field("body").object(); }

// All reads of the function's operands.
std::vector<ffi::Object> loads(const RelaxCall& call) {
  std::vector<ffi::Object> result;
  for (const ffi::Object part : parts_of(body(call))) {
    if (part.kind() == Kind::tensor_load) result.push_back(part);
  }
  return result;
}

// The only number that is no position.
double number(const RelaxCall& call) {
  const std::vector<ffi::Object> parts = parts_of(body(call));
  for (std::size_t i = parts.size(); i-- > 0;) {
    if (parts[i].kind() == Kind::float_imm) return parts[i].field("value").real();
  }
  throw Unsupported("a function of TIR without a number");
}

// c where a position is v - c, at least between the borders.
std::int64_t offset(ffi::Object index) {
  for (const ffi::Object part : parts_of(index)) {
    if (part.kind() == Kind::sub && part.field("a").object().kind() == Kind::var) {
      return part.field("b").object().field("value").integer();
    }
  }
  return 0;
}

// A maximum or minimum, one of whose operands may be a number in the body.
template <const Name& name>
Node* bound(const RelaxCall& call) {
  if (call.inputs.size() > 1) return call.node(name);
  Context& context = call.context;
  const double value = number(call);
  Node* constant = context.constant(context.type(Ints(), call.type.dtype),
                                    context.reals({}, context.span(&value, 1)));
  return call.node(name, context.operands({call.inputs[0], constant}));
}

template <const Name& name>
Node* pad(const RelaxCall& call) {
  const std::vector<ffi::Object> reads = loads(call);
  if (reads.empty()) throw Unsupported("a function of TIR that reads nothing");
  const ffi::Sequence indices = reads.back().field("indices").sequence();
  const Ints extents = call.inputs[0]->type.shape, whole = call.type.shape;
  if (indices.size() != extents.size() || whole.size() != extents.size()) {
    throw Unsupported("a pad to another rank");
  }
  std::vector<std::int64_t> widths;
  for (std::size_t i = 0; i < indices.size(); ++i) widths.push_back(offset(indices[i].object()));
  for (std::size_t i = 0; i < indices.size(); ++i) {
    widths.push_back(whole[i] - extents[i] - widths[i]);
  }
  Context& context = call.context;
  const Attrs attrs = context.attrs({{attr::pad_width, context.span(widths)}});
  if (name != op::pad) return call.node(name, attrs);
  return call.node(name, context.with(attrs, {attr::value, number(call)}));
}

Node* tile_to_shape(const RelaxCall& call) {
  const Ints shape = call.inputs[0]->type.shape, result = call.type.shape;
  if (result.size() < shape.size()) throw Unsupported("a tile to a lower rank");
  const std::size_t leading = result.size() - shape.size();
  std::vector<std::int64_t> repeats;
  for (std::size_t i = 0; i < result.size(); ++i) {
    const std::int64_t extent = i < leading ? 1 : shape[i - leading];
    if (extent == 0) throw Unsupported("a tile of nothing");
    repeats.push_back(result[i] / extent);
  }
  return call.node(op::tile, call.context.attrs({{attr::repeats, call.context.span(repeats)}}));
}

// One position is read for the nearest, two for a line, four for a cubic curve.
Node* resize1d(const RelaxCall& call) {
  const std::size_t reads = loads(call).size();
  if (reads != 1 && reads != 2 && reads != 4) return call.unknown();
  const std::int64_t order = reads == 1 ? 0 : reads == 2 ? 1 : 3;
  return call.node(op::resize, call.context.attrs({{attr::order, order}}));
}

Node* unknown(const RelaxCall& call) { return call.unknown(); }

}  // namespace

const RelaxConverters& relax_tir() {
  static const RelaxConverters converters = {
      {"tir.circular_pad", unknown},
      {"tir.einsum", unknown},
      {"tir.flip", unknown},
      {"tir.maximum", bound<op::maximum>},
      {"tir.minimum", bound<op::minimum>},
      {"tir.mirror_pad", pad<op::pad_edge>},
      {"tir.pad", pad<op::pad>},
      {"tir.replicate_pad", pad<op::pad_edge>},
      {"tir.resize1d", resize1d},
      {"tir.resize3d", unknown},
      {"tir.tile", tile_to_shape},
  };
  return converters;
}

}  // namespace relay_frontend
