// Relay's operators as their converters see them; twin of node.py and operators.py.

#pragma once

#include <string>
#include <unordered_map>
#include <vector>

#include "relay_frontend/node.h"
#include "relay_frontend/relay/calls.h"

namespace relay_frontend {

// One result of one call. `first` is the node of the call's first result where this is a further
// one.
class RelayOperator final : public SourceOperator {
 public:
  RelayOperator(Context& context, packed::Objects& objects, const RelayCall& call,
                Operands operands, std::size_t position, Node* first)
      : SourceOperator(context, call.name, call.source, operands, call.types[position],
                       static_cast<std::int64_t>(position)),
        first(first),
        attributes(objects, call.expr) {}

  Node* first;
  RelayAttributes attributes;

  bool has(const char* attr) const override { return attributes.has(attr); }
  bool is_none(const char* attr) const { return attributes.is_none(attr); }
  std::int64_t integer(const char* attr) const override { return attributes.integer(attr); }
  double real(const char* attr) const override { return attributes.real(attr); }
  Text text(const char* attr) const override { return context.text(attributes.text(attr)); }
  Ints ints(const char* attr) const override { return context.span(attributes.ints(attr)); }

  // Number of dimensions of the first operand.
  std::size_t rank() const { return inputs[0]->type.rank(); }

  // An axis counted from the front of a tensor of that many dimensions.
  std::int64_t axis(std::size_t rank, const char* attr = "axis") const {
    return floor_mod(integer(attr), static_cast<std::int64_t>(rank));
  }
  std::int64_t axis() const { return axis(rank()); }
};

// The canonical node; one outside of the vocabulary keeps its own name.
Node* convert(const RelayOperator& op);

// A way to convert, the operator that results, and what else tells operators of one kind apart.
struct Converter {
  Node* (*convert)(const RelayOperator& op, const Converter& self);
  Name name;
  std::size_t count = 0;  // of dimensions or operands
  bool flag = false;
};

using Converters = std::unordered_map<Text, Converter>;

// Converters by Relay operator, in one file per subject.
const Converters& elementwise_converters();
const Converters& move_converters();
const Converters& normalization_converters();
const Converters& product_converters();
const Converters& reduction_converters();
const Converters& window_converters();  // convolutions and pooling

// First index and step of each dimension of a strided_slice.
struct SliceBounds {
  std::vector<std::int64_t> begin;
  std::vector<std::int64_t> strides;
};
SliceBounds slice_bounds(const RelayOperator& op);

// Where each dimension of a transpose comes from.
Ints permutation(const RelayOperator& op);

// The content of a small constant expression; null where it is large, or an operand is not known.
const ConstantValue* folded(const RelayOperator& op);

// The constant of an operator that depends on the shapes of its operands alone; null for others.
Node* constant_of_shape(const RelayOperator& op);

}  // namespace relay_frontend
