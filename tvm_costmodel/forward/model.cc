#include "tvm_costmodel/forward/model.h"

#include <algorithm>
#include <cmath>
#include <string>

namespace tvm_costmodel::forward {

namespace {

constexpr std::size_t kNodesAtOnce = 8192;  // more share no more, and leave the caches
constexpr std::size_t kNumCosts = 8;        // tokens.NUM_COSTS
constexpr std::size_t kNumRates = 6;        // of config.PRIOR_COSTS

float negative_logsigmoid(float z) {
  return std::max(-z, 0.0f) + std::log1p(std::exp(-std::abs(z)));
}

}  // namespace

Model::Model(const Kernels& kernels, const Config& config, const Weights& weights)
    : kernels_(&kernels),
      config_(config),
      input_norm_(kernels, weights, "input_norm", config.input_norm, config.num_features),
      head_(kernels, weights, config.width * (config.num_static > 0 ? 2 : 1), config.width),
      scale_(*weights("scale", 1)) {
  std::size_t features = config.num_features;
  if (config.embed) {
    embed_ = linear_named(kernels, weights, "embed", features, config.width);
    features = config.width;
  }
  for (std::size_t k = 0; k < config.num_blocks; ++k, features = config.width) {
    blocks_.emplace_back(kernels, weights, "blocks." + std::to_string(k), features, config);
  }
  if (config.num_static > 0) {
    static_norm_.emplace(kernels, weights, "static_norm", config.input_norm, config.num_static);
    static_ = linear_named(kernels, weights, "readout.static", config.num_static, config.width);
  }
  if (config.prior) {
    const float* rates = weights("readout.prior.rates", kNumRates);
    rates_.assign(rates, rates + kNumRates);
  }
}

std::vector<float> Model::predict(const std::vector<Graph>& graphs) const {
  std::vector<float> latencies;
  for (auto begin = graphs.begin(); begin != graphs.end();) {
    auto end = begin;
    for (std::size_t nodes = 0; end != graphs.end(); ++end) {
      nodes += end->num_nodes;
      if (end != begin && nodes > kNodesAtOnce) break;
    }
    const std::vector<float> found = predict_together({begin, end});
    latencies.insert(latencies.end(), found.begin(), found.end());
    begin = end;
  }
  return latencies;
}

std::vector<float> Model::predict_together(const std::vector<Graph>& graphs) const {
  if (!config_.contributions) return pooled(graphs);
  const std::vector<float> parts = contributions(graphs);
  std::vector<float> latencies;
  std::size_t node = 0;
  for (const Graph& graph : graphs) {
    double sum = 0;
    for (const std::size_t end = node + graph.num_nodes; node < end; ++node) sum += parts[node];
    latencies.push_back(static_cast<float>(sum));
  }
  return latencies;
}

Matrix Model::states(const Plan& plan) const {
  Matrix h(plan.first.size(), config_.num_features);
  for (std::size_t u = 0; u < h.rows(); ++u) {
    h.set_row(u, plan.first[u]);
    input_norm_(h.row(u));
  }
  if (embed_) {
    Matrix embedded(h.rows(), config_.width);
    (*embed_)(h, embedded, /*relu=*/true);
    h = std::move(embedded);
  }
  std::vector<float> degrees = plan.degrees;
  for (std::size_t k = 0; k < blocks_.size(); ++k) {
    const Layer& layer = plan.layers[k];
    h = blocks_[k](h, degrees, layer);
    std::vector<float> after(layer.own.size());
    for (std::size_t r = 0; r < after.size(); ++r) after[r] = degrees[layer.own[r]];
    degrees.swap(after);
  }
  return h;
}

// --- Readouts ----------------------------------------------------------------------------------

std::vector<float> Model::answers(const Matrix& h) const {
  std::vector<float> z = head_(h);
  for (float& value : z) {
    value = scale_ * (config_.exponential ? std::exp(value) : negative_logsigmoid(value));
  }
  return z;
}

std::vector<float> Model::contributions(const std::vector<Graph>& graphs) const {
  const Plan plan =
      kinds_of_nodes(graphs, config_.num_features, config_.relations, config_.num_blocks);
  const std::vector<float> answered = answers(states(plan));
  std::vector<float> parts(plan.last.size());
  for (std::size_t node = 0; node < parts.size(); ++node) parts[node] = answered[plan.last[node]];
  if (rates_.empty()) return parts;
  std::vector<float> priors;
  for (const float* features : plan.first) priors.push_back(prior(features));
  for (std::size_t node = 0; node < parts.size(); ++node) parts[node] *= priors[plan.kinds[node]];
  return parts;
}

// What a node would take at one rate for each of its costs, in ms.
float Model::prior(const float* features) const {
  float costs[kNumCosts];
  const float* logarithms = features + config_.num_features - kNumCosts;
  std::transform(logarithms, logarithms + kNumCosts, costs, [](float x) { return std::expm1(x); });
  const float bytes = costs[4] + costs[5] + costs[6];
  const float priced[kNumRates] = {costs[0], costs[1], costs[2],
                                   costs[3], bytes,    costs[6] > 0 ? 1.0f : 0.0f};
  float sum = 0;
  for (std::size_t k = 0; k < kNumRates; ++k) sum += priced[k] * rates_[k];
  return sum;
}

std::vector<float> Model::pooled(const std::vector<Graph>& graphs) const {
  const Plan plan =
      kinds_of_nodes(graphs, config_.num_features, config_.relations, config_.num_blocks);
  const Matrix h = states(plan);
  const std::size_t width = config_.width;
  const Matrix z(graphs.size(), width * (static_ ? 2 : 1));
  std::fill_n(z.row(0), z.rows() * z.stride(), 0.0f);
  std::size_t node = 0;
  for (std::size_t g = 0; g < graphs.size(); ++g) {
    std::vector<double> sums(width, 0.0);
    for (const std::size_t end = node + graphs[g].num_nodes; node < end; ++node) {
      const float* row = h.row(plan.last[node]);
      for (std::size_t i = 0; i < width; ++i) sums[i] += row[i];
    }
    std::transform(sums.begin(), sums.end(), z.row(g), [](double x) { return float(x); });
  }
  if (static_) {
    const Matrix x(graphs.size(), config_.num_static), y(graphs.size(), width);
    for (std::size_t g = 0; g < graphs.size(); ++g) {
      x.set_row(g, graphs[g].static_features);
      (*static_norm_)(x.row(g));
    }
    (*static_)(x, y, /*relu=*/true);
    for (std::size_t g = 0; g < graphs.size(); ++g) std::copy_n(y.row(g), width, z.row(g) + width);
  }
  return answers(z);
}

}  // namespace tvm_costmodel::forward
