// The types of elements as ONNX numbers them.

#pragma once

#include <cstdint>

namespace relay_frontend::onnx {

enum DataType : std::int32_t {  // TensorProto.DataType
  kFloat = 1,
  kUint8 = 2,
  kInt8 = 3,
  kUint16 = 4,
  kInt16 = 5,
  kInt32 = 6,
  kInt64 = 7,
  kBool = 9,
  kFloat16 = 10,
  kDouble = 11,
  kUint32 = 12,
  kUint64 = 13,
  kBfloat16 = 16,
};

}  // namespace relay_frontend::onnx
