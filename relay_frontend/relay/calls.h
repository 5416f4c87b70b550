// A Relay module as a flat list of operator calls; twin of calls.py.

#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "relay_frontend/node.h"
#include "relay_frontend/relay/objects.h"

namespace relay_frontend {

// An expression has no type, and none that this side can tell: the module must be typed first.
class Untyped : public Unsupported {
 public:
  Untyped() : Unsupported("an expression without a type") {}
};

// An operator is of Relay's dynamic ones; twin of calls.DynamicOperatorError.
class Dynamic : public Unsupported {
 public:
  Dynamic() : Unsupported("a dynamic operator") {}
};

// The attributes of a call, read when asked for; Unsupported where missing or of another type.
class RelayAttributes {
 public:
  RelayAttributes(packed::Objects& objects, packed::Object call) : objects_(objects), call_(call) {}

  bool has(const char* name) const;
  bool is_none(const char* name) const { return field(name).is_null(); }
  bool is_integer(const char* name) const;
  std::int64_t integer(const char* name) const { return objects_.to_integer(field(name)); }
  double real(const char* name) const { return objects_.to_real(field(name)); }
  std::string text(const char* name) const { return objects_.to_text(field(name)); }

  // Several integers, of which Relay keeps a single one as such.
  std::vector<std::int64_t> ints(const char* name) const;
  // Several rows of integers, one after the other; each must have `columns` of them.
  std::vector<std::int64_t> rows(const char* name, std::size_t columns) const;

 private:
  packed::Value field(const char* name) const;
  void append(packed::Object array, std::vector<std::int64_t>& to) const;

  packed::Objects& objects_;
  packed::Object call_;
  mutable packed::Object attrs_ = nullptr;
};

// Types of the results of a call, and whether they are a tuple.
struct ResultTypes {
  Span<TensorType> types;
  bool is_tuple = false;
};

// One call of an operator; the fields mean what they do in calls.Call. The results are in
// consecutive slots.
struct RelayCall {
  Text name;
  packed::Object expr;
  Span<std::uint32_t> operands;
  std::size_t first_result;
  Span<TensorType> types;
  Text source;
};

// All calls in an order in which they can be executed; see calls.Program.
struct RelayProgram {
  std::vector<RelayCall> calls;
  std::vector<Node*> leaves;  // one per slot; null where a call fills it
  std::vector<std::pair<Text, std::size_t>> variables;
  std::vector<std::uint32_t> outputs;
};

// The calls of `main`, those of the functions that it calls in place of their calls. Throws Untyped
// and Dynamic.
RelayProgram evaluate(Context& context, packed::Objects& objects, packed::Object module);

// A small constant's content; null where it is large.
const ConstantValue* small_value(Context& context, const packed::Tensor& tensor);

// The type that a tensor has, with its shape in the context.
TensorType type_of(Context& context, const packed::Tensor& tensor);

// The types that TVM's type relations give a call of the operators that importers leave untyped,
// where the operands are as these relations want them; nothing for any other. Type inference of
// a whole module takes ten times as long as all the rest of reading it.
bool infer_types(Context& context, Text name, const RelayAttributes& attrs,
                 Span<TensorType> operands, ResultTypes& result);

}  // namespace relay_frontend
