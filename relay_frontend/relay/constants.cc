// Small constant expressions, as numpy evaluates them; twin of constants.py.

#include <algorithm>
#include <string>
#include <unordered_map>
#include <vector>

#include "relay_frontend/arithmetic.h"
#include "relay_frontend/names.h"
#include "relay_frontend/relay/operators.h"

namespace relay_frontend {

namespace {

using namespace arrays;

using Op = const RelayOperator&;

// The type that values are computed in: numpy lacks bfloat16.
DType computed(DType dtype) {
  return dtype_name(dtype) == "bfloat16" ? dtype_named("float32") : dtype;
}

// --- Operators ---------------------------------------------------------------------------------

Array divide_reals(Op op, const Arrays& operands) {
  if (is_integral(op.type.dtype)) return floor_divide(operands);
  Arrays reals;
  for (const Array& operand : operands) reals.push_back(cast(operand, dtype_named("float64")));
  return divide(reals);
}

Array broadcast_to(Op op, const Arrays& operands) {
  return broadcast(only(operands), shape_of(op.type));
}

Array concatenate(Op op, const Arrays& operands) {
  return concatenated(operands, op.integer("axis"));
}

Array take(Op op, const Arrays& operands) {
  if (operands.size() != 2) throw Unsupported("take without indices");
  const Array &data = operands[0], &indices = operands[1];
  if (!op.is_none("axis")) return taken(data, op.integer("axis"), indices, OutOfRange::invalid);
  return taken(reshaped(data, {static_cast<Int>(data.size())}), 0, indices, OutOfRange::invalid);
}

Array strided_slice(Op op, const Arrays& operands) {
  const SliceBounds bounds = slice_bounds(op);
  return sliced(first(operands), bounds.begin, bounds.strides, shape_of(op.type));
}

Array transpose(Op op, const Arrays& operands) {
  const Ints axes = permutation(op);
  return transposed(only(operands), {axes.begin(), axes.end()});
}

Array power(const Arrays&) {
  throw Unsupported("powers, which differ in their last digit between libraries");
}

const Rule<RelayOperator>* rule_of(Text name) {
  static const std::unordered_map<Text, Rule<RelayOperator>> table{
      {"add", add},
      {"broadcast_to", broadcast_to},
      {"cast", unchanged},
      {"concatenate", concatenate},
      {"divide", divide_reals},
      {"equal", equal},
      {"expand_dims", unchanged},
      {"greater", greater},
      {"isnan", is_nan},
      {"less", less},
      {"maximum", maximum},
      {"minimum", minimum},
      {"multiply", multiply},
      {"negative", negative},
      {"power", power},
      {"reshape", unchanged},
      {"rsqrt", inverse_root},
      {"sqrt", square_root},
      {"squeeze", unchanged},
      {"strided_slice", strided_slice},
      {"subtract", subtract},
      {"take", take},
      {"transpose", transpose},
      {"where", where},
  };
  const auto found = table.find(name);
  return found == table.end() ? nullptr : &found->second;
}

// --- What depends on shapes alone --------------------------------------------------------------

// 0, 1, ... up to a number of dimensions.
std::vector<Int> counted(Int count) {
  std::vector<Int> values;
  for (Int i = 0; i < count; ++i) values.push_back(i);
  return values;
}

// A tensor of one value, which is kept once however large the tensor is.
Node* filled(Op op) {
  const Ints one = op.context.span(std::vector<Int>(op.type.rank(), 1));
  if (op.name == "ones" || op.name == "ones_like" || op.name == "zeros" ||
      op.name == "zeros_like") {
    const Int value = op.name[0] == 'o';
    return op.context.constant(op.type, op.context.integers(one, op.context.ints({value})));
  }
  Node* given = op.name == "full_like" ? op.inputs.back() : op.inputs.front();
  if (!given->is_constant()) return op.node(op::broadcast_to, op.context.operands({given}));
  if (given->value == nullptr) return op.context.constant(op.type);
  if (given->type.dtype != op.type.dtype || given->value->size() != 1) {
    throw Unsupported("a fill with a value of another type");
  }
  const ConstantValue& value = *given->value;
  return op.context.constant(op.type, value.integral ? op.context.integers(one, value.ints)
                                                     : op.context.reals(one, value.reals));
}

}  // namespace

SliceBounds slice_bounds(Op op) {
  const Ints shape = op.inputs[0]->type.shape;
  const auto rank = static_cast<Int>(shape.size());
  const std::vector<Int> starts = op.attributes.ints("begin");
  std::vector<Int> steps(std::max(shape.size(), starts.size()), 1);
  if (op.text("slice_mode") != "size" && !op.is_none("strides")) {
    const std::vector<Int> given = op.attributes.ints("strides");
    if (given.size() == starts.size()) {
      steps = given;
    } else if (given.size() == 1) {
      steps.assign(starts.size(), given[0]);
    } else {
      throw Unsupported("another number of strides");
    }
  }
  std::vector<Int> axes = counted(static_cast<Int>(starts.size()));
  if (!op.is_none("axes")) axes = op.attributes.ints("axes");
  if (axes.size() > starts.size()) throw Unsupported("another number of axes");
  SliceBounds bounds{std::vector<Int>(shape.size(), 0), std::vector<Int>(shape.size(), 1)};
  for (std::size_t i = 0; i < axes.size(); ++i) {
    const auto axis = static_cast<std::size_t>(axes[i] + (axes[i] < 0 ? rank : 0));
    const Int extent = shape[axis];
    const Int start = starts[i] + (starts[i] < 0 ? extent : 0);
    const Int last = steps[i] > 0 ? extent : extent - 1;
    bounds.begin[axis] = std::min(std::max(start, Int{0}), last);
    bounds.strides[axis] = steps[i];
  }
  return bounds;
}

Ints permutation(Op op) {
  const auto rank = static_cast<Int>(op.rank());
  std::vector<Int> axes;
  if (op.is_none("axes")) {
    axes = counted(rank);
    std::reverse(axes.begin(), axes.end());
  } else {
    for (Int axis : op.attributes.ints("axes")) axes.push_back(floor_mod(axis, rank));
  }
  return op.context.span(axes);
}

Node* constant_of_shape(Op op) {
  static const std::unordered_map<Text, bool> fills{
      {"full", true},      {"full_like", true}, {"ones", true},
      {"ones_like", true}, {"zeros", true},     {"zeros_like", true},
  };
  if (fills.count(op.name) != 0) return filled(op);
  Array array(dtype_named("int64"), {});
  if (op.name == "shape_of") {
    array.ints = shape_of(op.inputs[0]->type);
    array.shape = {static_cast<Int>(array.ints.size())};
  } else if (op.name == "ndarray_size") {
    if (op.type.num_elements() > kSmall) throw Unsupported("too large a constant");
    array.shape = shape_of(op.type);
    array.ints.assign(num_elements(array.shape), op.inputs[0]->type.num_elements());
  } else {
    return nullptr;
  }
  return op.context.constant(op.type, value_of(op.context, cast(array, op.type.dtype)));
}

const ConstantValue* folded(Op op) {
  const Rule<RelayOperator>* rule = rule_of(op.name);
  if (rule == nullptr || op.type.num_elements() > kSmall) return nullptr;
  for (const Node* operand : op.inputs) {
    if (operand->value == nullptr || operand->type.num_elements() > kSmall) return nullptr;
  }
  Arrays operands;
  for (const Node* operand : op.inputs) {
    operands.push_back(broadcast(array_of(*operand), shape_of(operand->type)));
    operands.back().dtype = computed(operands.back().dtype);
  }
  const Array result = reshaped((*rule)(op, operands), shape_of(op.type));
  return value_of(op.context, cast(result, computed(op.type.dtype)));
}

}  // namespace relay_frontend
