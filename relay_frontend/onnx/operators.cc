// From ONNX operators to canonical ones; twin of operators.py.

#include "relay_frontend/onnx/operators.h"

#include <algorithm>
#include <unordered_set>

namespace relay_frontend::onnx {

namespace {

const Converter* find_converter(Text name) {
  static const Converters table = [] {
    Converters all;
    for (const Converters* part :
         {&elementwise_converters(), &move_converters(), &normalization_converters(),
          &product_converters(), &reduction_converters(), &window_converters()}) {
      all.insert(part->begin(), part->end());
    }
    return all;
  }();
  const auto found = table.find(name);
  return found == table.end() ? nullptr : &found->second;
}

using Operators = std::unordered_set<Text>;

// Operators of exactly two and of exactly three operands.
const Operators kBinary = {
    "Add",    "And",     "BitwiseAnd",     "BitwiseOr",  "BitwiseXor", "Div",
    "Equal",  "Gather",  "GatherElements", "GatherND",   "Greater",    "GreaterOrEqual",
    "Less",   "MatMul",  "GridSample",     "LessOrEqual", "Mod",       "Mul",
    "Or",     "PRelu",   "Pow",            "Sub",        "Xor"};
const Operators kTernary = {"InstanceNormalization", "RoiAlign", "Scatter", "ScatterElements",
                            "ScatterND", "Where"};

// Unsupported where an operator of the vocabulary lacks operands, or has too many.
void check_operands(const OnnxNode& source, bool is_plain) {
  static const Operators two_or_more = {"Conv", "ConvTranspose"};
  static const Operators three_or_more = {"Attention", "GRU", "LSTM", "RNN"};
  const bool is_binary = kBinary.count(source.name) != 0;
  const bool is_ternary = kTernary.count(source.name) != 0;
  std::size_t needed = 1;
  if (is_binary || two_or_more.count(source.name) != 0) needed = 2;
  if (is_ternary || three_or_more.count(source.name) != 0) needed = 3;
  for (std::size_t at = 0; at < needed; ++at) source.required(at);
  if ((is_plain || is_binary || is_ternary) && source.inputs.size() > needed) {
    throw Unsupported("onnx: too many operands");
  }
}

}  // namespace

Node* convert(const OnnxNode& source) {
  if (source.name == "Constant") return read_constant_node(source);
  if (source.name == "Shape") return read_shape(source);
  if (source.name == "Size") return read_size(source);
  // Weightless models hold their weights as ConstantOfShape of a constant shape.
  const bool folds = !source.inputs.empty() &&
                     std::all_of(source.inputs.begin(), source.inputs.end(),
                                 [](const Node* operand) { return operand->is_constant(); });
  if (folds) return fold(source);
  const Converter* converter = find_converter(source.name);
  const Name* plain = plain_operator(Source::onnx, source.name);
  if (converter == nullptr && plain == nullptr) return source.unknown();
  check_operands(source, converter == nullptr);
  return converter != nullptr ? (*converter)(source) : source.node(*plain);
}

}  // namespace relay_frontend::onnx
