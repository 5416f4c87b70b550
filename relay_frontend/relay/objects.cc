#include "relay_frontend/relay/objects.h"

#include <dlfcn.h>

#include <initializer_list>
#include <iterator>

#include "relay_frontend/node.h"

namespace relay_frontend::packed {

namespace {

// TVMArgTypeCode of include/tvm/runtime/c_runtime_api.h; stable from TVM 0.8 to 0.19, where 0.18
// added booleans.
enum TypeCode : int {
  kInt = 0,
  kFloat = 2,
  kNull = 4,
  kObject = 8,
  kModule = 9,
  kFunction = 10,
  kStr = 11,
  kNDArray = 13,
  kBool = 15,
};

struct Interface {
  std::string path;
  int (*get_global)(const char* name, void** function);
  int (*call)(void* function, RawValue* values, int* codes, int count, RawValue* result,
              int* result_code);
  int (*type_index)(void* object, unsigned* index);
  int (*free_object)(void* object);
  int (*free_function)(void* function);
  int (*free_module)(void* module);
  int (*free_array)(void* array);

  void* get_attr;
  void* list_attr_names;
  void* array_size;
  void* array_item;
  void* get_string;
  void* contains_global;
  void* lookup;
  void* lookup_name;
};

// Filled once. The packed functions in it are never given back: TVM keeps them as long as we do.
Interface& interface() {
  static Interface functions{};
  return functions;
}

template <class Function>
void find_symbol(void* library, const char* name, Function*& function) {
  function = reinterpret_cast<Function*>(dlsym(library, name));
  if (function == nullptr) throw Unsupported(std::string("TVM has no function ") + name);
}

void* find_global(const Interface& functions, const char* name) {
  void* function = nullptr;
  if (functions.get_global(name, &function) != 0 || function == nullptr) {
    throw Unsupported(std::string("TVM has no packed function ") + name);
  }
  return function;
}

// Gives a reference that a call returned back to TVM.
void release(int code, RawValue value) {
  if (value.handle == nullptr) return;
  if (code == kObject) interface().free_object(value.handle);
  if (code == kModule) interface().free_module(value.handle);
  if (code == kFunction) interface().free_function(value.handle);
  if (code == kNDArray) interface().free_array(value.handle);
}

struct Argument {
  RawValue value;
  int code;

  explicit Argument(std::int64_t integer) : code(kInt) { value.integer = integer; }
  explicit Argument(const char* text) : code(kStr) { value.text = text; }
  explicit Argument(Object object) : code(kObject) { value.handle = object; }
};

// Calls a packed function; the caller owns what it returns.
int call(void* function, std::initializer_list<Argument> arguments, RawValue* result) {
  constexpr std::size_t kMost = 2;
  RawValue values[kMost];
  int codes[kMost];
  int count = 0;
  for (const Argument& argument : arguments) {
    values[count] = argument.value;
    codes[count++] = argument.code;
  }
  int code = kNull;
  if (interface().call(function, values, codes, count, result, &code) != 0) {
    throw Unsupported("a packed function of TVM failed");
  }
  return code;
}

// The same for results that are no references, or are kept alive by the module.
int call_borrowed(void* function, std::initializer_list<Argument> arguments, RawValue* result) {
  const int code = call(function, arguments, result);
  release(code, *result);
  return code;
}

std::int64_t call_integer(void* function, std::initializer_list<Argument> arguments) {
  RawValue result{};
  const int code = call_borrowed(function, arguments, &result);
  if (code != kInt && code != kBool) throw Unsupported("not the integer that was expected");
  return result.integer;
}

// A function that a call returned, for as long as this lives.
class OwnedFunction {
 public:
  OwnedFunction(void* function, std::initializer_list<Argument> arguments)
      : code_(call(function, arguments, &value_)) {}
  ~OwnedFunction() { release(code_, value_); }
  OwnedFunction(const OwnedFunction&) = delete;
  OwnedFunction& operator=(const OwnedFunction&) = delete;

  void* get() const {
    if (code_ != kFunction) throw Unsupported("not the function that was expected");
    return value_.handle;
  }

 private:
  RawValue value_{};
  int code_;
};

Object not_null(Object object) {
  if (object == nullptr) throw Unsupported("an object that is not there");
  return object;
}

Kind kind_of_key(std::string_view key) {
  static constexpr struct {
    std::string_view key;
    Kind kind;
  } kKinds[] = {
      {"Array", Kind::array},
      {"FloatImm", Kind::float_imm},
      {"GlobalVar", Kind::global_var},
      {"IncompleteType", Kind::incomplete_type},
      {"IntImm", Kind::int_imm},
      {"Op", Kind::op},
      {"Span", Kind::span},
      {"TupleType", Kind::tuple_type},
      {"relay.Call", Kind::call},
      {"relay.Constant", Kind::constant},
      {"relay.Function", Kind::function},
      {"relay.Let", Kind::let},
      {"relay.TensorType", Kind::tensor_type},
      {"relay.Tuple", Kind::tuple},
      {"relay.TupleGetItem", Kind::tuple_get_item},
      {"relay.TupleType", Kind::tuple_type},
      {"relay.Var", Kind::var},
      {"runtime.String", Kind::string},
  };
  for (const auto& entry : kKinds) {
    if (entry.key == key) return entry.kind;
  }
  return Kind::other;
}

}  // namespace

void connect(const std::string& library_path) {
  Interface& functions = interface();
  if (!functions.path.empty()) {
    if (functions.path != library_path) throw Unsupported("two libraries of TVM in one process");
    return;
  }
  void* library = dlopen(library_path.c_str(), RTLD_LAZY | RTLD_NOLOAD);
  if (library == nullptr) throw Unsupported("TVM's library is not loaded: " + library_path);
  Interface found{};
  find_symbol(library, "TVMFuncGetGlobal", found.get_global);
  find_symbol(library, "TVMFuncCall", found.call);
  find_symbol(library, "TVMObjectGetTypeIndex", found.type_index);
  find_symbol(library, "TVMObjectFree", found.free_object);
  find_symbol(library, "TVMFuncFree", found.free_function);
  find_symbol(library, "TVMModFree", found.free_module);
  find_symbol(library, "TVMArrayFree", found.free_array);
  found.get_attr = find_global(found, "node.NodeGetAttr");
  found.list_attr_names = find_global(found, "node.NodeListAttrNames");
  found.array_size = find_global(found, "runtime.ArraySize");
  found.array_item = find_global(found, "runtime.ArrayGetItem");
  found.get_string = find_global(found, "runtime.GetFFIString");
  found.contains_global = find_global(found, "ir.Module_ContainGlobalVar");
  found.lookup = find_global(found, "ir.Module_Lookup");
  found.lookup_name = find_global(found, "ir.Module_Lookup_str");
  found.path = library_path;
  functions = found;
}

// --- Values ------------------------------------------------------------------------------------

bool Value::is_null() const {
  return code_ == kNull || (is_object() && raw_.handle == nullptr);
}
bool Value::is_integer() const { return code_ == kInt || code_ == kBool; }
bool Value::is_real() const { return code_ == kFloat; }
bool Value::is_object() const { return code_ == kObject; }
bool Value::is_text() const { return code_ == kStr; }

std::int64_t Value::integer() const {
  if (!is_integer()) throw Unsupported("not the integer that was expected");
  return raw_.integer;
}

double Value::real() const {
  if (!is_real()) throw Unsupported("not the number that was expected");
  return raw_.real;
}

Object Value::object() const {
  if (is_null()) return nullptr;
  if (!is_object()) throw Unsupported("not the object that was expected");
  return raw_.handle;
}

const Tensor& Value::tensor() const {
  if (code_ != kNDArray || raw_.handle == nullptr) {
    throw Unsupported("not the tensor that was expected");
  }
  return *static_cast<const Tensor*>(raw_.handle);
}

std::string_view Value::text() const {
  if (!is_text() || raw_.text == nullptr) throw Unsupported("not the text that was expected");
  return raw_.text;
}

// --- Objects -----------------------------------------------------------------------------------

Objects::Objects() {
  if (interface().path.empty()) throw Unsupported("not connected to TVM");
}

Kind Objects::kind(Object object) {
  unsigned index = 0;
  if (interface().type_index(not_null(object), &index) != 0) {
    throw Unsupported("an object without a type");
  }
  if (index >= kinds_.size()) {
    constexpr unsigned kMostTypes = 1u << 20;
    if (index >= kMostTypes) throw Unsupported("an object without a type");
    kinds_.resize(index + 1, Kind::unseen);
  }
  if (kinds_[index] == Kind::unseen) kinds_[index] = kind_of_key(field(object, "type_key").text());
  return kinds_[index];
}

Object Objects::expect(Object object, Kind kind) {
  if (this->kind(object) != kind) throw Unsupported("not the kind of object that was expected");
  return object;
}

Value Objects::field(Object object, const char* name) const {
  Value value;
  value.code_ = call_borrowed(interface().get_attr,
                              {Argument(not_null(object)), Argument(name)}, &value.raw_);
  return value;
}

bool Objects::has_field(Object object, const char* name) const {
  const OwnedFunction names(interface().list_attr_names, {Argument(not_null(object))});
  const std::int64_t count = call_integer(names.get(), {Argument(std::int64_t{-1})});
  for (std::int64_t i = 0; i < count; ++i) {
    RawValue result{};
    const int code = call_borrowed(names.get(), {Argument(i)}, &result);
    if (code == kStr && std::string_view(result.text) == name) return true;
  }
  return false;
}

std::int64_t Objects::to_integer(const Value& value) {
  if (value.is_integer()) return value.integer();
  return field(expect(value.object(), Kind::int_imm), "value").integer();
}

double Objects::to_real(const Value& value) {
  if (value.is_real()) return value.real();
  if (value.is_object() && kind(value.object()) == Kind::float_imm) {
    return field(value.object(), "value").real();
  }
  return static_cast<double>(to_integer(value));
}

std::string Objects::to_text(const Value& value) {
  if (value.is_text()) return std::string(value.text());
  const Object text = expect(value.object(), Kind::string);
  RawValue result{};
  const int code = call_borrowed(interface().get_string, {Argument(text)}, &result);
  if (code != kStr) throw Unsupported("not the text that was expected");
  return result.text;
}

std::size_t Objects::size(Object array) const {
  const std::int64_t size = call_integer(interface().array_size, {Argument(not_null(array))});
  if (size < 0) throw Unsupported("an array of negative size");
  return static_cast<std::size_t>(size);
}

Value Objects::item(Object array, std::size_t position) const {
  Value value;
  const auto index = static_cast<std::int64_t>(position);
  value.code_ = call_borrowed(interface().array_item,
                              {Argument(not_null(array)), Argument(index)}, &value.raw_);
  return value;
}

std::vector<Object> Objects::items(Object object, const char* name) {
  const Object array = expect(child(object, name), Kind::array);
  std::vector<Object> items(size(array));
  for (std::size_t i = 0; i < items.size(); ++i) items[i] = item(array, i).object();
  return items;
}

Object Objects::function(Object module, const char* name) const {
  const Argument arguments[] = {Argument(not_null(module)), Argument(name)};
  if (call_integer(interface().contains_global, {arguments[0], arguments[1]}) == 0) return nullptr;
  Value value;
  value.code_ =
      call_borrowed(interface().lookup_name, {arguments[0], arguments[1]}, &value.raw_);
  return value.object();
}

Object Objects::function(Object module, Object global_var) {
  const std::string name = to_text(field(global_var, "name_hint"));
  if (function(module, name.c_str()) == nullptr) throw Unsupported("a function that is not there");
  Value value;
  value.code_ = call_borrowed(interface().lookup,
                              {Argument(module), Argument(global_var)}, &value.raw_);
  return not_null(value.object());
}

}  // namespace relay_frontend::packed
