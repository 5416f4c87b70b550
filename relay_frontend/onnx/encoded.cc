// Encoded ONNX models, rewritten without decoding them: without weights, with static inputs, and as
// shape inference wants them.
//
// Field numbers are those of onnx.proto (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto).

#include <unordered_set>

#include "relay_frontend/onnx/data_types.h"
#include "relay_frontend/onnx/protobuf.h"
#include "relay_frontend/onnx/reader.h"

namespace relay_frontend::onnx {

namespace {

using protobuf::Field;
using protobuf::Message;
using protobuf::Wire;

// Bytes of a message in which leaving anything out is not worth the look.
constexpr std::size_t kSmallBytes = 1024;

// Bytes of a vector of integers up to which shape inference may want its content.
constexpr std::size_t kShapeBytes = std::size_t{1} << 16;

// A message that is copied with some of its fields replaced.
class Copy {
 public:
  explicit Copy(Text message) : next_(message.data()), end_(next_ + message.size()) {}

  void leave_out(const Field& field) {
    copy_.append(next_, static_cast<std::size_t>(field.begin - next_));
    next_ = field.end;
    changed_ = true;
  }

  void replace(const Field& field, Text content) {
    leave_out(field);
    protobuf::append_bytes(copy_, field.number, content);
  }

  // The copy; nothing where it would equal the message.
  std::optional<std::string> finish() {
    if (!changed_) return std::nullopt;
    copy_.append(next_, static_cast<std::size_t>(end_ - next_));
    return std::move(copy_);
  }

 private:
  std::string copy_;
  const char* next_;
  const char* end_;
  bool changed_ = false;
};

// Where a message may have a field once only: merging the parts of two is left to the real parser.
void once(bool& seen) {
  if (seen) throw Unsupported("onnx: a message in two parts");
  seen = true;
}

bool is_content(const Field& field) {
  switch (field.number) {
    case 4:  // float_data
      protobuf::check_fixed(field, Wire::fixed32);
      return true;
    case 5:   // int32_data
    case 7:   // int64_data
    case 11:  // uint64_data
      protobuf::check_varints(field);
      return true;
    case 6:  // string_data
    case 9:  // raw_data
      field.bytes();
      return true;
    case 10:  // double_data
      protobuf::check_fixed(field, Wire::fixed64);
      return true;
    default:
      return false;
  }
}

std::optional<std::string> tensor(Text encoded) {
  if (encoded.size() <= kSmallBytes) return std::nullopt;
  Copy copy(encoded);
  std::vector<std::int64_t> dims;
  std::int32_t data_type = 0;
  Field field;
  for (Message message(encoded); message.next(field);) {
    if (field.number == 1) {
      protobuf::append(field, dims);
    } else if (field.number == 2) {
      data_type = field.enumerator();
    } else if (is_content(field)) {
      copy.leave_out(field);
    }
  }
  std::int64_t num_elements = 1;
  for (const std::int64_t extent : dims) {
    if (extent < 0) throw Unsupported("onnx: negative extent");
    num_elements = checked_mul(num_elements, extent);
  }
  const bool is_shape = dims.size() <= 1 && (data_type == kInt32 || data_type == kInt64) &&
                        encoded.size() <= kShapeBytes;
  const bool is_small = num_elements <= kSmall;
  return is_small || is_shape ? std::nullopt : copy.finish();
}

std::optional<std::string> attribute(Text encoded) {
  if (encoded.size() <= kSmallBytes) return std::nullopt;
  Copy copy(encoded);
  bool seen = false;
  Field field;
  for (Message message(encoded); message.next(field);) {
    if (field.number != 5) continue;  // t
    once(seen);
    if (const auto smaller = tensor(field.bytes())) copy.replace(field, *smaller);
  }
  return copy.finish();
}

std::optional<std::string> node(Text encoded) {
  if (encoded.size() <= kSmallBytes) return std::nullopt;
  Copy copy(encoded);
  Field field;
  for (Message message(encoded); message.next(field);) {
    if (field.number != 5) continue;  // attribute
    if (const auto smaller = attribute(field.bytes())) copy.replace(field, *smaller);
  }
  return copy.finish();
}

// Throws where a TensorShapeProto, which is to be replaced, is not sound.
void check_shape(Text encoded) {
  Field dim, field;
  for (Message shape(encoded); shape.next(dim);) {
    if (dim.number != 1) throw Unsupported("onnx: unknown field of a shape");
    for (Message message(dim.bytes()); message.next(field);) {
      if (field.number == 1) {
        field.integer();
      } else if (field.number == 2 || field.number == 3) {
        field.bytes();
      } else {
        throw Unsupported("onnx: unknown field of a dimension");
      }
    }
  }
}

// A TypeProto.Tensor with another shape.
std::string tensor_type(Text encoded, const std::vector<std::int64_t>& extents) {
  std::string out;
  Field field;
  for (Message message(encoded); message.next(field);) {
    if (field.number == 2) {
      check_shape(field.bytes());
    } else {
      out.append(field.encoded());
    }
  }
  std::string shape, dim;
  for (const std::int64_t extent : extents) {
    dim.clear();
    protobuf::append_tag(dim, 1, Wire::varint);
    protobuf::append_varint(dim, static_cast<std::uint64_t>(extent));
    protobuf::append_bytes(shape, 1, dim);
  }
  protobuf::append_bytes(out, 2, shape);
  return out;
}

// A ValueInfoProto, or the TypeProto within, with another shape.
std::string typed(Text encoded, std::uint32_t number, const std::vector<std::int64_t>& extents) {
  Copy copy(encoded);
  bool seen = false;
  Field field;
  for (Message message(encoded); message.next(field);) {
    if (field.number == number) {
      once(seen);
      const Text inner = field.bytes();
      copy.replace(field, number == 2 ? typed(inner, 1, extents) : tensor_type(inner, extents));
    } else if (number == 1 && field.number != 6) {
      throw Unsupported("onnx: an input that is no tensor");
    }
  }
  if (!seen) throw Unsupported("onnx: an input without a type");
  return *copy.finish();
}

// The index in `shapes` of the value that the message is about; its size where there is none.
std::size_t find(Text encoded, std::uint32_t name_number, const Shapes& shapes) {
  Text name;
  Field field;
  for (Message message(encoded); message.next(field);) {
    if (field.number == name_number) name = field.text();
  }
  std::size_t i = 0;
  while (i < shapes.size() && shapes[i].first != name) ++i;
  return i;
}

std::optional<std::string> graph(Text encoded, const Shapes& shapes) {
  Copy copy(encoded);
  std::vector<bool> bound(shapes.size());
  Field field;
  for (Message message(encoded); message.next(field);) {
    if (field.number == 1) {
      if (const auto smaller = node(field.bytes())) copy.replace(field, *smaller);
    } else if (field.number == 5) {  // initializer
      if (const auto smaller = tensor(field.bytes())) copy.replace(field, *smaller);
      if (!shapes.empty() && find(field.content, 8, shapes) < shapes.size()) {
        throw Unsupported("onnx: a shape for a parameter");
      }
    } else if (field.number == 11 && !shapes.empty()) {  // input
      const std::size_t i = find(field.bytes(), 1, shapes);
      if (i == shapes.size()) continue;
      copy.replace(field, typed(field.content, 2, shapes[i].second));
      bound[i] = true;
    }
  }
  for (const bool found : bound) {
    if (!found) throw Unsupported("onnx: a shape for an unknown input");
  }
  return copy.finish();
}

// --- What shape inference wants ----------------------------------------------------------------

using Operators = std::unordered_set<Text>;

// Operators that ONNX has no inference for, and whose result has the type of the first operand; the
// long list is that of opsets before broadcasting. Twin of types.py.
const Operators& like_operand(std::int64_t opset) {
  static const Operators always = {"GroupNormalization", "MeanVarianceNormalization"};
  static const Operators old = {
      "Abs", "Add", "BatchNormalization", "Ceil", "Clip", "Div", "Dropout", "Elu", "Exp", "Floor",
      "GroupNormalization", "HardSigmoid", "InstanceNormalization", "LeakyRelu", "Log", "Max",
      "Mean", "MeanVarianceNormalization", "Min", "Mul", "Neg", "PRelu", "Reciprocal", "Relu",
      "Selu", "Sigmoid", "Sqrt", "Sub", "Sum", "Tanh"};
  constexpr std::int64_t kBroadcastingOpset = 7;
  return opset < kBroadcastingOpset ? old : always;
}

// The node as Identity of its first operand.
std::optional<std::string> as_identity(Text encoded) {
  bool has_input = false, has_output = false;
  Copy copy(encoded);
  Field field;
  for (Message message(encoded); message.next(field);) {
    if (field.number == 4) {
      copy.replace(field, "Identity");
    } else if (field.number == 5 || (field.number == 1 && has_input) ||
               (field.number == 2 && has_output)) {  // attributes, further operands and results
      copy.leave_out(field);
    }
    has_input |= field.number == 1;
    has_output |= field.number == 2;
  }
  return copy.finish();
}

// Whether ONNX has the operator in this opset; Python names those that it has not.
bool exists(Text op_type, std::int64_t opset) {
  if (op_type == "GroupNormalization") return opset >= 18;
  return op_type != "MeanVarianceNormalization" || opset >= 9;
}

// Whether a Split says as many parts as it has: ONNX makes a list of as many as it says.
bool counts_its_parts(Text encoded_attribute, std::size_t num_outputs) {
  Text name;
  std::int64_t value = 0;
  Field field;
  for (Message message(encoded_attribute); message.next(field);) {
    if (field.number == 1) name = field.bytes();
    if (field.number == 3) value = field.integer();
  }
  return name != "num_outputs" || value == static_cast<std::int64_t>(num_outputs);
}

// The node without its second operand, but with a place for it.
std::optional<std::string> without_bounds(Text encoded) {
  std::size_t num_inputs = 0;
  Copy copy(encoded);
  Field field;
  for (Message message(encoded); message.next(field);) {
    if (field.number == 1 && ++num_inputs == 2) copy.replace(field, "");
  }
  return copy.finish();
}

// Makes one node after the other such as shape inference wants it; twin of types._inferable.
class Inferable {
 public:
  explicit Inferable(std::int64_t opset) : opset_(opset), like_operand_(like_operand(opset)) {}

  std::optional<std::string> node(Text encoded) {
    Text op_type, domain;
    std::vector<Text> inputs, outputs, attributes;
    Field field;
    for (Message message(encoded); message.next(field);) {
      if (field.number == 5) attributes.push_back(field.bytes());
      if (field.number == 1) inputs.push_back(field.bytes());
      if (field.number == 2) outputs.push_back(field.bytes());
      if (field.number == 4) op_type = field.bytes();
      if (field.number == 7) domain = field.bytes();
    }
    if (!is_default_domain(domain)) return std::nullopt;
    if (!exists(op_type, opset_)) throw Unsupported("operator of another opset");
    for (const Text attribute : attributes) {
      if (op_type == "Split" && !counts_its_parts(attribute, outputs.size())) {
        throw Unsupported("Split says another number of parts");
      }
    }
    const bool moves = op_type == "Cast" || op_type == "Identity";
    if (op_type == "Shape" || (moves && is_shape(inputs))) {
      shapes_.insert(outputs.begin(), outputs.end());
    }
    if (like_operand_.count(op_type) != 0) return as_identity(encoded);
    const bool hides = op_type == "Slice" && shapes_.count(inputs.empty() ? "" : inputs[0]) == 0;
    return hides ? without_bounds(encoded) : std::nullopt;
  }

 private:
  bool is_shape(const std::vector<Text>& names) const {
    for (const Text name : names) {
      if (shapes_.count(name) != 0) return true;
    }
    return false;
  }

  const std::int64_t opset_;
  const Operators& like_operand_;
  std::unordered_set<Text> shapes_;  // values that hold the shape of another one
};

}  // namespace

bool is_default_domain(Text domain) { return domain.empty() || domain == "ai.onnx"; }

std::int64_t opset(Text model) {
  Field field, part;
  for (Message message(model); message.next(field);) {
    if (field.number != 8) continue;  // opset_import
    Text domain;
    std::int64_t version = 0;
    for (Message import(field.bytes()); import.next(part);) {
      if (part.number == 1) domain = part.text();
      if (part.number == 2) version = part.integer();
    }
    if (is_default_domain(domain)) return version;
  }
  return 1;
}

std::int64_t ir_version(Text model) {
  std::int64_t version = 0;
  Field field;
  for (Message message(model); message.next(field);) {
    if (field.number == 1) version = field.integer();
  }
  return version;
}

std::optional<std::string> without_weights(Text model, const Shapes& shapes) {
  Copy copy(model);
  bool seen = false;
  Field field;
  for (Message message(model); message.next(field);) {
    if (field.number == 25) throw Unsupported("onnx: functions");
    if (field.number != 7) continue;
    once(seen);
    if (const auto smaller = graph(field.bytes(), shapes)) copy.replace(field, *smaller);
  }
  if (!seen) throw Unsupported("onnx: no graph");
  return copy.finish();
}

std::optional<std::string> inferable(Text model) {
  Inferable inferable(opset(model));
  Copy copy(model);
  Field field, part;
  for (Message message(model); message.next(field);) {
    if (field.number != 7) continue;
    Copy graph(field.bytes());
    for (Message parts(field.content); parts.next(part);) {
      if (part.number != 1) continue;
      if (const auto changed = inferable.node(part.bytes())) graph.replace(part, *changed);
    }
    if (const auto changed = graph.finish()) copy.replace(field, *changed);
  }
  return copy.finish();
}

std::string versions(Text model) {
  std::string result;
  Field field;
  for (Message message(model); message.next(field);) {
    // ir_version, opset_import
    if (field.number == 1 || field.number == 8) result.append(field.encoded());
  }
  return result;
}

}  // namespace relay_frontend::onnx
