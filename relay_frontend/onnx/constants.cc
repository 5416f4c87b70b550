// Constants of ONNX files; twin of constants.py and of onnx.numpy_helper.to_array.

#include <algorithm>
#include <array>
#include <limits>
#include <optional>

#include "relay_frontend/elements.h"
#include "relay_frontend/onnx/data_types.h"
#include "relay_frontend/onnx/operators.h"
#include "relay_frontend/onnx/protobuf.h"
#include "relay_frontend/onnx/reader.h"

namespace relay_frontend::onnx {

namespace {

using protobuf::Field;
using protobuf::Message;

// Field numbers of TensorProto.
constexpr std::uint32_t kFloatData = 4, kInt32Data = 5, kInt64Data = 7, kDoubleData = 10,
                        kUint64Data = 11;

// A TensorProto. Content stays encoded until it turns out to be small.
struct Tensor {
  Text encoded;
  Text name;
  std::vector<std::int64_t> dims;
  std::int32_t data_type = 0;
  bool has_typed_data = false;
  std::optional<Text> raw;
  bool external = false;

  explicit Tensor(Text encoded);

  bool has_data() const { return has_typed_data || (raw && !raw->empty()); }
};

Tensor::Tensor(Text content) : encoded(content) {
  Field field;
  for (Message message(encoded); message.next(field);) {
    switch (field.number) {
      case 1:
        protobuf::append(field, dims);
        break;
      case 2:
        data_type = field.enumerator();
        break;
      case 3:
        throw Unsupported("onnx: a segment of a tensor");
      case kFloatData:
      case kInt32Data:
      case kInt64Data:
      case kDoubleData:
      case kUint64Data:
        has_typed_data |= field.wire != protobuf::Wire::bytes || !field.content.empty();
        break;
      case 8:
        name = field.text();
        break;
      case 9:
        raw = field.bytes();
        break;
      case 14: {  // data_location
        const std::int32_t location = field.enumerator();
        if (location != 0 && location != 1) throw Unsupported("onnx: unknown data_location");
        external = location == 1;
        break;
      }
      default:
        break;
    }
  }
}

template <class T>
std::vector<T> from_raw(Text raw, std::size_t size) {
  if (raw.size() != size * sizeof(T)) throw Unsupported("onnx: raw_data of another size");
  std::vector<T> values(size);
  if (size != 0) std::memcpy(values.data(), raw.data(), raw.size());
  return values;
}

// The small content of a tensor, converted to numbers.
class Content {
 public:
  Content(Context& context, const Tensor& tensor, Ints shape, std::size_t num_elements)
      : context_(context), tensor_(tensor), shape_(shape), size_(num_elements) {}

  const ConstantValue* read() const {
    switch (tensor_.data_type) {
      case kFloat:
        return reals<float>(kFloatData);
      case kDouble:
        return reals<double>(kDoubleData);
      case kFloat16:
        return halves(from_float16);
      case kBfloat16:
        return halves(from_bfloat16);
      case kInt8:
        return integers<std::int8_t>(kInt32Data);
      case kInt16:
        return integers<std::int16_t>(kInt32Data);
      case kInt32:
        return integers<std::int32_t>(kInt32Data);
      case kInt64:
        return integers<std::int64_t>(kInt64Data);
      case kUint8:
        return integers<std::uint8_t>(kInt32Data);
      case kUint16:
        return integers<std::uint16_t>(kInt32Data);
      case kUint32:
        return integers<std::uint32_t>(kUint64Data);
      case kUint64:
        return integers<std::uint64_t>(kUint64Data);
      case kBool:
        return booleans();
      default:
        throw Unsupported("onnx: element type of a constant");
    }
  }

 private:
  // The elements in raw_data, or else in the typed field, as far as this can hold a T.
  template <class T>
  std::vector<T> elements(std::uint32_t typed) const {
    if (tensor_.raw) return from_raw<T>(*tensor_.raw, size_);
    using Encoded = std::conditional_t<std::is_floating_point_v<T>, T, std::int64_t>;
    std::vector<Encoded> values;
    Field field;
    for (Message message(tensor_.encoded); message.next(field);) {
      if (field.number == typed) protobuf::append(field, values);
    }
    if (values.size() != size_) throw Unsupported("onnx: content of another size");
    std::vector<T> elements;
    for (const Encoded value : values) elements.push_back(static_cast<T>(value));
    return elements;
  }

  template <class T>
  const ConstantValue* reals(std::uint32_t typed) const {
    const std::vector<T> values = elements<T>(typed);
    return context_.reals(shape_, context_.span(std::vector<double>(values.begin(), values.end())));
  }

  const ConstantValue* halves(double (*convert)(std::uint16_t)) const {
    std::vector<double> values;
    for (const std::uint16_t bits : elements<std::uint16_t>(kInt32Data)) {
      values.push_back(convert(bits));
    }
    return context_.reals(shape_, context_.span(values));
  }

  template <class T>
  const ConstantValue* integers(std::uint32_t typed) const {
    std::vector<std::int64_t> values;
    for (const T value : elements<T>(typed)) {
      values.push_back(static_cast<std::int64_t>(value));
      if (std::is_unsigned_v<T> && values.back() < 0) throw Unsupported("onnx: 64-bit unsigned");
    }
    return context_.integers(shape_, context_.span(values));
  }

  const ConstantValue* booleans() const {
    std::vector<std::int64_t> values;
    for (const std::uint8_t value : elements<std::uint8_t>(kInt32Data)) {
      values.push_back(value != 0);
    }
    return context_.integers(shape_, context_.span(values));
  }

  Context& context_;
  const Tensor& tensor_;
  Ints shape_;
  std::size_t size_;
};

}  // namespace

// --- Public -------------------------------------------------------------------------------------

namespace {

// NumPy's names by DataType; strings, complex numbers and those of less than a byte are for Python.
constexpr std::array<const char*, kBfloat16 + 1> kNames = {
    nullptr, "float32", "uint8",   "int8",    "uint16", "int16",  "int32", "int64",    nullptr,
    "bool",  "float16", "float64", "uint32", "uint64", nullptr, nullptr, "bfloat16"};

}  // namespace

DType dtype_of(std::int32_t data_type) {
  const bool is_known = data_type >= 0 && data_type <= kBfloat16;
  const char* name = is_known ? kNames[static_cast<std::size_t>(data_type)] : nullptr;
  if (name == nullptr) throw Unsupported("onnx: element type");
  return dtype_named(name);
}

std::int32_t data_type_of(DType dtype) {
  for (std::int32_t i = 0; i <= kBfloat16; ++i) {
    const char* name = kNames[static_cast<std::size_t>(i)];
    if (name != nullptr && dtype_name(dtype) == name) return i;
  }
  throw Unsupported("onnx: element type");
}

Node* read_constant(Context& context, Text encoded, Text* name) {
  const Tensor tensor(encoded);
  if (name != nullptr) *name = tensor.name;
  const TensorType type = context.type(tensor.dims, dtype_of(tensor.data_type));
  const auto num_elements = static_cast<std::size_t>(type.num_elements());
  if (num_elements > kSmall || tensor.external) return context.constant(type);
  if (num_elements == 0 && type.rank() == 1) {
    return context.constant(type, context.integers(type.shape, {}));
  }
  if (!tensor.has_data()) return context.constant(type);
  return context.constant(type, Content(context, tensor, type.shape, num_elements).read());
}

Node* read_constant_node(const OnnxNode& source) {
  Context& context = source.context;
  for (const char* name : {"value", "value_float", "value_int", "value_floats", "value_ints"}) {
    const Attribute* value = source.find(name);
    if (value == nullptr) continue;
    if (value->type == Attribute::tensor) return read_constant(context, value->t);
    const bool integral = value->type == Attribute::integer || value->type == Attribute::integers;
    if (source.type.dtype != dtype_of(integral ? kInt64 : kFloat)) {
      throw Unsupported("onnx: a constant of another type");
    }
    if (value->ints.size() > kSmall || value->floats.size() > kSmall) {
      throw Unsupported("onnx: a constant of many elements");
    }
    return context.constant(source.type, source.value(SIZE_MAX, name));
  }
  return context.constant(source.type);
}

Node* read_shape(const OnnxNode& source) {
  const Ints shape = source.shape();
  const std::int64_t rank = source.rank();
  const auto bound = [&](std::int64_t at) {
    return static_cast<std::size_t>(std::clamp<std::int64_t>(at < 0 ? at + rank : at, 0, rank));
  };
  const Ints part =
      shape.slice(bound(source.integer("start", 0)), bound(source.integer("end", rank)));
  // Python's is of another type where it is empty.
  if (part.empty() || part.size() > kSmall) throw Unsupported("onnx: the shape of a scalar");
  const Ints own_shape = source.context.ints({static_cast<std::int64_t>(part.size())});
  return source.context.constant(source.type, source.context.integers(own_shape, part));
}

Node* read_size(const OnnxNode& source) {
  const Ints size = source.context.ints({source.data()->type.num_elements()});
  return source.context.constant(source.type, source.context.integers({}, size));
}

std::optional<SliceRanges> slice_ranges(const OnnxNode& source) {
  const Ints shape = source.shape();
  const std::optional<Ints> starts = source.int_values(1, "starts");
  const std::optional<Ints> ends = source.int_values(2, "ends");
  const std::optional<Ints> axes = source.int_values(3, "axes"), steps = source.int_values(4);
  const bool unknown = (!axes && source.is_given(3)) || (!steps && source.is_given(4));
  if (!starts || !ends || unknown) return std::nullopt;
  const std::size_t count = starts->size();
  if (ends->size() != count || (axes && axes->size() != count) ||
      (steps && steps->size() != count) || (!axes && count > shape.size())) {
    throw Unsupported("onnx: Slice of several lengths");
  }
  SliceRanges ranges{std::vector<std::int64_t>(shape.size(), 0),
                     std::vector<std::int64_t>(shape.size(), 1)};
  for (std::size_t i = 0; i < count; ++i) {
    const std::int64_t given = axes ? (*axes)[i] : static_cast<std::int64_t>(i);
    const std::int64_t step = steps ? (*steps)[i] : 1;
    if (given < -source.rank() || given >= source.rank() || step == 0) {
      throw Unsupported("onnx: axis or step of Slice");
    }
    const auto axis = static_cast<std::size_t>(floor_mod(given, source.rank()));
    ranges.begin[axis] = first_index((*starts)[i], step, shape[axis]);
    ranges.strides[axis] = step;
  }
  return ranges;
}

}  // namespace relay_frontend::onnx
