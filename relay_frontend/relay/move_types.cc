// Types of the operators that move data and that importers leave untyped; see types.h.
//
// All relations are of src/relay/op/tensor/transform.cc.

#include <algorithm>

#include "relay_frontend/relay/types.h"

namespace relay_frontend::relay {

namespace {

bool give_shape(Inference& call, const Shape& shape) {
  return call.give(call.context.type(shape, call.operands[0].dtype));
}

bool batch_flatten(Inference& call) {
  if (call.operands.size() != 1 || call.operands[0].rank() < 2) return false;
  const Ints shape = call.operands[0].shape;
  std::int64_t rest = 1;
  for (std::int64_t extent : shape.slice(1)) rest = checked_mul(rest, extent);
  return give_shape(call, {shape[0], rest});
}

// Whether a zero in the shape of a reshape is an extent; older versions of TVM do not have that.
bool allows_zero(const RelayAttributes& attrs) {
  return attrs.has("allowzero") && attrs.integer("allowzero") != 0;
}

// ReshapeRel for extents that are given or kept (0), of which one may follow from the others (-1).
bool reshape(Inference& call) {
  if (call.operands.size() != 1) return false;
  const Ints before = call.operands[0].shape;
  Shape shape = call.attrs.ints("newshape");
  std::int64_t known = 1;
  std::int64_t* open = nullptr;
  for (std::size_t i = 0; i < shape.size(); ++i) {
    std::int64_t& extent = shape[i];
    if (extent == 0 && i < before.size() && !allows_zero(call.attrs)) extent = before[i];
    if (extent > 0) {
      known = checked_mul(known, extent);
    } else if (extent == -1 && open == nullptr) {
      open = &extent;
    } else {
      return false;
    }
  }
  const std::int64_t elements = call.operands[0].num_elements();
  if (open != nullptr) *open = elements / known;
  if (elements == 0 || (open != nullptr ? elements % known != 0 : elements != known)) return false;
  return give_shape(call, shape);
}

bool transpose(Inference& call) {
  if (call.operands.size() != 1) return false;
  const TensorType data = call.operands[0];
  Shape shape = shape_of(data);
  if (call.attrs.is_none("axes")) {
    std::reverse(shape.begin(), shape.end());
    return give_shape(call, shape);
  }
  const Shape axes = call.attrs.ints("axes");
  std::vector<bool> used(data.rank());
  if (axes.size() != data.rank()) return false;
  for (std::size_t i = 0; i < axes.size(); ++i) {
    std::size_t axis;
    if (!find_axis(axes[i], data.rank(), axis) || used[axis]) return false;
    used[axis] = true;
    shape[i] = data.shape[axis];
  }
  return give_shape(call, shape);
}

bool expand_dims(Inference& call) {
  if (call.operands.size() != 1) return false;
  Shape shape = shape_of(call.operands[0]);
  const std::int64_t count = call.attrs.integer("num_newaxis");
  std::size_t axis;
  if (count < 0 || count > 16) return false;
  if (!find_axis(call.attrs.integer("axis"), shape.size() + 1, axis)) return false;
  const auto at = shape.begin() + static_cast<std::ptrdiff_t>(axis);
  shape.insert(at, static_cast<std::size_t>(count), 1);
  return give_shape(call, shape);
}

bool squeeze(Inference& call) {
  if (call.operands.size() != 1 || call.attrs.is_none("axis")) return false;
  const TensorType data = call.operands[0];
  std::vector<bool> dropped(data.rank());
  for (std::int64_t given : call.attrs.ints("axis")) {
    std::size_t axis;
    if (!find_axis(given, data.rank(), axis) || dropped[axis]) return false;
    if (data.shape[axis] != 1) return false;
    dropped[axis] = true;
  }
  Shape shape;
  for (std::size_t axis = 0; axis < data.rank(); ++axis) {
    if (!dropped[axis]) shape.push_back(data.shape[axis]);
  }
  return give_shape(call, shape);
}

bool concatenate(Inference& call) {
  if (call.operands.empty()) return false;
  Shape shape = shape_of(call.operands[0]);
  std::size_t axis;
  if (!find_axis(call.attrs.integer("axis"), shape.size(), axis)) return false;
  shape[axis] = 0;
  for (const TensorType& part : call.operands) {
    if (part.dtype != call.operands[0].dtype || part.rank() != shape.size()) return false;
    for (std::size_t i = 0; i < shape.size(); ++i) {
      if (i != axis && part.shape[i] != shape[i]) return false;
    }
    shape[axis] = checked_add(shape[axis], part.shape[axis]);
  }
  return give_shape(call, shape);
}

bool stack(Inference& call) {
  if (call.operands.empty()) return false;
  Shape shape = shape_of(call.operands[0]);
  for (const TensorType& part : call.operands) {
    if (part != call.operands[0]) return false;
  }
  std::size_t axis;
  if (!find_axis(call.attrs.integer("axis"), shape.size() + 1, axis)) return false;
  shape.insert(shape.begin() + static_cast<std::ptrdiff_t>(axis),
               static_cast<std::int64_t>(call.operands.size()));
  return give_shape(call, shape);
}

// The positions at which a split cuts an axis, 0 and the extent included; empty where they are not
// in order.
Shape cuts_of_split(Inference& call, std::int64_t extent) {
  Shape cuts{0};
  if (call.attrs.is_integer("indices_or_sections")) {
    const std::int64_t parts = call.attrs.integer("indices_or_sections");
    if (parts < 1 || parts > extent || extent % parts != 0) return {};
    while (cuts.back() < extent) cuts.push_back(cuts.back() + extent / parts);
    return cuts;
  }
  for (std::int64_t cut : call.attrs.ints("indices_or_sections")) cuts.push_back(cut);
  cuts.push_back(extent);
  for (std::size_t i = 1; i < cuts.size(); ++i) {
    if (cuts[i] <= cuts[i - 1]) return {};
  }
  return cuts;
}

bool split(Inference& call) {
  if (call.operands.size() != 1) return false;
  Shape shape = shape_of(call.operands[0]);
  std::size_t axis;
  if (!find_axis(call.attrs.integer("axis"), shape.size(), axis)) return false;
  const Shape cuts = cuts_of_split(call, shape[axis]);
  std::vector<TensorType> types;
  for (std::size_t i = 1; i < cuts.size(); ++i) {
    shape[axis] = cuts[i] - cuts[i - 1];
    types.push_back(call.context.type(shape, call.operands[0].dtype));
  }
  call.result = {call.context.span(types), true};
  return !types.empty();
}

// StridedSliceRel for positive strides and results that are not empty.
bool strided_slice(Inference& call) {
  if (call.operands.size() != 1 || call.attrs.text("slice_mode") != "end") return false;
  if (call.attrs.is_none("begin") || call.attrs.is_none("end")) return false;
  Shape shape = shape_of(call.operands[0]);
  const Shape begin = call.attrs.ints("begin"), end = call.attrs.ints("end");
  Shape strides(begin.size(), 1), axes;
  if (!call.attrs.is_none("strides")) strides = call.attrs.ints("strides");
  for (std::size_t i = 0; i < begin.size(); ++i) axes.push_back(static_cast<std::int64_t>(i));
  if (!call.attrs.is_none("axes")) axes = call.attrs.ints("axes");
  if (strides.size() == 1) strides.assign(begin.size(), strides[0]);
  if (end.size() != begin.size() || axes.size() != begin.size()) return false;
  if (strides.size() != begin.size()) return false;
  std::vector<bool> used(shape.size());
  for (std::size_t i = 0; i < axes.size(); ++i) {
    std::size_t axis;
    if (!find_axis(axes[i], shape.size(), axis) || used[axis] || strides[i] < 1) return false;
    used[axis] = true;
    const std::int64_t extent = shape[axis];
    const auto position = [extent](std::int64_t given) {
      return std::clamp(given < 0 ? given + extent : given, std::int64_t{0}, extent);
    };
    const std::int64_t length = position(end[i]) - position(begin[i]);
    if (length < 1) return false;
    shape[axis] = (length - 1) / strides[i] + 1;
  }
  return give_shape(call, shape);
}

// BroadCastToRel for a shape that is given.
bool broadcast_to(Inference& call) {
  if (call.operands.size() != 1 || call.attrs.is_none("shape")) return false;
  const Shape shape = call.attrs.ints("shape");
  const TensorType data = call.operands[0];
  if (shape.size() < data.rank()) return false;
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (shape[i] < 1) return false;
    const std::size_t leading = shape.size() - data.rank();
    if (i < leading) continue;
    const std::int64_t extent = data.shape[i - leading];
    if (extent != 1 && extent != shape[i]) return false;
  }
  return give_shape(call, shape);
}

bool take(Inference& call) {
  if (call.operands.size() != 2 || call.attrs.integer("batch_dims") != 0) return false;
  const TensorType data = call.operands[0], indices = call.operands[1];
  if (call.attrs.is_none("axis")) return call.give({indices.shape, data.dtype});
  std::size_t axis;
  if (!find_axis(call.attrs.integer("axis"), data.rank(), axis)) return false;
  Shape shape;
  for (std::int64_t extent : data.shape.slice(0, axis)) shape.push_back(extent);
  for (std::int64_t extent : indices.shape) shape.push_back(extent);
  for (std::int64_t extent : data.shape.slice(axis + 1)) shape.push_back(extent);
  return give_shape(call, shape);
}

}  // namespace

const std::unordered_map<Text, Rule>& move_rules() {
  static const std::unordered_map<Text, Rule> table{
      {"broadcast_to", broadcast_to},
      {"concatenate", concatenate},
      {"expand_dims", expand_dims},
      {"nn.batch_flatten", batch_flatten},
      {"reshape", reshape},
      {"split", split},
      {"squeeze", squeeze},
      {"stack", stack},
      {"strided_slice", strided_slice},
      {"take", take},
      {"transpose", transpose},
  };
  return table;
}

}  // namespace relay_frontend::relay
