// Nodes that blocks over a graph cannot tell apart; twin of equal_nodes.py.

#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "tvm_costmodel/forward/graphs.h"

namespace tvm_costmodel::forward {

// What one block has to compute.
struct Layer {
  std::vector<std::uint32_t> own;     // the row of the input that each row of the output comes from
  std::vector<Neighbours> relations;  // the rows of the input that each row of the output sees
};

// How the states of all nodes are computed from those of their kinds.
struct Plan {
  std::vector<const float*> first;   // features of each kind of node, the input of the first block
  std::vector<std::uint32_t> kinds;  // of each node the kind that it is there
  std::vector<float> degrees;        // of each kind
  std::vector<Layer> layers;         // one for each block
  std::vector<std::uint32_t> last;   // of each node its row in the output of the last block
};

// The plan that computes nodes of one kind once, in all of the graphs.
//
// Kinds beyond the features are told apart by 64-bit hashes: that two of a million different ones
// are taken for one has a probability of 3e-8.
Plan kinds_of_nodes(const std::vector<Graph>& graphs, std::size_t num_features,
                    const std::vector<Relation>& relations, std::size_t num_blocks);

}  // namespace tvm_costmodel::forward
