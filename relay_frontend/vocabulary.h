// The vocabulary's tables, which Python hands over when the extension is loaded; operators.py and
// vocabulary.py are their only source.

#pragma once

#include <string>
#include <unordered_map>
#include <vector>

#include "relay_frontend/node.h"

namespace relay_frontend {

// Rule for an operator's FLOPs; twin of costs.RULES.
enum class CostRule {
  attention,
  convolution,
  einsum,
  elements,
  inputs,
  lrn,
  none,
  product,
  recurrent,
  transposed_convolution,
  window,
};

// TVM's TOpPattern of an operator in fusion; twin of fusion_patterns.py, in its order.
enum class Pattern { elementwise, broadcast, injective, reduction, anchor, tuple, opaque };

// An attribute, or one entry of it where it is a tuple, as a token shows it.
struct Slot {
  Name attr;
  std::size_t position;
};

struct OperatorSpec {
  Name name;
  std::vector<Name> attrs;
  std::vector<Slot> slots;
  CostRule rule;
  std::int64_t factor;
  Name category;
  std::int64_t transcendentals;  // for each element of the output
  Pattern pattern;
  std::size_t index;   // in the one-hot type of a token
  bool channels_last;  // as the ending _nhwc of its name says
  bool transposed;     // as the ending transpose says
};

struct DTypeSpec {
  std::string name;
  std::int64_t itemsize;
};

struct Vocabulary {
  std::vector<OperatorSpec> operators;
  std::vector<std::int32_t> position;  // in `operators`, by the id of a known name; -1 for others
  std::vector<DTypeSpec> dtypes;
  std::unordered_map<std::string, Name> categories;  // by a source operator's short name
  std::unordered_map<std::string, Name> plain[3];    // by Source
};

// The tables; empty before configure. Written once, before any network is read.
Vocabulary& vocabulary();

// The vocabulary's entry for an operator, or null.
const OperatorSpec* spec_of(Name op);

// Operators that multiply by constant weights and may add a bias: convolutions of all kinds, dense.
bool is_convolution(Name op);
bool is_linear(Name op);

// Adds an operator; `slots` as in operators.py ("padding[0]"), `cost` as "rule" or "rule*factor".
void add_operator(Text name, const std::vector<std::string>& attrs,
                  const std::vector<std::string>& slots, Text cost, Text category,
                  std::int64_t transcendentals, Pattern pattern);

// The category that stands for an operator that the vocabulary lacks; twin of vocabulary.category.
Name category(Text operator_name);

}  // namespace relay_frontend
