// Relax calls as their converters see them; twin of call.py.

#pragma once

#include <optional>
#include <unordered_map>
#include <vector>

#include "relay_frontend/node.h"
#include "relay_frontend/relax/objects.h"

namespace relay_frontend {

// The element type of that name in numpy; Unsupported where there is none.
DType dtype_of(DLDataType dtype);

// The content of a tensor of the given type; Unsupported where it is elsewhere than in memory.
const ConstantValue* content_of(Context& context, const DLTensor& tensor, TensorType type);

// One call of a Relax module. `type` is that of its first result.
class RelaxCall final : public SourceOperator {
 public:
  RelaxCall(Context& context, Text name, Text source, std::vector<ffi::Value> args,
            ffi::Value attrs, Operands inputs, Span<TensorType> types)
      : SourceOperator(context, name, source, inputs, types[0], 0),
        args(std::move(args)),
        types(types),
        attrs_(attrs) {}

  std::vector<ffi::Value> args;  // as Relax has them
  Span<TensorType> types;        // of all results

  using SourceOperator::has;
  using SourceOperator::integer;
  using SourceOperator::ints;
  using SourceOperator::real;
  using SourceOperator::text;

  // Whether the attribute is other than None. All are Unsupported where there is no such field.
  bool has(const char* attr) const override;
  std::int64_t integer(const char* attr) const override;
  double real(const char* attr) const override;
  Text text(const char* attr) const override;
  Ints ints(const char* attr) const override;
  bool boolean(const char* attr) const { return integer(attr) != 0; }

  // Number of dimensions of the first operand.
  std::size_t rank() const { return inputs[0]->type.rank(); }

  // An axis counted from the front of a tensor of so many dimensions.
  std::int64_t axis(std::size_t rank, const char* attr = "axis") const {
    return floor_mod(integer(attr), static_cast<std::int64_t>(rank));
  }

  // Calls of functions of TIR have the function in place of attributes.
  ffi::Object function() const;

  // An argument that is a number, and one that is a tuple of integers.
  ffi::Value number(std::size_t position) const;
  std::vector<std::int64_t> tuple(std::size_t position) const;

 private:
  ffi::Value attr(const char* name) const;

  ffi::Value attrs_;
};

using RelaxConverter = Node* (*)(const RelaxCall&);
using RelaxConverters = std::unordered_map<Text, RelaxConverter>;

// How the nodes of an operator's calls are made. It is the same for all calls, so look it up once.
struct RelaxOperator {
  explicit RelaxOperator(Text name);

  std::vector<Node*> convert(const RelaxCall& call) const;

 private:
  RelaxConverter converter_;
  bool is_constant_;  // whatever the content of its operands
  bool is_split_;     // each result is a node of its own
  bool trains_;       // the results behind the first are for training
};

// Converters by Relax operator, in one file per subject; twins of the tables of these names.
const RelaxConverters& relax_elementwise();
const RelaxConverters& relax_moves();
const RelaxConverters& relax_normalizations();
const RelaxConverters& relax_products();
const RelaxConverters& relax_reductions();
const RelaxConverters& relax_windows();  // convolutions and pooling

// Functions of TIR that TVM's ONNX importer calls; twin of tir.TIR.
const RelaxConverters& relax_tir();
inline bool is_relax_tir(Text name) { return relax_tir().count(name) != 0; }

// The value of a result of a constant call; null where it is not known. Twin of constants.fold.
const ConstantValue* fold(const RelaxCall& call, TensorType type);

}  // namespace relay_frontend
