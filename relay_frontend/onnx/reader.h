// ONNX files: from the bytes of a model to nodes, around ONNX's own shape inference.

#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "relay_frontend/node.h"

namespace relay_frontend::onnx {

// Static shapes of graph inputs by name.
using Shapes = std::vector<std::pair<std::string, std::vector<std::int64_t>>>;

// The newest version of the default domain: a newer one may give operators another meaning.
constexpr std::int64_t kNewestOpset = 28;

// Whether it is that of ONNX's own operators.
bool is_default_domain(Text domain);

// Version of the default domain of an encoded model.
std::int64_t opset(Text model);

// The encoded `model` without the content of large tensors, and with `shapes` as those of its
// inputs; nothing where it can stay as it is. Takes the time of skipping over the content. What is
// dropped has been checked, the rest is left to the parser of shape inference.
std::optional<std::string> without_weights(Text model, const Shapes& shapes);

// The model as shape inference wants it, with Identity in the place of operators that ONNX has no
// inference for, and without the bounds of Slice; nothing where it can stay as it is.
std::optional<std::string> inferable(Text model);

// The encoded model with nothing but the versions of its operators and of the format.
std::string versions(Text model);

// Types of a node's results by name, inferred from its encoded NodeProto and its operands, of which
// those that are not given are null.
using NodeTypes = std::vector<std::pair<std::string, TensorType>>;
using InferNode = std::function<NodeTypes(Context& context, Text node, Operands operands)>;

// An encoded model after shape inference; it lives until the next call.
using InferModel = std::function<Text(Text model)>;

// Throws where a model is not encoded as protobuf wants it, in whatever part.
using Check = std::function<void()>;

// The nodes of a model. Types are found by simple rules (typing.h) where these know all operators,
// and the model is as `check` wants it; else they are those that `infer_model` finds, and of
// `infer_node` for what has none there.
Network read(Context& context, Text model, const Check& check, const InferModel& infer_model,
             const InferNode& infer_node);

// Version of the format.
std::int64_t ir_version(Text model);

// TensorProto.DataType as an element type, and back.
DType dtype_of(std::int32_t data_type);
std::int32_t data_type_of(DType dtype);

}  // namespace relay_frontend::onnx
