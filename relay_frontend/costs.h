// What an operator costs, from types alone; twin of costs.py.

#pragma once

#include "relay_frontend/node.h"
#include "relay_frontend/vocabulary.h"

namespace relay_frontend {

// Subtract the maximum (2 passes), exponentiate, sum, divide.
constexpr std::int64_t kSoftmaxFlops = 5;

std::int64_t flops(const Node& node, const OperatorSpec& spec);
std::int64_t param_bytes(const Node& node);
std::int64_t read_bytes(const Node& node);

}  // namespace relay_frontend
