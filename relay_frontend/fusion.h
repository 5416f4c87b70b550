// Kernels guessed from an operator graph alone; twin of fusion.py.

#pragma once

#include <cstdint>
#include <vector>

#include "relay_frontend/graph.h"

namespace relay_frontend {

// The kernel of each operator, numbered from 0 by their last operators.
std::vector<std::int64_t> fuse(const Graph& graph);

}  // namespace relay_frontend
