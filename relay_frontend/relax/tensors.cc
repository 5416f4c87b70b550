// Element types and contents of tensors, as DLPack describes them.

#include <string>

#include "relay_frontend/elements.h"
#include "relay_frontend/relax/reader.h"

namespace relay_frontend {

DType dtype_of(DLDataType dtype) {
  if (dtype.lanes != 1) throw Unsupported("vectors as elements");
  const std::string bits = std::to_string(dtype.bits);
  switch (dtype.code) {
    case kDLFloat:
      return dtype_named("float" + bits);
    case kDLInt:
      return dtype_named("int" + bits);
    case kDLUInt:
      return dtype.bits == 1 ? dtype_named("bool") : dtype_named("uint" + bits);
    case kDLBfloat:
      return dtype_named("bfloat" + bits);
    case kDLBool:
      return dtype_named("bool");
    default:
      throw Unsupported("an element type that numpy lacks");
  }
}

const ConstantValue* content_of(Context& context, const DLTensor& tensor, TensorType type) {
  const Ints shape(tensor.shape, static_cast<std::size_t>(tensor.ndim));
  if (tensor.device.device_type != kDLCPU ||
      !is_dense(tensor.shape, tensor.strides, tensor.ndim) || shape != type.shape ||
      dtype_of(tensor.dtype) != type.dtype) {
    throw Unsupported("a constant is not laid out as its type says");
  }
  return content(context, type, static_cast<const char*>(tensor.data) + tensor.byte_offset);
}

}  // namespace relay_frontend
