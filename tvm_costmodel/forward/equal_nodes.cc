#include "tvm_costmodel/forward/equal_nodes.h"

#include <algorithm>
#include <cstring>

namespace tvm_costmodel::forward {

namespace {

using Index = std::uint32_t;
using Hash = std::uint64_t;

// The finalizer of SplitMix64, another one for each salt.
Hash mix(Hash hash, Hash salt) {
  hash += (salt + 1) * 0x9E3779B97F4A7C15u;
  hash = (hash ^ (hash >> 30)) * 0xBF58476D1CE4E5B9u;
  hash = (hash ^ (hash >> 27)) * 0x94D049BB133111EBu;
  return hash ^ (hash >> 31);
}

// Of a row's bits, for a table that compares the rows too; four at a time, for a product takes
// longer than the next one has to wait.
Hash hash_of(const float* row, std::size_t count) {
  constexpr std::size_t kLanes = 4;
  Hash lanes[kLanes] = {1, 2, 3, 4};
  std::size_t i = 0;
  for (; i + 2 * kLanes <= count; i += 2 * kLanes) {
    Hash words[kLanes];
    std::memcpy(words, row + i, sizeof words);
    for (std::size_t k = 0; k < kLanes; ++k) {
      lanes[k] = (lanes[k] ^ words[k] ^ (lanes[k] >> 29)) * 0x9E3779B97F4A7C15u;
    }
  }
  for (; i < count; ++i) {
    std::uint32_t word;
    std::memcpy(&word, row + i, sizeof word);
    lanes[0] = (lanes[0] ^ word ^ (lanes[0] >> 29)) * 0x9E3779B97F4A7C15u;
  }
  return mix(lanes[0] ^ mix(lanes[1] ^ mix(lanes[2] ^ lanes[3], 2), 1), 0);
}

// Numbers things in the order in which they come: equal ones have one number.
class Numbers {
 public:
  explicit Numbers(std::size_t most) {
    std::size_t size = 8;
    while (size < 2 * most) size *= 2;
    slots_.assign(size, kEmpty);
  }

  // `equals(n)` tells whether the thing is that with the number n, whose hash is the same.
  template <class Equals>
  Index number(Hash hash, Equals&& equals) {
    std::size_t slot = hash & (slots_.size() - 1);
    for (; slots_[slot] != kEmpty; slot = (slot + 1) & (slots_.size() - 1)) {
      if (hashes_[slots_[slot]] == hash && equals(slots_[slot])) return slots_[slot];
    }
    slots_[slot] = static_cast<Index>(hashes_.size());
    hashes_.push_back(hash);
    return slots_[slot];
  }

 private:
  static constexpr Index kEmpty = ~Index{0};

  std::vector<Index> slots_;  // an open hash table of numbers
  std::vector<Hash> hashes_;  // by number
};

std::vector<float> degrees_of(const std::vector<Graph>& graphs, std::size_t num_nodes) {
  std::vector<float> degrees(num_nodes, 0.0f);
  std::size_t first = 0;
  for (const Graph& graph : graphs) {
    const std::int64_t* targets = graph.edges + graph.num_edges;
    for (std::size_t e = 0; e < graph.num_edges; ++e) {
      degrees[first + static_cast<std::size_t>(targets[e])] += 1.0f;
    }
    first += graph.num_nodes;
  }
  return degrees;
}

// Begins the plan: nodes with equal features and degrees are of one kind. Returns their hashes.
std::vector<Hash> number_tokens(const std::vector<Graph>& graphs, std::size_t num_features,
                                const std::vector<float>& degrees, Plan& plan) {
  Numbers numbers(degrees.size());
  std::vector<Hash> hashes;
  hashes.reserve(degrees.size());
  for (const Graph& graph : graphs) {
    for (std::size_t node = 0; node < graph.num_nodes; ++node) {
      const float* row = graph.features + node * num_features;
      const float degree = degrees[hashes.size()];
      const Hash hash = mix(hash_of(row, num_features) + static_cast<Hash>(degree), 1);
      const Index kind = numbers.number(hash, [&](Index other) {
        return plan.degrees[other] == degree &&
               std::memcmp(plan.first[other], row, num_features * sizeof(float)) == 0;
      });
      if (kind == plan.first.size()) {
        plan.first.push_back(row);
        plan.degrees.push_back(degree);
      }
      plan.kinds.push_back(kind);
      hashes.push_back(mix(kind, 0));  // from now on no two kinds share one
    }
  }
  return hashes;
}

// Hashes of the nodes after a block: of what they were, and of what they see, whatever the order.
std::vector<Hash> refined(const std::vector<Hash>& hashes,
                          const std::vector<Neighbours>& relations) {
  std::vector<Hash> marks(hashes.size()), result = hashes;
  std::transform(hashes.begin(), hashes.end(), marks.begin(), [](Hash h) { return mix(h, 1); });
  for (std::size_t k = 0; k < relations.size(); ++k) {
    for (std::size_t node = 0; node < hashes.size(); ++node) {
      Hash seen = 0;
      const Index* end = relations[k].end(node);
      for (const Index* other = relations[k].begin(node); other != end; ++other) {
        seen += marks[*other];
      }
      result[node] = mix(result[node] + seen, 2 + k);
    }
  }
  return result;
}

// The rows of a block whose input has the rows `before`; `after` becomes those of its output.
Layer layer_of(const std::vector<Hash>& hashes, const std::vector<Neighbours>& relations,
               const std::vector<Index>& before, std::vector<Index>& after) {
  Layer layer;
  layer.relations.resize(relations.size());
  Numbers numbers(hashes.size());
  after.resize(hashes.size());
  for (std::size_t node = 0; node < hashes.size(); ++node) {
    after[node] = numbers.number(hashes[node], [](Index) { return true; });
    if (after[node] < layer.own.size()) continue;
    layer.own.push_back(before[node]);
    for (std::size_t k = 0; k < relations.size(); ++k) {
      Neighbours& rows = layer.relations[k];
      const Index* end = relations[k].end(node);
      for (const Index* other = relations[k].begin(node); other != end; ++other) {
        rows.sources.push_back(before[*other]);
      }
      rows.starts.push_back(static_cast<Index>(rows.sources.size()));
    }
  }
  return layer;
}

}  // namespace

Plan kinds_of_nodes(const std::vector<Graph>& graphs, std::size_t num_features,
                    const std::vector<Relation>& relations, std::size_t num_blocks) {
  std::size_t num_nodes = 0;
  for (const Graph& graph : graphs) num_nodes += graph.num_nodes;
  std::vector<Neighbours> seen;
  for (Relation relation : relations) seen.push_back(neighbours(graphs, relation));
  Plan plan;
  plan.kinds.reserve(num_nodes);
  const std::vector<float> degrees = degrees_of(graphs, num_nodes);
  std::vector<Hash> hashes = number_tokens(graphs, num_features, degrees, plan);
  plan.last = plan.kinds;
  std::vector<Index> after;
  for (std::size_t block = 0; block < num_blocks; ++block) {
    hashes = refined(hashes, seen);
    plan.layers.push_back(layer_of(hashes, seen, plan.last, after));
    plan.last.swap(after);
  }
  return plan;
}

}  // namespace tvm_costmodel::forward
