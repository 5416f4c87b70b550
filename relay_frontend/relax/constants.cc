// Values that Relax modules compute from constants; twin of constants.py.

#include <algorithm>
#include <unordered_map>

#include "relay_frontend/arithmetic.h"
#include "relay_frontend/relax/reader.h"

namespace relay_frontend {

namespace {

using Call = const RelaxCall&;
using namespace arrays;

// --- Element by element ------------------------------------------------------------------------

Int power_of_integers(Int base, Int exponent) {
  if (exponent < 0 || exponent > 64) throw Unsupported("a power");
  Int result = 1;
  for (Int i = 0; i < exponent; ++i) result = wrapping_multiply(result, base);
  return result;
}

double power_of_reals(double, double) { throw Unsupported("a power of reals"); }

Array power(const Arrays& operands) {
  return arithmetic(operands, power_of_integers, power_of_reals);
}

Array less_equal(const Arrays& operands) {
  if (operands.size() != 2) throw Unsupported("a comparison of other than two");
  return truths(operands, [](const Array& a, const Array& b, std::size_t i) {
    return a.integral && b.integral ? a.ints[i] <= b.ints[i] : a.real(i) <= b.real(i);
  });
}

Array greater_equal(const Arrays& operands) {
  return less_equal({operands.rbegin(), operands.rend()});
}

// --- Moving elements ---------------------------------------------------------------------------

Array broadcast_last(Call call, const Arrays& operands) {
  if (operands.empty()) throw Unsupported("nothing to fill with");
  return broadcast(operands.back(), shape_of(call.type));
}

Array reshape(Call call, const Arrays& operands) {
  return reshaped(first(operands), shape_of(call.type));
}

Array concat(Call call, const Arrays& operands) {
  return concatenated(operands, call.integer("axis"));
}

Array stack(Call call, const Arrays& operands) {
  const Int given = call.integer("axis");
  const std::size_t axis = axis_of(given, first(operands).shape.size() + 1);
  Arrays parts = operands;
  for (Array& part : parts) {
    if (part.shape != operands[0].shape) throw Unsupported("parts of several shapes");
    part.shape.insert(part.shape.begin() + static_cast<std::ptrdiff_t>(axis), 1);
  }
  return concatenated(parts, static_cast<Int>(axis));
}

Array permute_dims(Call call, const Arrays& operands) {
  Shape axes;
  for (std::size_t i = only(operands).shape.size(); i-- > 0;) axes.push_back(static_cast<Int>(i));
  if (call.has("axes")) {
    const Ints given = call.ints("axes");
    axes.assign(given.begin(), given.end());
  }
  return transposed(operands.front(), axes);
}

Array strided_slice(Call call, const Arrays& operands) {
  const Array& data = only(operands);
  const Shape axes = call.tuple(1), starts = call.tuple(2), ends = call.tuple(3);
  const Shape given = call.args.size() > 4 ? call.tuple(4) : Shape(axes.size(), 1);
  if (starts.size() != axes.size() || ends.size() != axes.size() || given.size() != axes.size()) {
    throw Unsupported("a slice of several lengths");
  }
  Shape begin(data.shape.size(), 0), steps(data.shape.size(), 1), shape = data.shape;
  for (std::size_t i = 0; i < axes.size(); ++i) {
    const std::size_t axis = axis_of(axes[i], data.shape.size());
    const Int extent = data.shape[axis], step = given[i];
    const Int last = first_index(ends[i], step, extent);
    begin[axis] = first_index(starts[i], step, extent);
    steps[axis] = step;
    shape[axis] = std::max<Int>(0, (last - begin[axis] + step - (step > 0 ? 1 : -1)) / step);
  }
  return sliced(data, begin, steps, shape);
}

Array take(Call call, const Arrays& operands) {
  if (operands.size() != 2) throw Unsupported("take without positions");
  const Array &data = operands[0], &positions = operands[1];
  if (call.has("axis")) return taken(data, call.integer("axis"), positions, OutOfRange::wraps);
  return taken(reshaped(data, {static_cast<Int>(data.size())}), 0, positions, OutOfRange::wraps);
}

// --- Counting, and what follows from types -----------------------------------------------------

Array prod(Call call, const Arrays& operands) {
  std::vector<bool> reduced(only(operands).shape.size(), !call.has("axis"));
  if (call.has("axis")) {
    for (const Int axis : call.ints("axis")) reduced[axis_of(axis, reduced.size())] = true;
  }
  return product(operands.front(), reduced, call.boolean("keepdims"));
}

Array scalar(ffi::Value number) {
  Array result(dtype_named(number.is_int() ? "int64" : "float64"), {});
  if (result.integral) {
    result.ints = {number.integer()};
  } else {
    result.reals = {number.real()};
  }
  return result;
}

Array arange(Call call, const Arrays&) {
  if (call.args.size() != 3) throw Unsupported("a range without its bounds");
  return counted(scalar(call.number(0)), scalar(call.number(2)), call.type.num_elements());
}

Array integers(std::vector<Int> values, Shape shape) {
  Array result(dtype_named("int64"), std::move(shape));
  result.ints = std::move(values);
  return result;
}

Array extents(Call call, const Arrays&) {
  const Shape shape = shape_of(call.inputs[0]->type);
  return integers(shape, {static_cast<Int>(shape.size())});
}

Array size(Call call, const Arrays&) { return integers({call.inputs[0]->type.num_elements()}, {}); }

template <Int value>
Array all(Call call, const Arrays&) {
  return broadcast(integers({value}, {}), shape_of(call.type));
}

// --- The table ---------------------------------------------------------------------------------

struct Evaluation {
  Rule<RelaxCall> rule;
  bool by_type = false;  // from the type of an operand, not from its content
};

const Evaluation* evaluation_of(Text name) {
  static const std::unordered_map<Text, Evaluation> table = {
      {"add", {add}},
      {"arange", {arange}},
      {"astype", {unchanged}},
      {"broadcast_to", {broadcast_last}},
      {"concat", {concat}},
      {"divide", {divide}},
      {"equal", {equal}},
      {"expand_dims", {reshape}},
      {"flatten", {reshape}},
      {"floor_divide", {floor_divide}},
      {"full", {broadcast_last}},
      {"full_like", {broadcast_last, true}},
      {"greater", {greater}},
      {"greater_equal", {greater_equal}},
      {"isnan", {is_nan}},
      {"less", {less}},
      {"less_equal", {less_equal}},
      {"logical_and", {logical_and}},
      {"logical_not", {logical_not}},
      {"logical_or", {logical_or}},
      {"maximum", {maximum}},
      {"minimum", {minimum}},
      {"multiply", {multiply}},
      {"negative", {negative}},
      {"ones", {all<1>}},
      {"ones_like", {all<1>, true}},
      {"permute_dims", {permute_dims}},
      {"power", {power}},
      {"prod", {prod}},
      {"reshape", {reshape}},
      {"rsqrt", {inverse_root}},
      {"shape_of", {extents, true}},
      {"shape_to_tensor", {unchanged}},
      {"size", {size, true}},
      {"sqrt", {square_root}},
      {"squeeze", {reshape}},
      {"stack", {stack}},
      {"strided_slice", {strided_slice}},
      {"subtract", {subtract}},
      {"take", {take}},
      {"tensor_to_shape", {unchanged}},
      {"where", {where}},
      {"zeros", {all<0>}},
      {"zeros_like", {all<0>, true}},
  };
  const auto found = table.find(name);
  return found != table.end() ? &found->second : nullptr;
}

// What numpy holds as other than numbers of that type.
void refuse_rare(DType dtype) {
  const Text name = dtype_name(dtype);
  if (name == "bfloat16" || name == "uint64" || name.front() == 'c') {
    throw Unsupported("computing with constants of this element type");
  }
}

}  // namespace

const ConstantValue* fold(const RelaxCall& call, TensorType type) {
  const Evaluation* evaluation = evaluation_of(call.name);
  if (evaluation == nullptr || type.num_elements() > kSmall) return nullptr;
  Arrays known;
  for (const Node* operand : call.inputs) {
    if (operand->value == nullptr && !evaluation->by_type) return nullptr;
    if (operand->value == nullptr) continue;
    refuse_rare(operand->type.dtype);
    known.push_back(array_of(*operand));
  }
  const Array value = cast(evaluation->rule(call, known), type.dtype);
  return value.shape == shape_of(type) ? value_of(call.context, value) : nullptr;
}

}  // namespace relay_frontend
