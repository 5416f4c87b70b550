// Content of tensors, as it lies in memory.

#pragma once

#include <cstdint>

#include "relay_frontend/node.h"

namespace relay_frontend {

// The numbers that the bits of float16 and bfloat16 stand for.
double from_float16(std::uint16_t bits);
double from_bfloat16(std::uint16_t bits);

// Whether elements lie one after the other, row by row; without strides they do.
bool is_dense(const std::int64_t* shape, const std::int64_t* strides, std::int32_t rank);

// The dense elements at `data`, which need not be aligned.
const ConstantValue* content(Context& context, TensorType type, const void* data);

}  // namespace relay_frontend
