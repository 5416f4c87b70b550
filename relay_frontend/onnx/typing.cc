// The rules are those of ONNX's shape inference for valid nodes of convolutional networks; whatever
// is not plainly valid has none. They take a tenth of its time, and hold no lock of Python's.

#include "relay_frontend/onnx/typing.h"

#include <algorithm>
#include <unordered_map>

#include "relay_frontend/onnx/data_types.h"
#include "relay_frontend/onnx/protobuf.h"
#include "relay_frontend/onnx/reader.h"

namespace relay_frontend::onnx {

namespace {

using Extents = std::vector<std::int64_t>;
using Type = std::optional<TensorType>;

constexpr std::int64_t kOldestOpset = 9;  // from here on the rules have stayed the same

class Typing {
 public:
  Typing(Context& context, const std::vector<TypedOperand>& operands,
         const std::vector<Attribute>& attributes)
      : context(context), operands(operands), attributes_(attributes) {}

  Context& context;
  const std::vector<TypedOperand>& operands;

  std::size_t size() const { return operands.size(); }
  Ints shape(std::size_t at = 0) const { return operands[at].type.shape; }
  Type of(const Extents& extents) const {
    return context.type(extents, operands[0].type.dtype);
  }

  // Whether there are no other attributes than these.
  bool has_only(std::initializer_list<Text> names) const {
    for (const Attribute& attribute : attributes_) {
      if (std::find(names.begin(), names.end(), attribute.name) == names.end()) return false;
    }
    return true;
  }

  // Whether an attribute is there twice.
  bool has_twice() const {
    for (const Attribute& attribute : attributes_) {
      if (find(attribute.name) != &attribute) return true;
    }
    return false;
  }

  const Attribute* find(Text name) const {
    for (const Attribute& attribute : attributes_) {
      if (attribute.name == name) return &attribute;
    }
    return nullptr;
  }

  // An attribute; nothing where it is of another type.
  std::optional<std::int64_t> integer(Text name, std::int64_t otherwise) const {
    const Attribute* attribute = find(name);
    if (attribute == nullptr) return otherwise;
    if (attribute->type != Attribute::integer) return std::nullopt;
    return attribute->i;
  }

  // `size` integers of at least `least`; nothing where there are others.
  std::optional<Extents> integers(Text name, std::size_t size, std::int64_t least,
                                  std::int64_t otherwise) const {
    const Attribute* attribute = find(name);
    if (attribute == nullptr) return Extents(size, otherwise);
    if (attribute->type != Attribute::integers || attribute->ints.size() != size) return {};
    for (const std::int64_t value : attribute->ints) {
      if (value < least || value > INT32_MAX) return std::nullopt;
    }
    return Extents(attribute->ints.begin(), attribute->ints.end());
  }

 private:
  const std::vector<Attribute>& attributes_;
};

using Rule = Type (*)(const Typing&);

Type like_operand(const Typing& node) {
  if (node.size() != 1) return std::nullopt;
  return node.operands[0].type;
}

Type clip(const Typing& node) {
  if (node.size() < 1 || node.size() > 3) return std::nullopt;
  return node.operands[0].type;
}

Type broadcast(const Typing& node) {
  if (node.size() != 2 || node.operands[0].type.dtype != node.operands[1].type.dtype) return {};
  const Ints a = node.shape(0), b = node.shape(1);
  Extents result(std::max(a.size(), b.size()));
  for (std::size_t i = 1; i <= result.size(); ++i) {
    const std::int64_t left = i <= a.size() ? a[a.size() - i] : 1;
    const std::int64_t right = i <= b.size() ? b[b.size() - i] : 1;
    if (left != right && left != 1 && right != 1) return std::nullopt;
    result[result.size() - i] = std::max(left, right);
  }
  return node.of(result);
}

// Windows of `kernel` over the spatial dimensions of the first operand.
Type slide(const Typing& node, std::int64_t channels, Ints kernel) {
  const Ints shape = node.shape();
  const std::size_t spatial = shape.size() - 2;
  const auto strides = node.integers("strides", spatial, 1, 1);
  const auto dilations = node.integers("dilations", spatial, 1, 1);
  const auto pads = node.integers("pads", 2 * spatial, 0, 0);
  const Attribute* auto_pad = node.find("auto_pad");
  if (!strides || !dilations || !pads || kernel.size() != spatial) return std::nullopt;
  if (auto_pad != nullptr && auto_pad->s != "NOTSET") return std::nullopt;
  Extents result = {shape[0], channels};
  for (std::size_t i = 0; i < spatial; ++i) {
    const std::int64_t covered = checked_add(checked_mul(kernel[i] - 1, (*dilations)[i]), 1);
    const std::int64_t padded = checked_add(shape[i + 2], (*pads)[i] + (*pads)[spatial + i]);
    if (kernel[i] < 1 || padded < covered) return std::nullopt;
    result.push_back((padded - covered) / (*strides)[i] + 1);
  }
  return node.of(result);
}

Type convolution(const Typing& node) {
  if (node.size() < 2 || node.size() > 3 || node.shape().size() < 3) return std::nullopt;
  const Ints weight = node.shape(1);
  if (weight.size() != node.shape().size()) return std::nullopt;
  if (!node.has_only({"kernel_shape", "strides", "pads", "dilations", "group", "auto_pad"})) {
    return std::nullopt;
  }
  const Attribute* kernel = node.find("kernel_shape");
  const Ints own = weight.slice(2);
  if (kernel != nullptr && (kernel->type != Attribute::integers || kernel->ints != own)) return {};
  return slide(node, weight[0], own);
}

Type pool(const Typing& node) {
  if (node.size() != 1 || node.shape().size() < 3) return std::nullopt;
  if (!node.has_only({"kernel_shape", "strides", "pads", "count_include_pad", "ceil_mode",
                      "storage_order", "auto_pad"})) {
    return std::nullopt;
  }
  const Attribute* kernel = node.find("kernel_shape");
  if (kernel == nullptr || kernel->type != Attribute::integers) return std::nullopt;
  if (node.integer("ceil_mode", 0) != 0) return std::nullopt;
  return slide(node, node.shape()[1], kernel->ints);
}

Type global_pool(const Typing& node) {
  if (node.size() != 1 || node.shape().size() < 3) return std::nullopt;
  Extents result(node.shape().size(), 1);
  std::copy_n(node.shape().begin(), 2, result.begin());
  return node.of(result);
}

Type batch_norm(const Typing& node) {
  if (node.size() != 5 || node.shape().size() < 2) return std::nullopt;
  if (!node.has_only({"epsilon", "momentum", "training_mode"})) return std::nullopt;
  if (node.integer("training_mode", 0) != 0) return std::nullopt;
  for (std::size_t i = 1; i < 5; ++i) {
    if (node.shape(i) != node.shape().slice(1, 2)) return std::nullopt;
  }
  return node.operands[0].type;
}

bool is_flag(std::optional<std::int64_t> value) { return value == 0 || value == 1; }

Type gemm(const Typing& node) {
  if (node.size() < 2 || node.size() > 3) return std::nullopt;
  const auto left = node.integer("transA", 0), right = node.integer("transB", 0);
  const Ints a = node.shape(0), b = node.shape(1);
  if (!is_flag(left) || !is_flag(right) || a.size() != 2 || b.size() != 2) return std::nullopt;
  if (a[*left ? 0 : 1] != b[*right ? 1 : 0]) return std::nullopt;
  return node.of({a[*left ? 1 : 0], b[*right ? 0 : 1]});
}

Type flatten(const Typing& node) {
  const auto axis = node.integer("axis", 1);
  if (node.size() != 1 || !axis || *axis < 0) return std::nullopt;
  Extents result = {1, 1};
  const Ints shape = node.shape();
  if (static_cast<std::size_t>(*axis) > shape.size()) return std::nullopt;
  for (std::size_t i = 0; i < shape.size(); ++i) {
    std::int64_t& part = result[i < static_cast<std::size_t>(*axis) ? 0 : 1];
    part = checked_mul(part, shape[i]);
  }
  return node.of(result);
}

Type concatenate(const Typing& node) {
  const Attribute* axis = node.find("axis");
  if (node.size() == 0 || axis == nullptr || axis->type != Attribute::integer) return {};
  const Ints first = node.shape();
  if (axis->i < 0 || axis->i >= static_cast<std::int64_t>(first.size())) return std::nullopt;
  const auto along = static_cast<std::size_t>(axis->i);
  Extents result(first.begin(), first.end());
  for (std::size_t i = 1; i < node.size(); ++i) {
    const Ints shape = node.shape(i);
    if (shape.size() != first.size()) return std::nullopt;
    if (node.operands[i].type.dtype != node.operands[0].type.dtype) return std::nullopt;
    for (std::size_t d = 0; d < shape.size(); ++d) {
      if (d == along) {
        result[d] = checked_add(result[d], shape[d]);
      } else if (shape[d] != first[d]) {
        return std::nullopt;
      }
    }
  }
  return node.of(result);
}

// Such are the parameters of networks without weights.
Type constant_of_shape(const Typing& node) {
  if (node.size() != 1 || node.shape().size() != 1) return std::nullopt;
  const ConstantValue* shape = node.operands[0].value;
  if (shape == nullptr || !shape->integral) return std::nullopt;
  DType dtype = dtype_of(kFloat);
  if (const Attribute* value = node.find("value")) {
    if (value->type != Attribute::tensor) return std::nullopt;
    std::int32_t data_type = 0;
    protobuf::Field field;
    for (protobuf::Message message(value->t); message.next(field);) {
      if (field.number == 2) data_type = field.enumerator();
    }
    dtype = dtype_of(data_type);
  }
  return node.context.type(Extents(shape->ints.begin(), shape->ints.end()), dtype);
}

const std::unordered_map<Text, Rule>& rules() {
  static const std::unordered_map<Text, Rule> table = {
      {"Add", broadcast},
      {"AveragePool", pool},
      {"BatchNormalization", batch_norm},
      {"Clip", clip},
      {"Concat", concatenate},
      {"ConstantOfShape", constant_of_shape},
      {"Conv", convolution},
      {"Div", broadcast},
      {"Exp", like_operand},
      {"Flatten", flatten},
      {"Gemm", gemm},
      {"GlobalAveragePool", global_pool},
      {"GlobalMaxPool", global_pool},
      {"HardSigmoid", like_operand},
      {"Identity", like_operand},
      {"LeakyRelu", like_operand},
      {"MaxPool", pool},
      {"Mul", broadcast},
      {"Relu", like_operand},
      {"Sigmoid", like_operand},
      {"Sub", broadcast},
      {"Tanh", like_operand},
  };
  return table;
}

bool is_positive(const TensorType& type) {
  return std::all_of(type.shape.begin(), type.shape.end(), [](auto extent) { return extent > 0; });
}

}  // namespace

std::optional<TensorType> simple_type(Context& context, Text op_type,
                                      const std::vector<TypedOperand>& operands,
                                      const std::vector<Attribute>& attributes,
                                      std::int64_t opset) {
  const auto rule = rules().find(op_type);
  if (opset < kOldestOpset || rule == rules().end()) return std::nullopt;
  for (const TypedOperand& operand : operands) {
    if (!is_positive(operand.type)) return std::nullopt;
  }
  const Typing node(context, operands, attributes);
  if (node.has_twice()) return std::nullopt;
  const Type type = rule->second(node);
  return type && is_positive(*type) ? type : std::nullopt;
}

}  // namespace relay_frontend::onnx
