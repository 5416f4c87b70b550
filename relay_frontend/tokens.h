// Tokens: the arrays that predictors read; twin of tokens.py.

#pragma once

#include <memory>
#include <vector>

#include "relay_frontend/graph.h"

namespace relay_frontend {

// How a number is encoded: by f_PE, as it is, or as its logarithm; see tokens.TokenConfig.
enum class Encoding { position, real, logarithm };

// The encoding that Python calls `name`; Unsupported where there is none.
Encoding encoding_named(Text name);

// tokens.TokenConfig, with the size of the vocabulary's version.
struct TokenConfig {
  std::size_t frequencies;
  std::size_t shape_dims;
  std::size_t input_dims;
  std::vector<std::int64_t> divisors;
  std::size_t vocabulary_size;
  std::vector<bool> named;  // by index in the vocabulary; the others count as their category
  bool one_hot_type;        // otherwise f_PE of the type's index
  bool node_position;
  bool costs;
  bool fused;
  std::vector<Encoding> values;
  Encoding static_features;

  // Numbers that one number becomes.
  std::size_t width(Encoding encoding) const {
    return encoding == Encoding::position ? 2 * frequencies : 1;
  }
  std::size_t num_values() const;
  std::size_t num_features() const;
};

// Row-major array that its Python owner frees.
template <class T>
struct Array {
  std::unique_ptr<T[]> data;
  std::size_t rows = 0;
  std::size_t columns = 0;
};

struct Tokens {
  Array<float> node_features;     // [num_nodes, num_features]
  Array<std::int64_t> edge_index; // [2, num_edges]
  Array<float> static_features;   // [1, num_static]
};

Tokens tokenize(const Graph& graph, const TokenConfig& config);

// Both directions of every edge, each once, no self loops, sorted by destination, then source.
Array<std::int64_t> undirected_edges(const Graph& graph);

}  // namespace relay_frontend
