// What hangs on Relay's calls and constants: attributes, and the content of tensors in memory.

#include <cstddef>
#include <string>
#include <vector>

#include "relay_frontend/elements.h"
#include "relay_frontend/relay/calls.h"

namespace relay_frontend {

using packed::Kind;
using packed::Object;

// --- Attributes --------------------------------------------------------------------------------

packed::Value RelayAttributes::field(const char* name) const {
  if (attrs_ == nullptr) attrs_ = objects_.child(call_, "attrs");
  return objects_.field(attrs_, name);
}

bool RelayAttributes::has(const char* name) const {
  if (attrs_ == nullptr) attrs_ = objects_.child(call_, "attrs");
  return objects_.has_field(attrs_, name);
}

bool RelayAttributes::is_integer(const char* name) const {
  const packed::Value value = field(name);
  if (value.is_integer()) return true;
  return !value.is_null() && value.is_object() && objects_.kind(value.object()) == Kind::int_imm;
}

void RelayAttributes::append(Object array, std::vector<std::int64_t>& to) const {
  const std::size_t size = objects_.size(objects_.expect(array, Kind::array));
  for (std::size_t i = 0; i < size; ++i) to.push_back(objects_.to_integer(objects_.item(array, i)));
}

std::vector<std::int64_t> RelayAttributes::ints(const char* name) const {
  const packed::Value value = field(name);
  std::vector<std::int64_t> result;
  if (value.is_object() && objects_.kind(value.object()) == Kind::array) {
    append(value.object(), result);
  } else {
    result.push_back(objects_.to_integer(value));
  }
  return result;
}

std::vector<std::int64_t> RelayAttributes::rows(const char* name, std::size_t columns) const {
  const Object array = objects_.expect(field(name).object(), Kind::array);
  const std::size_t size = objects_.size(array);
  std::vector<std::int64_t> result;
  for (std::size_t i = 0; i < size; ++i) append(objects_.item(array, i).object(), result);
  if (result.size() != size * columns) throw Unsupported("rows of another length");
  return result;
}

// --- Constants ---------------------------------------------------------------------------------

namespace {

// Type codes of DLPack; TVM's booleans are unsigned integers of one bit.
enum : std::uint8_t { kSigned = 0, kUnsigned = 1, kReal = 2, kBfloat = 4, kBoolean = 6 };

std::string name_of(packed::DataType dtype) {
  if (dtype.lanes != 1) throw Unsupported("elements that are vectors");
  if (dtype.code == kBoolean || (dtype.code == kUnsigned && dtype.bits == 1)) return "bool";
  const char* kind = nullptr;
  if (dtype.code == kSigned) kind = "int";
  if (dtype.code == kUnsigned) kind = "uint";
  if (dtype.code == kReal) kind = "float";
  if (dtype.code == kBfloat) kind = "bfloat";
  if (kind == nullptr) throw Unsupported("an element type of DLPack");
  return kind + std::to_string(int{dtype.bits});
}

}  // namespace

TensorType type_of(Context& context, const packed::Tensor& tensor) {
  const Ints shape = context.span(tensor.shape, static_cast<std::size_t>(tensor.ndim));
  return context.type(shape, dtype_named(name_of(tensor.dtype)));
}

const ConstantValue* small_value(Context& context, const packed::Tensor& tensor) {
  const TensorType type = type_of(context, tensor);
  if (type.num_elements() > kSmall) return nullptr;
  constexpr std::int32_t kCpu = 1;
  if (tensor.device_type != kCpu || !is_dense(tensor.shape, tensor.strides, tensor.ndim)) {
    throw Unsupported("a constant that does not lie densely in this machine's memory");
  }
  const auto* data = static_cast<const std::byte*>(tensor.data) + tensor.byte_offset;
  return content(context, type, data);
}

}  // namespace relay_frontend
