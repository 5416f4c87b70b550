// Types of a module's expressions, as it gives them or as they follow from the operands.

#pragma once

#include <unordered_map>
#include <vector>

#include "relay_frontend/relay/calls.h"

namespace relay_frontend {

class Typing {
 public:
  Typing(Context& context, packed::Objects& objects) : context_(context), objects_(objects) {}

  // The type of a variable, as Relay has it; Untyped where it has none.
  packed::Object declared(packed::Object var);

  // Whether the type of a tensor is known; Unsupported where it is dynamic or no tensor's.
  bool tensor(packed::Object type, TensorType& result);

  // What a call of an operator gives; Untyped where that is not known. The operands are positions
  // in `types`.
  ResultTypes results(packed::Object call, Text name, const std::vector<std::uint32_t>& operands,
                      const std::vector<TensorType>& types);

 private:
  // The same for what a call gives, a tensor or a tuple of them.
  bool tensors(packed::Object type, ResultTypes& result);

  Context& context_;
  packed::Objects& objects_;
  std::unordered_map<packed::Object, ResultTypes> results_;  // by type
  std::vector<std::int64_t> extents_;
};

}  // namespace relay_frontend
