// One ONNX node, its attributes and typed operands, as the converters see it; twin of node.py.

#pragma once

#include <optional>
#include <vector>

#include "relay_frontend/node.h"

namespace relay_frontend::onnx {

// An AttributeProto; what its type does not speak of is empty.
struct Attribute {
  enum Type : std::int32_t {  // AttributeProto.AttributeType
    undefined = 0,
    real = 1,
    integer = 2,
    string = 3,
    tensor = 4,
    graph = 5,
    reals = 6,
    integers = 7,
    strings = 8,
  };

  Text name;
  Type type = undefined;
  float f = 0;
  std::int64_t i = 0;
  Text s;
  Text t;  // an encoded TensorProto
  Ints ints;
  Span<float> floats;
};

class OnnxNode : public SourceOperator {
 public:
  // `operands` has one entry for each input, null where an optional one is not given.
  OnnxNode(Context& context, Text name, Text source, Operands operands, TensorType type,
           std::int64_t position, const std::vector<Attribute>& attributes, std::int64_t opset);

  const Operands operands;
  const std::int64_t opset;  // version of the default domain

  // An operand, or null where it is not given.
  Node* operand(std::size_t at) const { return at < operands.size() ? operands[at] : nullptr; }
  Node* required(std::size_t at) const;
  Node* data() const { return required(0); }
  Ints shape() const { return data()->type.shape; }
  std::int64_t rank() const { return static_cast<std::int64_t>(shape().size()); }

  // A node for one of the steps that make up the operator; of its first operand's element type.
  Node* step(Name op, Ints shape, Operands inputs, Attrs attrs = {}) const;
  Node* step(Name op, Ints shape, Operands inputs, DType dtype, Attrs attrs = {}) const;

  const Attribute* find(Text attr) const;
  bool has(const char* attr) const override { return find(attr) != nullptr; }
  std::int64_t integer(const char* attr) const override;
  double real(const char* attr) const override;
  Text text(const char* attr) const override;
  Ints ints(const char* attr) const override;
  using SourceOperator::integer;
  using SourceOperator::ints;
  using SourceOperator::real;
  using SourceOperator::text;

  // A dimension of the first operand, counted from the first.
  std::int64_t axis(std::int64_t otherwise, const char* attr = "axis") const;

  // Whether there is an operand, or the attribute that stood for it in old opsets.
  bool is_given(std::size_t at, const char* attr = "") const;

  // A value from an attribute of old opsets or a constant operand of newer ones; null where it is
  // not given, or not known before the network runs.
  const ConstantValue* value(std::size_t at, const char* attr = "") const;
  std::optional<Ints> int_values(std::size_t at, const char* attr = "") const;

 private:
  const Attribute& get(Text attr, Attribute::Type type) const;

  const std::vector<Attribute>& attributes_;
};

}  // namespace relay_frontend::onnx
