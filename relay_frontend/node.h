// The mutable form between a native reader and a frozen graph; twin of nodes.py.
//
// A reader owns one Context, makes all nodes in it, and hands the result to canonicalize (see
// canonical/canonicalize.h). Everything a node points at (shapes, operands, attributes, texts) lies
// in the context's arena and lives exactly as long as the context, so nodes are plain values: copy
// them freely, never delete them. Shapes, operand lists and attribute lists are immutable spans; to
// change one, make a new span and assign it.
//
// Whatever this side does not know or cannot represent is `throw Unsupported("reason")`: the Python
// twin then reads the whole network again and gives the result or the message for the user.

#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

namespace relay_frontend {

// The native path cannot go on; the reason is for debugging, never for users.
class Unsupported : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// --- Spans: immutable views of arrays in the arena ---------------------------------------------

template <class T>
class Span {
 public:
  constexpr Span() = default;
  constexpr Span(const T* data, std::size_t size)
      : data_(data), size_(static_cast<std::uint32_t>(size)) {}

  const T* begin() const { return data_; }
  const T* end() const { return data_ + size_; }
  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }

  // Bounds are always checked: an operator with fewer operands than it should have is Unsupported.
  const T& operator[](std::size_t position) const {
    if (position >= size_) throw Unsupported("index out of range");
    return data_[position];
  }
  const T& front() const { return (*this)[0]; }
  const T& back() const { return (*this)[std::size_t{size_} - 1]; }

  // The part [first, last); Python's slice with nonnegative bounds, clipped to the span.
  Span slice(std::size_t first, std::size_t last = SIZE_MAX) const {
    last = last < size_ ? last : size_;
    return first < last ? Span(data_ + first, last - first) : Span();
  }

  friend bool operator==(Span a, Span b) {
    if (a.size_ != b.size_) return false;
    for (std::size_t i = 0; i < a.size_; ++i) {
      if (!(a.data_[i] == b.data_[i])) return false;
    }
    return true;
  }
  friend bool operator!=(Span a, Span b) { return !(a == b); }

 private:
  const T* data_ = nullptr;
  std::uint32_t size_ = 0;
};

using Ints = Span<std::int64_t>;
using Text = std::string_view;

// Products and sums that leave 64 bits are Unsupported: Python's integers have no end.
std::int64_t checked_mul(std::int64_t a, std::int64_t b);
std::int64_t checked_add(std::int64_t a, std::int64_t b);

// Python's floor modulo: axis % rank for negative axes. Unsupported where divisor <= 0.
std::int64_t floor_mod(std::int64_t a, std::int64_t divisor);

// The first index that Python's slice(start, end, step) takes of `extent` ones. Unsupported where
// step is 0.
std::int64_t first_index(std::int64_t start, std::int64_t step, std::int64_t extent);

// Constants up to this number of elements are read; twin of nodes.SMALL.
inline constexpr std::int64_t kSmall = 64;

// Calls of a module's functions; twin of nodes.MAX_INLINED.
inline constexpr int kMaxInlined = 100'000;

// --- Names: operators and attributes, interned -------------------------------------------------

// An operator's or attribute's name. Equal names have equal ids within a context; those made by
// `known` are the same everywhere.
struct Name {
  std::uint32_t id = 0;
  friend bool operator==(Name a, Name b) { return a.id == b.id; }
  friend bool operator!=(Name a, Name b) { return a.id != b.id; }
};

// The id of a name that the sources of this library spell out, or that the vocabulary has. To be
// called during static initialization and from configure only: `static const Name kAxis =
// known("axis");` at namespace scope. Later it throws std::logic_error, since networks may be read
// on several threads.
Name known(Text text);

// No more names are known: configure ends with it.
void complete_known_names();

namespace op {
inline const Name input = known("input");
inline const Name constant = known("constant");
}  // namespace op

// --- Element types -----------------------------------------------------------------------------

struct DType {
  std::uint8_t id = 0;
  friend bool operator==(DType a, DType b) { return a.id == b.id; }
  friend bool operator!=(DType a, DType b) { return a.id != b.id; }
};

// The element type called `name` (numpy's names, and bfloat16); Unsupported where there is none.
DType dtype_named(Text name);
Text dtype_name(DType dtype);
std::int64_t itemsize(DType dtype);

struct TensorType {
  Ints shape;
  DType dtype;

  std::size_t rank() const { return shape.size(); }
  std::int64_t num_elements() const;  // 1 for a scalar
  std::int64_t num_bytes() const;

  friend bool operator==(TensorType a, TensorType b) {
    return a.dtype == b.dtype && a.shape == b.shape;
  }
  friend bool operator!=(TensorType a, TensorType b) { return !(a == b); }
};

// --- Nodes -------------------------------------------------------------------------------------

using AttrValue = std::variant<bool, std::int64_t, double, Text, Ints>;

struct Attr {
  Name name;
  AttrValue value;

  // Exact types only, so that a literal never becomes a bool or a double by accident.
  Attr(Name n, bool v) : name(n), value(v) {}
  Attr(Name n, std::int64_t v) : name(n), value(v) {}
  Attr(Name n, int v) : name(n), value(std::int64_t{v}) {}
  Attr(Name n, double v) : name(n), value(v) {}
  Attr(Name n, Text v) : name(n), value(v) {}
  Attr(Name n, Ints v) : name(n), value(v) {}
  Attr(Name n, AttrValue v) : name(n), value(v) {}
  Attr(Name n, const char* v) = delete;  // wrap it: Text("..."), literals live for ever
};

using Attrs = Span<Attr>;

// Content of a small constant. `reals` always has one entry per element (row-major); `ints` has
// too where the elements are integers or booleans (`integral`), and is empty otherwise.
struct ConstantValue {
  Ints shape;
  bool integral = false;
  Span<double> reals;
  Ints ints;

  std::size_t size() const { return reals.size(); }
};

struct Node;
using Operands = Span<Node*>;

// An operator, a graph input or a constant; see nodes.Node for what the fields mean.
struct Node {
  Name op;
  std::uint32_t serial = 0;  // position in the context, for tables over nodes; set by make/copy
  TensorType type;
  Operands inputs;
  Attrs attrs;
  Text source;
  const ConstantValue* value = nullptr;  // only of constants; null where unknown or large

  bool is_constant() const { return op == relay_frontend::op::constant; }

  // The attribute, or null.
  const AttrValue* find(Name name) const;
  bool has(Name name) const { return find(name) != nullptr; }

  // The attribute; Unsupported where it is missing or of another type. `real` takes ints too.
  std::int64_t integer(Name name) const;
  double real(Name name) const;
  bool boolean(Name name) const;
  Text text(Name name) const;
  Ints ints(Name name) const;
};

struct Network {
  std::vector<Node*> inputs;   // graph inputs, in order
  std::vector<Node*> outputs;  // what is returned, in order
};

// --- Ownership ---------------------------------------------------------------------------------

// Bump allocator for trivially destructible values; all of it is freed with the arena.
class Arena {
 public:
  Arena() = default;
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  void* allocate(std::size_t bytes);

  template <class T>
  T* array(std::size_t count) {
    static_assert(std::is_trivially_destructible_v<T> && alignof(T) <= kAlignment);
    if (count > kMaxCount) throw Unsupported("array too large");
    return static_cast<T*>(allocate(count * sizeof(T)));
  }

 private:
  static constexpr std::size_t kAlignment = 8;
  static constexpr std::size_t kMaxCount = std::size_t{1} << 28;
  std::vector<std::unique_ptr<std::byte[]>> blocks_;
  std::byte* next_ = nullptr;
  std::size_t left_ = 0;
  std::size_t block_bytes_ = std::size_t{1} << 15;
};

// Owner of all nodes of one network, and of everything they point at.
class Context {
 public:
  Context();
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  // Name of a source operator, which the vocabulary may or may not have.
  Name name(Text text);
  // The text of a name, valid as long as the context.
  Text text_of(Name name) const;

  // Copies into the arena.
  Text text(Text value);
  template <class T>
  Span<T> span(const T* data, std::size_t size) {
    if (size == 0) return {};
    T* copy = arena_.array<T>(size);
    for (std::size_t i = 0; i < size; ++i) new (copy + i) T(data[i]);
    return Span<T>(copy, size);
  }
  template <class T>
  Span<T> span(const std::vector<T>& values) {
    return span(values.data(), values.size());
  }
  Ints ints(std::initializer_list<std::int64_t> v) { return span(v.begin(), v.size()); }
  Operands operands(std::initializer_list<Node*> v) { return span<Node*>(v.begin(), v.size()); }
  Attrs attrs(std::initializer_list<Attr> v) { return span(v.begin(), v.size()); }
  // `attrs` with one of them set or added ({**attrs, name: value}).
  Attrs with(Attrs attrs, Attr changed);

  // Types; Unsupported where an extent is negative.
  TensorType type(Ints shape, DType dtype);
  TensorType type(const std::vector<std::int64_t>& shape, DType dtype);

  // Nodes. `source` must be in the arena already (`text`), or a literal.
  Node* make(Name op, TensorType type, Operands inputs = {}, Attrs attrs = {}, Text source = {});
  Node* input(TensorType type, Text source);
  Node* constant(TensorType type, const ConstantValue* value = nullptr);
  Node* copy(const Node* node);  // then assign what differs: nodes.replace

  // Content of a constant of real numbers, or of integers (booleans as 0 and 1).
  const ConstantValue* reals(Ints shape, Span<double> values);
  const ConstantValue* integers(Ints shape, Ints values);

  // A node that keeps the framework's own name; twin of nodes.outside_vocabulary.
  Node* outside_vocabulary(Text operator_name, TensorType type, Operands inputs, Text source);

  std::size_t num_nodes() const { return num_nodes_; }

 private:
  Arena arena_;
  std::uint32_t num_nodes_ = 0;
  std::unordered_map<Text, Name> names_;  // those that are not known
  std::vector<Text> texts_;
};

// All nodes that the outputs depend on, operands first; the order of nodes.topological.
std::vector<Node*> topological(const Context& context, const std::vector<Node*>& outputs);

// --- What readers' converters see --------------------------------------------------------------

// One result of one operator of a framework. A reader derives from it and looks attributes up in
// its own representation; converters take a SourceOperator& and read alike for all sources.
class SourceOperator {
 public:
  SourceOperator(Context& context, Text name, Text source, Operands inputs, TensorType type,
                 std::int64_t position)
      : context(context), name(name), source(source), inputs(inputs), type(type),
        position(position) {}
  virtual ~SourceOperator() = default;

  Context& context;
  Text name;              // as in the Python reader: "Conv", "nn.conv2d"
  Text source;            // name of the operator in the network
  Operands inputs;        // operands, constants included
  TensorType type;        // of this result
  std::int64_t position;  // which result it is

  // Attributes: Unsupported where missing or of another type.
  virtual bool has(const char* attr) const = 0;
  virtual std::int64_t integer(const char* attr) const = 0;
  virtual double real(const char* attr) const = 0;
  virtual Text text(const char* attr) const = 0;
  virtual Ints ints(const char* attr) const = 0;

  std::int64_t integer(const char* attr, std::int64_t otherwise) const {
    return has(attr) ? integer(attr) : otherwise;
  }
  double real(const char* attr, double otherwise) const {
    return has(attr) ? real(attr) : otherwise;
  }
  Text text(const char* attr, Text otherwise) const { return has(attr) ? text(attr) : otherwise; }
  Ints ints(const char* attr, Ints otherwise) const { return has(attr) ? ints(attr) : otherwise; }

  // The node that a converter returns.
  Node* node(Name op, Attrs attrs = {}) const { return node(op, inputs, attrs); }
  Node* node(Name op, Operands operands, Attrs attrs = {}) const {
    return context.make(op, type, operands, attrs, source);
  }
  Node* unknown() const { return context.outside_vocabulary(name, type, inputs, source); }
};

// The canonical operator for a source operator of which only the operands count; twin of
// vocabulary.plain_operators(source). Null where there is none. Source: onnx, relay or relax.
enum class Source { onnx, relay, relax };
const Name* plain_operator(Source source, Text operator_name);

}  // namespace relay_frontend
