// The steps of the canonicalization; twins of simplify.py, absorb.py and parts.py.
//
// Where Python replaces a node by a copy with other operands, this side changes the node itself:
// each sweep sees each node once, after its operands, and nothing looks at the old graph again.

#pragma once

#include <vector>

#include "relay_frontend/node.h"

namespace relay_frontend {

void simplify(Context& context, std::vector<Node*>& outputs);
void absorb(Context& context, std::vector<Node*>& outputs);
void split_from_slices(Context& context, const std::vector<Node*>& outputs);
void concatenate_from_stacks(Context& context, const std::vector<Node*>& outputs);

// --- For both sweeps ---------------------------------------------------------------------------

// What became of each node, by the serial of the old one.
using Replacements = std::vector<Node*>;

inline Operands replaced(Context& context, Operands operands, const Replacements& replacements) {
  bool changes = false;
  std::vector<Node*> result;
  for (Node* operand : operands) {
    result.push_back(replacements[operand->serial]);
    changes |= result.back() != operand;
  }
  return changes ? context.span(result) : operands;
}

inline void replace_outputs(std::vector<Node*>& outputs, const Replacements& replacements) {
  for (Node*& output : outputs) output = replacements[output->serial];
}

}  // namespace relay_frontend
