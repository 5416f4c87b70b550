#include "tvm_costmodel/forward/layers.h"

#include <algorithm>
#include <stdexcept>

namespace tvm_costmodel::forward {

namespace {

std::vector<float> padded(const float* values, std::size_t count) {
  std::vector<float> result(panels_of(count) * kPanel, 0.0f);
  std::copy(values, values + count, result.begin());
  return result;
}

}  // namespace

// --- Linear layers -----------------------------------------------------------------------------

void Linear::add(const float* weight, const float* bias, std::size_t outputs) {
  const std::size_t panels = panels_of(outputs), start = weight_.size();
  weight_.resize(start + panels * inputs_ * kPanel, 0.0f);
  for (std::size_t o = 0; o < outputs; ++o) {
    float* to = weight_.data() + start + o / kPanel * inputs_ * kPanel + o % kPanel;
    for (std::size_t i = 0; i < inputs_; ++i) to[i * kPanel] = weight[o * inputs_ + i];
  }
  const std::size_t first = bias_.size();
  bias_.resize(first + panels * kPanel, 0.0f);
  if (bias != nullptr) std::copy(bias, bias + outputs, bias_.data() + first);
}

void Linear::add_to_first_bias(const float* bias, std::size_t outputs) {
  for (std::size_t o = 0; o < outputs; ++o) bias_[o] += bias[o];
}

void Linear::operator()(const Matrix& x, const Matrix& y, bool relu, std::size_t column) const {
  kernels_->multiply({x.row(0) + column, x.stride(), x.rows(), inputs_, weight_.data(),
                      bias_.data(), bias_.size() / kPanel, y.row(0), y.stride(), relu});
}

Linear linear_named(const Kernels& kernels, const Weights& weights, const std::string& name,
                    std::size_t inputs, std::size_t outputs) {
  Linear linear(kernels, inputs);
  linear.add(weights(name + ".weight", outputs * inputs), weights(name + ".bias", outputs),
             outputs);
  return linear;
}

// --- Norms -------------------------------------------------------------------------------------

Norm::Norm(const Kernels& kernels, const Weights& weights, const std::string& name,
           const std::string& kind, std::size_t columns, std::size_t groups)
    : kernels_(&kernels), kind_(Kind::none), columns_(columns), groups_(groups) {
  const auto read = [&](const char* part) {
    const float* values = weights(name + part, columns);
    return std::vector<float>(values, values + columns);
  };
  if (kind == "layer") {
    kind_ = Kind::layer;
    scale_ = read(".weight");
    shift_ = read(".bias");
  } else if (kind == "standardize") {
    kind_ = Kind::standardize;
    scale_ = read(".deviation");
    shift_ = read(".mean");
  } else if (kind == "l2") {
    kind_ = Kind::l2;
  } else if (kind != "none") {
    throw std::invalid_argument("no norm is called " + kind);
  }
}

void Norm::operator()(float* row) const {
  if (kind_ == Kind::layer) {
    kernels_->layer_norm(row, scale_.data(), shift_.data(), columns_, groups_);
  } else if (kind_ == Kind::standardize) {
    kernels_->standardize(row, shift_.data(), scale_.data(), columns_);
  } else if (kind_ == Kind::l2) {
    kernels_->l2_norm(row, columns_);
  }
}

// --- The feed-forward network ------------------------------------------------------------------

FeedForward::FeedForward(const Kernels& kernels, const Weights& weights, const std::string& name,
                         const Config& config)
    : kernels_(&kernels),
      hidden_(config.ffn_hidden),
      norm_(kernels, weights, name + ".norm", "layer", config.width,
            config.group_norm ? config.ffn_groups : 1) {
  const std::size_t group = config.width / config.ffn_groups;
  // Each group's matrix is [inputs, outputs] here.
  const auto read = [&](const std::string& layer, std::size_t inputs, std::size_t outputs) {
    const float* weight = weights(layer + ".weight", config.ffn_groups * inputs * outputs);
    const float* bias = weights(layer + ".bias", config.ffn_groups * outputs);
    std::vector<Linear> linears;
    std::vector<float> turned(inputs * outputs);
    for (std::size_t k = 0; k < config.ffn_groups; ++k, weight += inputs * outputs) {
      for (std::size_t i = 0; i < inputs; ++i) {
        for (std::size_t o = 0; o < outputs; ++o) turned[o * inputs + i] = weight[i * outputs + o];
      }
      linears.emplace_back(kernels, inputs).add(turned.data(), bias + k * outputs, outputs);
    }
    return linears;
  };
  up_ = read(name + ".up", group, hidden_);
  down_ = read(name + ".down", hidden_, group);
  if (config.branch_scale) {
    const float* scale = weights(name + ".branch_scale", config.width);
    branch_scale_.assign(scale, scale + config.width);
  }
}

void FeedForward::operator()(Matrix& h_RD) const {
  const std::size_t rows = h_RD.rows(), group = h_RD.columns() / up_.size();
  const Matrix x_RD(rows, h_RD.columns()), hidden(rows, hidden_), y(rows, group);
  for (std::size_t r = 0; r < rows; ++r) {
    x_RD.set_row(r, h_RD.row(r));
    norm_(x_RD.row(r));
  }
  for (std::size_t k = 0; k < up_.size(); ++k) {
    const std::size_t column = k * group;
    up_[k](x_RD, hidden, /*relu=*/true, column);
    down_[k](hidden, y);
    const float* scale = branch_scale_.empty() ? nullptr : branch_scale_.data() + column;
    for (std::size_t r = 0; r < rows; ++r) {
      kernels_->add(h_RD.row(r) + column, y.row(r), scale, group);
    }
  }
}

// --- Blocks ------------------------------------------------------------------------------------

Block::Block(const Kernels& kernels, const Weights& weights, const std::string& name,
             std::size_t features, const Config& config)
    : kernels_(&kernels),
      features_(features),
      width_(config.width),
      num_relations_(config.relations.size()),
      attention_(config.attention),
      activation_(config.activation),
      parts_(kernels, features),
      normalize_(kernels, weights, name + ".normalize", config.normalize, config.width) {
  if (config.enhance) {
    const std::string gate = name + ".enhance.degree_gate";
    gate_weight_ = padded(weights(gate + ".weight", features), features);
    gate_bias_ = padded(weights(gate + ".bias", features), features);
  }
  const auto relation = [&](std::size_t k) { return name + ".relations." + std::to_string(k); };
  parts_.add(weights(name + ".root.weight", width_ * features), nullptr, width_);
  for (std::size_t k = 0; k < num_relations_; ++k) {
    const std::string aggregate = relation(k) + ".aggregate";
    // Aggregating is linear, so that rows may be multiplied before they are averaged; the bias
    // then belongs to what sees nothing too.
    parts_.add(weights(aggregate + ".weight", width_ * features), nullptr, width_);
    parts_.add_to_first_bias(weights(aggregate + ".bias", width_), width_);
  }
  for (std::size_t k = 0; attention_ && k < num_relations_; ++k) {
    const std::string query = relation(k) + ".attention.query";
    parts_.add(weights(query + ".weight", features * features), weights(query + ".bias", features),
               features);
  }
  if (config.ffn_groups > 0) ffn_.emplace(kernels, weights, name + ".ffn", config);
}

Matrix Block::operator()(Matrix& h_UC, const std::vector<float>& degrees,
                         const Layer& layer) const {
  const Matrix parts(h_UC.rows(), parts_.padded_outputs());
  for (std::size_t u = 0; u < h_UC.rows() && !gate_weight_.empty(); ++u) {
    kernels_->gate(h_UC.row(u), gate_weight_.data(), gate_bias_.data(), degrees[u],
                   h_UC.panels());
  }
  parts_(h_UC, parts);
  const std::size_t queries = (1 + num_relations_) * panels_of(width_);
  for (std::size_t u = 0; u < h_UC.rows() && attention_; ++u) {
    kernels_->sigmoid(parts.row(u) + queries * kPanel, num_relations_ * panels_of(features_));
  }
  Matrix z_RD(layer.own.size(), width_);
  for (std::size_t r = 0; r < z_RD.rows(); ++r) {
    std::copy_n(parts.row(layer.own[r]), z_RD.stride(), z_RD.row(r));
  }
  std::vector<float> scores;
  for (std::size_t k = 0; k < num_relations_; ++k) {
    see(parts, layer.relations[k], k, layer, scores, z_RD);
  }
  for (std::size_t r = 0; r < z_RD.rows(); ++r) {
    normalize_(z_RD.row(r));
    if (activation_) kernels_->relu(z_RD.row(r), width_);
  }
  if (ffn_) (*ffn_)(z_RD);
  return z_RD;
}

void Block::see(const Matrix& parts, const Neighbours& relation, std::size_t index,
                const Layer& layer, std::vector<float>& scores, const Matrix& z_RD) const {
  const std::size_t values = (1 + index) * z_RD.stride();
  const std::size_t keys =
      (1 + num_relations_) * z_RD.stride() + index * panels_of(features_) * kPanel;
  for (std::size_t r = 0; r < z_RD.rows(); ++r) {
    const std::size_t count = relation.count(r);
    if (count == 0) continue;
    if (scores.size() < count) scores.resize(count);
    const float* query = attention_ ? parts.row(layer.own[r]) + keys : nullptr;
    kernels_->attend({query, parts.row(0) + keys, parts.row(0) + values, parts.stride(), features_,
                      relation.begin(r), count, scores.data()},
                     z_RD.row(r), z_RD.panels());
  }
}

// --- The head ----------------------------------------------------------------------------------

Head::Head(const Kernels& kernels, const Weights& weights, std::size_t inputs, std::size_t width)
    : kernels_(&kernels),
      width_(width),
      fc1_(linear_named(kernels, weights, "readout.head.fc1", inputs, width)),
      fc2_(linear_named(kernels, weights, "readout.head.fc2", width, width)),
      fc3_(padded(weights("readout.head.fc3.weight", width), width)),
      bias_(*weights("readout.head.fc3.bias", 1)) {}

std::vector<float> Head::operator()(const Matrix& h) const {
  const Matrix first(h.rows(), width_), second(h.rows(), width_);
  fc1_(h, first, /*relu=*/true);
  fc2_(first, second, /*relu=*/true);
  std::vector<float> answers(h.rows());
  for (std::size_t r = 0; r < h.rows(); ++r) {
    answers[r] = kernels_->dot(second.row(r), fc3_.data(), width_) + bias_;
  }
  return answers;
}

}  // namespace tvm_costmodel::forward
