// Values that ONNX networks compute from constants; twin of constants.fold.

#include <cmath>
#include <unordered_map>

#include "relay_frontend/arithmetic.h"
#include "relay_frontend/onnx/operators.h"
#include "relay_frontend/onnx/reader.h"

namespace relay_frontend::onnx {

namespace {

using namespace arrays;

// --- Element by element ------------------------------------------------------------------------

Array absolute(const Arrays& operands) {
  if (dtype_name(only(operands).dtype) == "bool") throw Unsupported("onnx: a truth value");
  Array result = operands.front();
  for (Int& value : result.ints) {
    if (value < 0) value = wrapped(wrapping_subtract(0, value), result.dtype);
  }
  for (double& value : result.reals) value = std::abs(value);
  return result;
}

Array ceil(const Arrays& operands) {
  return each_real(operands, [](double value) { return std::ceil(value); });
}

Array floor(const Arrays& operands) {
  return each_real(operands, [](double value) { return std::floor(value); });
}

Array reciprocal(const Arrays& operands) {
  return each_real(operands, [](double value) { return 1.0 / value; });
}

Array power(const Arrays&) {
  throw Unsupported("powers, which differ in their last digit between libraries");
}

// --- Moving elements ---------------------------------------------------------------------------

Array expand(const OnnxNode& source, const Arrays& operands) {
  return broadcast(first(operands), shape_of(source.type));
}

Array reshape(const OnnxNode& source, const Arrays& operands) {
  return reshaped(first(operands), shape_of(source.type));
}

Array gather(const OnnxNode& source, const Arrays& operands) {
  if (operands.size() != 2) throw Unsupported("onnx: Gather without positions");
  return taken(operands[0], source.integer("axis", 0), operands[1], OutOfRange::invalid);
}

Array fold_concat(const OnnxNode& source, const Arrays& operands) {
  if (operands.size() != source.operands.size()) throw Invalid("onnx: a part is not given");
  return concatenated(operands, source.integer("axis", 0));
}

Array fold_slice(const OnnxNode& source, const Arrays& operands) {
  const std::optional<SliceRanges> ranges = slice_ranges(source);
  if (!ranges) throw Invalid("onnx: its range is not known");
  return sliced(first(operands), ranges->begin, ranges->strides, shape_of(source.type));
}

// --- Counting ----------------------------------------------------------------------------------

Array constant_of_shape(const OnnxNode& source, const Arrays&) {
  Array result(source.type.dtype, shape_of(source.type));
  Int fill = 0;
  if (const Attribute* value = source.find("value")) {
    if (value->type != Attribute::tensor) throw Unsupported("onnx: a fill that is no tensor");
    const ConstantValue* content = read_constant(source.context, value->t)->value;
    if (content == nullptr || content->size() == 0 || !content->integral) {
      throw Unsupported("onnx: a fill without integers");
    }
    fill = wrapped(content->ints[0], result.dtype);
  }
  result.ints.assign(num_elements(result.shape), fill);
  return result;
}

Array range(const OnnxNode& source, const Arrays& operands) {
  if (operands.size() != 3) throw Unsupported("onnx: Range without a step");
  return counted(operands[0], operands[2], source.type.num_elements());
}

Array reduce_prod(const OnnxNode& source, const Arrays& operands) {
  if (source.operands.size() != 1 || only(operands).shape.size() != 1) {
    throw Invalid("onnx: a product of other than all extents");
  }
  return product(operands.front(), {true}, false);
}

// --- The table ---------------------------------------------------------------------------------

const std::unordered_map<Text, Rule<OnnxNode>> kRules = {
    {"Abs", absolute},
    {"Add", add},
    {"And", logical_and},
    {"Cast", unchanged},
    {"Ceil", ceil},
    {"Concat", fold_concat},
    {"ConstantOfShape", constant_of_shape},
    {"Div", divide},
    {"Equal", equal},
    {"Expand", expand},
    {"Floor", floor},
    {"Gather", gather},
    {"Greater", greater},
    {"Identity", unchanged},
    {"Less", less},
    {"Max", maximum},
    {"Min", minimum},
    {"Mul", multiply},
    {"Neg", negative},
    {"Not", logical_not},
    {"Or", logical_or},
    {"Pow", power},
    {"Range", range},
    {"Reciprocal", reciprocal},
    {"ReduceProd", reduce_prod},
    {"Reshape", reshape},
    {"Slice", fold_slice},
    {"Sqrt", square_root},
    {"Squeeze", reshape},
    {"Sub", subtract},
    {"Unsqueeze", reshape},
    {"Where", where},
};

// The value of an operator, null where numpy has none; the operands are those in front of the first
// that is not given.
const ConstantValue* evaluate(const Rule<OnnxNode>& rule, const OnnxNode& source) {
  Arrays operands;
  for (const Node* operand : source.operands) {
    if (operand == nullptr) break;
    operands.push_back(array_of(*operand));
  }
  try {
    const Array value = cast(rule(source, operands), source.type.dtype);
    return value.shape == shape_of(source.type) ? value_of(source.context, value) : nullptr;
  } catch (const Invalid&) {
    return nullptr;
  }
}

}  // namespace

Node* fold(const OnnxNode& source) {
  const auto rule = kRules.find(source.name);
  bool known = rule != kRules.end() && source.type.num_elements() <= kSmall;
  // Integers and truth values only: weightless networks hold their weights as floats of this.
  known = known && (source.name != "ConstantOfShape" || is_integral(source.type.dtype));
  for (const Node* operand : source.inputs) known = known && operand->value != nullptr;
  return source.context.constant(source.type, known ? evaluate(rule->second, source) : nullptr);
}

}  // namespace relay_frontend::onnx
