#include "relay_frontend/onnx/node.h"

namespace relay_frontend::onnx {

namespace {

Operands given(Context& context, Operands operands) {
  std::vector<Node*> result;
  for (Node* operand : operands) {
    if (operand != nullptr) result.push_back(operand);
  }
  return result.size() == operands.size() ? operands : context.span(result);
}

}  // namespace

OnnxNode::OnnxNode(Context& context, Text name, Text source, Operands operands, TensorType type,
                   std::int64_t position, const std::vector<Attribute>& attributes,
                   std::int64_t opset)
    : SourceOperator(context, name, source, given(context, operands), type, position),
      operands(operands),
      opset(opset),
      attributes_(attributes) {}

Node* OnnxNode::required(std::size_t at) const {
  Node* found = operand(at);
  if (found == nullptr) throw Unsupported("onnx: an operand is missing");
  return found;
}

Node* OnnxNode::step(Name op, Ints shape, Operands inputs, Attrs attrs) const {
  return step(op, shape, inputs, inputs[0]->type.dtype, attrs);
}

Node* OnnxNode::step(Name op, Ints shape, Operands inputs, DType dtype, Attrs attrs) const {
  return context.make(op, context.type(shape, dtype), inputs, attrs, source);
}

const Attribute* OnnxNode::find(Text attr) const {
  for (auto it = attributes_.rbegin(); it != attributes_.rend(); ++it) {
    if (it->name == attr) return &*it;
  }
  return nullptr;
}

const Attribute& OnnxNode::get(Text attr, Attribute::Type type) const {
  const Attribute* attribute = find(attr);
  if (attribute == nullptr || attribute->type != type) {
    throw Unsupported("onnx: an attribute is missing or of another type");
  }
  return *attribute;
}

std::int64_t OnnxNode::integer(const char* attr) const { return get(attr, Attribute::integer).i; }

double OnnxNode::real(const char* attr) const { return get(attr, Attribute::real).f; }

Text OnnxNode::text(const char* attr) const { return get(attr, Attribute::string).s; }

Ints OnnxNode::ints(const char* attr) const { return get(attr, Attribute::integers).ints; }

std::int64_t OnnxNode::axis(std::int64_t otherwise, const char* attr) const {
  return floor_mod(integer(attr, otherwise), rank());
}

bool OnnxNode::is_given(std::size_t at, const char* attr) const {
  return has(attr) || operand(at) != nullptr;
}

const ConstantValue* OnnxNode::value(std::size_t at, const char* attr) const {
  const Attribute* attribute = *attr == 0 ? nullptr : find(attr);
  if (attribute == nullptr) {
    const Node* found = operand(at);
    return found == nullptr ? nullptr : found->value;
  }
  switch (attribute->type) {
    case Attribute::integer:
      return context.integers({}, context.ints({attribute->i}));
    case Attribute::integers: {
      const auto size = static_cast<std::int64_t>(attribute->ints.size());
      return context.integers(context.ints({size}), attribute->ints);
    }
    case Attribute::real: {
      const double value = attribute->f;
      return context.reals({}, context.span(&value, 1));
    }
    case Attribute::reals: {
      if (attribute->floats.empty()) return context.integers(context.ints({0}), {});
      const std::vector<double> values(attribute->floats.begin(), attribute->floats.end());
      const auto size = static_cast<std::int64_t>(values.size());
      return context.reals(context.ints({size}), context.span(values));
    }
    default:
      throw Unsupported("onnx: a value of another type");
  }
}

std::optional<Ints> OnnxNode::int_values(std::size_t at, const char* attr) const {
  const ConstantValue* found = value(at, attr);
  if (found == nullptr) return std::nullopt;
  const bool is_truth = !has(attr) && dtype_name(operand(at)->type.dtype) == "bool";
  if (!found->integral || is_truth) throw Unsupported("onnx: numbers that are not integers");
  return found->ints;
}

}  // namespace relay_frontend::onnx
