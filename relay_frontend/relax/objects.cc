#include "relay_frontend/relax/objects.h"

#include <dlfcn.h>

#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "relay_frontend/node.h"

namespace relay_frontend::ffi {

namespace {

// --- The library -------------------------------------------------------------------------------

struct Library {
  decltype(&TVMFFIObjectDecRef) dec_ref = nullptr;
  decltype(&TVMFFIGetTypeInfo) type_info = nullptr;
  decltype(&TVMFFIErrorMoveFromRaised) move_error = nullptr;
  decltype(&TVMFFIFunctionGetGlobal) get_global = nullptr;
  decltype(&TVMFFIFunctionCall) call = nullptr;
};

Library library;
bool sequences_proven = false;

template <class Function>
void resolve(void* handle, const char* name, Function& function) {
  function = reinterpret_cast<Function>(dlsym(handle, name));
  if (function == nullptr) throw Unsupported(std::string("tvm-ffi has no ") + name);
}

[[noreturn]] void fail_with_raised(const char* what) {
  TVMFFIObjectHandle error = nullptr;
  library.move_error(&error);
  if (error != nullptr) library.dec_ref(error);
  throw Unsupported(what);
}

// Gives an owned value back. It stays valid, since whatever it was read from owns it too; a value
// that nobody else owns was made by the getter, and is Unsupported.
Value release(const TVMFFIAny& owned) {
  if (owned.type_index < kTVMFFIStaticObjectBegin) return Value(owned);
  const bool ours_alone = (owned.v_obj->combined_ref_count & 0xFFFFFFFFu) <= 1;
  library.dec_ref(owned.v_obj);
  if (ours_alone) throw Unsupported("a field's value is made when it is asked for");
  return Value(owned);
}

// The result of a registered function, owned by the caller.
TVMFFIAny call_global(std::string_view name, TVMFFIAny* arguments, std::int32_t count) {
  const TVMFFIByteArray key{name.data(), name.size()};
  TVMFFIObjectHandle function = nullptr;
  if (library.get_global(&key, &function) != 0) fail_with_raised("a function is not registered");
  if (function == nullptr) throw Unsupported("tvm-ffi lacks " + std::string(name));
  TVMFFIAny result{};
  const int status = library.call(function, arguments, count, &result);
  library.dec_ref(function);
  if (status != 0) fail_with_raised("a function failed");
  return result;
}

TVMFFIAny any_of(TVMFFIObject* object) {
  TVMFFIAny any{};
  any.type_index = object->type_index;
  any.v_obj = object;
  return any;
}

TVMFFIAny any_of(const char* text) {
  TVMFFIAny any{};
  any.type_index = kTVMFFIRawStr;
  any.v_c_str = text;
  return any;
}

// The number of elements by the library's own function.
std::int64_t measured_size(TVMFFIObject* sequence) {
  TVMFFIAny argument = any_of(sequence);
  const bool is_array = sequence->type_index == kTVMFFIArray;
  return Value(call_global(is_array ? "ffi.ArraySize" : "ffi.ListSize", &argument, 1)).integer();
}

// --- Types and their fields --------------------------------------------------------------------

// How a field lies in its object. Where the getter has once returned just what lies there, the
// getter is not needed any more.
enum class Layout : std::uint8_t { unknown, object, any };

struct Field {
  const char* name;
  const TVMFFIFieldInfo* info;  // null where there is none
  Layout layout;
};

struct Type {
  const TVMFFITypeInfo* info;
  Kind kind;
  std::vector<Field> fields;  // those asked for so far
};

bool equal(const TVMFFIByteArray& text, std::string_view other) {
  return std::string_view(text.data, text.size) == other;
}

Kind kind_of_key(const TVMFFIByteArray& key) {
  static constexpr std::pair<std::string_view, Kind> kKinds[] = {
      {"ir.Call", Kind::call},
      {"ir.GenericConst", Kind::constant},
      {"relax.expr.ExternFunc", Kind::extern_func},
      {"ir.FloatImm", Kind::float_imm},
      {"relax.expr.Function", Kind::function},
      {"ir.GlobalVar", Kind::global_var},
      {"ir.IntImm", Kind::int_imm},
      {"ir.IRModule", Kind::module},
      {"ir.Op", Kind::op},
      {"ir.PrimType", Kind::prim_type},
      {"relax.expr.SeqExpr", Kind::seq_expr},
      {"relax.expr.ShapeExpr", Kind::shape_expr},
      {"relax.ShapeType", Kind::shape_type},
      {"prim.Sub", Kind::sub},
      {"ir.TensorLoad", Kind::tensor_load},
      {"relax.TensorType", Kind::tensor_type},
      {"ir.Tuple", Kind::tuple},
      {"ir.TupleGetItem", Kind::tuple_get_item},
      {"ir.TupleType", Kind::tuple_type},
      {"ir.Var", Kind::var},
  };
  for (const auto& [text, kind] : kKinds) {
    if (equal(key, text)) return kind;
  }
  return Kind::other;
}

Kind kind_of(const TVMFFITypeInfo& info) {
  Kind kind = kind_of_key(info.type_key);
  for (std::int32_t depth = info.type_depth; kind == Kind::other && depth-- > 0;) {
    kind = kind_of_key(info.type_ancestors[depth]->type_key);
  }
  return kind;
}

Type& type_at(std::int32_t index) {
  static std::vector<std::unique_ptr<Type>> types;
  const auto position = static_cast<std::size_t>(index);
  if (position >= types.size()) types.resize(position + 1);
  std::unique_ptr<Type>& type = types[position];
  if (type == nullptr) {
    const TVMFFITypeInfo* info = library.type_info(index);
    if (info == nullptr || info->type_index != index) throw Unsupported("a type has no info");
    type = std::make_unique<Type>(Type{info, kind_of(*info), {}});
  }
  return *type;
}

const TVMFFIFieldInfo* find_field(const TVMFFITypeInfo& info, std::string_view name) {
  const auto in = [name](const TVMFFITypeInfo& owner) -> const TVMFFIFieldInfo* {
    for (std::int32_t i = 0; i < owner.num_fields; ++i) {
      if (equal(owner.fields[i].name, name)) return &owner.fields[i];
    }
    return nullptr;
  };
  const TVMFFIFieldInfo* found = in(info);
  for (std::int32_t depth = info.type_depth; found == nullptr && depth-- > 0;) {
    found = in(*info.type_ancestors[depth]);
  }
  return found;
}

Field& field_of(Type& type, const char* name) {
  for (Field& field : type.fields) {
    if (field.name == name) return field;
  }
  const TVMFFIFieldInfo* info = find_field(*type.info, name);
  type.fields.push_back({name, info, Layout::unknown});
  return type.fields.back();
}

Layout layout_of(const TVMFFIFieldInfo& info, const void* address, const TVMFFIAny& got) {
  const bool object = got.type_index >= kTVMFFIStaticObjectBegin;
  if (object && info.size == sizeof(void*) && std::memcmp(address, &got.v_obj, info.size) == 0) {
    return Layout::object;
  }
  // Numbers prove nothing: an optional one may look like this by chance.
  const bool telling = object || got.type_index == kTVMFFISmallStr;
  if (telling && info.size == sizeof(TVMFFIAny) && std::memcmp(address, &got, info.size) == 0) {
    return Layout::any;
  }
  return Layout::unknown;
}

}  // namespace

void connect(const std::string& library_path) {
  if (library.call != nullptr) return;
  void* handle = dlopen(library_path.c_str(), RTLD_NOW | RTLD_NOLOAD);
  if (handle == nullptr) throw Unsupported("tvm-ffi is not loaded");
  Library found;
  decltype(&TVMFFIGetVersion) get_version = nullptr;
  resolve(handle, "TVMFFIGetVersion", get_version);
  TVMFFIVersion version{};
  get_version(&version);
  if (version.major != TVM_FFI_VERSION_MAJOR || version.minor != TVM_FFI_VERSION_MINOR) {
    throw Unsupported("tvm-ffi has another ABI");
  }
  resolve(handle, "TVMFFIObjectDecRef", found.dec_ref);
  resolve(handle, "TVMFFIGetTypeInfo", found.type_info);
  resolve(handle, "TVMFFIErrorMoveFromRaised", found.move_error);
  resolve(handle, "TVMFFIFunctionGetGlobal", found.get_global);
  resolve(handle, "TVMFFIFunctionCall", found.call);
  library = found;  // its handle stays open: the library must not go before us
}

// --- Values ------------------------------------------------------------------------------------

std::int64_t Value::integer() const {
  if (is_int()) return any_.v_int64;
  if (any_.type_index == kTVMFFIBool) return any_.v_int64 != 0;
  throw Unsupported("a value is no integer");
}

double Value::real() const {
  if (is_real()) return any_.v_float64;
  if (is_int()) return static_cast<double>(any_.v_int64);
  throw Unsupported("a value is no number");
}

bool Value::boolean() const {
  if (any_.type_index != kTVMFFIBool) throw Unsupported("a value is no boolean");
  return any_.v_int64 != 0;
}

DLDataType Value::dtype() const {
  if (any_.type_index != kTVMFFIDataType) throw Unsupported("a value is no element type");
  return any_.v_dtype;
}

Object Value::object() const {
  if (!is_object()) throw Unsupported("a value is no object");
  return Object(any_.v_obj);
}

Map Value::map() const {
  if (any_.type_index != kTVMFFIMap) throw Unsupported("a value is no map");
  return Map(any_.v_obj);
}

Sequence Value::sequence() const {
  if (!is_array() && any_.type_index != kTVMFFIList) throw Unsupported("a value is no sequence");
  return Sequence(any_.v_obj);
}

const DLTensor& Value::tensor() const {
  if (any_.type_index != kTVMFFITensor) throw Unsupported("a value is no tensor");
  return *TVMFFITensorGetDLTensorPtr(any_.v_obj);
}

std::string_view Value::text() const& {
  if (any_.type_index == kTVMFFISmallStr) {
    const TVMFFIByteArray bytes = TVMFFISmallBytesGetContentByteArray(&any_);
    return {bytes.data, bytes.size};
  }
  if (any_.type_index != kTVMFFIStr) throw Unsupported("a value is no text");
  const TVMFFIByteArray* bytes = TVMFFIBytesGetByteArrayPtr(any_.v_obj);
  return {bytes->data, bytes->size};
}

// --- Objects -----------------------------------------------------------------------------------

Kind Object::kind() const { return type_at(handle_->type_index).kind; }

bool Object::has_field(const char* name) const {
  return field_of(type_at(handle_->type_index), name).info != nullptr;
}

Value Object::field(const char* name) const {
  Field& field = field_of(type_at(handle_->type_index), name);
  if (field.info == nullptr || field.info->getter == nullptr) {
    throw Unsupported(std::string("no field ") + name);
  }
  char* address = reinterpret_cast<char*>(handle_) + field.info->offset;
  TVMFFIAny result{};
  if (field.layout == Layout::object) {
    std::memcpy(&result.v_obj, address, sizeof(result.v_obj));
    if (result.v_obj != nullptr) result.type_index = result.v_obj->type_index;
    return Value(result);
  }
  if (field.layout == Layout::any) {
    std::memcpy(&result, address, sizeof(result));
    return Value(result);
  }
  if (field.info->getter(address, &result) != 0) fail_with_raised("a field could not be read");
  field.layout = layout_of(*field.info, address, result);
  return release(result);
}

Sequence::Sequence(TVMFFIObject* handle) {
  TVMFFISeqCell cell;
  std::memcpy(&cell, reinterpret_cast<const char*>(handle) + sizeof(TVMFFIObject), sizeof(cell));
  if (!sequences_proven) {
    if (measured_size(handle) != cell.size) throw Unsupported("sequences have another layout");
    sequences_proven = cell.size > 0;
  }
  data_ = static_cast<const TVMFFIAny*>(cell.data);
  size_ = static_cast<std::size_t>(cell.size);
}

Value Sequence::operator[](std::size_t position) const {
  if (position >= size_) throw Unsupported("index out of range");
  return Value(data_[position]);
}

Value Map::at(const char* key) const {
  TVMFFIAny arguments[] = {any_of(handle_), any_of(key)};
  return release(call_global("ffi.MapGetItem", arguments, 2));
}

Value Map::at(const Object& key) const {
  TVMFFIAny arguments[] = {any_of(handle_), any_of(key.identity())};
  return release(call_global("ffi.MapGetItem", arguments, 2));
}

bool Map::contains(const char* key) const {
  TVMFFIAny arguments[] = {any_of(handle_), any_of(key)};
  return Value(call_global("ffi.MapCount", arguments, 2)).integer() != 0;
}

}  // namespace relay_frontend::ffi
