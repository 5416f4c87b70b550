// From ONNX operators to canonical ones; twins of operators.py, of the modules that it joins, and
// of constants.py.

#pragma once

#include <functional>
#include <optional>
#include <unordered_map>
#include <vector>

#include "relay_frontend/onnx/node.h"

namespace relay_frontend::onnx {

using Converter = std::function<Node*(const OnnxNode&)>;
using Converters = std::unordered_map<Text, Converter>;

// The node of the result of `source` at its position; twin of operators.convert.
Node* convert(const OnnxNode& source);

// Converters by ONNX operator, in one file per subject.
const Converters& elementwise_converters();
const Converters& move_converters();
const Converters& normalization_converters();
const Converters& product_converters();
const Converters& reduction_converters();
const Converters& window_converters();  // convolutions and pooling

// --- Constants ---------------------------------------------------------------------------------

// A constant from an encoded TensorProto; its name goes to `name`.
Node* read_constant(Context& context, Text encoded, Text* name = nullptr);

// What Constant, Shape and Size hold.
Node* read_constant_node(const OnnxNode& source);
Node* read_shape(const OnnxNode& source);
Node* read_size(const OnnxNode& source);

// The constant that an operator of constants is, with its value where that is short.
Node* fold(const OnnxNode& source);

// First position and step of a Slice in each dimension; nothing where they are not known before the
// network runs.
struct SliceRanges {
  std::vector<std::int64_t> begin, strides;
};
std::optional<SliceRanges> slice_ranges(const OnnxNode& source);

}  // namespace relay_frontend::onnx
