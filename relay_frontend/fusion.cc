#include "relay_frontend/fusion.h"

#include <algorithm>
#include <cstddef>
#include <map>
#include <numeric>
#include <optional>
#include <utility>
#include <variant>

#include "relay_frontend/names.h"

namespace relay_frontend {

namespace {

constexpr std::size_t kMaxFused = 256;  // fusion._MAX_FUSED
constexpr std::size_t kNone = SIZE_MAX;

using Stages = std::vector<std::size_t>;

// Whether an operand or output is an operator, and not an input of the graph.
bool is_operator(std::int64_t operand) { return operand >= 0; }

// A use of a stage's result, and the pattern of the edge to it.
struct Use {
  std::size_t user;
  Pattern pattern;
};

struct Stage {
  Pattern pattern;
  std::vector<Use> uses;
  bool exported = false;
};

// The data flow as TVM sees it: operators, tuples, and the parts that are taken out of them; twin
// of fusion._Flow, which explains it. Stages are in topological order.
class Flow {
 public:
  explicit Flow(const Graph& graph) : operators_(graph.operators()) {
    for (const Operator& op : operators_) add_operator(op);
    for (std::int64_t output : graph.outputs()) {
      if (is_operator(output)) stages_[values_[static_cast<std::size_t>(output)]].exported = true;
    }
  }

  std::size_t size() const { return stages_.size(); }
  const Stage& operator[](std::size_t stage) const { return stages_[stage]; }

  // Of each operator: where it is computed.
  const Stages& computed() const { return computed_; }

 private:
  void add_operator(const Operator& op);
  std::size_t split_of(const Operator& op, const Stages& producers);
  std::vector<Pattern> edges_of(const Operator& op) const;
  std::size_t add(Pattern pattern, const Stages& producers, const std::vector<Pattern>& edges = {});

  const std::vector<Operator>& operators_;
  std::vector<Stage> stages_;
  Stages computed_;
  Stages values_;  // of each operator: where its result comes from
  std::map<std::vector<std::int64_t>, std::size_t> splits_;  // by operands and axis
};

void Flow::add_operator(const Operator& op) {
  Stages producers;
  for (std::int64_t input : op.inputs) {
    if (is_operator(input)) producers.push_back(values_[static_cast<std::size_t>(input)]);
  }
  if (op.spec->name == op::split) {
    computed_.push_back(split_of(op, producers));
    values_.push_back(add(Pattern::injective, {computed_.back()}));
    return;
  }
  if (op.spec->name == op::item && !producers.empty()) {
    const std::int64_t whole = *std::find_if(op.inputs.begin(), op.inputs.end(), is_operator);
    computed_.push_back(computed_[static_cast<std::size_t>(whole)]);
    values_.push_back(add(Pattern::injective, producers));
    return;
  }
  if (op.spec->name == op::concatenate) {
    const std::vector<Pattern> edges(producers.size(), Pattern::injective);
    producers = {add(Pattern::tuple, producers, edges)};
  }
  const bool broadcasts = op.spec->pattern == Pattern::broadcast;
  const std::vector<Pattern> edges = broadcasts ? edges_of(op) : std::vector<Pattern>();
  computed_.push_back(add(op.spec->pattern, producers, edges));
  values_.push_back(computed_.back());
}

// The stage where a split is computed, of which other operators may be parts too.
std::size_t Flow::split_of(const Operator& op, const Stages& producers) {
  std::vector<std::int64_t> key(op.inputs.begin(), op.inputs.end());
  for (std::size_t i = 0; i < op.attrs.size(); ++i) {
    if (op.spec->attrs[i] != attr::axis) continue;
    const std::int64_t* axis = std::get_if<std::int64_t>(&op.attrs[i]);
    if (axis == nullptr) throw Unsupported("the axis of a split is not an integer");
    key.push_back(*axis);
  }
  const auto [entry, is_new] = splits_.emplace(std::move(key), stages_.size());
  return is_new ? add(Pattern::injective, producers) : entry->second;
}

// The patterns of the edges into a broadcast: an operand of the result's shape is not repeated.
std::vector<Pattern> Flow::edges_of(const Operator& op) const {
  std::vector<Pattern> edges;
  for (std::int64_t input : op.inputs) {
    if (!is_operator(input)) continue;
    const Ints shape = operators_[static_cast<std::size_t>(input)].type.shape;
    edges.push_back(shape == op.type.shape ? Pattern::elementwise : Pattern::broadcast);
  }
  return edges;
}

// Adds a stage, whose own pattern is that of the edges to it where none are given.
std::size_t Flow::add(Pattern pattern, const Stages& producers,
                      const std::vector<Pattern>& edges) {
  const std::size_t stage = stages_.size();
  stages_.push_back({pattern, {}});
  for (std::size_t i = 0; i < producers.size(); ++i) {
    stages_[producers[i]].uses.push_back({stage, edges.empty() ? pattern : edges[i]});
  }
  return stage;
}

// The immediate post-dominator of each stage, kNone without one, and the pattern on the ways there.
struct PostDominators {
  explicit PostDominators(const Flow& flow)
      : parents(flow.size(), kNone),
        paths(flow.size(), Pattern::opaque),
        depths_(flow.size(), 1) {
    for (std::size_t stage = flow.size(); stage-- > 0;) {
      if (!flow[stage].exported && !flow[stage].uses.empty()) add(stage, flow[stage].uses);
    }
  }

  Stages parents;
  std::vector<Pattern> paths;

 private:
  void add(std::size_t stage, const std::vector<Use>& uses) {
    std::size_t parent = uses.front().user;
    Pattern path = uses.front().pattern;
    for (const Use& use : uses) path = std::max(path, use.pattern);
    for (const Use& use : uses) parent = parent == kNone ? kNone : meet(parent, use.user, path);
    parents[stage] = parent;
    paths[stage] = path;
    depths_[stage] = parent == kNone ? 1 : depths_[parent] + 1;
  }

  // The first stage that all ways from both go through; the patterns on these ways raise `path`.
  std::size_t meet(std::size_t a, std::size_t b, Pattern& path) const {
    while (a != b && a != kNone && b != kNone) {
      // The deeper one goes up, both where they are as deep.
      const bool a_goes = depths_[a] >= depths_[b];
      const bool b_goes = depths_[b] >= depths_[a];
      if (a_goes) a = go_up(a, path);
      if (b_goes) b = go_up(b, path);
    }
    return a == b ? a : kNone;
  }

  std::size_t go_up(std::size_t stage, Pattern& path) const {
    path = std::max(path, paths[stage]);
    return parents[stage];
  }

  std::vector<std::size_t> depths_;
};

// The highest patterns with which stages may fuse: those between, and that of the sink.
struct Limits {
  Pattern inner;
  Pattern last;
};

// Groups of stages, each known by its last stage; a union-find structure.
class Groups {
 public:
  explicit Groups(const Flow& flow)
      : flow_(flow),
        dominators_(flow),
        leaders_(flow.size()),
        sizes_(flow.size(), 1),
        seen_(flow.size(), kNone) {
    std::iota(leaders_.begin(), leaders_.end(), std::size_t{0});
    patterns_.reserve(flow.size());
    for (std::size_t stage = 0; stage < flow.size(); ++stage) {
      patterns_.push_back(flow[stage].pattern);
    }
  }

  // The leader of the group of a stage.
  std::size_t find(std::size_t stage) {
    while (leaders_[stage] != stage) stage = leaders_[stage] = leaders_[leaders_[stage]];
    return stage;
  }

  // Lets each stage join its post-dominator, with all that lies between, where it may.
  void fuse(int phase) {
    for (std::size_t stage = 0; stage < flow_.size(); ++stage) {
      const std::size_t sink = dominators_.parents[stage];
      if (sink == kNone) continue;
      const std::optional<Limits> limits = limits_of(phase, stage, sink);
      if (!limits || !find_between(stage, sink, *limits)) continue;
      merge(find(stage), find(sink));
      for (std::size_t member : between_) merge(find(member), find(sink));
    }
  }

 private:
  std::optional<Limits> limits_of(int phase, std::size_t stage, std::size_t sink);
  bool find_between(std::size_t stage, std::size_t sink, Limits limits);
  void merge(std::size_t child, std::size_t leader);

  const Flow& flow_;
  PostDominators dominators_;
  Stages leaders_;
  std::vector<std::size_t> sizes_;
  std::vector<Pattern> patterns_;  // of the group where a stage leads one
  Stages between_;                 // what find_between has found
  Stages stack_;
  std::vector<std::size_t> seen_;  // the last search that came by, by its number
  std::size_t search_ = 0;
};

std::optional<Limits> Groups::limits_of(int phase, std::size_t stage, std::size_t sink) {
  const Pattern pattern = patterns_[stage];
  const Pattern path = dominators_.paths[stage];
  const bool into_tuple = flow_[sink].pattern == Pattern::tuple;
  const Limits injective{Pattern::injective, Pattern::injective};
  if (phase == 2) {  // into tuples that are part of something injective by now
    if (into_tuple && pattern <= Pattern::injective) return injective;
    return std::nullopt;
  }
  if (into_tuple || find(stage) == find(sink)) return std::nullopt;
  if (pattern <= Pattern::broadcast && path <= Pattern::reduction) {
    return Limits{Pattern::injective, Pattern::anchor};
  }
  if (pattern == Pattern::anchor && path == Pattern::elementwise && phase == 0) {
    return Limits{Pattern::broadcast, Pattern::broadcast};
  }
  if ((pattern == Pattern::injective || pattern == Pattern::tuple) && phase == 1) return injective;
  return std::nullopt;
}

// The stages on all ways to the sink; false where a pattern or their number forbids it.
bool Groups::find_between(std::size_t stage, std::size_t sink, Limits limits) {
  const std::size_t leader = find(sink);
  if (patterns_[leader] > limits.last) return false;
  std::size_t size = sizes_[leader] + sizes_[stage];
  const auto push_users = [&](std::size_t of) {
    for (const Use& use : flow_[of].uses) {
      if (use.user != sink) stack_.push_back(use.user);
    }
  };
  ++search_;
  between_.clear();
  stack_.clear();
  push_users(stage);
  while (!stack_.empty() && size <= kMaxFused) {
    const std::size_t member = stack_.back();
    stack_.pop_back();
    if (seen_[member] == search_) continue;
    if (patterns_[find(member)] > limits.inner) return false;
    seen_[member] = search_;
    between_.push_back(member);
    size += sizes_[member];
    push_users(member);
  }
  return size <= kMaxFused;
}

void Groups::merge(std::size_t child, std::size_t leader) {
  if (child == leader) return;
  leaders_[child] = leader;
  sizes_[leader] += sizes_[child];
  if (patterns_[child] == Pattern::anchor) patterns_[leader] = Pattern::anchor;
}

}  // namespace

std::vector<std::int64_t> fuse(const Graph& graph) {
  const Flow flow(graph);
  Groups groups(flow);
  for (int phase = 0; phase < 3; ++phase) groups.fuse(phase);
  std::vector<std::int64_t> rank(flow.size(), 0);
  for (std::size_t stage : flow.computed()) rank[groups.find(stage)] = 1;
  std::int64_t count = 0;
  for (std::int64_t& kernel : rank) {
    if (kernel != 0) kernel = count++;
  }
  std::vector<std::int64_t> result;
  result.reserve(flow.computed().size());
  for (std::size_t stage : flow.computed()) result.push_back(rank[groups.find(stage)]);
  return result;
}

}  // namespace relay_frontend
