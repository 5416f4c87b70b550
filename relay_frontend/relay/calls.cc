#include "relay_frontend/relay/calls.h"

#include <algorithm>
#include <deque>
#include <iterator>
#include <string>
#include <string_view>
#include <unordered_map>

#include "relay_frontend/relay/typing.h"

namespace relay_frontend {

using packed::Kind;
using packed::Object;
using packed::Objects;

// --- Evaluation --------------------------------------------------------------------------------

namespace {

constexpr int kMaxNesting = 100;  // of tuples, which are taken apart recursively

// What marks an expression for a compiler and computes nothing; sorted.
constexpr std::string_view kTransparent[] = {
    "annotation.cast_hint",    "annotation.checkpoint",   "annotation.compiler_begin",
    "annotation.compiler_end", "annotation.stop_fusion", "copy",
    "device_copy",             "on_device",
};

// What an expression evaluates to: a slot, or an index into the evaluator's tuples or closures.
struct Value {
  enum Kind : std::uint8_t { missing, tensor, tuple, closure };
  Kind kind = missing;
  std::uint32_t index = 0;
};

// Values of the expressions in one activation of a function.
struct Scope {
  const Scope* parent;
  std::unordered_map<Object, Value> values;

  Value find(Object expr) const {
    for (const Scope* scope = this; scope != nullptr; scope = scope->parent) {
      if (auto found = scope->values.find(expr); found != scope->values.end()) {
        return found->second;
      }
    }
    return {};
  }
  void set(Object expr, Value value) { values[expr] = value; }
};

struct Closure {
  Object function;
  const Scope* scope;
};

// An expression to evaluate, and how far that has come.
struct Step {
  enum Stage : std::uint8_t { start, has_parts, let_value, let_body, inlined };
  Object expr;
  Scope* scope;
  Stage stage = start;
  std::size_t first_part = 0;  // in the evaluator's stack of parts, has_parts only
  Object body = nullptr;       // of the function that was inlined, and its scope
  Scope* inner = nullptr;
};

struct OperatorName {
  Text name;
  bool is_transparent;
};

class Evaluator {
 public:
  Evaluator(Context& context, Objects& objects, Object module)
      : context_(context), objects_(objects), module_(module), typing_(context, objects) {}

  RelayProgram run() {
    const Object function = objects_.function(module_, "main");
    if (function == nullptr) throw Unsupported("no function main");
    objects_.expect(function, Kind::function);
    Scope* scope = new_scope(nullptr);
    active_.push_back(function);
    for (Object var : objects_.items(function, "params")) {
      const Text name = variable_name(objects_.expect(var, Kind::var));
      scope->set(var, variable(typing_.declared(var), name, 0));
    }
    const Object body = objects_.child(function, "body");
    push(body, scope);
    while (!stack_.empty()) {
      const Step step = stack_.back();
      stack_.pop_back();
      if (step.stage == Step::start && step.scope->find(step.expr).kind != Value::missing) continue;
      evaluate(step);
    }
    tensors(scope->find(body), program_.outputs, 0);
    return std::move(program_);
  }

 private:
  void evaluate(const Step& step) {
    switch (objects_.kind(step.expr)) {
      case Kind::call:
        return call(step);
      case Kind::constant:
        return step.scope->set(step.expr, constant(step.expr));
      case Kind::function:
        return step.scope->set(step.expr, new_closure(step.expr, step.scope));
      case Kind::global_var: {
        const Object function = objects_.function(module_, step.expr);
        objects_.expect(function, Kind::function);
        return step.scope->set(step.expr, new_closure(function, nullptr));
      }
      case Kind::let:
        return let(step);
      case Kind::tuple:
        return tuple(step);
      case Kind::tuple_get_item:
        return item(step);
      default:
        throw Unsupported("an expression that is no dataflow");
    }
  }

  // --- Values ---

  void push(Object expr, Scope* scope) { stack_.push_back({expr, scope}); }

  Scope* new_scope(const Scope* parent) {
    scopes_.push_back({parent, {}});
    return &scopes_.back();
  }

  Value new_closure(Object function, const Scope* scope) {
    closures_.push_back({function, scope});
    return {Value::closure, static_cast<std::uint32_t>(closures_.size() - 1)};
  }

  Value new_tuple(std::vector<Value> items) {
    tuples_.push_back(std::move(items));
    return {Value::tuple, static_cast<std::uint32_t>(tuples_.size() - 1)};
  }

  Value new_slot(Node* leaf, TensorType type) {
    if (types_.size() == UINT32_MAX) throw Unsupported("too many tensors");
    program_.leaves.push_back(leaf);
    types_.push_back(type);
    return {Value::tensor, static_cast<std::uint32_t>(types_.size() - 1)};
  }

  // Appends the slots in a value, nested tuples taken apart.
  void tensors(Value value, std::vector<std::uint32_t>& slots, int nesting) const {
    if (value.kind == Value::tensor) {
      slots.push_back(value.index);
    } else if (value.kind == Value::tuple && nesting < kMaxNesting) {
      for (Value item : tuples_[value.index]) tensors(item, slots, nesting + 1);
    } else {
      throw Unsupported("a function where a tensor was expected");
    }
  }

  // --- Leaves ---

  Text variable_name(Object var) {
    return context_.text(objects_.to_text(objects_.field(objects_.child(var, "vid"), "name_hint")));
  }

  Value variable(Object type, Text name, int nesting) {
    if (objects_.kind(type) == Kind::tuple_type) {
      if (nesting == kMaxNesting) throw Unsupported("too deep a tuple");
      std::vector<Value> items;
      for (Object item : objects_.items(type, "fields")) {
        items.push_back(variable(item, name, nesting + 1));
      }
      return new_tuple(std::move(items));
    }
    TensorType known;
    if (!typing_.tensor(type, known)) throw Untyped();
    const Value slot = new_slot(context_.input(known, name), known);
    program_.variables.emplace_back(name, slot.index);
    return slot;
  }

  Value constant(Object expr) {
    const packed::Tensor& data = objects_.field(expr, "data").tensor();
    const TensorType type = type_of(context_, data);
    return new_slot(context_.constant(type, small_value(context_, data)), type);
  }

  // --- Expressions with parts ---

  void let(Step step) {
    const Object value = objects_.child(step.expr, "value");
    const Object body = objects_.child(step.expr, "body");
    if (step.stage == Step::start) {
      step.stage = Step::let_value;
      stack_.push_back(step);
      push(value, step.scope);
    } else if (step.stage == Step::let_value) {
      step.scope->set(objects_.child(step.expr, "var"), step.scope->find(value));
      step.stage = Step::let_body;
      stack_.push_back(step);
      push(body, step.scope);
    } else {
      step.scope->set(step.expr, step.scope->find(body));
    }
  }

  // Whether some of the parts from position `first` on must be evaluated first; then they are on
  // the stack, and the step comes back when they are done.
  bool wait_for(Step step, std::size_t first) {
    const std::size_t before = stack_.size();
    step.stage = Step::has_parts;
    for (std::size_t i = parts_.size(); i-- > first;) {
      if (step.scope->find(parts_[i]).kind != Value::missing) continue;
      if (stack_.size() == before) stack_.push_back(step);
      push(parts_[i], step.scope);
    }
    return stack_.size() != before;
  }

  // The values of the parts from position `first` on; all parts of the step are dropped.
  std::vector<Value> take_values(const Step& step, std::size_t first) {
    std::vector<Value> values;
    for (std::size_t i = first; i < parts_.size(); ++i) {
      values.push_back(step.scope->find(parts_[i]));
    }
    parts_.resize(step.first_part);
    return values;
  }

  // Puts the parts of an expression on the stack of parts when it is first seen.
  void open(Step& step, const char* name) {
    if (step.stage != Step::start) return;
    step.first_part = parts_.size();
    for (Object part : objects_.items(step.expr, name)) parts_.push_back(part);
  }

  void tuple(Step step) {
    open(step, "fields");
    if (wait_for(step, step.first_part)) return;
    step.scope->set(step.expr, new_tuple(take_values(step, step.first_part)));
  }

  void item(Step step) {
    if (step.stage == Step::start) {
      step.first_part = parts_.size();
      parts_.push_back(objects_.child(step.expr, "tuple_value"));
    }
    if (wait_for(step, step.first_part)) return;
    const Value value = take_values(step, step.first_part).front();
    const std::int64_t index = objects_.to_integer(objects_.field(step.expr, "index"));
    if (value.kind != Value::tuple || index < 0) throw Unsupported("an item of what is no tuple");
    const std::vector<Value>& items = tuples_[value.index];
    if (index >= static_cast<std::int64_t>(items.size())) throw Unsupported("no such item");
    step.scope->set(step.expr, items[static_cast<std::size_t>(index)]);
  }

  // The parts of a call are its callee and its arguments.
  void call(Step step) {
    if (step.stage == Step::inlined) {
      active_.pop_back();
      return step.scope->set(step.expr, step.inner->find(step.body));
    }
    if (step.stage == Step::start) {
      step.first_part = parts_.size();
      parts_.push_back(objects_.child(step.expr, "op"));
      for (Object part : objects_.items(step.expr, "args")) parts_.push_back(part);
    }
    const Object callee = parts_[step.first_part];
    const bool is_operator = objects_.kind(callee) == Kind::op;
    if (wait_for(step, step.first_part + is_operator)) return;
    std::vector<Value> values = take_values(step, step.first_part + 1);
    if (is_operator) {
      step.scope->set(step.expr, operate(step.expr, callee, values));
    } else {
      inline_call(step, step.scope->find(callee), values);
    }
  }

  void inline_call(Step step, Value callee, const std::vector<Value>& values) {
    if (callee.kind != Value::closure) throw Unsupported("a call of what is no function");
    const Closure closure = closures_[callee.index];
    if (std::find(active_.begin(), active_.end(), closure.function) != active_.end()) {
      throw Unsupported("recursion");
    }
    if (++inlined_ > kMaxInlined) throw Unsupported("too many calls");
    const std::vector<Object> params = objects_.items(closure.function, "params");
    if (params.size() != values.size()) throw Unsupported("another number of arguments");
    step.inner = new_scope(closure.scope);
    for (std::size_t i = 0; i < params.size(); ++i) step.inner->set(params[i], values[i]);
    step.body = objects_.child(closure.function, "body");
    step.stage = Step::inlined;
    active_.push_back(closure.function);
    stack_.push_back(step);
    push(step.body, step.inner);
  }

  // --- Operators ---

  const OperatorName& operator_name(Object op) {
    const auto [entry, is_new] = operators_.try_emplace(op);
    if (is_new) {
      const Text name = context_.text(objects_.to_text(objects_.field(op, "name")));
      const bool is_transparent =
          std::binary_search(std::begin(kTransparent), std::end(kTransparent), name);
      entry->second = {name, is_transparent};
    }
    return entry->second;
  }

  // Name of the call's span, or of the operator where it has none.
  Text source(Object call, Text otherwise) {
    const Object span = objects_.child(call, "span");
    if (span == nullptr || objects_.kind(span) != Kind::span) return otherwise;
    const Object source = objects_.child(span, "source_name");
    if (source == nullptr) return otherwise;
    return context_.text(objects_.to_text(objects_.field(source, "name")));
  }

  // A new call in the program; the value that it gives.
  Value operate(Object call, Object op, const std::vector<Value>& values) {
    const OperatorName& name = operator_name(op);
    if (name.is_transparent) return values.empty() ? throw Unsupported("no operand") : values[0];
    if (name.name.substr(0, 4) == "dyn.") throw Dynamic();
    slots_.clear();
    for (Value value : values) tensors(value, slots_, 0);
    const Span<std::uint32_t> operands = context_.span(slots_);
    const ResultTypes results = typing_.results(call, name.name, slots_, types_);
    const std::size_t first = types_.size();
    std::vector<Value> items;
    for (const TensorType& type : results.types) items.push_back(new_slot(nullptr, type));
    program_.calls.push_back(
        {name.name, call, operands, first, results.types, source(call, name.name)});
    if (results.is_tuple) return new_tuple(std::move(items));
    return items.front();
  }

  Context& context_;
  Objects& objects_;
  Object module_;
  Typing typing_;
  RelayProgram program_;
  std::vector<TensorType> types_;  // one per slot
  std::vector<Step> stack_;
  std::vector<Object> parts_;
  std::vector<Object> active_;  // functions that are being evaluated
  int inlined_ = 0;
  std::deque<Scope> scopes_;
  std::vector<Closure> closures_;
  std::vector<std::vector<Value>> tuples_;
  std::unordered_map<Object, OperatorName> operators_;
  std::vector<std::uint32_t> slots_;
};

}  // namespace

RelayProgram evaluate(Context& context, Objects& objects, Object module) {
  return Evaluator(context, objects, module).run();
}

}  // namespace relay_frontend
