#include "tvm_costmodel/forward/graphs.h"

#include <algorithm>
#include <numeric>
#include <stdexcept>

namespace tvm_costmodel::forward {

namespace {

using Index = std::uint32_t;

bool is_seen(Relation relation, std::int64_t source, std::int64_t target) {
  if (relation == Relation::forward) return source < target;
  if (relation == Relation::backward) return source > target;
  return true;
}

// Appends the rows of a graph whose nodes are numbered from `first`.
void append_edges(const Graph& graph, Relation relation, Index first, Neighbours& to) {
  const std::int64_t* sources = graph.edges;
  const std::int64_t* targets = graph.edges + graph.num_edges;
  std::vector<Index> ends(graph.num_nodes, 0);
  for (std::size_t e = 0; e < graph.num_edges; ++e) {
    if (is_seen(relation, sources[e], targets[e])) ++ends[static_cast<std::size_t>(targets[e])];
  }
  for (Index& end : ends) {
    const Index start = to.starts.back();
    to.starts.push_back(start + end);
    end = start;
  }
  to.sources.resize(to.starts.back());
  for (std::size_t e = 0; e < graph.num_edges; ++e) {
    if (is_seen(relation, sources[e], targets[e])) {
      Index& end = ends[static_cast<std::size_t>(targets[e])];
      to.sources[end++] = first + static_cast<Index>(sources[e]);
    }
  }
}

void append_siblings(const Graph& graph, Index first, Neighbours& to) {
  Neighbours producers, consumers;
  append_edges(graph, Relation::forward, 0, producers);
  append_edges(graph, Relation::backward, 0, consumers);
  std::vector<Index> seen;
  for (std::size_t node = 0; node < graph.num_nodes; ++node) {
    seen.clear();
    for (const Index* p = producers.begin(node); p != producers.end(node); ++p) {
      seen.insert(seen.end(), consumers.begin(*p), consumers.end(*p));
    }
    for (const Index* c = consumers.begin(node); c != consumers.end(node); ++c) {
      seen.insert(seen.end(), producers.begin(*c), producers.end(*c));
    }
    std::sort(seen.begin(), seen.end());
    seen.erase(std::unique(seen.begin(), seen.end()), seen.end());
    for (Index other : seen) {
      if (other != node) to.sources.push_back(first + other);
    }
    to.starts.push_back(static_cast<Index>(to.sources.size()));
  }
}

void append_kernels(const Graph& graph, Index first, Neighbours& to) {
  std::vector<Index> order(graph.num_nodes);  // of nodes by their kernels
  std::iota(order.begin(), order.end(), Index{0});
  const auto by_kernel = [&](Index a, Index b) { return graph.kernels[a] < graph.kernels[b]; };
  std::stable_sort(order.begin(), order.end(), by_kernel);
  for (Index node = 0; node < graph.num_nodes; ++node) {
    const auto [begin, end] = std::equal_range(order.begin(), order.end(), node, by_kernel);
    for (auto other = begin; other != end; ++other) {
      if (*other != node) to.sources.push_back(first + *other);
    }
    to.starts.push_back(static_cast<Index>(to.sources.size()));
  }
}

}  // namespace

Relation relation_named(const std::string& name) {
  if (name == "undirected") return Relation::undirected;
  if (name == "forward") return Relation::forward;
  if (name == "backward") return Relation::backward;
  if (name == "siblings") return Relation::siblings;
  if (name == "kernel") return Relation::kernel;
  throw std::invalid_argument("no relation is called " + name);
}

Neighbours neighbours(const std::vector<Graph>& graphs, Relation relation) {
  Neighbours result;
  Index first = 0;
  for (const Graph& graph : graphs) {
    if (relation == Relation::siblings) {
      append_siblings(graph, first, result);
    } else if (relation == Relation::kernel) {
      append_kernels(graph, first, result);
    } else {
      append_edges(graph, relation, first, result);
    }
    first += static_cast<Index>(graph.num_nodes);
  }
  return result;
}

}  // namespace tvm_costmodel::forward
