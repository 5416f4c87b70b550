// TVM's objects, read through the plain C interface that TVM 0.8 to 0.19 have in common.
//
// Nothing of TVM is linked or included: the functions are looked up in the library that the Python
// process has loaded, and fields are read by name by the packed function node.NodeGetAttr, which
// visits the object's fields (about 0.2 us each; the same call from Python costs 2 us). So one
// binary serves every build of TVM that has Relay.
//
// The alternative, to parse what node.SaveJSON writes, is slower by far: saving alone takes 3 ms
// for ResNet-18 and 25 ms for 470 operators, where this reader is done within a fifth of that.
//
// A read owns one Objects. What hangs below the module that it reads is immutable and kept alive by
// the module, so objects are borrowed pointers (Object): a reference that TVM hands over is given
// back at once.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace relay_frontend::packed {

// The classes of TVM's IR that the reader tells apart.
enum class Kind : std::int8_t {
  other,
  array,
  call,
  constant,
  float_imm,
  function,
  global_var,
  incomplete_type,
  int_imm,
  let,
  op,
  span,
  string,
  tensor_type,
  tuple,
  tuple_get_item,
  tuple_type,
  var,
  unseen,
};

// A borrowed pointer to an object; null where a field holds none.
using Object = void*;

// Tensors as DLPack has them since its first version (dlpack/dlpack.h).
struct DataType {
  std::uint8_t code;
  std::uint8_t bits;
  std::uint16_t lanes;
};
struct Tensor {
  void* data;
  std::int32_t device_type;
  std::int32_t device_id;
  std::int32_t ndim;
  DataType dtype;
  std::int64_t* shape;
  std::int64_t* strides;
  std::uint64_t byte_offset;
};

union RawValue {  // TVMValue of include/tvm/runtime/c_runtime_api.h
  std::int64_t integer;
  double real;
  void* handle;
  const char* text;
};

// What a packed function returned. Only integers, floats and texts outlive the next call.
class Value {
 public:
  bool is_null() const;
  bool is_integer() const;
  bool is_real() const;
  bool is_object() const;
  bool is_text() const;

  // Unsupported where the value is of another type. `object` is null where there is none.
  std::int64_t integer() const;
  double real() const;
  Object object() const;
  const Tensor& tensor() const;
  std::string_view text() const;  // valid until the next call

 private:
  friend class Objects;
  RawValue raw_{};
  int code_ = 0;
};

// Looks the functions of the loaded library up; does nothing where that was done before.
// Unsupported where it is not loaded or lacks one of them.
void connect(const std::string& library_path);

// Access to objects; connect first.
class Objects {
 public:
  Objects();
  Objects(const Objects&) = delete;
  Objects& operator=(const Objects&) = delete;

  Kind kind(Object object);
  // Unsupported where the object is null or of another kind.
  Object expect(Object object, Kind kind);

  // A field. Unsupported where there is none of that name.
  Value field(Object object, const char* name) const;
  bool has_field(Object object, const char* name) const;

  // An object of a field; null where it holds none.
  Object child(Object object, const char* name) const { return field(object, name).object(); }

  // Fields and entries in whichever form TVM keeps them: as such or boxed in an object.
  std::int64_t to_integer(const Value& value);
  double to_real(const Value& value);
  std::string to_text(const Value& value);

  // Arrays.
  std::size_t size(Object array) const;
  Value item(Object array, std::size_t position) const;
  // The objects in the array of a field.
  std::vector<Object> items(Object object, const char* name);

  // The function of that name; null where the module has none.
  Object function(Object module, const char* name) const;
  // The function of a global variable; Unsupported where the module has none.
  Object function(Object module, Object global_var);

 private:
  std::vector<Kind> kinds_;  // by type index
};

}  // namespace relay_frontend::packed
