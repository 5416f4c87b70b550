// TVM's objects, read by the reflection of apache-tvm-ffi's C ABI alone.
//
// Nothing of TVM is linked: the functions are looked up in the library that the Python process has
// loaded, and fields are found by their names, once per type. So one binary serves every TVM whose
// tvm-ffi has the ABI of the header it was built with; anything else is Unsupported.
//
// Objects and values are borrowed: whoever called us keeps the root alive, and what hangs below a
// root is immutable.

#pragma once

#include <tvm/ffi/c_api.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace relay_frontend::ffi {

// Looks the functions of the loaded library up; does nothing where that was done before.
// Unsupported where it is not loaded, or of another ABI.
void connect(const std::string& library_path);

class Map;
class Object;
class Sequence;

// The classes of TVM's IR that readers tell apart.
enum class Kind : std::uint8_t {
  other,
  call,
  constant,
  extern_func,
  float_imm,
  function,
  global_var,
  int_imm,
  module,
  op,
  prim_type,
  seq_expr,
  shape_expr,
  shape_type,
  sub,
  tensor_load,
  tensor_type,
  tuple,
  tuple_get_item,
  tuple_type,
  var,
};

// A value that a field or a sequence holds.
class Value {
 public:
  Value() = default;
  explicit Value(const TVMFFIAny& any) : any_(any) {}

  bool is_none() const { return any_.type_index == kTVMFFINone; }
  bool is_int() const { return any_.type_index == kTVMFFIInt; }
  bool is_real() const { return any_.type_index == kTVMFFIFloat; }
  bool is_object() const { return any_.type_index >= kTVMFFIDynObjectBegin; }
  bool is_array() const { return any_.type_index == kTVMFFIArray; }

  // Unsupported where the value is of another type. `integer` takes integers and booleans.
  std::int64_t integer() const;
  double real() const;
  bool boolean() const;
  DLDataType dtype() const;
  Object object() const;
  Map map() const;
  Sequence sequence() const;
  const DLTensor& tensor() const;

  // Valid as long as this value, since short texts lie in it.
  std::string_view text() const&;
  std::string_view text() const&& = delete;

 private:
  TVMFFIAny any_{};
};

// An object of TVM's own; texts, containers and tensors are tvm-ffi's.
class Object {
 public:
  Object() = default;
  explicit Object(TVMFFIObject* handle) : handle_(handle) {}

  TVMFFIObject* identity() const { return handle_; }

  // The object's class, or the nearest class above it that has a kind.
  Kind kind() const;

  // Whether there is a field of that name, which must be a literal: fields are remembered by the
  // address of their names.
  bool has_field(const char* name) const;

  // The value of a field, inherited ones included; Unsupported where there is none of that name.
  Value field(const char* name) const;

 private:
  TVMFFIObject* handle_ = nullptr;
};

// An Array or a List.
class Sequence {
 public:
  explicit Sequence(TVMFFIObject* handle);

  std::size_t size() const { return size_; }
  Value operator[](std::size_t position) const;

 private:
  const TVMFFIAny* data_;
  std::size_t size_;
};

// A Map. Its layout is no part of the ABI: it is asked through functions of the library, which
// makes it slower than the others.
class Map {
 public:
  explicit Map(TVMFFIObject* handle) : handle_(handle) {}

  // The value of a key; Unsupported where there is none.
  Value at(const char* key) const;
  Value at(const Object& key) const;
  bool contains(const char* key) const;

 private:
  TVMFFIObject* handle_;
};

}  // namespace relay_frontend::ffi
