#include "relay_frontend/relay/typing.h"

namespace relay_frontend {

using packed::Kind;
using packed::Object;

Object Typing::declared(Object var) {
  Object type = objects_.child(var, "_checked_type_");
  if (type == nullptr) type = objects_.child(var, "type_annotation");
  if (type == nullptr) throw Untyped();
  return type;
}

bool Typing::tensor(Object type, TensorType& result) {
  const Kind kind = objects_.kind(type);
  if (kind == Kind::incomplete_type) return false;
  if (kind != Kind::tensor_type) throw Unsupported("no tensor");
  extents_.clear();
  for (Object extent : objects_.items(type, "shape")) {
    objects_.expect(extent, Kind::int_imm);
    extents_.push_back(objects_.field(extent, "value").integer());
  }
  const DType dtype = dtype_named(objects_.field(type, "dtype").text());
  result = context_.type(extents_, dtype);
  return true;
}

bool Typing::tensors(Object type, ResultTypes& result) {
  if (type == nullptr) return false;
  const auto [entry, is_new] = results_.try_emplace(type);
  if (is_new) {
    const bool is_tuple = objects_.kind(type) == Kind::tuple_type;
    std::vector<TensorType> types;
    for (Object item : is_tuple ? objects_.items(type, "fields") : std::vector<Object>{type}) {
      TensorType one;
      if (!tensor(item, one)) {
        results_.erase(entry);
        return false;
      }
      types.push_back(one);
    }
    entry->second = {context_.span(types), is_tuple};
  }
  result = entry->second;
  return true;
}

ResultTypes Typing::results(Object call, Text name,
                            const std::vector<std::uint32_t>& operands,
                            const std::vector<TensorType>& types) {
  ResultTypes result;
  if (tensors(objects_.child(call, "_checked_type_"), result)) return result;
  std::vector<TensorType> of_operands;
  for (std::uint32_t slot : operands) of_operands.push_back(types[slot]);
  const Span<TensorType> given(of_operands.data(), of_operands.size());
  if (!infer_types(context_, name, RelayAttributes(objects_, call), given, result)) {
    throw Untyped();
  }
  return result;
}

}  // namespace relay_frontend
