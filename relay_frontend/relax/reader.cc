// Relax -> nodes, by reflection; twin of reader.py.

#include "relay_frontend/relax/reader.h"

#include <nanobind/nanobind.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>

#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "relay_frontend/bindings.h"
#include "relay_frontend/canonical/canonicalize.h"

namespace relay_frontend {

namespace {

using ffi::Kind;

constexpr int kDeepest = 100;  // expressions within expressions

// --- Reader ------------------------------------------------------------------------------------

// What a variable stands for: a node, or for a tuple several values.
struct Bound {
  Node* node;
  Span<Bound> fields;
};

bool is_packed(Text name) {
  return name == "call_dps_packed" || name == "call_inplace_packed" || name == "call_pure_packed";
}

bool takes_shapes(Text name) { return name == "shape_to_tensor" || name == "tensor_to_shape"; }

bool starts_with(Text text, Text prefix) { return text.substr(0, prefix.size()) == prefix; }

Text without_prefix(Text text, Text prefix) {
  return starts_with(text, prefix) ? text.substr(prefix.size()) : text;
}

// The kind of an expression's type; that of numbers, strings and dtypes is `other`.
Kind kind_of_type(const ffi::Value& expr) {
  const ffi::Object object = expr.object();
  if (!object.has_field("ty")) return Kind::other;
  const ffi::Value type = object.field("ty");
  return type.is_none() ? Kind::other : type.object().kind();
}

bool is_value(Kind type) {
  return type == Kind::tensor_type || type == Kind::tuple_type || type == Kind::shape_type;
}

class Reader {
 public:
  // `params` as in reader.py; null where it is None.
  Reader(Context& context, ffi::Object module, const std::unordered_set<Text>* params)
      : context_(context), functions_(module.field("functions").map()), params_(params) {
    main_ = expect(module.field("global_var_map_").map().at("main"), Kind::global_var);
  }

  Network read() {
    const ffi::Object function = expect(functions_.at(main_), Kind::function);
    const ffi::Sequence params = function.field("params").sequence();
    std::size_t num_input = params.size();
    const ffi::Value attrs = function.field("attrs");
    if (!attrs.is_none()) {
      const ffi::Map map = attrs.object().field("__dict__").map();
      if (map.contains("num_input")) num_input = count(map.at("num_input").integer());
    }
    for (std::size_t i = 0; i < params.size(); ++i) {
      const ffi::Object var = params[i].object();
      const ffi::Value name = var.field("name");
      const bool is_weight = params_ != nullptr ? params_->count(name.text()) != 0 : i >= num_input;
      bind(var, parameter(var.field("ty").object(), context_.text(name.text()), is_weight));
    }
    flatten(evaluate(function, "main"), network_.outputs);
    return std::move(network_);
  }

 private:
  static std::size_t count(std::int64_t value) {
    if (value < 0) throw Unsupported("a negative number of things");
    return static_cast<std::size_t>(value);
  }

  static ffi::Object expect(const ffi::Value& value, Kind kind) {
    const ffi::Object object = value.object();
    if (object.kind() != kind) throw Unsupported("an object of another class");
    return object;
  }

  void bind(ffi::Object var, Bound value) { bound_.insert_or_assign(var.identity(), value); }

  static void flatten(Bound value, std::vector<Node*>& nodes) {
    if (value.node != nullptr) nodes.push_back(value.node);
    for (const Bound field : value.fields) flatten(field, nodes);
  }

  Bound parameter(ffi::Object type, Text name, bool is_weight) {
    if (type.kind() == Kind::tuple_type) {
      const ffi::Sequence fields = type.field("fields").sequence();
      std::vector<Bound> values;
      for (std::size_t i = 0; i < fields.size(); ++i) {
        values.push_back(parameter(fields[i].object(), name, is_weight));
      }
      return {nullptr, context_.span(values)};
    }
    const TensorType tensor = tensor_type(type);
    if (is_weight) return {context_.constant(tensor), {}};
    network_.inputs.push_back(context_.input(tensor, name));
    return {network_.inputs.back(), {}};
  }

  Bound evaluate(ffi::Object function, Text name) {
    for (const char c : name) {  // Python quotes a name, and escapes what is unusual in it
      if (c < ' ' || c > '~' || c == '\'' || c == '\\') throw Unsupported("an unusual name");
    }
    const Text source = context_.text("the result of '" + std::string(name) + "'");
    return value(function.field("body"), source);
  }

  // Expressions within expressions are read recursively.
  Bound value(const ffi::Value& expr, Text source) {
    if (++depth_ > kDeepest) throw Unsupported("deeply nested expressions");
    const Bound result = read_value(expr.object(), source);
    --depth_;
    return result;
  }

  Bound read_value(ffi::Object expr, Text source) {
    switch (expr.kind()) {
      case Kind::var: {
        const auto found = bound_.find(expr.identity());
        if (found == bound_.end()) throw Unsupported("a variable before its binding");
        return found->second;
      }
      case Kind::call:
        return call(expr, source);
      case Kind::constant:
        return {constant(expr), {}};
      case Kind::tuple:
        return {nullptr, tuple(expr.field("fields").sequence(), source)};
      case Kind::tuple_get_item: {
        const Bound all = value(expr.field("tuple_value"), source);
        return all.fields[count(expr.field("index").integer())];
      }
      case Kind::seq_expr: {
        const ffi::Sequence blocks = expr.field("blocks").sequence();
        for (std::size_t i = 0; i < blocks.size(); ++i) read_block(blocks[i].object());
        return value(expr.field("body"), source);
      }
      case Kind::shape_expr:
        return {shape(expr), {}};
      default:
        throw Unsupported("an expression of this class");
    }
  }

  void read_block(ffi::Object block) {
    const ffi::Sequence bindings = block.field("bindings").sequence();
    for (std::size_t i = 0; i < bindings.size(); ++i) {
      const ffi::Object binding = bindings[i].object();
      const ffi::Object var = binding.field("var").object();
      const ffi::Value name = var.field("name");
      bind(var, value(binding.field("value"), context_.text(name.text())));
    }
  }

  Span<Bound> tuple(const ffi::Sequence& fields, Text source) {
    std::vector<Bound> values;
    for (std::size_t i = 0; i < fields.size(); ++i) {
      const ffi::Value field = fields[i];
      if (is_value(kind_of_type(field))) values.push_back(value(field, source));
    }
    return context_.span(values);
  }

  // --- Calls

  struct Operator {
    Text name;  // without its dialect
    RelaxOperator converted;
  };

  Bound call(ffi::Object call, Text source) {
    std::vector<ffi::Value> args = all(call.field("args").sequence());
    const ffi::Object callee = call.field("op").object();
    if (callee.kind() == Kind::global_var) return inline_call(callee, args, source);
    const Operator* op = &named(callee);
    ffi::Value attrs = call.field("attrs");
    if (is_packed(op->name)) {
      op = &named(expect(at(args, 0), Kind::extern_func));
      args.erase(args.begin());
    } else if (starts_with(op->name, "call_tir")) {
      const ffi::Object function = expect(at(args, 0), Kind::global_var);
      op = &named(function);
      if (!is_relax_tir(op->name)) throw Unsupported("a legalized module");
      attrs = functions_.at(function);
      args = all(expect(at(args, 1), Kind::tuple).field("fields").sequence());
    }
    const Operands operands = this->operands(args, takes_shapes(op->name), source);
    const ffi::Object type = call.field("ty").object();
    const Span<TensorType> types = result_types(type);
    const std::vector<Node*> nodes = op->converted.convert(RelaxCall(
        context_, op->name, source, std::move(args), attrs, operands, types));
    if (type.kind() != Kind::tuple_type) return {nodes[0], {}};
    std::vector<Bound> results;
    for (Node* node : nodes) results.push_back({node, {}});
    return {nullptr, context_.span(results)};
  }

  Bound inline_call(ffi::Object name, const std::vector<ffi::Value>& args, Text source) {
    if (++inlined_ > kMaxInlined) throw Unsupported("too many calls");
    const ffi::Object function = expect(functions_.at(name), Kind::function);
    const ffi::Sequence params = function.field("params").sequence();
    if (params.size() != args.size()) throw Unsupported("a call with other parameters");
    std::vector<Bound> values;
    for (const ffi::Value& arg : args) values.push_back(value(arg, source));
    for (std::size_t i = 0; i < values.size(); ++i) bind(params[i].object(), values[i]);
    const ffi::Value hint = name.field("name_hint");
    return evaluate(function, hint.text());
  }

  // The operator that a callee stands for. The importer numbers its functions of TIR.
  const Operator& named(ffi::Object callee) {
    const auto found = operators_.find(callee.identity());
    if (found != operators_.end()) return found->second;
    Text name;
    ffi::Value field;
    if (callee.kind() == Kind::op) {
      field = callee.field("name");
      name = context_.text(without_prefix(field.text(), "relax."));
    } else if (callee.kind() == Kind::extern_func) {
      field = callee.field("global_symbol");
      name = context_.text(field.text());
    } else if (callee.kind() == Kind::global_var) {
      field = callee.field("name_hint");
      name = field.text();
      while (!name.empty() && name.back() >= '0' && name.back() <= '9') name.remove_suffix(1);
      name = context_.text("tir." + std::string(name));
    } else {
      throw Unsupported("a call of a value");
    }
    return operators_.emplace(callee.identity(), Operator{name, RelaxOperator(name)}).first->second;
  }

  static const ffi::Value& at(const std::vector<ffi::Value>& args, std::size_t position) {
    if (position >= args.size()) throw Unsupported("a call with fewer arguments");
    return args[position];
  }

  static std::vector<ffi::Value> all(const ffi::Sequence& sequence) {
    std::vector<ffi::Value> values;
    values.reserve(sequence.size());
    for (std::size_t i = 0; i < sequence.size(); ++i) values.push_back(sequence[i]);
    return values;
  }

  Operands operands(const std::vector<ffi::Value>& args, bool with_shapes, Text source) {
    std::vector<Node*> nodes;
    for (const ffi::Value& arg : args) {
      const Kind type = kind_of_type(arg);
      if (!is_value(type) || (type == Kind::shape_type && !with_shapes)) continue;
      flatten(value(arg, source), nodes);
    }
    return context_.span(nodes);
  }

  // --- Types and constants

  Span<TensorType> result_types(ffi::Object type) {
    std::vector<TensorType> types;
    if (type.kind() == Kind::tuple_type) {
      const ffi::Sequence fields = type.field("fields").sequence();
      for (std::size_t i = 0; i < fields.size(); ++i) {
        types.push_back(tensor_type(fields[i].object()));
      }
    } else if (type.kind() == Kind::shape_type) {
      types.push_back(shape_type(type.field("ndim").integer()));
    } else {
      types.push_back(tensor_type(type));
    }
    return context_.span(types);
  }

  TensorType shape_type(std::int64_t rank) {
    return context_.type(context_.ints({rank}), dtype_named("int64"));
  }

  Ints extents(ffi::Object shape) {
    const ffi::Sequence values = shape.field("values").sequence();
    shape_.clear();
    for (std::size_t i = 0; i < values.size(); ++i) {
      shape_.push_back(expect(values[i], Kind::int_imm).field("value").integer());
    }
    return context_.span(shape_);
  }

  TensorType tensor_type(ffi::Object type) {
    if (type.kind() != Kind::tensor_type) throw Unsupported("a type other than a tensor's");
    const Ints shape = extents(expect(type.field("shape"), Kind::shape_expr));
    const ffi::Object element = expect(type.field("dtype"), Kind::prim_type);
    return context_.type(shape, dtype_of(element.field("dtype").dtype()));
  }

  Node* shape(ffi::Object expr) {
    const Ints values = extents(expr);
    const TensorType type = shape_type(static_cast<std::int64_t>(values.size()));
    return context_.constant(type, context_.integers(type.shape, values));
  }

  Node* constant(ffi::Object expr) {
    const TensorType type = tensor_type(expr.field("ty").object());
    if (type.num_elements() > kSmall) return context_.constant(type);
    const ffi::Value value = expr.field("value");
    return context_.constant(type, content_of(context_, value.tensor(), type));
  }

  Context& context_;
  ffi::Map functions_;
  const std::unordered_set<Text>* params_;
  ffi::Object main_;
  Network network_;
  std::unordered_map<const void*, Bound> bound_;      // by variable
  std::unordered_map<const void*, Operator> operators_;  // by what a call names
  std::vector<std::int64_t> shape_;                      // scratch
  int depth_ = 0;
  int inlined_ = 0;
};

// The graph of the function main of a module that the caller keeps alive.
std::unique_ptr<Graph> read_relax(std::uintptr_t handle,
                                  const std::optional<std::vector<std::string>>& params,
                                  const std::string& library) {
  ffi::connect(library);
  const ffi::Object module(reinterpret_cast<TVMFFIObject*>(handle));
  if (module.kind() != Kind::module) throw Unsupported("no module");
  std::unordered_set<Text> names;
  if (params) names.insert(params->begin(), params->end());
  auto context = std::make_unique<Context>();
  Network network = Reader(*context, module, params ? &names : nullptr).read();
  return canonicalize(std::move(context), std::move(network));
}

}  // namespace

void bind_relax(nanobind::module_& module) {
  namespace nb = nanobind;
  module.def("read_relax", &read_relax, nb::arg("module"), nb::arg("params").none(),
             nb::arg("library"));
}

}  // namespace relay_frontend
