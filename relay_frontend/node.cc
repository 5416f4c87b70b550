#include "relay_frontend/node.h"

#include <algorithm>
#include <stdexcept>

#include "relay_frontend/vocabulary.h"

namespace relay_frontend {

namespace {

// Names that are the same in every context. Filled by static initialization and by configure, and
// only read afterwards.
struct KnownNames {
  std::unordered_map<Text, Name> ids;
  std::vector<std::unique_ptr<std::string>> texts;
  bool complete = false;
};

KnownNames& known_names() {
  static KnownNames names;
  return names;
}

}  // namespace

std::int64_t checked_mul(std::int64_t a, std::int64_t b) {
  std::int64_t result;
  if (__builtin_mul_overflow(a, b, &result)) throw Unsupported("a product leaves 64 bits");
  return result;
}

std::int64_t checked_add(std::int64_t a, std::int64_t b) {
  std::int64_t result;
  if (__builtin_add_overflow(a, b, &result)) throw Unsupported("a sum leaves 64 bits");
  return result;
}

std::int64_t floor_mod(std::int64_t a, std::int64_t divisor) {
  if (divisor <= 0) throw Unsupported("modulo of a divisor that is not positive");
  const std::int64_t rest = a % divisor;
  return rest < 0 ? rest + divisor : rest;
}

std::int64_t first_index(std::int64_t start, std::int64_t step, std::int64_t extent) {
  if (step == 0) throw Unsupported("a slice with step 0");
  const std::int64_t lowest = step < 0 ? -1 : 0, highest = step < 0 ? extent - 1 : extent;
  return std::clamp(start < 0 ? start + extent : start, lowest, highest);
}

Name known(Text text) {
  KnownNames& names = known_names();
  if (names.complete) throw std::logic_error("known() after configure: " + std::string(text));
  if (auto found = names.ids.find(text); found != names.ids.end()) return found->second;
  const Name name{static_cast<std::uint32_t>(names.texts.size())};
  names.texts.push_back(std::make_unique<std::string>(text));
  names.ids.emplace(*names.texts.back(), name);
  return name;
}

void complete_known_names() { known_names().complete = true; }

// --- Types -------------------------------------------------------------------------------------

DType dtype_named(Text name) {
  const auto& dtypes = vocabulary().dtypes;
  for (std::size_t i = 0; i < dtypes.size(); ++i) {
    if (dtypes[i].name == name) return DType{static_cast<std::uint8_t>(i)};
  }
  throw Unsupported("element type " + std::string(name));
}

Text dtype_name(DType dtype) { return vocabulary().dtypes.at(dtype.id).name; }

std::int64_t itemsize(DType dtype) { return vocabulary().dtypes.at(dtype.id).itemsize; }

std::int64_t TensorType::num_elements() const {
  std::int64_t product = 1;
  for (std::int64_t extent : shape) product = checked_mul(product, extent);
  return product;
}

std::int64_t TensorType::num_bytes() const { return checked_mul(num_elements(), itemsize(dtype)); }

// --- Nodes -------------------------------------------------------------------------------------

namespace {

template <class T>
T get(const Node& node, Name name) {
  const AttrValue* value = node.find(name);
  if (value == nullptr || !std::holds_alternative<T>(*value)) {
    throw Unsupported("an attribute is missing or of another type");
  }
  return std::get<T>(*value);
}

}  // namespace

const AttrValue* Node::find(Name name) const {
  for (const Attr& attr : attrs) {
    if (attr.name == name) return &attr.value;
  }
  return nullptr;
}

std::int64_t Node::integer(Name name) const { return get<std::int64_t>(*this, name); }
bool Node::boolean(Name name) const { return get<bool>(*this, name); }
Text Node::text(Name name) const { return get<Text>(*this, name); }
Ints Node::ints(Name name) const { return get<Ints>(*this, name); }

double Node::real(Name name) const {
  const AttrValue* value = find(name);
  if (value != nullptr && std::holds_alternative<std::int64_t>(*value)) {
    return static_cast<double>(std::get<std::int64_t>(*value));
  }
  return get<double>(*this, name);
}

// --- Ownership ---------------------------------------------------------------------------------

void* Arena::allocate(std::size_t bytes) {
  constexpr std::size_t kLargestBlock = std::size_t{1} << 20;
  bytes = (bytes + kAlignment - 1) / kAlignment * kAlignment;
  if (bytes > left_) {
    left_ = std::max(bytes, block_bytes_);
    blocks_.emplace_back(new std::byte[left_]);
    next_ = blocks_.back().get();
    block_bytes_ = std::min(2 * block_bytes_, kLargestBlock);
  }
  std::byte* result = next_;
  next_ += bytes;
  left_ -= bytes;
  return result;
}

Context::Context() = default;

Name Context::name(Text text) {
  const auto& known_ids = known_names().ids;
  if (auto found = known_ids.find(text); found != known_ids.end()) return found->second;
  if (auto found = names_.find(text); found != names_.end()) return found->second;
  const Name name{static_cast<std::uint32_t>(known_names().texts.size() + texts_.size())};
  texts_.push_back(this->text(text));
  names_.emplace(texts_.back(), name);
  return name;
}

Text Context::text_of(Name name) const {
  const auto& known_texts = known_names().texts;
  if (name.id < known_texts.size()) return *known_texts[name.id];
  return texts_.at(name.id - known_texts.size());
}

Text Context::text(Text value) {
  if (value.empty()) return {};
  char* copy = arena_.array<char>(value.size());
  std::memcpy(copy, value.data(), value.size());
  return {copy, value.size()};
}

Attrs Context::with(Attrs attrs, Attr changed) {
  const bool replaces = std::any_of(attrs.begin(), attrs.end(), [&](const Attr& attr) {
    return attr.name == changed.name;
  });
  Attr* copy = arena_.array<Attr>(attrs.size() + (replaces ? 0 : 1));
  std::size_t size = 0;
  for (const Attr& attr : attrs) {
    new (copy + size++) Attr(attr.name == changed.name ? changed : attr);
  }
  if (!replaces) new (copy + size++) Attr(changed);
  return Attrs(copy, size);
}

TensorType Context::type(Ints shape, DType dtype) {
  for (std::int64_t extent : shape) {
    if (extent < 0) throw Unsupported("negative extent");
  }
  return TensorType{shape, dtype};
}

TensorType Context::type(const std::vector<std::int64_t>& shape, DType dtype) {
  return type(span(shape), dtype);
}

Node* Context::make(Name op, TensorType type, Operands inputs, Attrs attrs, Text source) {
  Node node;
  node.op = op;
  node.type = type;
  node.inputs = inputs;
  node.attrs = attrs;
  node.source = source;
  return copy(&node);
}

Node* Context::input(TensorType type, Text source) {
  return make(op::input, type, {}, {}, source);
}

Node* Context::constant(TensorType type, const ConstantValue* value) {
  Node* node = make(op::constant, type);
  node->value = value;
  return node;
}

Node* Context::copy(const Node* node) {
  if (num_nodes_ == UINT32_MAX) throw Unsupported("too many nodes");
  Node* result = new (arena_.array<Node>(1)) Node(*node);
  result->serial = num_nodes_++;
  return result;
}

namespace {

void check_size(Ints shape, std::size_t size) {
  if (TensorType{shape, {}}.num_elements() != static_cast<std::int64_t>(size)) {
    throw Unsupported("a constant's content does not fit its shape");
  }
}

}  // namespace

const ConstantValue* Context::reals(Ints shape, Span<double> values) {
  check_size(shape, values.size());
  return new (arena_.array<ConstantValue>(1)) ConstantValue{shape, false, values, {}};
}

const ConstantValue* Context::integers(Ints shape, Ints values) {
  check_size(shape, values.size());
  double* reals = arena_.array<double>(values.size());
  std::copy(values.begin(), values.end(), reals);
  return new (arena_.array<ConstantValue>(1))
      ConstantValue{shape, true, Span<double>(reals, values.size()), values};
}

Node* Context::outside_vocabulary(Text operator_name, TensorType type, Operands inputs,
                                  Text source) {
  const bool clashes = spec_of(name(operator_name)) != nullptr;
  const Name own = name(clashes ? "other." + std::string(operator_name)
                                : std::string(operator_name));
  return make(own, type, inputs, {}, source);
}

std::vector<Node*> topological(const Context& context, const std::vector<Node*>& outputs) {
  struct Visit {
    Node* node;
    bool operands_done;
  };
  std::vector<Node*> order;
  std::vector<bool> done(context.num_nodes());
  std::vector<Visit> stack;
  for (auto node = outputs.rbegin(); node != outputs.rend(); ++node) {
    stack.push_back({*node, false});
  }
  while (!stack.empty()) {
    const Visit visit = stack.back();
    stack.pop_back();
    if (done[visit.node->serial]) continue;
    if (visit.operands_done) {
      done[visit.node->serial] = true;
      order.push_back(visit.node);
      continue;
    }
    stack.push_back({visit.node, true});
    const Operands inputs = visit.node->inputs;
    for (std::size_t i = inputs.size(); i-- > 0;) {
      if (!done[inputs[i]->serial]) stack.push_back({inputs[i], false});
    }
  }
  return order;
}

}  // namespace relay_frontend
