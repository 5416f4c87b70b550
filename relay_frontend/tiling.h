// How a compiler tiles the loops of an operator; twin of tiling.py.

#pragma once

#include "relay_frontend/graph.h"

namespace relay_frontend {

// The largest divisor that is not above `bound`; 0 of the extent 0.
std::int64_t largest_divisor(std::int64_t extent, std::int64_t bound);

// Results that one vector holds, and vectors that are computed beside each other; 1 or more.
struct Tile {
  std::int64_t lanes = 1;
  std::int64_t rows = 1;
};

// The tile of an operator, where a vector holds up to `lanes` and up to `rows` are unrolled.
Tile tile(const Operator& op, std::int64_t lanes, std::int64_t rows);

// Vector operations that could be done while `operations` wait for each other's results.
double stalls(double operations, std::int64_t rows);

}  // namespace relay_frontend
