// Graphs as Python hands them over, and who sees whom in them; twin of relations.py.

#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace tvm_costmodel::forward {

// Arrays of a graph, of which Python stays the owner.
struct Graph {
  std::size_t num_nodes;
  std::size_t num_edges;
  const float* features;         // [num_nodes, features]
  const std::int64_t* edges;     // [2, num_edges], sources and destinations
  const float* static_features;  // [static features]
  const std::int64_t* kernels;   // [num_nodes], or null
};

enum class Relation { undirected, forward, backward, siblings, kernel };

// The relation that Python calls `name`; std::invalid_argument where there is none.
Relation relation_named(const std::string& name);

// For each row those that it sees: sources[starts[i]] to sources[starts[i + 1]].
struct Neighbours {
  std::vector<std::uint32_t> starts{0};
  std::vector<std::uint32_t> sources;

  std::size_t count(std::size_t row) const { return starts[row + 1] - starts[row]; }
  const std::uint32_t* begin(std::size_t row) const { return sources.data() + starts[row]; }
  const std::uint32_t* end(std::size_t row) const { return sources.data() + starts[row + 1]; }
};

// Who sees whom over a relation, in graphs whose nodes are numbered through.
//
// Edges must lie within their graph, and the kernels must be there where the relation reads them.
Neighbours neighbours(const std::vector<Graph>& graphs, Relation relation);

}  // namespace tvm_costmodel::forward
