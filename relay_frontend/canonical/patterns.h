// Formulas that exporters and importers write out for one operator; twin of patterns.py, which
// has the table and explains its language.

#pragma once

#include "relay_frontend/node.h"

namespace relay_frontend {

// Forgets all patterns and sets the operators whose operands match in either order.
void reset_patterns(const std::vector<std::string>& commutative);

// Adds a pattern, behind those that are there; both are text.
void add_pattern(Text result, Text formula);

// The operator that the formula at `node` writes out, by the first pattern that fits; or null.
Node* recompose(Context& context, Node* node);

// The content of a constant of one element, if it is known; else null.
const double* scalar(const Node* node);

}  // namespace relay_frontend
